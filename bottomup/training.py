"""The verbs `fit`, `validate` and `test`: Lightning's command line over our estimator and data.

    bottomup fit --config configs/synthetic.yaml [--trainer.max_steps 100 --data.batch_size 4 ...]

Every argument of the trainer, the estimator, the network and the data can be set in the YAML file or, dotted, on the
command line; `--print_config` shows them all.
"""

import logging
import sys
import warnings
from collections.abc import Sequence

from pytorch_lightning.cli import LightningCLI

from bottomup.data.datamodule import PoseData
from bottomup.estimator import PoseEstimator

VERBS = {
    "fit": "Train a network.",
    "validate": "Average precision of a network on the validation images of a config.",
    "test": "The same on the test images.",
}


def run(verb: str, arguments: Sequence[str]) -> int:
    """Run one verb with its arguments; returns the exit code.

    Raises:
        ValueError: an argument, a file or the data do not fit.
    """
    _calm_down()
    try:
        LightningCLI(
            PoseEstimator,
            PoseData,
            subclass_mode_data=True,
            args=[verb, *arguments],
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"use_distributed_sampler": False, "num_sanity_val_steps": 0},
            parser_kwargs={name: {"prog": f"bottomup {name}", "description": text} for name, text in VERBS.items()},
        )
    except (FloatingPointError, FileNotFoundError) as error:
        print(f"bottomup {verb}: {error}", file=sys.stderr)
        return 1
    return 0


def _calm_down() -> None:
    """Leave out hints that do not apply: our loader and sampler know what they do."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
