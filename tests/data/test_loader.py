import numpy as np
import pytest
import torch

from bottomup.data.drawings import Drawings, draw_samples
from bottomup.data.loader import EpochSampler, ResumableLoader
from bottomup.data.samples import Draw, LabelledImage, Samples
from bottomup.data.scenes.crowd import Crowd
from tests.support.labelled_images import labelled


class Numbers(Samples):
    """Samples whose pixels say which draw they are."""

    def __getitem__(self, draw: Draw) -> LabelledImage:
        image = np.zeros((4, 4, 3), np.uint8)
        image[0, 0] = draw.epoch, draw.position, 0
        return labelled(image, np.zeros((draw.position % 3, 17, 3), np.float32))

    def name(self, position: int) -> str:
        return f"number {position}"


def draws(batch) -> list[tuple[int, int]]:
    return [(int(image[0, 0, 0]), int(image[1, 0, 0])) for image in batch.image]


def make(num_workers: int = 0, **keywords) -> ResumableLoader:
    return ResumableLoader(
        Numbers(Drawings(Crowd(), 10), None),
        EpochSampler(10, 3, seed=1, **keywords),
        num_workers=num_workers,
    )


def test_an_epoch_visits_every_image_once_in_a_new_order():
    loader = make()
    first = [draw for batch in loader for draw in draws(batch)]
    loader.order.set_epoch(1)
    second = [draw for batch in loader for draw in draws(batch)]
    assert len({index for _, index in first}) == 9  # three batches of three; one image is left over
    assert {epoch for epoch, _ in second} == {1}
    assert [index for _, index in first] != [index for _, index in second]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_goes_on_where_it_was_saved(num_workers):
    whole = [draws(batch) for batch in make()]
    loader = make(num_workers)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    assert state == {
        "epoch": 0,
        "handed_out": 1,
    }  # whatever the workers have prepared beyond it does not count
    del iterator
    resumed = make(num_workers)
    resumed.load_state_dict(state)
    resumed.order.set_epoch(0)  # as Lightning says at the start
    assert [draws(batch) for batch in resumed] == whole[1:]
    assert [draws(batch) for batch in resumed] == whole, "the next round starts at the beginning"


def test_a_saved_end_of_an_epoch_leads_to_the_next():
    loader = make()
    list(loader)
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    resumed.order.set_epoch(1)
    assert {epoch for batch in resumed for epoch, _ in draws(batch)} == {1}
    assert len(resumed) == 3


def test_ranks_share_what_one_process_sees():
    alone = EpochSampler(10, 4, seed=1)
    ranks = [EpochSampler(10, 2, seed=1, rank=rank, num_ranks=2) for rank in range(2)]
    for number in range(alone.num_batches):
        together = [draw for rank in ranks for draw in rank.batch(number)]
        assert sorted(together) == sorted(alone.batch(number))


def test_batches_are_named_after_their_images():
    loader = make()
    batch = next(iter(loader))
    assert loader.names(0) == [f"number {index}" for _, index in draws(batch)]


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="choose a batch_size of at most 5"):
        EpochSampler(10, 6, num_ranks=2)


def test_samples_do_not_depend_on_the_number_of_workers():
    data = draw_samples(Crowd(width=64, height=64, sizes=(20, 60)), 6, seed=3)
    batches = [
        list(ResumableLoader(data, EpochSampler(6, 3, seed=2), num_workers=num_workers))
        for num_workers in (0, 2)
    ]
    for one, other in zip(*batches, strict=True):
        for tensor, same in zip(one, other, strict=True):
            torch.testing.assert_close(tensor, same, rtol=0, atol=0)
