"""Run one of our methods on annotated photos, as `scripts/compare.py` runs every method.

    python scripts/run_method.py NAME --images DIR --annotations FILE
        --results RESULTS.json --timing TIMING.json

NAME
    bottomup                    the bundled network with the robust grouper
    bottomup_official           in official mode: grouping and resizing of the reference
                                (short side to 512)
    bottomup_multiresolution    heatmaps at strides 4 and 2; the bundled network has stride 4 alone
    bottomup_scales             every photo at half, once and twice its size
    topdown_heatmap, topdown_regression, topdown_softargmax
                                people first, then each alone

Photos are taken one after the other, after one to warm up, so that the times are those of single
photos. Exit code 4 says that the method is not available, and the last line of output why.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
from comparison.listed_boxes import ListedBoxes, TrueBoxes
from comparison.timing import (
    UNAVAILABLE,
    ImageTiming,
    Stopwatch,
    Timing,
    UnavailableError,
    count_people,
    machine,
    median_image,
    peak_memory_mb,
    write_run,
)
from torch.utils.flop_counter import FlopCounterMode

from bottomup.engines.choice import TorchEngine
from bottomup.files import read_json
from bottomup.images.frames import Frame
from bottomup.inference.predictor import Prediction, Predictor
from bottomup.topdown.detectors import CenterDetector, Detector
from bottomup.topdown.predictor import TopDownPredictor
from bottomup.weights.reading import WeightsError
from bottomup.weights.store import DEFAULT, bundled, load_model

BOTTOM_UP: dict[str, dict[str, Any]] = {
    "bottomup": {},
    "bottomup_512": {"size": 512},
    "bottomup_torch": {"backend": "torch", "precision": "float32"},
    "bottomup_official": {"mode": "official"},
    "bottomup_multiresolution": {},
    "bottomup_scales": {"scales": (0.5, 1.0, 2.0)},
}
TOP_DOWN = ("topdown_heatmap", "topdown_regression", "topdown_softargmax")
METHODS = (*BOTTOM_UP, *TOP_DOWN)


def main() -> int:
    """Run the method that the command line names; returns the exit code."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    try:
        run(arguments)
    except (UnavailableError, WeightsError) as error:
        print(f"{arguments.name}: {error}", file=sys.stderr)
        return UNAVAILABLE
    except (ValueError, OSError) as error:
        print(f"run_method: {error}", file=sys.stderr)
        return 2
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("name", choices=METHODS, metavar="NAME")
    file: dict[str, Any] = {"type": Path, "required": True, "metavar": "FILE"}
    images = "folder of the photos, which are found by their file_name"
    add("--images", type=Path, required=True, metavar="DIR", help=images)
    add("--annotations", **file, help="COCO file that lists them")
    add("--results", **file, help="COCO results to write")
    add("--timing", **file, help="timing file to write")
    add("--threads", type=int, default=1, metavar="N")
    add("--limit", type=int, metavar="N", help="the first N photos only")
    add("--weights", metavar="NAME|FILE", help="in place of the method's own")
    detector = "weights of the detector"
    add("--detector", default="person_detector", metavar="NAME|FILE", help=detector)
    boxes = "top-down methods: whose boxes of people; FILE holds COCO detection results"
    add("--boxes", default="detector", metavar="detector|truth|FILE", help=boxes)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Predict, time, and write both files.

    Raises:
        UnavailableError: weights are missing or do not fit the method.
        ValueError: the annotations or the boxes are wrong.
        OSError: a file cannot be written.
    """
    images, num_people = read_images(arguments.annotations)
    images = images[: arguments.limit]
    stopwatch = Stopwatch()
    predictor = build(arguments, stopwatch)
    frames = [Frame(image["file_name"], arguments.images / image["file_name"]) for image in images]
    for frame in frames:  # warm up with the first photo that can be read
        if predict(predictor, frame).poses is not None:
            break
    entries: list[dict[str, Any]] = []
    rows: list[ImageTiming] = []
    for number, (image, frame) in enumerate(zip(images, frames, strict=True), 1):
        stopwatch.ms.clear()
        prediction = predict(predictor, frame)
        about = (int(image["id"]), image["file_name"])
        if prediction.poses is None:
            rows.append(ImageTiming(*about, error=prediction.error or "no reason given"))
        else:
            rows.append(ImageTiming(*about, len(prediction.poses), dict(stopwatch.ms)))
            entries += prediction.poses.to_coco(image["id"])
        if number % 10 == 0 or number == len(images):
            print(f"{arguments.name}: {number} of {len(images)}", file=sys.stderr, flush=True)
    memory = peak_memory_mb()  # before operations are counted, which takes memory
    median = median_image(images, num_people, rows)
    timing = Timing(
        arguments.name,
        rows,
        threads=arguments.threads,
        peak_memory_mb=memory,
        parameters=count_parameters(predictor),
        gflops=None if median is None else count_gflops(predictor, frames[median]),
        machine=machine(),
    )
    write_run(arguments.results, entries, arguments.timing, timing)


def read_images(path: Path) -> tuple[list[dict[str, Any]], Counter[int]]:
    """The images of a COCO file, and how many people it annotates in each.

    Raises:
        ValueError: it is not a COCO file.
    """
    content = read_json(path, "annotations")
    try:
        images = [
            {"id": int(image["id"]), "file_name": str(image["file_name"])}
            | {side: int(image.get(side, 0)) for side in ("width", "height")}
            for image in content["images"]
        ]
        return images, count_people(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"annotations {str(path)!r} are not a COCO file: images need id and file_name"
        ) from error


def build(
    arguments: argparse.Namespace, stages: Callable[[str], Any]
) -> Predictor | TopDownPredictor:
    """The method that the arguments name.

    Raises:
        UnavailableError: weights are missing or do not fit the method.
        ValueError: the boxes are wrong.
    """
    if arguments.name in BOTTOM_UP:
        own = "mobile_multiresolution" if arguments.name == "bottomup_multiresolution" else DEFAULT
        net = load_model(available(arguments.weights or own))
        return Predictor(net, device="cpu", exif=False, stages=stages, **BOTTOM_UP[arguments.name])
    weights = available(arguments.weights or arguments.name)
    return TopDownPredictor(
        weights, choose_detector(arguments), device="cpu", exif=False, stages=stages
    )


def choose_detector(arguments: argparse.Namespace) -> Detector:
    """Whose boxes a top-down method takes."""
    if arguments.boxes == "truth":
        return TrueBoxes(arguments.annotations)
    if arguments.boxes != "detector":
        return ListedBoxes(arguments.boxes, arguments.annotations)
    return CenterDetector(available(arguments.detector))


def available(weights: str) -> str:
    """The weights, if they are bundled or a file.

    Raises:
        UnavailableError: they are not.
    """
    if weights in bundled() or Path(weights).exists():
        return weights
    raise UnavailableError(
        f"the weights {weights} are not bundled: train them with `bottomup fit`, and pass the file"
    )


def predict(predictor: Predictor | TopDownPredictor, frame: Frame) -> Prediction:
    """The people of one photo; the time includes reading it."""
    (prediction,) = predictor.stream([frame])
    return prediction


def count_parameters(predictor: Predictor | TopDownPredictor) -> int:
    """Numbers in the networks, that of the detector included."""
    return sum(parameter.numel() for net in _networks(predictor) for parameter in net.parameters())


def _networks(predictor: Predictor | TopDownPredictor) -> list[torch.nn.Module]:
    networks: list[torch.nn.Module] = [predictor.net]
    if isinstance(predictor, TopDownPredictor) and isinstance(predictor.detector, CenterDetector):
        networks.append(predictor.detector.net)
    return networks


def count_gflops(predictor: Predictor | TopDownPredictor, frame: Frame) -> float:
    """Floating-point operations of all networks for one photo, in 1e9.

    A multiplication with an addition counts as two.
    """
    if isinstance(predictor, Predictor):  # other engines are not counted; it is the last photo
        predictor.engine = TorchEngine(predictor.net)
    with FlopCounterMode(display=False) as counter:
        predict(predictor, frame)
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    sys.exit(main())
