import os
import resource
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bottomup.cli import main
from bottomup.training import checkpoints
from bottomup.training.checkpoints import NewestCheckpoint, WholeCheckpoints
from bottomup.training.estimator import PoseEstimator
from tests.support.training_runs import LIGHTNING, config, here, losses, start, weights

VALIDATED = ["--trainer.limit_val_batches=1.0", "--data.eval_batch_size=1"]
BEST = ["--trainer.callbacks+=pytorch_lightning.callbacks.ModelCheckpoint",
        "--trainer.callbacks.monitor=val/AP", "--trainer.callbacks.mode=max",
        "--trainer.callbacks.filename=best"]  # fmt: skip
AVERAGING = "--trainer.callbacks+=bottomup.training.AveragedWeights"
LONG = [*VALIDATED, *BEST, AVERAGING, "--data.train_length=8", "--trainer.max_epochs=2"]

pytestmark = LIGHTNING


def signal_in(monkeypatch, hook: str, call: int, *numbers: int) -> None:
    """Let signals come in the n-th call of a hook of the estimator."""
    method, calls = getattr(PoseEstimator, hook), []

    def with_signal(self, *arguments, **keywords):
        calls.append(hook)
        if len(calls) == call:
            for number in numbers:
                signal.raise_signal(number)
        return method(self, *arguments, **keywords)

    monkeypatch.setattr(PoseEstimator, hook, with_signal)


def fit(folder: Path, *arguments: str) -> int:
    folder.mkdir(exist_ok=True)
    return main(["fit", "--config", str(config(folder)), *arguments])


def last(folder: Path) -> Path:
    return folder / "log" / "checkpoints" / "last.ckpt"


def content(checkpoint: Path) -> dict:
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture(scope="module")
def through(tmp_path_factory) -> Path:
    """The last checkpoint of an undisturbed training of two epochs of four steps."""
    folder = tmp_path_factory.mktemp("through")
    here("fit", folder, *LONG)
    return last(folder)


@pytest.mark.parametrize(
    ("hook", "call", "step", "number", "code"),
    [
        ("training_step", 2, 2, signal.SIGINT, 130),
        ("training_step", 4, 4, signal.SIGTERM, 143),  # the validation after it is stopped
        ("validation_step", 2, 4, signal.SIGINT, 130),
        ("on_validation_epoch_end", 1, 4, signal.SIGTERM, 143),
        ("training_step", 7, 7, signal.SIGTERM, 143),
        ("validation_step", 8, 8, signal.SIGTERM, 143),
    ],
)
def test_a_signal_saves_and_the_printed_command_goes_on_as_if_nothing_had_been(
    through, tmp_path, monkeypatch, capsys, hook, call, step, number, code
):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        signal_in(patched, hook, call, number)
        assert fit(tmp_path, *LONG) == code
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert content(last(tmp_path))["global_step"] == step

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "bottomup fit" in line]
    program, *words = shlex.split(line.partition(": ")[2])
    assert program == "bottomup"
    stopped = tmp_path / "stopped.ckpt"
    shutil.copy(words[-1], stopped)
    assert main([*words[:-1], str(stopped)]) == 0
    one, other = content(through), content(last(tmp_path))
    assert other["global_step"] == 8
    for kind in ("state_dict", "current_model_state"):
        for name, tensor in one[kind].items():
            torch.testing.assert_close(other[kind][name], tensor, rtol=0, atol=0, msg=name)
    assert (tmp_path / "log" / "metrics.csv").read_text().count("val/AP,") == 1
    assert "val/AP" in capsys.readouterr().out


def test_a_signal_amid_accumulated_batches_waits_for_their_step(tmp_path, monkeypatch):
    arguments = ["--data.train_length=12", "--trainer.accumulate_grad_batches=3"]
    arguments += ["--trainer.max_epochs=1"]
    for name in ("through", "stopped"):
        with monkeypatch.context() as patched:
            if name == "stopped":
                signal_in(patched, "training_step", 2, signal.SIGTERM)
            assert fit(tmp_path / name, *arguments) == (143 if name == "stopped" else 0)
    assert content(last(tmp_path / "stopped"))["global_step"] == 1
    stopped = tmp_path / "stopped.ckpt"
    shutil.copy(last(tmp_path / "stopped"), stopped)
    assert fit(tmp_path / "stopped", *arguments, f"--ckpt_path={stopped}") == 0
    one, other = (content(last(tmp_path / name)) for name in ("through", "stopped"))
    assert one["global_step"] == other["global_step"] == 2
    for name, tensor in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], tensor, rtol=0, atol=0, msg=name)


def test_the_command_names_only_the_newest_checkpoint(tmp_path, monkeypatch, capsys):
    signal_in(monkeypatch, "training_step", 1, signal.SIGTERM)
    assert fit(tmp_path, "--data.train_length=8") == 143
    before = tmp_path / "before.ckpt"
    shutil.move(last(tmp_path), before)
    signal_in(monkeypatch, "training_step", 1, signal.SIGTERM)
    capsys.readouterr()
    assert fit(tmp_path, "--data.train_length=8", f"--ckpt_path={before}") == 143
    line = capsys.readouterr().out
    assert line.count("--ckpt_path") == 1
    assert str(last(tmp_path)) in line


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch, capsys):
    signal_in(monkeypatch, "training_step", 2, signal.SIGTERM, signal.SIGINT)
    assert fit(tmp_path, "--data.train_length=8", "--trainer.max_epochs=2") == 130
    assert not last(tmp_path).exists()
    assert "goes on" not in capsys.readouterr().out


def test_a_signal_before_the_training_is_no_failure(tmp_path, monkeypatch):
    signal_in(monkeypatch, "setup", 1, signal.SIGTERM)
    assert fit(tmp_path) == 143


