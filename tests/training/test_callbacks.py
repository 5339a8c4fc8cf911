import copy
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from bottomup import networks
from bottomup.training.callbacks import AveragedWeights, log_picture, moving_average, picture_of
from bottomup.training.estimator import PoseEstimator


@pytest.fixture
def estimator() -> PoseEstimator:
    torch.manual_seed(0)
    return PoseEstimator(networks.compact(width=4, input_size=64))


def test_the_average_starts_short_and_becomes_long():
    zero, one = torch.zeros(3), torch.ones(3)
    early = moving_average(zero, one, torch.tensor(0), decay=0.9)
    late = moving_average(zero, one, torch.tensor(10**6), decay=0.9)
    assert early[0].item() == pytest.approx(0.9)  # the first step counts nine tenths
    assert late[0].item() == pytest.approx(0.1)
    counter = moving_average(torch.tensor(3), torch.tensor(5), torch.tensor(0), decay=0.9)
    assert counter.dtype == torch.int64  # a counter stays one


def test_the_callback_averages_with_its_decay(estimator):
    averaging = AveragedWeights(decay=0.1)
    averaging.setup(types.SimpleNamespace(), estimator, "fit")
    weight = next(estimator.network.parameters())
    before = weight.detach().clone()
    for step in (1, 2):  # the first one copies the weights
        averaging.on_train_batch_end(
            types.SimpleNamespace(global_step=step), estimator, None, None, 0
        )
        weight.data.add_(1)
    averaging.on_train_end(types.SimpleNamespace(), estimator)
    torch.testing.assert_close(weight.detach(), before + 0.9)


def test_a_picture_shows_people_heat_and_tags(estimator):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    estimator.eval()
    picture = picture_of(estimator, image)
    assert picture.shape == (64, 3 * 64, 3)
    assert picture.dtype == np.uint8


def test_pictures_go_wherever_the_logger_takes_them(tmp_path):
    picture, seen = np.zeros((4, 4, 3), np.uint8), []
    board = types.SimpleNamespace(
        add_image=lambda *arguments, **keywords: seen.append(arguments[0])
    )
    images = types.SimpleNamespace(
        experiment=None, log_image=lambda name, *_, **__: seen.append(name)
    )
    files = types.SimpleNamespace(experiment=None)
    loggers = [types.SimpleNamespace(experiment=board), images, files]
    log_picture(loggers, "image_0", picture, step=7, folder=str(tmp_path))
    assert seen == ["image_0", "image_0"]
    assert (Path(tmp_path) / "pictures" / "image_0_step0000007.jpg").is_file()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)  # of Lightning's and the writer's
def test_tensorboard_holds_the_picture(tmp_path):
    logger = TensorBoardLogger(tmp_path, version="v")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    log_picture([logger], "image_0", picture, step=7, folder=None)
    logger.finalize("success")
    (events,) = Path(logger.log_dir).glob("events.*")
    content = events.read_bytes()
    assert b"image_0" in content
    assert b"PNG" in content


def test_an_estimator_can_be_copied_as_averaging_does(estimator):
    copied = copy.deepcopy(estimator)
    with torch.no_grad():
        next(copied.network.parameters()).zero_()
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert copied.network(image)[0].heatmaps.shape == (1, 17, 32, 32)
    assert next(estimator.network.parameters()).abs().sum() > 0
