"""The verbs `fit`, `validate` and `test`: Lightning's command line over our estimators and data.

    bottomup fit --config configs/synthetic.yaml [--trainer.max_steps 100 --data.batch_size 4 ...]

Every argument of the trainer, the estimator, the network and the data can be set in the YAML file
or, dotted, on the command line; `--print_config` shows them all.
"""

import logging
import sys
import warnings
from collections.abc import Sequence
from pickle import UnpicklingError

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from bottomup.cli import TRAINING_VERBS
from bottomup.data.datamodule import PoseData


def run(verb: str, arguments: Sequence[str]) -> int:
    """Run one verb with its arguments; returns the exit code.

    Raises:
        ValueError: an argument, a file or the data do not fit.
    """
    _calm_down()
    sys.argv[1:] = [verb, *arguments]  # what Lightning reads, also in the processes that it starts
    try:
        _CommandLine(
            LightningModule,
            PoseData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # the estimator has its own
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"use_distributed_sampler": False, "num_sanity_val_steps": 0},
            parser_kwargs={"exit_on_error": False}
            | {name: {"exit_on_error": False} for name in TRAINING_VERBS},
        )
    except ArgumentError as error:
        raise ValueError(f"{verb}: {_shortened(str(error))}") from error
    except (
        ValueError
    ) as error:  # what our classes raise while the parser makes them comes in its wrapping
        raise ValueError(_shortened(str(error))) from error
    except (FileNotFoundError, MisconfigurationException) as error:
        raise ValueError(f"{verb}: {error}") from error
    except (RuntimeError, UnpicklingError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        first = "\n".join(line.strip()[:200] for line in str(error).splitlines()[:3])
        raise ValueError(
            f"{verb}: --ckpt_path is no checkpoint of this network: {first}"
        ) from error
    except FloatingPointError as error:
        print(f"bottomup {verb}: {error}", file=sys.stderr)
        return 1
    return 0


class _CommandLine(LightningCLI):
    """Lightning's own, which trains a `PoseEstimator` unless a config names another class."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let `model:` do without class_path and init_args."""
        parser.set_defaults({"model": {"class_path": "bottomup.training.PoseEstimator"}})


def _shortened(message: str) -> str:
    """Without the parser's own advice, which names programs that are not there, and without whole configs."""
    noise = (
        "tip:",
        "usage:",
        "Given value",
        "Subtypes:",
        "Errors:",
        "Does not validate",
        "- Expected a <class 'None",
    )
    return "\n".join(
        line for line in message.splitlines() if line.strip() and not line.strip().startswith(noise)
    )


def _calm_down() -> None:
    """Leave out hints that do not apply: our loader and sampler know what they do."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is not supported by the model summary.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