def test_validation_can_be_stopped(tmp_path, monkeypatch):
    signal_in(monkeypatch, "validation_step", 1, signal.SIGTERM)
    assert main(["validate", "--config", str(config(tmp_path)), *VALIDATED]) == 143


def test_all_processes_get_the_signal_while_workers_load(tmp_path):
    arguments = [*VALIDATED, "--data.num_workers=2"]
    assert "Traceback" not in output_of_stopped(tmp_path, os.killpg, *arguments)


@pytest.mark.slow
def test_two_processes_stop_together_although_one_gets_the_signal(tmp_path):
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    assert output_of_stopped(tmp_path, os.kill, *two).count("goes on") == 1


def output_of_stopped(folder: Path, send: Callable[[int, int], None], *arguments: str) -> str:
    """Start a training, send SIGTERM after three steps, and check that they are saved."""
    process = start("fit", folder, *arguments)
    try:
        _wait_for_steps(process, folder, 3)
        send(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 143, (folder / "output.txt").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert content(last(folder))["global_step"] >= 3
    return (folder / "output.txt").read_text()


def _wait_for_steps(process, folder: Path, step: int) -> None:
    deadline = time.monotonic() + 200
    while max(losses(folder), default=0) < step:
        assert process.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_newest_state_is_saved_now_and_then(tmp_path, monkeypatch):
    saved = []
    save = NewestCheckpoint._save
    monkeypatch.setattr(
        NewestCheckpoint,
        "_save",
        lambda self, trainer: saved.append(trainer.global_step) or save(self, trainer),
    )
    often = ["--trainer.callbacks+=bottomup.training.NewestCheckpoint"]
    assert fit(tmp_path, *often, "--trainer.callbacks.minutes=0", "--trainer.max_steps=3") == 0
    assert saved == [1, 2, 3]


def test_a_training_without_validation_ends_with_its_newest_state(tmp_path, capsys):
    assert fit(tmp_path, "--trainer.max_steps=3") == 0
    assert content(last(tmp_path))["global_step"] == 3
    assert "finished without a validation" in capsys.readouterr().out


def test_the_newest_state_is_kept_after_the_best(tmp_path, monkeypatch, capsys):
    """Average precision falls from the second validation on."""
    figures = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(PoseEstimator, "evaluate", lambda *_: {"AP": next(figures)})
    assert fit(tmp_path, *VALIDATED, *BEST, "--trainer.max_epochs=3") == 0
    assert content(last(tmp_path))["global_step"] == 24
    assert content(last(tmp_path).with_name("best.ckpt"))["global_step"] == 8
    text = capsys.readouterr().out
    assert "val/AP 0.300, at best 0.500" in text
    assert "--weights" in text
    assert "best.ckpt" in text.splitlines()[-1]


def test_a_resumed_training_knows_the_best_of_before(tmp_path, monkeypatch):
    figures = iter([0.5, 0.4, 0.6])
    monkeypatch.setattr(PoseEstimator, "evaluate", lambda *_: {"AP": next(figures)})
    arguments = [*VALIDATED, *BEST]
    one, other = tmp_path / "one", tmp_path / "other"
    assert fit(one, *arguments, "--trainer.max_epochs=1") == 0
    resume = f"--ckpt_path={last(one)}"
    assert fit(other, *arguments, "--trainer.max_epochs=2", resume) == 0
    best = last(other).with_name("best.ckpt")
    assert not best.exists(), "0.4 is no better than 0.5"
    assert fit(other, *arguments, "--trainer.max_epochs=3", f"--ckpt_path={last(other)}") == 0
    assert content(best)["global_step"] == 24
    assert last(one).with_name("best.ckpt").exists()


@pytest.mark.parametrize(
    "length",
    [["--trainer.max_epochs=3"], ["--trainer.max_steps=11"], ["--trainer.max_time=00:00:00:01"]],
)
def test_the_end_is_validated_whatever_the_interval(tmp_path, length, capsys):
    rare = ["--trainer.check_val_every_n_epoch=10", "--data.train_length=8"]
    assert fit(tmp_path / "epochs", *VALIDATED, *rare, *length) == 0
    assert "val/AP" in capsys.readouterr().out
    rare[0] = "--trainer.check_val_every_n_epoch=null"
    rare.append("--trainer.val_check_interval=99")
    assert fit(tmp_path / "steps", *VALIDATED, *rare, *length) == 0
    assert "val/AP" in capsys.readouterr().out


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"global_step": 1}, path)

    def break_off(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.torch, "save", break_off)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"global_step": 2}, path)
    assert content(path) == {"global_step": 1}
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_a_full_disk_is_named_and_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"global_step": 1}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            WholeCheckpoints().save_checkpoint({"tensor": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(path) in str(caught.value)
    assert content(path) == {"global_step": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_file_of_older_recipes_is_not_written_twice(tmp_path):
    assert (
        fit(
            tmp_path,
            *BEST,
            "--trainer.callbacks.save_last=true",
            *VALIDATED,
            "--trainer.max_steps=2",
        )
        == 0
    )
    assert sorted(os.listdir(last(tmp_path).parent)) == ["best.ckpt", "last.ckpt"]


def test_averages_and_weights_are_not_exchanged_in_the_last_checkpoint(tmp_path):
    assert fit(tmp_path, AVERAGING, "--trainer.max_steps=3") == 0
    plain = tmp_path / "plain"
    assert fit(plain, "--trainer.max_steps=3") == 0
    saved = content(last(tmp_path))
    for name, tensor in weights(last(plain)).items():
        torch.testing.assert_close(saved["current_model_state"][name], tensor, rtol=0, atol=0)
    assert any(
        not torch.equal(saved["state_dict"][name], tensor)
        for name, tensor in saved["current_model_state"].items()
    )
