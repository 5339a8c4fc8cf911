import pytest
import torch

from bottomup import networks
from bottomup.data.samples import Batch
from bottomup.method.losses import Criterion
from bottomup.training import estimator_base as module
from bottomup.training.estimator import PoseEstimator


def small() -> PoseEstimator:
    torch.manual_seed(0)
    return PoseEstimator(networks.light(width=4, num_deconvs=0, input_size=64))


def test_targets_and_offset_must_agree():
    network = networks.light(width=4, num_deconvs=0)
    with pytest.raises(ValueError, match="exact centres do not go with a keypoint_offset"):
        PoseEstimator(network, Criterion(centres="exact"))


def test_tags_are_pulled_to_where_the_head_anchors_them():
    criterion = Criterion(centres="exact", place_weight=1.0, tag_anchor=0.125)
    with pytest.raises(
        ValueError, match=r"tag_anchor is 0.125, but the network's tags are anchored by 0.0625"
    ):
        PoseEstimator(networks.compact(width=4), criterion)


def test_frozen_norms_stay_as_they_are():
    estimator = small()
    estimator.freeze_norm = True
    estimator.train()
    batch = Batch(
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 0, 17, 3),
        torch.ones(1, 32, 32) > 0,
    )
    estimator.on_train_batch_start(batch, 0)
    kinds = {type(m).__name__: m.training for m in estimator.network.modules()}
    assert kinds["BatchNorm2d"] is False
    assert kinds["Conv2d"] is True


def test_frozen_modules_are_left_out_of_training():
    estimator = PoseEstimator(
        networks.light(width=4, num_deconvs=0), frozen=["trunk.stem", "trunk.stages.0"]
    )
    (group,) = estimator.configure_optimizers().param_groups
    trained = {id(weight) for weight in group["params"]}
    for name, weight in estimator.network.named_parameters():
        assert (id(weight) in trained) == (not name.startswith(("trunk.stem", "trunk.stages.0"))), (
            name
        )


def test_a_module_to_freeze_must_be_there():
    with pytest.raises(ValueError, match=r"no 'trunk.stam' to freeze; it has trunk.stem, "):
        PoseEstimator(networks.light(width=4, num_deconvs=0), frozen=["trunk.stam"])


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
    people, images = module._gather(*here)
    assert images == {1, 2, 3}
    assert [person["image_id"] for person in people] == [1, 2, 2, 3]


def test_a_gpu_looks_at_the_previous_loss(monkeypatch):
    """The loss that is looked at is one step old on a device that must not be waited for."""
    estimator = small()
    monkeypatch.setattr(PoseEstimator, "trainer", type("T", (), {"train_dataloader": None})())
    monkeypatch.setattr(PoseEstimator, "current_epoch", 0)
    nan = torch.tensor(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 0, batch 3"):
        estimator._stop_unless_finite(nan, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing its compiler
def test_compiling_leaves_the_names_of_the_weights():
    estimator = PoseEstimator(networks.light(width=4, num_deconvs=0), compile=True)
    assert all(
        name.startswith("network.") and "_orig_mod" not in name for name in estimator.state_dict()
    )
