import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bottomup import Poses, Predictor, Skeleton
from bottomup.cli import lightning_cli, main
from bottomup.evaluation import keypoints as metrics
from bottomup.method.losses import Criterion
from bottomup.training import callbacks
from bottomup.training.estimator import LossWatch, PoseEstimator
from bottomup.weights.store import load_model
from tests.support.training_runs import LIGHTNING, SMALL, config, here, losses, start, weights
from tests.training.test_recipes import make_photos

CHECKPOINTS = (
    "--trainer.callbacks+=pytorch_lightning.callbacks.ModelCheckpoint",
    "--trainer.callbacks.save_last=true",
    "--trainer.callbacks.every_n_train_steps=2",
    "--trainer.callbacks.save_top_k=-1",
)
AVERAGING = "--trainer.callbacks+=bottomup.training.AveragedWeights"

pytestmark = LIGHTNING


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def checkpoint_arguments(folder: Path) -> list[str]:
    return [*CHECKPOINTS, f"--trainer.callbacks.dirpath={folder}/checkpoints"]


def test_a_killed_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    """Two workers, SIGKILL in the middle of the second epoch of 4 steps, averaged weights."""
    through, killed = folder_of(tmp_path, "through"), folder_of(tmp_path, "killed")
    short = [AVERAGING, "--data.train_length=8"]
    here("fit", through, "--trainer.max_steps", 10, *short, *checkpoint_arguments(through))
    arguments = [*short, *checkpoint_arguments(killed), "--data.num_workers", 2]
    process = start("fit", killed, "--trainer.max_steps", 100_000, *arguments)
    try:
        deadline = time.monotonic() + 300
        while max(losses(killed), default=0) < 6:
            assert process.poll() is None, (killed / "output.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (killed / "log" / "metrics.csv").unlink()
    checkpoint = killed / "checkpoints" / "epoch=1-step=6.ckpt"
    here("fit", killed, "--trainer.max_steps", 10, *arguments, "--ckpt_path", checkpoint)
    resumed = losses(killed)
    assert sorted(resumed) == [6, 7, 8, 9]
    assert resumed == pytest.approx({step: losses(through)[step] for step in resumed}, rel=1e-6)
    one, other = (
        weights(folder / "checkpoints" / "epoch=2-step=10.ckpt") for folder in (through, killed)
    )
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-6, atol=1e-7, msg=name)


# one step of gradient descent at rate 1: the weights differ from the start by the gradient
ONE_STEP = [
    "--model.optimizer=torch.optim.SGD",
    "--model.optimizer.lr=1.0",
    "--model.freeze_norm=true",
    "--trainer.max_steps=1",
    "--trainer.callbacks.every_n_train_steps=1",
]


def assert_same_step(folder: Path, other: Path) -> None:
    one, two = (weights(one / "checkpoints" / "last.ckpt") for one in (folder, other))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_two_processes_compute_the_gradients_of_one_with_twice_the_batch(tmp_path):
    alone, pair = folder_of(tmp_path, "alone"), folder_of(tmp_path, "pair")
    here("fit", alone, *checkpoint_arguments(alone), *ONE_STEP, "--data.batch_size=4")
    two = ["--data.batch_size=2", "--trainer.devices=2", "--trainer.strategy=ddp"]
    two += ["--trainer.callbacks+=bottomup.training.LogPictures", "--trainer.limit_val_batches=1"]
    two.append(AVERAGING)
    process = start("fit", pair, *checkpoint_arguments(pair), *ONE_STEP, *two)
    assert process.wait(timeout=300) == 0, (pair / "output.txt").read_text()
    assert_same_step(alone, pair)
    assert list(pair.rglob("image_0_step*.jpg"))


