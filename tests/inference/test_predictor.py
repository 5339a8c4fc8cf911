import contextlib
import itertools
import math
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup.geometry import MAX_INPUT_PIXELS
from bottomup.images.decoding import decode
from bottomup.inference import batching, pyramid
from bottomup.inference.predictor import Predictor
from bottomup.method.grouping import Grouper
from bottomup.method.matching import OFFICIAL
from tests.support.dots import DOTS, crowd, dot_net, picture
from tests.support.picture_files import encode, with_orientation

SIZES = [
    (256, 256),
    (256, 192),
    (640, 480),
    (480, 640),
    (100, 80),
    (333, 257),
    (255, 255),
    (900, 777),
]


def errors(predictor: Predictor, sizes, *, seed: int = 0) -> np.ndarray:
    """(E, 2) found minus true positions in pixels of the network's input, over all sizes."""
    rng = np.random.default_rng(seed)
    found = []
    for wh in sizes:
        people = crowd(wh, 4, rng)
        poses = predictor(picture(wh, people))
        assert len(poses) == 4, wh
        order = np.argsort(poses.keypoints[:, 0, 0])
        found.append((poses.keypoints[order] - people).reshape(-1, 2) * 256 / max(wh))
    return np.concatenate(found)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"flip": True},
        {"scales": (0.5, 1, 2)},
        {"scales": (2, 1), "flip": True},
        {"scales": (0.5,)},
        {"size": 384},
    ],
)
def test_people_are_where_they_are(arguments):
    error = errors(Predictor(dot_net(), **arguments), SIZES * 3)
    assert np.abs(error.mean(axis=0)).max() < 0.1
    assert np.abs(error).max() < 1


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 700), st.integers(60, 700), st.integers(0, 99))
def test_people_are_where_they_are_in_images_of_any_size(width, height, seed):
    if max(width, height) < 3 * min(width, height):
        assert np.abs(errors(Predictor(dot_net()), [(width, height)], seed=seed)).max() < 0.3


def test_keypoint_offset_is_added_in_pixels_of_the_input():
    without = errors(Predictor(dot_net()), [(512, 512)])
    with_offset = errors(Predictor(dot_net(keypoint_offset=0.5)), [(512, 512)])
    np.testing.assert_allclose(with_offset - without, 0.5, atol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"flip": True}, {"scales": (0.5, 1)}, {"scales": (2,)}])
def test_official_mode_is_off_by_its_known_bias_at_most(arguments):
    error = errors(
        Predictor(dot_net(), mode="official", **arguments), [(256, 256), (640, 480), (480, 640)]
    )
    assert np.abs(error).max() < 4


def test_official_mode_has_the_official_grouper():
    official = Predictor(dot_net(), mode="official").grouper
    assert official == Grouper(rules=OFFICIAL, skeleton=DOTS)
    assert official.rules.max_candidates == 30
    assert Predictor(dot_net()).grouper == Grouper(skeleton=DOTS)
    own = Grouper(detection_threshold=0.5, skeleton=DOTS)
    assert Predictor(dot_net(), grouper=own).grouper is own


def some_pictures(num: int, *, seed: int = 0) -> list[np.ndarray]:
    """Pictures of mixed sizes with 0 to 4 people."""
    rng = np.random.default_rng(seed)
    sizes = [SIZES[i] for i in rng.integers(0, 4, num)]
    return [picture(wh, crowd(wh, int(rng.integers(0, 5)), rng)) for wh in sizes]


@pytest.mark.parametrize(
    "arguments", [{}, {"flip": True, "scales": (1, 0.5)}, {"mode": "official"}]
)
def test_a_batch_gives_what_its_images_give_one_by_one(arguments):
    pictures = some_pictures(13)
    together = Predictor(dot_net(), batch_size=4, **arguments)(pictures)
    for image, poses in zip(pictures, together, strict=True):
        alone = Predictor(dot_net(), batch_size=1, **arguments)(image)
        np.testing.assert_allclose(poses.keypoints, alone.keypoints, atol=1e-3)
        np.testing.assert_allclose(poses.scores, alone.scores, atol=1e-5)


def test_results_come_in_the_order_of_the_source_and_batches_are_full():
    class Counting(torch.nn.Module):
        sizes: list[int] = []  # noqa: RUF012

        def forward(self, images):
            self.sizes.append(len(images))
            return torch.nn.functional.avg_pool2d(images, 4)

    net = dot_net()
    net.trunk = Counting()
    pictures = some_pictures(40)
    predictions = list(Predictor(net, batch_size=4).stream(pictures))
    assert [prediction.name for prediction in predictions] == [f"#{i}" for i in range(40)]
    assert all(a.image is b for a, b in zip(predictions, pictures, strict=True))
    assert max(Counting.sizes) == 4
    assert len(Counting.sizes) < 20


