"""Two processes compute the gradients of one with all images, for every criterion."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from bottomup import networks
from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.samples import Batch
from bottomup.data.scenes.crowd import Crowd
from bottomup.method.losses import Criterion
from bottomup.method.voting_losses import VotingCriterion
from bottomup.processes import mean_count
from bottomup.topdown.estimator import TopDownEstimator
from bottomup.training.estimator import Estimator, PoseEstimator
from tests.support.recipes import total_loss
from tests.support.still_samples import boxes, crops, whole_images

IMAGES = DrawnEvaluation(Crowd(128, 128, people=(1, 4), sizes=(40.0, 110.0)), 4)


def compact(criterion: Criterion) -> Estimator:
    return PoseEstimator(networks.compact(width=4, input_size=128), criterion)


def topdown(name: str) -> Estimator:
    return TopDownEstimator(getattr(networks, name)(height=128))


KINDS: dict[str, Callable[[], Estimator]] = {
    "published": lambda: compact(Criterion(pull_weight=1.0, push_weight=1.0)),
    "focal and place": lambda: compact(Criterion(heatmaps="focal", place_weight=1.0)),
    "voting": lambda: PoseEstimator(networks.mobile(fine_channels=4), VotingCriterion()),
    "boxes": lambda: TopDownEstimator(networks.person_detector()),
    "crops, heatmap": lambda: topdown("topdown_heatmap"),
    "crops, softargmax": lambda: topdown("topdown_softargmax"),
    "crops, regression": lambda: topdown("topdown_regression"),
}
CASES = {"few": 3, "none": 2}  # so many of the four images have labelled people


def batch_of(kind: str, num_labelled: int) -> Batch:
    make = crops if "crops" in kind else boxes if kind == "boxes" else whole_images
    batch = make(IMAGES, range(4), 128) if make is crops else make(IMAGES, range(4))
    batch = Batch(*(part[:4] for part in batch))
    batch.keypoints[num_labelled:] = 0
    return batch


def gradients(kind: str, batch: Batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    estimator = KINDS[kind]().eval()  # batch norm would see another batch
    total_loss(estimator, batch).backward()
    return {
        name: weight.grad
        for name, weight in estimator.network.named_parameters()
        if weight.grad is not None
    }


def work(rank: int, folder: str) -> None:
    """What one of two processes does: its half of every batch, and the mean of the gradients."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for kind, (case, num_labelled) in ((k, c) for k in KINDS for c in CASES.items()):
        mine = Batch(*(part[2 * rank : 2 * rank + 2] for part in batch_of(kind, num_labelled)))
        found[kind, case] = gradients(kind, mine)
        for gradient in found[kind, case].values():
            distributed.all_reduce(gradient)
            gradient /= 2
    if rank == 0:
        torch.save(found, Path(folder) / "gradients.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return torch.load(folder / "gradients.pt", weights_only=True)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_gradients_of_one(kind, case, of_two):
    """Also where one of them sees nobody."""
    found = of_two[kind, case]
    expected = gradients(kind, batch_of(kind, CASES[case]))
    assert found.keys() == expected.keys()
    assert any(gradient.abs().max() > 1e-6 for gradient in expected.values())
    for name, gradient in expected.items():
        error = (found[name] - gradient).abs().max()
        assert error <= 5e-4 * gradient.abs().max(), name


def test_a_process_alone_counts_as_it_is():
    assert mean_count(torch.tensor(7)) == 7
    assert mean_count(torch.tensor(1), floor=4.0) == 4
    assert mean_count(torch.tensor(0)) > 0