@pytest.mark.slow
def test_two_nodes_compute_the_gradients_of_one_process_with_twice_the_batch(tmp_path):
    """The commands of docs/scaling.md, on the loopback interface."""
    alone, pair = folder_of(tmp_path, "alone"), folder_of(tmp_path, "pair")
    here("fit", alone, *checkpoint_arguments(alone), *ONE_STEP, "--data.batch_size=4")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in (0, 1):
        words = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", rank]
        words += ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
        words += ["-m", "bottomup", "fit", "--config", config(pair), *checkpoint_arguments(pair)]
        words += [*ONE_STEP, "--data.batch_size=2", "--trainer.num_nodes=2", "--trainer.devices=1"]
        with (pair / f"output{rank}.txt").open("w") as output:
            nodes.append(
                subprocess.Popen(
                    [sys.executable, *map(str, words)],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                )
            )
    try:
        codes = [node.wait(timeout=200) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert codes == [0, 0], (pair / "output0.txt").read_text()
    assert_same_step(alone, pair)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_precision_is_chosen_and_said(tmp_path, capsys, monkeypatch, precision):
    monkeypatch.setattr(lightning_cli, "fast_precision", lambda accelerator: precision)
    here("fit", tmp_path, "--trainer.max_steps=1", "--trainer.precision=auto")
    assert f"precision: {precision}, the faster one on this device\n" in capsys.readouterr().out
    here("fit", tmp_path, "--trainer.max_steps=1")
    assert "precision:" not in capsys.readouterr().out


def test_losses_are_computed_in_float32_whatever_the_precision(tmp_path, monkeypatch):
    seen, loss = [], Criterion.__call__

    def spy(self, *given, **facts):
        seen.append((given[0][0].heatmaps.dtype, torch.is_autocast_enabled("cpu")))
        found = loss(self, *given, **facts)
        assert {value.dtype for value in found.values()} == {torch.float32}
        return found

    monkeypatch.setattr(Criterion, "__call__", spy)
    here("fit", tmp_path, "--trainer.max_steps=1", "--trainer.precision=bf16-mixed")
    assert seen == [(torch.bfloat16, False)]


def test_validation_repeats_from_a_checkpoint_and_settings_given_win(tmp_path, capsys):
    fitted, again = folder_of(tmp_path, "fitted"), folder_of(tmp_path, "again")
    best = [
        "--trainer.limit_val_batches=1.0",
        "--trainer.callbacks+=pytorch_lightning.callbacks.ModelCheckpoint",
    ]
    best += [
        "--trainer.callbacks.monitor=val/AP",
        f"--trainer.callbacks.dirpath={fitted}/checkpoints",
    ]
    pictures = "--trainer.callbacks+=bottomup.training.callbacks.LogPictures"
    here("fit", fitted, *best, AVERAGING, pictures, "--trainer.max_epochs=1")
    (checkpoint,) = (fitted / "checkpoints").glob("epoch*.ckpt")  # beside last.ckpt
    assert len(list((fitted / "log" / "pictures").glob("image_*_step0000008.jpg"))) == 4
    capsys.readouterr()
    here("validate", again, "--trainer.limit_val_batches=1.0", "--ckpt_path", checkpoint)
    figures = (again / "log" / "metrics.csv").read_text().splitlines()
    logged = (fitted / "log" / "metrics.csv").read_text().splitlines()[0]
    assert "val/AP" in logged
    assert len(figures) == 2

    net = load_model(checkpoint)  # a checkpoint of ours is a weights file
    assert net.preprocessing.size == 64
    assert isinstance(Predictor(checkpoint, device="cpu"), Predictor)
    stored = torch.load(checkpoint, weights_only=True)
    assert "hyper_parameters" not in stored, "stored settings would win over given ones"


def test_joints_tolerances_and_category_are_those_of_the_annotation_file(tmp_path, monkeypatch):
    """Also a category whose id is not 1, and results for it."""
    path = make_photos(tmp_path, ("left_ear", "right_ear", "tail"), category_id=7)
    seen = []
    monkeypatch.setattr(PoseEstimator, "predictor", lambda *_: lambda images: [_one_person()])
    evaluate = metrics.evaluate
    monkeypatch.setattr(
        metrics, "evaluate", lambda *a, **k: seen.append((a, k)) or evaluate(*a, **k)
    )
    data = [
        "--data=bottomup.data.PhotoData",
        "--data.num_workers=0",
        "--data.eval_batch_size=1",
    ]
    data += [
        f"--data.val_annotations={path}",
        f"--data.val_images={tmp_path}",
        "--data.sigmas=[0.1,0.2,0.3]",
    ]
    network = ["--trainer.limit_val_batches=1.0", f"--trainer.default_root_dir={tmp_path}"]
    (tmp_path / "photos.yaml").write_text(
        yaml.safe_dump({"model": SMALL["model"], "trainer": SMALL["trainer"]})
    )
    arguments = [
        "validate",
        "--config",
        str(tmp_path / "photos.yaml"),
        "--trainer.logger=false",
        *data,
        *network,
    ]
    assert main(arguments) == 0
    ((found, truth), keywords) = seen[0]
    assert keywords["skeleton"].sigmas == (0.1, 0.2, 0.3)
    assert {person["category_id"] for person in (*found, *truth["annotations"])} == {7}
    assert len(found) == 4


def test_pairs_and_tolerances_of_own_joints_are_printed(tmp_path, capsys, caplog):
    """The annotation file is given once; a skeleton that is given as well must fit it."""
    path = make_photos(tmp_path, ("LEye", "REye", "tail", "paw_left"))
    data = ["--data=bottomup.data.PhotoData", "--data.num_workers=0", "--data.batch_size=2"]
    data += [f"--data.train_annotations={path}", f"--data.train_images={tmp_path}"]
    data += ["--data.augment.size=64", "--trainer.max_steps=1", "--trainer.logger=false"]
    data += ["--trainer.enable_checkpointing=false", f"--trainer.default_root_dir={tmp_path}"]
    content = {"model": SMALL["model"], "trainer": SMALL["trainer"]}
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(content))
    fit = ["fit", "--config", str(tmp_path / "photos.yaml"), *data]
    assert main(fit) == 0
    sigmas = "sigmas: as in COCO and CrowdPose, 0.05 for tail, paw_left"
    assert f"pairs: LEye/REye; alone: tail, paw_left; {sigmas}\n" in capsys.readouterr().out
    assert "place: paw_left;" in caplog.text
    caplog.clear()
    assert main([*fit, "--data.flip_pairs=[[3,4]]", "--data.sigmas=[0.1,0.1,0.1,0.1]"]) == 0
    told = "pairs: tail/paw_left; alone: LEye, REye; sigmas: as given\n"
    assert told in capsys.readouterr().out
    assert "place:" not in caplog.text
    assert main([*fit, "--data.flip_pairs=[[3,3]]"]) == 2
    assert "flip_pairs must be pairs" in capsys.readouterr().err
    assert main([*fit, "--model.network.skeleton=coco"]) == 2
    assert "set model.network.skeleton" in capsys.readouterr().err


