"""Network builders for recipes (configs/*.yaml), with joints and weights given by name.

For example:

    model:
      network:
        class_path: bottomup.networks.higherhrnet
        init_args: {width: 32, skeleton: crowdpose, weights: hrnet_w32_imagenet}
"""

import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bottomup.data.keypoint_files import read_skeleton
from bottomup.models import pose_net
from bottomup.models.network import Network
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton
from bottomup.topdown import person_detector as detector_net
from bottomup.topdown import person_net
from bottomup.weights.store import start_from

log = logging.getLogger(__name__)

N = TypeVar("N", bound=Network)

BUILDERS: dict[str, Callable[..., Network]] = {
    **pose_net.BUILDERS,
    **person_net.BUILDERS,
    **detector_net.BUILDERS,
}
"""The builders of all networks, by the names in weights files."""

# stands for the line about `skeleton` in a builder's docstring
ARGUMENTS = """\
    skeleton: "coco", "crowdpose", or an annotation file whose category names the joints. On the
        command line, null means the annotation file of the data, if there is one; else COCO.
    weights: a file or the name of weights to start from. If the file has other joints, those of the
        same name take over their part of the head. Tensors of the network without a fitting one in
        the file keep their initial values, and are listed.
"""


def named_skeleton(name: str) -> Skeleton:
    """The joints of COCO, of CrowdPose, or of an annotation file.

    Raises:
        ValueError: `name` is neither a known name nor a keypoint file.
    """
    known = {"coco": COCO, "crowdpose": CROWDPOSE}
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise ValueError(
            f"skeleton must be 'coco', 'crowdpose' or an annotation file, not {name!r}"
        )
    return read_skeleton(name)


def _for_recipes(builder: Callable[..., N]) -> Callable[..., N]:
    """A builder for recipes: joints and weights by name, other arguments unchanged."""

    def build(*, skeleton: str | None = None, weights: str | None = None, **arguments: Any) -> N:
        net = builder(skeleton=named_skeleton(skeleton or "coco"), **arguments)
        if weights is not None:
            # a warning, as tensors may not have fitted
            log.warning("%s: %s", weights, start_from(net, weights))
        return net.train()

    # jsonargparse reads the arguments' names, types and help from these attributes
    own = inspect.signature(build).parameters
    given = inspect.signature(builder)
    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in given.parameters.items()
        if name != "skeleton"
    ]
    merged = given.replace(parameters=[*kept, own["skeleton"], own["weights"]])
    build.__signature__ = merged  # type: ignore[attr-defined]
    build.__annotations__ = {p.name: p.annotation for p in merged.parameters.values()}
    build.__annotations__["return"] = given.return_annotation
    build.__name__ = build.__qualname__ = builder.__name__
    build.__doc__ = re.sub(r" +skeleton: .*\n", ARGUMENTS, f"{inspect.getdoc(builder)}\n")
    return build


higherhrnet = _for_recipes(pose_net.higherhrnet)
mobile = _for_recipes(pose_net.mobile)
compact = _for_recipes(pose_net.compact)
topdown_heatmap = _for_recipes(person_net.topdown_heatmap)
topdown_softargmax = _for_recipes(person_net.topdown_softargmax)
topdown_regression = _for_recipes(person_net.topdown_regression)
person_detector = _for_recipes(detector_net.person_detector)
