"""Lightning's command line over our estimators and data: `fit`, `validate` and `test`.

    bottomup fit --config synthetic [--trainer.max_steps 100 --data.batch_size 4 ...]

Every argument of the trainer, the estimator, the network and the data can be set in the YAML file
or, dotted, on the command line; `--print_config` shows them all.
"""

import itertools
import logging
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from jsonargparse import ArgumentError, Namespace
from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.accelerators import Accelerator
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from bottomup.cli import exit_codes
from bottomup.cli.interruption import Interruption
from bottomup.cli.training import SUMMARIES
from bottomup.data.datamodule import PoseData
from bottomup.engines.devices import has_bfloat16
from bottomup.models.pose_net import PoseNet
from bottomup.threads import default_threads
from bottomup.training.checkpoints import OTHER_OPTIMIZER, NewestCheckpoint, StoppedTrainingError

# How lines of jsonargparse's messages begin that give wrong advice or repeat the whole config.
NOISE = (
    "tip:",
    "usage:",
    "Given value",
    "Subtypes:",
    "Errors:",
    "Does not validate",
    "- Expected a <class 'None",
)
# Warnings of Lightning and torch that do not apply here.
NEEDLESS_WARNINGS = (
    ".*does not have many workers.*",
    ".*is not supported by the model summary.*",
    ".*LeafSpec.* is deprecated.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*DataLoader will create .* worker processes.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*",
    ".*could not find the monitored key in the returned metrics.*",
    ".*WeightAveraging callback, but loading a checkpoint outside the 'fit' stage.*",
)
# Loggers whose information is about devices, seeds and products.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed")
VERB_KWARGS = {
    verb: {
        "exit_on_error": False,
        "description": f"{summary} --config takes the name of a recipe or a file.",
    }
    for verb, summary in SUMMARIES.items()
}


def run_lightning(verb: str, words: Sequence[str], typed: Sequence[str]) -> None:
    """Run one verb with the words after it.

    Args:
        verb: fit, validate or test.
        words: the words after it, with paths of recipes.
        typed: the same as the user typed them.

    Raises:
        ValueError: an argument, a file or the data do not fit.
        FloatingPointError: a loss is not finite.
        KeyboardInterrupt: a signal has come; its argument is the number.
    """
    for message in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    torch.set_num_threads(default_threads())
    sys.argv[1:] = [verb, *words]  # what Lightning reads, also in the processes that it starts
    with (
        Interruption() as interruption,
        interruption.at_once(),
        _one_kind_of_error(verb),
        _one_kind_of_stop(typed),
    ):
        _CommandLine(
            LightningModule,
            PoseData,
            trainer_class=_Trainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # the estimator has its own
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
            parser_kwargs={"prog": "bottomup", "exit_on_error": False} | VERB_KWARGS,
        )


class _Trainer(Trainer):
    """Lightning's own, which can choose the precision: `precision: auto`."""

    def __init__(
        self,
        *,
        accelerator: str | Accelerator = "auto",
        precision: Literal["auto"] | _PRECISION_INPUT | None = None,
        **kwargs: Any,
    ):
        self.is_chosen = precision == "auto"
        chosen = fast_precision(accelerator) if precision == "auto" else precision
        super().__init__(accelerator=accelerator, precision=chosen, **kwargs)


def fast_precision(
    accelerator: str | Accelerator = "auto",
) -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """The precision of trainings: bfloat16 where the device has instructions for it.

    Without them a CPU emulates it, eleven times slower than float32; an older GPU has float16.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if has_bfloat16("cuda") else "16-mixed"
    is_cpu = accelerator == "cpu" or not torch.backends.mps.is_available()
    return "bf16-mixed" if is_cpu and has_bfloat16("cpu") else "32-true"


class _CommandLine(LightningCLI):
    """Lightning's own, which trains a `PoseEstimator` unless a config names another class.

    So `model:` needs no class_path and init_args. Every training keeps its newest state.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"model": {"class_path": "bottomup.training.PoseEstimator"}})

    def before_instantiate_classes(self) -> None:
        assert self.subcommand is not None
        config = self.config[self.subcommand]
        path = config.get("ckpt_path")
        if path is not None and "://" not in path and not Path(path).is_file():
            raise ValueError(f"--ckpt_path {path!r} is no file: name a checkpoint")
        _joints_of_the_data(config)

    def before_fit(self) -> None:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.trainer.is_chosen and self.trainer.is_global_zero:  # type: ignore[attr-defined]
            print(f"precision: {self.trainer.precision}, the faster one on this device")
        is_saving = bool(self.trainer.checkpoint_callbacks)
        if is_saving and not any(isinstance(one, NewestCheckpoint) for one in callbacks):
            callbacks.append(NewestCheckpoint())

    def after_fit(self) -> None:
        if self.trainer.is_global_zero:
            print("\n".join(_report(self.trainer)))