def _one_person() -> Poses:
    skeleton = Skeleton(("left_ear", "right_ear", "tail"), (), (0.05,) * 3, (0, 1, 2))
    return Poses(
        np.ones((1, 3, 2), np.float32),
        np.ones((1, 3), np.float32),
        np.ones(1, np.float32),
        skeleton,
    )


@pytest.mark.parametrize("averaging_first", [True, False])
def test_pictures_show_what_the_validated_weights_find(tmp_path, monkeypatch, averaging_first):
    """Averaged weights are in place only during validation, in any order of the callbacks."""
    drawn, validated = [], []
    monkeypatch.setattr(
        callbacks,
        "picture_of",
        lambda estimator, _: drawn.append(_fingerprint(estimator)) or PIXELS,
    )
    monkeypatch.setattr(
        PoseEstimator, "validation_step", lambda self, *_: validated.append(_fingerprint(self))
    )
    monkeypatch.setattr(PoseEstimator, "on_validation_epoch_end", lambda self: None)
    pictures = [
        "--trainer.callbacks+=bottomup.training.callbacks.LogPictures",
        "--trainer.callbacks.num_images=1",
    ]
    added = [AVERAGING, *pictures] if averaging_first else [*pictures, AVERAGING]
    here(
        "fit",
        tmp_path,
        *added,
        "--trainer.max_steps=3",
        "--trainer.limit_val_batches=1.0",
        "--data.train_length=6",
    )
    assert len(drawn) == 1
    assert drawn == validated


PIXELS = np.zeros((4, 4, 3), np.uint8)


def _fingerprint(estimator: PoseEstimator) -> float:
    return sum(float(weight.double().abs().sum()) for weight in estimator.network.parameters())


def test_a_loss_that_is_not_finite_stops_and_names_the_images(tmp_path, capsys):
    code = main(
        [
            "fit",
            "--config",
            str(config(tmp_path)),
            "--model.optimizer.lr=1e30",
            "--trainer.max_steps=5",
        ]
    )
    error = capsys.readouterr().err
    assert code == 1
    assert "the loss is" in error
    assert error.count("drawn image") == 2


def photo_run(folder: Path, annotations: Path) -> list[str]:
    """The words of a short training that learns from photos and validates on them."""
    path = folder / "photos.yaml"
    trainer = SMALL["trainer"] | {"default_root_dir": str(folder), "limit_val_batches": 1.0}
    path.write_text(yaml.safe_dump({"model": SMALL["model"], "trainer": trainer}))
    data = ["--data=bottomup.data.PhotoData", "--data.num_workers=0", "--data.batch_size=2"]
    for kind in ("train", "val"):
        data += [f"--data.{kind}_annotations={annotations}", f"--data.{kind}_images={folder}"]
    network = [f"--model.network.skeleton={annotations}", "--data.augment.size=64"]
    return ["fit", "--config", str(path), *data, *network, "--trainer.max_epochs=2"]