def test_a_rare_size_does_not_hold_up_the_rest():
    common, rare = np.zeros((64, 64, 3), np.uint8), np.zeros((32, 96, 3), np.uint8)
    pulled = itertools.count()
    source = (rare if i == 0 else common for i in pulled)
    stream = Predictor(dot_net(), batch_size=4).stream(source)
    assert next(stream).image is rare
    assert next(pulled) <= 4 * 4 + 2


def test_images_of_ever_new_sizes_are_held_in_bounds():
    pulled = itertools.count(1)
    stream = Predictor(dot_net(input_size=32), batch_size=4).stream(
        np.zeros((32 * (1 + i % 29), 32 * (1 + i % 31), 3), np.uint8) for i in pulled
    )
    for count in range(1, 60):
        next(stream)
        assert next(pulled) - count <= 4 * 4 + 2 + count  # the test itself pulls one each time
    stream.close()


def test_large_images_are_held_in_bounds(monkeypatch):
    monkeypatch.setattr(batching, "MAX_HELD_BYTES", 3 * 100 * 100 * 3)
    pulled = itertools.count()
    stream = Predictor(dot_net(), batch_size=50).stream(
        np.zeros((100, 100, 3), np.uint8) for _ in pulled
    )
    next(stream)
    assert next(pulled) <= 5


def test_a_file_a_folder_a_glob_and_an_array_give_the_same(tmp_path):
    image = some_pictures(3)[1]
    (tmp_path / "1.png").write_bytes(encode(image, ".png"))
    predictor = Predictor(dot_net())
    expected = predictor(image).keypoints
    assert len(expected)
    np.testing.assert_array_equal(predictor(tmp_path / "1.png").keypoints, expected)
    for source in (
        tmp_path,
        str(tmp_path / "*.png"),
        [image],
        (image for _ in range(1)),
        image[None],
    ):
        (poses,) = predictor(source)
        np.testing.assert_array_equal(poses.keypoints, expected)


def test_a_tar_file_and_a_list_give_all_their_images(tmp_path):
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        path.write_bytes(encode(some_pictures(1)[0], ".png"))
    with tarfile.open(tmp_path / "both.tar", "w") as archive:
        for path in paths:
            archive.add(path, path.name)
    (tmp_path / "both.txt").write_text("".join(f"{path}\n" for path in paths))
    predictor = Predictor(dot_net())
    for name in ("both.tar", "both.txt"):
        assert len(predictor(tmp_path / name)) == 2


def test_a_name_that_is_left_out_is_told(tmp_path):
    (tmp_path / "._photo.jpg").write_bytes(b"what a Mac leaves behind")
    with pytest.raises(ValueError, match=r"\._photo\.jpg: .* left out"):
        Predictor(dot_net())(tmp_path / "._photo.jpg")


@pytest.mark.parametrize(("wh", "most"), [((30_000, 750), 24), ((9280, 6944), 64)])
def test_levels_that_no_input_fits_are_left_out(monkeypatch, wh, most):
    seen = []
    monkeypatch.setattr(pyramid, "look", lambda *a, **k: seen.append(a[2]) or 1 / 0)
    predictor = Predictor("default", device="cpu", max_megapixels=most)
    with contextlib.suppress(ZeroDivisionError):
        predictor(np.zeros((*wh[::-1], 3), np.uint8))
    ((finest, *_),) = seen
    assert finest.is_optional
    assert math.prod(finest.transform.input_wh) <= MAX_INPUT_PIXELS


def test_exif_orientation_is_honoured_or_not(tmp_path):
    rng = np.random.default_rng(0)
    upright = picture((240, 320), crowd((240, 320), 3, rng))
    stored = np.rot90(upright)  # orientation 6 turns it back, clockwise
    (tmp_path / "1.jpg").write_bytes(
        with_orientation(encode(np.ascontiguousarray(stored), ".jpg"), 6)
    )
    turned = Predictor(dot_net())(tmp_path / "1.jpg")
    np.testing.assert_allclose(turned.keypoints, Predictor(dot_net())(upright).keypoints, atol=0.5)
    (prediction,) = Predictor(dot_net(), exif=False).stream(tmp_path)
    assert prediction.image is not None
    assert prediction.image.shape == (240, 320, 3)


