import dataclasses
import pickle

import numpy as np
import pytest
import torch

from bottomup import COCO, CROWDPOSE
from bottomup.data.augment import Augment
from bottomup.data.drawings import draw_samples
from bottomup.data.photos import Photos
from bottomup.data.samples import Draw, LabelledImage, Samples, Together, collate
from bottomup.data.scenes.crowd import Crowd
from tests.support.labelled_images import labelled

CROWD = Crowd(width=64, height=48, sizes=(20, 40))


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@dataclasses.dataclass(frozen=True)
class Noise:
    """A source of pixels that only the generator decides."""

    skeleton = COCO

    def __len__(self) -> int:
        return 3

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        return labelled(rng.integers(0, 256, (4, 4, 3), np.uint8))

    def name(self, position: int, seed: int) -> str:
        return f"noise {position} of seed {seed}"


def add_noise(image: LabelledImage, flip_indices, rng: np.random.Generator) -> LabelledImage:
    noise = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return image._replace(image=image.image ^ noise)


def test_people_are_filled_up_with_zeros():
    image, mask = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool)
    samples = [
        labelled(image, np.ones((n, 17, 3), np.float32), mask=mask, boxes=np.full((n, 4), 5.0))
        for n in (1, 2, 0)
    ]
    batch = collate(samples)
    assert batch.keypoints.shape == (3, 2, 17, 3)
    assert batch.keypoints[:, :, 0, 0].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert batch.boxes[:, :, 0].tolist() == [[5, 0], [5, 5], [0, 0]]
    assert batch.image.shape == (3, 3, 4, 4)
    assert batch.mask.dtype == torch.bool
    empty = collate(samples[2:] * 2)
    assert empty.keypoints.shape == (2, 0, 17, 3)


def test_a_sample_is_a_function_of_seed_epoch_and_position():
    data = Samples(Noise(), add_noise, seed=1)
    assert same(data[Draw(3, 1)], Samples(Noise(), add_noise, seed=1)[Draw(3, 1)])
    others = (data[Draw(4, 1)], data[Draw(3, 2)], Samples(Noise(), add_noise, seed=2)[Draw(3, 1)])
    assert not any(same(data[Draw(3, 1)], other) for other in others)
    assert data.name(2) == "noise 2 of seed 1"


def test_streams_keep_sets_of_one_seed_apart():
    samples = [Samples(Noise(), add_noise, stream=stream)[Draw(0, 1)] for stream in range(7)]
    assert len({sample.image.tobytes() for sample in samples}) == 7


def test_source_and_augmentation_share_a_generator_unless_told_otherwise():
    rng = np.random.default_rng((5, 2, 1, 3))  # seed, epoch, position, stream
    first, second = (rng.integers(0, 256, (4, 4, 3), np.uint8) for _ in range(2))
    shared = Samples(Noise(), add_noise, 5, stream=3)
    np.testing.assert_array_equal(shared[Draw(2, 1)].image, first ^ second)
    own = np.random.default_rng((5, 2, 1, 4)).integers(0, 256, (4, 4, 3), np.uint8)
    apart = Samples(Noise(), add_noise, 5, stream=3, augmentation_stream=4)
    np.testing.assert_array_equal(apart[Draw(2, 1)].image, first ^ own)
    plain = Samples(Noise(), None, 5, stream=3)
    np.testing.assert_array_equal(plain[Draw(2, 1)].image, first)


def test_images_come_again_and_are_augmented_anew():
    still = Samples(Noise(), None, repeat=2)
    assert same(still[Draw(0, 0)], still[Draw(1, 0)])
    assert not same(still[Draw(1, 0)], still[Draw(2, 0)])
    again = Samples(Noise(), add_noise, augmentation_stream=1, repeat=2)
    assert not same(again[Draw(0, 0)], again[Draw(1, 0)])


def test_sets_survive_the_way_to_a_worker(annotations):
    photos = Samples(Photos(annotations), Augment(size=32))
    data = Together((photos, draw_samples(CROWD, 2, Augment(size=32))), (1, 1))
    sent = pickle.loads(pickle.dumps(data))
    assert all(same(sent[Draw(1, i)], data[Draw(1, i)]) for i in range(len(data)))


def test_sets_together_visit_each_part_as_often_as_asked(annotations):
    drawn = draw_samples(CROWD, 2, Augment(size=32))
    data = Together((Samples(Photos(annotations), Augment(size=32)), drawn), (3, 1))
    assert len(data) == 8
    names = [data.name(index) for index in range(8)]
    assert sum(name.endswith("0.png") for name in names) == 3
    assert names[-1] == "drawn image 1 of seed 0"
    looks = [
        data[Draw(0, index)] for index in (0, 2, 4)
    ]  # the same photo, three times in one epoch
    assert not same(looks[0], looks[1])
    assert not same(looks[1], looks[2])
    assert same(data[Draw(1, 6)], drawn[Draw(1, 0)])
    with pytest.raises(IndexError):
        data.name(8)


def test_sets_of_different_joints_do_not_mix(annotations):
    photos = Photos(dataclasses.replace(annotations, skeleton=CROWDPOSE))
    with pytest.raises(ValueError, match="different joints"):
        Together((draw_samples(CROWD, 1), Samples(photos, None)), (1, 1))
