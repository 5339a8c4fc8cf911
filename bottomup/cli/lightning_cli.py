"""Lightning's command line over our estimators and data: `fit`, `validate` and `test`.

    bottomup fit --config synthetic [--trainer.max_steps 100 --data.batch_size 4 ...]

Every argument of the trainer, the estimator, the network and the data can be set in the YAML file
or, dotted, on the command line; `--print_config` shows them all.
"""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError

import torch
from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from bottomup.cli.training import SUMMARIES
from bottomup.data.datamodule import PoseData
from bottomup.threads import default_threads

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
)
VERB_KWARGS = {
    verb: {
        "exit_on_error": False,
        "description": f"{summary} --config takes the name of a recipe or a file.",
    }
    for verb, summary in SUMMARIES.items()
}


def run_lightning(verb: str, words: Sequence[str]) -> None:
    """Run one verb with the words after it.

    Raises:
        ValueError: an argument, a file or the data do not fit.
        FloatingPointError: a loss is not finite.
    """
    for message in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    torch.set_num_threads(default_threads())
    sys.argv[1:] = [verb, *words]  # what Lightning reads, also in the processes that it starts
    with _one_kind_of_error(verb):
        _CommandLine(
            LightningModule,
            PoseData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # the estimator has its own
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"use_distributed_sampler": False, "num_sanity_val_steps": 0},
            parser_kwargs={"prog": "bottomup", "exit_on_error": False} | VERB_KWARGS,
        )


class _CommandLine(LightningCLI):
    """Lightning's own, which trains a `PoseEstimator` unless a config names another class.

    So `model:` needs no class_path and init_args.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"model": {"class_path": "bottomup.training.PoseEstimator"}})


@contextmanager
def _one_kind_of_error(verb: str) -> Iterator[None]:
    """Raise a ValueError for all that parser, trainer and checkpoints raise about wrong usage."""
    try:
        yield
    except (ArgumentError, FileNotFoundError, MisconfigurationException) as error:
        raise ValueError(f"{verb}: {_shortened(str(error))}") from error
    except ValueError as error:  # raised by our classes, and wrapped by the parser that makes them
        raise ValueError(_shortened(str(error))) from error
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