def test_a_bad_file_is_an_error_in_its_place(tmp_path):
    for i, data in enumerate(
        [encode(some_pictures(1)[0], ".png"), b"text", encode(some_pictures(1)[0], ".png")]
    ):
        (tmp_path / f"{i}.png").write_bytes(data)
    predictions = list(Predictor(dot_net()).stream(tmp_path))
    assert [prediction.error is None for prediction in predictions] == [True, False, True]
    assert predictions[1].poses is None
    assert predictions[1].path == tmp_path / "1.png"
    with pytest.raises(ValueError, match=r"1\.png: not an image.*stream"):
        Predictor(dot_net())(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        Predictor(dot_net())("nowhere.jpg")


def test_an_image_that_no_input_fits_is_an_error():
    extreme = np.zeros((40, 20000, 3), np.uint8)
    assert len(Predictor(dot_net())(extreme)) == 0
    (prediction,) = Predictor(dot_net(), mode="official", size=512).stream([extreme])
    assert "too long for mode 'official'" in (prediction.error or "")
    assert len(Predictor(dot_net())(np.zeros((1, 1, 3), np.uint8))) == 0


class _Fragile(torch.nn.Module):
    """A trunk that fails for more than so many pictures, or for pictures with a white corner."""

    def __init__(self, limit: int, error: Exception) -> None:
        super().__init__()
        self.limit, self.error = limit, error

    def forward(self, images):
        if len(images) > self.limit or images[:, :, 0, 0].amax() == 1:
            raise self.error
        return torch.nn.functional.avg_pool2d(images, 4)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "out of memory",
        ),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            ),
            "out of memory",
        ),
        (MemoryError(), "out of memory"),
        (RuntimeError("something else\nat great length"), "^something else$"),
    ],
)
def test_a_batch_that_fails_is_run_one_by_one_and_only_the_culprit_fails(error, reason):
    net = dot_net()
    net.trunk = _Fragile(1, error)
    pictures = [
        picture((256, 256), crowd((256, 256), 2, np.random.default_rng(i))) for i in range(6)
    ]
    pictures[3][0, 0] = 255
    predictions = list(Predictor(net, batch_size=4).stream(pictures))
    assert [prediction.error is None for prediction in predictions] == [True] * 3 + [False] + [
        True
    ] * 2
    assert re.search(reason, predictions[3].error or "")


def test_numbers_that_are_not_finite_are_an_error():
    net = dot_net()
    net.trunk = torch.nn.Sequential(net.trunk, torch.nn.Threshold(2.0, float("inf")))
    (prediction,) = Predictor(net).stream([np.zeros((64, 64, 3), np.uint8)])
    assert prediction.poses is None or np.isfinite(prediction.poses.scores).all()


class _Spoiled(torch.nn.Module):
    """Turns pictures with a white corner into numbers that are not finite."""

    def forward(self, images):
        white = images[:, :, :1, :1].amax(1, keepdim=True) == 1
        return torch.where(white, torch.nan, images)


def test_in_official_mode_an_image_whose_maps_are_not_finite_fails_alone():
    net = dot_net()
    net.trunk = torch.nn.Sequential(_Spoiled(), net.trunk)
    pictures = [
        picture((256, 256), crowd((256, 256), 2, np.random.default_rng(i))) for i in range(3)
    ]
    pictures[1][0, 0] = 255
    found = list(Predictor(net, mode="official", batch_size=3).stream(pictures))
    assert [prediction.poses is None for prediction in found] == [False, True, False]
    assert "not finite" in (found[1].error or "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (0,)}, "scales"),
        ({"size": 0}, "size"),
        ({"size": "auto"}, "needs a network whose people vote"),
        ({"max_megapixels": -1}, "max_megapixels"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "toaster"}, "toaster"),
        ({"weights": "no_such_weights"}, "no_such_weights"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Predictor(**{"weights": dot_net(), **arguments})


def test_the_size_is_auto_where_it_can_be():
    assert Predictor("default", device="cpu").size == "auto"
    assert Predictor(dot_net()).size == 256
    for arguments in (
        {"mode": "official"},
        {"scales": (0.5, 1)},
        {"weights": "mobile_multiresolution"},
        {"grouper": Grouper(rules=OFFICIAL)},
    ):
        assert Predictor(**{"weights": "default", "device": "cpu", **arguments}).size == 512
    assert Predictor("default", device="cpu", size=640).size == 640


def test_auto_is_640_for_photos_as_those_of_coco():
    image = decode((Path(batching.__file__).parents[1] / "samples/park.jpg").read_bytes())
    auto, fixed = (Predictor(device="cpu", size=size)(image) for size in ("auto", 640))
    assert len(auto) > 0
    np.testing.assert_array_equal(auto.keypoints, fixed.keypoints)
    np.testing.assert_array_equal(auto.scores, fixed.scores)


def test_a_large_image_that_fails_fails_alone(monkeypatch):
    """Large images share a batch, in which each is read by itself."""
    monkeypatch.setattr(pyramid, "MAX_WHOLE_PIXELS", 0)
    good, bad = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)
    look = pyramid.look

    def fail(net, image, *arguments, **keywords):
        if image.shape[1] == 96:
            raise MemoryError
        return look(net, image, *arguments, **keywords)

    monkeypatch.setattr(pyramid, "look", fail)
    predictor = Predictor("default", device="cpu", size=64, batch_size=4)
    errors = [prediction.error for prediction in predictor.stream([good, bad, good])]
    assert [error is None for error in errors] == [True, False, True]
    assert "out of memory" in errors[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="cuda"):
        Predictor(dot_net(), device="cuda")


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives():
    pictures = some_pictures(9)
    for one, other in zip(
        Predictor(dot_net(), device="cuda", flip=True)(pictures),
        Predictor(dot_net(), device="cpu", flip=True)(pictures),
        strict=True,
    ):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.02)


