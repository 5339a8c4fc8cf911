"""Short trainings through the command line, in this process or in one of their own."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from bottomup.cli import main

# of every file that trains with Lightning: its warnings are its own, and it seeds everything
LIGHTNING = [
    pytest.mark.filterwarnings(
        "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
    ),
    pytest.mark.usefixtures("quiet_seed"),
]

SMALL = {
    "model": {
        "network": {
            "class_path": "bottomup.networks.compact",
            "init_args": {"width": 8, "input_size": 64},
        },
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}},
    },
    "data": {
        "class_path": "bottomup.data.DrawnData",
        "init_args": {
            "crowd": {"width": 64, "height": 64, "people": [1, 3], "sizes": [20.0, 60.0]},
            "train_length": 16,
            "val_length": 4,
            "batch_size": 2,
            "num_workers": 0,
        },
    },
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "limit_val_batches": 0,
    },
}


def config(folder: Path) -> Path:
    """A config of a tiny network on tiny drawings that logs to `folder`/log."""
    path = folder / "config.yaml"
    logger = {
        "class_path": "pytorch_lightning.loggers.CSVLogger",
        "init_args": {
            "save_dir": str(folder),
            "name": "log",
            "version": "",
            "flush_logs_every_n_steps": 1,
        },
    }
    content = SMALL | {
        "trainer": SMALL["trainer"] | {"logger": logger, "default_root_dir": str(folder)}
    }
    path.write_text(yaml.safe_dump(content))
    return path


def here(verb: str, folder: Path, *arguments: object) -> None:
    """Run a verb in this process."""
    argv = sys.argv
    try:
        assert main([verb, "--config", str(config(folder)), *map(str, arguments)]) == 0
    finally:
        sys.argv = argv


def start(verb: str, folder: Path, *arguments: object) -> subprocess.Popen:
    """Start a verb in a process, and a process group, of its own."""
    command = [
        sys.executable,
        "-m",
        "bottomup",
        verb,
        "--config",
        str(config(folder)),
        *map(str, arguments),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def losses(folder: Path) -> dict[int, float]:
    """The logged loss by step."""
    path = folder / "log" / "metrics.csv"
    if not path.exists():
        return {}
    with path.open() as file:
        return {
            int(row["step"]): float(row["train/loss"])
            for row in csv.DictReader(file)
            if row.get("train/loss")
        }


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    return torch.load(checkpoint, weights_only=True)["state_dict"]
