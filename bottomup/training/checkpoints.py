"""The newest state of a training: saved whole, now and then, and when a signal stops the training.

A training that goes on from it computes what an undisturbed one computes.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim import Optimizer

from bottomup.files import write_whole

# What Lightning counts in a validation that has begun and is to be run from its start.
BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
OTHER_OPTIMIZER = (
    "--ckpt_path is of another optimizer, other rates or other frozen modules: go on with these, "
    "or start anew from its weights with --model.network.weights"
)


class StoppedTrainingError(Exception):
    """A signal has stopped a training, whose state is saved.

    Attributes:
        number: of the signal.
        path: the checkpoint.
        is_global_zero: whether this is the process that speaks for all.
    """

    def __init__(self, number: int, path: Path, *, is_global_zero: bool):
        super().__init__(f"signal {number} has stopped the training; its state is {path}")
        self.number, self.path, self.is_global_zero = number, path, is_global_zero


class NewestCheckpoint(Checkpoint):
    """Saves the newest state of a training as last.ckpt.

    It is saved after every validation, every few minutes, at the end, and when SIGINT or SIGTERM
    comes; that also stops the training. A second signal stops it at once, without saving.
    Checkpoints are written whole or not at all, also those of other callbacks.

    last.ckpt lies beside the files of the first `ModelCheckpoint`, else in the folder checkpoints
    of the log. `ModelCheckpoint.save_last` is turned off, since it means the same file. The best
    state is saved right after its validation too.

    Args:
        minutes: the longest time between two savings.

    Attributes:
        path: the file; None before the training is set up.

    Raises:
        StoppedTrainingError: a signal has come, and the state is saved. All processes raise it.
        OSError: a checkpoint cannot be written.
    """

    def __init__(self, minutes: float = 10.0):
        self.minutes = minutes
        self.path: Path | None = None
        self._signal = 0
        self._saved_at, self._saved_step = time.monotonic(), -1
        self._is_amid_validation = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the file, and how files are written."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        others = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
        for other in others:
            other.save_last = False
            if trainer.enable_validation:  # else the best state would be known after this save
                other._save_on_train_epoch_end = False
        log_dir = trainer.log_dir or trainer.default_root_dir  # all processes must ask for it
        folder = next((other.dirpath for other in others if other.dirpath), None)
        self.path = Path(folder or Path(log_dir) / "checkpoints") / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which gives them back at the end.

        Raises:
            ValueError: the optimiser was restored from the state of another class.
        """
        _check_restored(trainer.optimizers)
        self._saved_at = time.monotonic()
        self._signal = signal.SIGTERM if trainer.received_sigterm else 0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            raise KeyboardInterrupt(number)
        self._signal = number
        os.write(2, b"\nsaving after this step; another signal stops at once\n")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to, or if a signal has come, after the last batch of a step.

        Where a validation follows, the signal stops that one, and it comes again later.
        """
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return  # a checkpoint does not hold the gradients so far
        is_time = time.monotonic() - self._saved_at >= 60 * self.minutes
        reason = _largest(trainer, self._signal or int(is_time))
        if reason and _is_fitting(trainer):
            self._save(trainer)
            if reason > 1 and not _validation_follows(trainer):
                self._stop(trainer, reason)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save and stop if a signal has come."""
        if _is_fitting(trainer) and (reason := _largest(trainer, self._signal)):
            self._is_amid_validation = True
            self._save(trainer)
            self._stop(trainer, reason)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; stop if a signal has come."""
        if _is_fitting(trainer):
            self._save(trainer)
            if reason := _largest(trainer, self._signal):
                self._stop(trainer, reason)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what no validation has followed."""
        if _is_fitting(trainer) and self._saved_step != trainer.global_step:
            self._save(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a validation that is stopped begin anew when the training goes on."""
        if self._is_amid_validation:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": BEGUN, "current": BEGUN}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let `ModelCheckpoint` know the best state so far, which lies in another folder."""
        for other in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(other.state_key, {})
            if os.path.isfile(state.get("best_model_path", "")):
                state["dirpath"] = getattr(other, "dirpath", None)

    def _save(self, trainer: Trainer) -> None:
        assert self.path is not None
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _stop(self, trainer: Trainer, number: int) -> None:
        assert self.path is not None
        raise StoppedTrainingError(number, self.path, is_global_zero=trainer.is_global_zero)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; a kill meanwhile leaves the earlier file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None):
        """Write one checkpoint.

        Raises:
            OSError: it cannot be written.
        """
        if "://" in str(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with write_whole(path) as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # what torch makes of a full disk
            if isinstance(error.__context__, OSError):
                error.__context__.filename = str(path)
                raise error.__context__ from None
            raise


def _largest(trainer: Trainer, number: int) -> int:
    """The largest of the numbers of all processes, which must all ask."""
    if trainer.world_size == 1:
        return number
    own = torch.tensor(number, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="max"))


def _check_restored(optimizers: Iterable[Optimizer]) -> None:
    for optimizer in optimizers:  # torch takes the state of any class, and adds one setting itself
        if optimizer.defaults.keys() - optimizer.param_groups[0].keys() - {"differentiable"}:
            raise ValueError(OTHER_OPTIMIZER)


def _is_fitting(trainer: Trainer) -> bool:
    is_fit = trainer.state.fn == TrainerFn.FITTING
    is_trial = trainer.sanity_checking or trainer.fast_dev_run  # type: ignore[attr-defined]
    return is_fit and not is_trial


def _validation_follows(trainer: Trainer) -> bool:
    """Whether a validation comes right after this training batch."""
    loop = trainer.fit_loop
    is_last = trainer.should_stop or trainer.global_step == trainer.max_steps
    assert loop._data_fetcher is not None
    return trainer.enable_validation and (
        is_last or loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    )