def test_a_generator_that_fails_is_the_callers_business():
    def failing():
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyError("camera")

    with pytest.raises(KeyError):
        list(Predictor(dot_net()).stream(failing()))


def test_prediction_keeps_the_path(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "1.png").write_bytes(encode(some_pictures(1)[0], ".png"))
    (prediction,) = Predictor(dot_net()).stream(tmp_path)
    assert prediction.name == "f/1.png"
    assert os.fspath(prediction.path or "") == str(tmp_path / "f" / "1.png")


class CountingThreads(torch.nn.Module):
    """A trunk that notes with how many threads it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def forward(self, images):
        self.seen.add(torch.get_num_threads())
        return torch.nn.functional.avg_pool2d(images, 4)


@pytest.mark.parametrize(
    ("threads", "parameters", "seen"), [(None, 1, 1), (None, 10**7, 3), (2, 1, 2), (2, 10**7, 2)]
)
def test_small_inputs_are_computed_by_one_thread_unless_a_number_is_given(
    monkeypatch, threads, parameters, seen
):
    monkeypatch.setattr("bottomup.inference.predictor.default_threads", lambda: 3)
    net = dot_net()
    net.trunk = CountingThreads()
    net.register_parameter("idle", torch.nn.Parameter(torch.zeros(parameters)))
    before = torch.get_num_threads()
    Predictor(net, threads=threads)(np.zeros((256, 256, 3), np.uint8))
    assert net.trunk.seen == {seen}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_a_wrong_number_of_threads_is_refused(threads):
    with pytest.raises(ValueError, match=f"threads is {threads}"):
        Predictor(dot_net(), threads=threads)


def test_large_jpegs_are_read_smaller_where_it_is_asked_for(tmp_path):
    wh = (5120, 3842)
    people = crowd(wh, 4, np.random.default_rng(0))
    stored = picture(wh, people)
    (tmp_path / "1.jpg").write_bytes(encode(stored, ".jpg"))
    (tmp_path / "2.jpg").write_bytes(
        with_orientation(encode(np.ascontiguousarray(np.rot90(stored)), ".jpg"), 6)
    )
    (whole, _) = Predictor(dot_net()).stream(tmp_path)
    assert whole.image is not None
    assert (whole.image.shape, whole.reduction) == ((3842, 5120, 3), 1)
    for prediction in Predictor(dot_net(), reduce=True).stream(tmp_path):
        assert prediction.image is not None
        assert prediction.image.shape == (961, 1280, 3)
        assert (prediction.reduction, prediction.full_wh) == (4, wh)
        order = np.argsort(prediction.poses.keypoints[:, 0, 0])
        assert np.abs(prediction.poses.keypoints[order] - people).max() < 10  # half an input pixel
    called = Predictor(dot_net())(tmp_path / "1.jpg")
    np.testing.assert_allclose(called.keypoints, whole.poses.keypoints, atol=10)
    official = Predictor(dot_net(), mode="official", reduce=True)
    (_, turned) = official.stream(tmp_path)
    assert turned.reduction == 1


def test_a_first_image_waits_for_no_import_that_it_can_do_without():
    """Some functions of torch import sympy, which takes as long as the network."""
    code = (
        "import sys, numpy as np; from bottomup import Predictor; "
        "Predictor(size=64)(np.zeros((64, 64, 3), np.uint8)); "
        "sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