def test_undefined_figures_are_not_logged_and_checkpoints_are_written(tmp_path, caplog, capfd):
    """Nobody on the validation photos has a known size, so there is no AP."""
    path = make_photos(tmp_path, ("left_ear", "right_ear", "tail"))
    content = json.loads(path.read_text())
    for person in content["annotations"]:
        person |= {"num_keypoints": 0}
    path.write_text(json.dumps(content))
    best = [
        "--trainer.callbacks+=pytorch_lightning.callbacks.ModelCheckpoint",
        "--trainer.callbacks.monitor=val/AP",
        "--trainer.callbacks.mode=max",
        "--trainer.callbacks.filename=best",
        "--trainer.callbacks.save_last=true",
        f"--trainer.callbacks.dirpath={tmp_path}/checkpoints",
    ]
    logger = ["--trainer.logger=pytorch_lightning.loggers.TensorBoardLogger"]
    logger += [f"--trainer.logger.save_dir={tmp_path}/log"]
    assert main([*photo_run(tmp_path, path), *best, *logger]) == 0
    assert "NaN or Inf" not in caplog.text + "".join(capfd.readouterr())
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }


@pytest.mark.parametrize(
    ("change", "place"),
    [({"area": "1200"}, "annotations[0] (id 0): area must"), ({"image_id": None}, "image_id None")],
)
def test_fit_refuses_a_file_in_the_words_of_data_check(tmp_path, capsys, change, place):
    path = make_photos(tmp_path, ("left_ear", "right_ear", "tail"))
    content = json.loads(path.read_text())
    content["annotations"][0] |= change
    path.write_text(json.dumps(content))
    assert main(["data", "check", str(path)]) == 2
    line = capsys.readouterr().err
    assert place in line
    assert main(photo_run(tmp_path, path)) == 2
    assert line in capsys.readouterr().err


def test_the_last_loss_is_checked_on_devices_that_compute_ahead(tmp_path, monkeypatch, capsys):
    """No later batch is in time for it, and no checkpoint holds its weights."""
    watch = LossWatch.__call__
    monkeypatch.setattr(
        LossWatch, "__call__", lambda self, total, number, **_: watch(
            self, total * float("nan") if number == 1 else total, number, is_delayed=True
        )
    )  # fmt: skip
    arguments = ["fit", "--config", str(config(tmp_path)), "--trainer.max_steps=2"]
    assert main(arguments) == 1
    assert "the loss is nan in epoch 0, batch 1" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.val_length=0"], "the validation set has no images"),
        (["--model.network.skeleton=crowdpose"], "set model.network.skeleton"),
        (["--model.criterion.place_weight=1", "--model.network.tag_anchor=0"], "set tag_anchor"),
        (["--model.network.weights=nothing"], "nothing: neither a file nor"),
        (["--data.batch_size=17"], "choose a batch_size of at most 16"),
        (["--trainer.max_stepz=1"], "max_stepz"),
        (["--trainer.accelerator=gpu", "--trainer.devices=99"], "gpu"),
        (["--data.crowd.width=72"], "72 x 64 pixels do not fit the network"),
        (["--ckpt_path=none.ckpt"], "none.ckpt"),
        (["--ckpt_path=last"], "'last' is no file"),
        (["--data.batch_size=0"], "batch_size is 0"),
        (["--ckpt_path=config.yaml"], "--ckpt_path is no checkpoint"),
        (["--data=bottomup.data.PhotoData"], "pass --data.train_annotations FILE"),
        (["--data.val_length=many"], "many"),
    ],
)
def test_what_cannot_work_is_said_before_training_starts(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["fit", "--config", str(config(tmp_path)), "--trainer.max_steps=1", *arguments]) == 2
    )
    error = capsys.readouterr().err
    assert message in error
    assert len(error) < 1000, "no whole configs, no traces of calls"


def test_a_checkpoint_of_another_network_is_refused(tmp_path, capsys):
    fitted = folder_of(tmp_path, "fitted")
    here("fit", fitted, *checkpoint_arguments(fitted), "--trainer.max_steps=2")
    last = fitted / "checkpoints" / "last.ckpt"
    arguments = [
        "--config",
        str(config(tmp_path)),
        "--model.network.width=16",
        f"--ckpt_path={last}",
    ]
    assert main(["validate", *arguments, "--trainer.limit_val_batches=1"]) == 2
    assert "--ckpt_path is no checkpoint of this network" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["optimizer=torch.optim.SGD", "rates={head: 0.5}"])
def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path, capsys, other):
    fitted = folder_of(tmp_path, "fitted")
    here("fit", fitted, *checkpoint_arguments(fitted), "--trainer.max_steps=2")
    last = fitted / "checkpoints" / "last.ckpt"
    arguments = ["--trainer.max_steps=3", f"--model.{other}", f"--ckpt_path={last}"]
    assert main(["fit", "--config", str(config(tmp_path)), *arguments]) == 2
    assert "--ckpt_path is of another optimizer" in capsys.readouterr().err


def test_the_whole_config_can_be_printed(tmp_path, capsys):
    assert (
        main(["fit", "--config", str(config(tmp_path)), "--data.crowd.blur=1.5", "--print_config"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "blur: 1.5" in printed
    assert "scale_aware: false" in printed