def _joints_of_the_data(config: Namespace) -> None:
    """Let the network take its joints from the annotation file of the data, unless it has some."""
    network = "model.init_args.network.init_args"
    files = (config.get(f"data.init_args.{kind}_annotations") for kind in ("train", "val"))
    path = next((path for path in files if path and Path(path).is_file()), None)
    if path and network in config and config[network].get("skeleton") is None:
        config[network].skeleton = path


def _report(trainer: Trainer) -> Iterator[str]:
    """What a training has come to, line by line."""
    savers = trainer.checkpoint_callbacks
    best = next((one for one in savers if isinstance(one, ModelCheckpoint) and one.monitor), None)
    newest = next((one.path for one in savers if isinstance(one, NewestCheckpoint)), None)
    last_ap = trainer.callback_metrics.get("val/AP")
    if last_ap is None:
        yield "finished without a validation"
    elif best is None or best.best_model_score is None:
        yield f"val/AP {last_ap:.3f}"
    else:
        yield f"val/AP {last_ap:.3f}, at best {best.best_model_score:.3f}"
    yield from trainer.datamodule.left_out()  # type: ignore[attr-defined]

    paths = {"best": best and best.best_model_path, "newest": newest}
    shown = {name: _relative(path) for name, path in paths.items() if path and Path(path).exists()}
    yield from (f"{name} state: {path}" for name, path in shown.items())
    if shown and isinstance(trainer.lightning_module.network, PoseNet):
        checkpoint = shlex.quote(next(iter(shown.values())))
        yield f"to use it: bottomup predict PHOTO --out out --weights {checkpoint}"


def _relative(path: str | Path) -> str:
    """A path from the current folder where it lies below it."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def _one_kind_of_stop(typed: Sequence[str]) -> Iterator[None]:
    """Raise KeyboardInterrupt with the signal's number for all ways that one ends a verb."""
    try:
        yield
    except StoppedTrainingError as stop:
        if not stop.is_global_zero:  # the first process speaks for all
            sys.exit(exit_codes.DONE)
        pairs = itertools.pairwise(["", *typed])
        kept = [word for before, word in pairs if "--ckpt_path" not in (before, word)]
        kept = [word for word in kept if not word.startswith("--ckpt_path=")]
        command = shlex.join(["bottomup", "fit", *kept, "--ckpt_path", _relative(stop.path)])
        print(f"saved; this goes on: {command}", flush=True)
        raise KeyboardInterrupt(stop.number) from None
    except SystemExit as stop:  # what Lightning makes of a KeyboardInterrupt
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise


@contextmanager
def _one_kind_of_error(verb: str) -> Iterator[None]:
    """Raise a ValueError for all that parser, trainer and checkpoints raise about wrong usage."""
    try:
        yield
    except (ArgumentError, FileNotFoundError, MisconfigurationException) as error:
        raise ValueError(f"{verb}: {_shortened(str(error))}") from error
    except ValueError as error:  # raised by our classes, and wrapped by the parser that makes them
        is_of_torch = str(error).startswith("loaded state dict")  # of an optimiser
        message = OTHER_OPTIMIZER if is_of_torch else _shortened(str(error))
        raise ValueError(message) from error
    except (RuntimeError, UnpicklingError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        first = "\n".join(line.strip()[:200] for line in str(error).splitlines()[:3])
        raise ValueError(
            f"{verb}: --ckpt_path is no checkpoint of this network: {first}"
        ) from error


def _shortened(message: str) -> str:
    """A message without empty lines and `NOISE`."""
    lines = [line for line in message.splitlines() if line.strip()]
    return "\n".join(line for line in lines if not line.strip().startswith(NOISE))
