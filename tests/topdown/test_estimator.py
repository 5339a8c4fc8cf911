import csv
from pathlib import Path

import pytest
import torch
import yaml

from bottomup import networks
from bottomup.cli import main
from bottomup.networks import BUILDERS
from bottomup.topdown.estimator import TopDownEstimator
from bottomup.topdown.losses import DetectorCriterion
from bottomup.weights.store import load_model, load_network
from tests.support.training_runs import LIGHTNING

pytestmark = LIGHTNING

CROWD = {"width": 128, "height": 128, "people": [1, 2], "sizes": [60.0, 110.0]}
DATA = {"crowd": CROWD, "val_length": 2, "batch_size": 2, "num_workers": 0}


def config(folder: Path, network: str, arguments: dict, data: str, data_arguments: dict) -> Path:
    logger = {"save_dir": str(folder), "name": "log", "version": "", "flush_logs_every_n_steps": 1}
    content = {
        "model": {
            "class_path": "bottomup.topdown.TopDownEstimator",
            "init_args": {
                "network": {"class_path": f"bottomup.networks.{network}", "init_args": arguments},
                "frozen": ["trunk"],
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
            },
        },
        "data": {
            "class_path": f"bottomup.topdown.{data}",
            "init_args": {**DATA, **data_arguments},
        },
        "trainer": {
            "accelerator": "cpu", "devices": 1, "max_epochs": 1, "log_every_n_steps": 1,
            "default_root_dir": str(folder), "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": logger},
            "callbacks": {
                "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
                "init_args": {"dirpath": str(folder), "filename": "net"},
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("kind", ["topdown_heatmap", "topdown_regression"])
def test_a_network_for_one_person_is_trained_and_validated(tmp_path, kind):
    data = {"drawn_crops": 4, "augment": {"height": 128}}
    path = config(tmp_path, kind, {"height": 128, "weights": "mobile"}, "CropData", data)
    assert main(["fit", "--config", str(path)]) == 0
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").open()))
    assert any(0 <= float(row["val/AP"] or -1) <= 1 for row in rows)
    trained, before = load_network(tmp_path / "net.ckpt", BUILDERS), load_model("mobile")
    assert torch.equal(trained.trunk.stem.weight, before.trunk.stem.weight)
    assert trained.crop_wh == (96, 128)


def test_a_detector_is_trained_and_validated(tmp_path):
    data = {"drawn_images": 2, "augment": {"size": 128, "rotation": 0.0}}
    path = config(
        tmp_path, "person_detector", {"input_size": 128, "weights": "mobile"}, "BoxData", data
    )
    assert main(["fit", "--config", str(path)]) == 0
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").open()))
    assert any(0 <= float(row["val/AR50"] or -1) <= 1 for row in rows)
    assert load_network(tmp_path / "net.ckpt", BUILDERS).preprocessing.size == 128


def test_network_and_criterion_go_together():
    with pytest.raises(ValueError, match="PersonCriterion"):
        TopDownEstimator(networks.topdown_heatmap(height=128), DetectorCriterion())


def test_a_part_that_is_not_there_cannot_be_frozen():
    with pytest.raises(ValueError, match="no 'truck'; it has"):
        TopDownEstimator(networks.topdown_heatmap(height=128), frozen=["truck"])


def test_joints_of_data_and_network_must_be_the_same(tmp_path, capsys):
    path = config(
        tmp_path,
        "topdown_heatmap",
        {"height": 128, "skeleton": "crowdpose"},
        "CropData",
        {"drawn_crops": 2},
    )
    assert main(["fit", "--config", str(path)]) == 2
    assert "set model.network.skeleton" in capsys.readouterr().err
