import pytest
import torch

from bottomup import networks
from bottomup.data.samples import Batch
from bottomup.method.losses import Criterion
from bottomup.method.targets import render_heatmaps
from bottomup.method.voting_losses import VotingCriterion
from bottomup.models.heads import HeadOutput
from bottomup.training.estimator import LossWatch, PoseEstimator, join_processes


def test_the_network_says_where_its_targets_lie_and_how_its_tags_are_anchored():
    """Targets of a network without offset are exact, and its tags are pulled to anchored places."""
    keypoints = torch.tensor([[[[9.0, 13.0, 2.0]] * 17]])
    mask = torch.ones(1, 64, 64, dtype=torch.bool)
    for offset, exact in ((0.0, True), (0.5, False)):
        network = networks.compact(width=4, keypoint_offset=offset, tag_anchor=0.125)
        estimator = PoseEstimator(network, Criterion(place_weight=1.0, heatmaps="focal"))
        points = keypoints + torch.tensor([0.5, 0.5, 0]) * exact
        points = points / torch.tensor([2, 2, 1])
        heatmaps = render_heatmaps(points, 32, 32, exact=exact)
        places = 0.125 * (points[0, 0, :, :2] - 0.5)
        output = HeadOutput(heatmaps, places[None, :, :, None, None].expand(1, 17, 2, 32, 32))
        losses = estimator.criterion([output], keypoints, mask)
        assert losses["heatmap"] == pytest.approx(0, abs=1e-5)
        assert losses["place"] == pytest.approx(0, abs=1e-6)


def test_a_criterion_that_needs_anchored_tags_refuses_others():
    network = networks.compact(width=4, tag_anchor=0.0)
    estimator = PoseEstimator(network, Criterion(place_weight=1.0))
    with pytest.raises(ValueError, match=r"place_weight of 1.0 needs anchored tags"):
        estimator.criterion([], torch.zeros(1, 0, 17, 3), torch.ones(1, 64, 64) > 0)


def test_frozen_norms_stay_as_they_are():
    estimator = PoseEstimator(networks.compact(width=4), freeze_norm=True).train()
    image, keypoints = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 0, 17, 3)
    estimator.on_train_batch_start(
        Batch(image, keypoints, torch.ones(1, 32, 32) > 0, torch.zeros(1, 0, 4)), 0
    )
    kinds = {type(m).__name__: m.training for m in estimator.network.modules()}
    assert kinds["BatchNorm2d"] is False
    assert kinds["Conv2d"] is True


def test_frozen_modules_are_left_out_of_training():
    estimator = PoseEstimator(networks.compact(width=4), frozen=["trunk.stem", "trunk.stages.0"])
    (group,) = estimator.configure_optimizers().param_groups
    trained = {id(weight) for weight in group["params"]}
    for name, weight in estimator.network.named_parameters():
        assert (id(weight) in trained) == (not name.startswith(("trunk.stem", "trunk.stages.0"))), (
            name
        )


def test_frozen_modules_keep_the_statistics_of_their_norms():
    estimator = PoseEstimator(networks.compact(width=4), frozen=["trunk"]).train()
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    batch = Batch(image, torch.zeros(2, 0, 17, 3), torch.ones(2, 32, 32) > 0, torch.zeros(2, 0, 4))
    before = {name: tensor.clone() for name, tensor in estimator.network.named_buffers()}
    estimator.on_train_batch_start(batch, 0)
    estimator.network(image)
    changed = {
        name.partition(".")[0]
        for name, tensor in estimator.network.named_buffers()
        if not torch.equal(tensor, before[name])
    }
    assert "trunk" not in changed
    assert not any(module.training for module in estimator.network.trunk.modules())
    assert estimator.network.head.training


@pytest.mark.parametrize("setting", [{"frozen": ["trunk.stam"]}, {"rates": {"trunk.stam": 0.1}}])
def test_a_module_that_is_named_must_be_there(setting):
    with pytest.raises(ValueError, match=r"no 'trunk.stam'; it has trunk.stem, "):
        PoseEstimator(networks.compact(width=4), **setting)


def test_modules_have_rates_of_their_own():
    rates = {"trunk": 0.1, "trunk.stem": 0.5}
    estimator = PoseEstimator(
        networks.compact(width=4),
        optimizer=lambda weights: torch.optim.AdamW(weights, lr=1e-3),
        frozen=["trunk.stages.0"],
        rates=rates,
    )
    found = {
        id(weight): group["lr"]
        for group in estimator.configure_optimizers().param_groups
        for weight in group["params"]
    }
    for name, weight in estimator.network.named_parameters():
        expected = 1e-4 if name.startswith("trunk.") else 1e-3
        expected = 5e-4 if name.startswith("trunk.stem.") else expected
        expected = None if name.startswith("trunk.stages.0.") else expected
        assert found.get(id(weight)) == pytest.approx(expected), name


def test_images_seen_by_several_processes_count_once(monkeypatch):
    here = ([{"image_id": 1}, {"image_id": 2}, {"image_id": 2}], [1, 2])
    there = ([{"image_id": 3}, {"image_id": 1}], [3, 1])
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(
        distributed,
        "all_gather_object",
        lambda everything, _: everything.__setitem__(slice(None), [here, there]),
    )
    people, images = join_processes(*here)
    assert images == {1, 2, 3}
    assert [person["image_id"] for person in people] == [1, 2, 2, 3]


def test_a_device_that_computes_ahead_is_asked_for_the_loss_of_the_batch_before():
    watch = LossWatch()
    good, bad = torch.tensor(1.0), torch.tensor(float("inf"))
    assert watch(good, 0, is_delayed=True) is None
    assert watch(bad, 1, is_delayed=True) is None  # it is not looked at yet
    assert watch(good, 2, is_delayed=True) == (float("inf"), 1)
    assert watch(good, 3, is_delayed=True) is None


def test_the_last_loss_is_asked_for_by_itself():
    watch = LossWatch()
    assert watch.last() is None
    assert watch(torch.tensor(float("nan")), 4, is_delayed=True) is None
    failed = watch.last()
    assert failed is not None
    assert failed[1] == 4
    assert watch.last() is None, "once"


def test_on_a_cpu_a_loss_that_is_not_finite_is_noticed_at_once():
    watch = LossWatch()
    assert watch(torch.tensor(1.0), 0, is_delayed=False) is None
    assert watch(torch.tensor(float("-inf")), 1, is_delayed=False) == (float("-inf"), 1)


def test_the_criterion_gets_the_boxes_of_the_batch(monkeypatch):
    estimator, seen = PoseEstimator(networks.compact(width=4)), []
    losses = {"heatmap": torch.zeros(()), "pull": torch.zeros(()), "push": torch.zeros(())}
    monkeypatch.setattr(estimator, "criterion", lambda *given: seen.append(given[1:]) or losses)
    for name in ("log", "log_dict"):
        monkeypatch.setattr(estimator, name, lambda *_, **__: None)
    image, mask = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.ones(1, 64, 64) > 0
    batch = Batch(image, torch.zeros(1, 2, 17, 3), mask, torch.rand(1, 2, 4))
    estimator.training_step(batch, 0)
    assert [part.shape for part in seen[0]] == [(1, 2, 17, 3), (1, 64, 64), (1, 2, 4)]
    assert seen[0][2] is batch.boxes


def test_validation_sees_images_at_the_size_of_the_network():
    estimator = PoseEstimator(networks.mobile(input_size=128), criterion=VotingCriterion())
    assert estimator.predictor(1).size == 128
