"""Average precision of keypoint results: the figures of COCO and of CrowdPose.

pycocotools matches results to people, image by image, once. The figures are then accumulated here
and not by pycocotools, because here they are sums over weighted images: a subset of the images or a
bootstrap sample of them needs other weights only, and no second matching.
"""

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bottomup.data import checks
from bottomup.data.keypoint_files import KeypointFile, read_keypoints, read_results
from bottomup.data.people import area_of
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton

MAX_PEOPLE = 20  # results of an image that count, the best first, in both evaluations
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of OKS; a result above it is right
RECALLS = np.linspace(0, 1, 101)  # where precision is averaged
# ranges of square pixels of a person, and of an image's crowdIndex
AREAS = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
CROWD_LEVELS = {"easy": (-np.inf, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}

Entries = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class RangeMatches:
    """The D results of all I images against the people of one range of areas, best score first.

    People of other areas, crowds and people without labelled joints do not count.

    Attributes:
        images: (D,) the index of each result's image.
        right: (T, D) matched to a person who counts, at each of the T thresholds.
        wrong: (T, D) matched to nobody. A result whose person does not count is neither.
        num_people: (I,) the people of each image who count.
    """

    images: Int[np.ndarray, " D"]
    right: Bool[np.ndarray, "T D"]
    wrong: Bool[np.ndarray, "T D"]
    num_people: Int[np.ndarray, " I"]


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """The outcome of `match_results`, from which every figure follows.

    Attributes:
        image_ids: (I,) ids of the images, ascending.
        ranges: the matches by range of areas: "all" and, for COCO, "medium" and "large".
        crowd_index: (I,) each image's crowdIndex; None if the annotations are not CrowdPose's.
    """

    image_ids: Int[np.ndarray, " I"]
    ranges: Mapping[str, RangeMatches]
    crowd_index: Float[np.ndarray, " I"] | None


def evaluate(
    results: str | Path | Entries,
    annotations: str | Path | dict[str, Any],
    *,
    skeleton: Skeleton | None = None,
) -> dict[str, float]:
    """Average precision and recall of keypoint results.

    Annotations whose images carry a `crowdIndex` are evaluated as CrowdPose, all others as COCO.

    Args:
        results: a COCO results list, or the path of one: `results.json` of `bottomup predict`.
        annotations: a COCO keypoint file, loaded or as its path.
        skeleton: whose sigmas to use. By default the annotations' category decides: its own
            `sigmas` if it has them, COCO's or CrowdPose's for 17 or 14 joints, `DEFAULT_SIGMA` for
            any other number of joints.

    Returns:
        Fractions by name, NaN where there is nobody to find. COCO: AP, AP50, AP75, APM, APL, AR,
        AR50, AR75, ARM, ARL (M and L for medium and large people). CrowdPose: AP, AP50, AP75, AR,
        AR50, AR75, AP_easy, AP_medium, AP_hard.

    Raises:
        ValueError: a file is of another kind, or the two do not belong together.

    Source: the COCO keypoint evaluation (pycocotools), and Li et al., CrowdPose, CVPR 2019,
    section 4.
    """
    return summarise(match_results(results, annotations, skeleton=skeleton))


def only_visible(annotations: dict[str, Any]) -> dict[str, Any]:
    """Annotations of COCO without the joints that are labelled but hidden (visibility 1).

    People of whom nothing else is labelled then do not count.
    """
    people = []
    for person in annotations["annotations"]:
        joints = np.reshape(person["keypoints"], (-1, 3))
        joints = joints * (joints[:, 2:] >= 2)
        labelled = {"num_keypoints": int(joints[:, 2].astype(bool).sum())}
        people.append(person | {"keypoints": joints.reshape(-1).tolist()} | labelled)
    return annotations | {"annotations": people}


def match_results(
    results: str | Path | Entries,
    annotations: str | Path | dict[str, Any],
    *,
    skeleton: Skeleton | None = None,
    areas: Mapping[str, tuple[float, float]] | None = None,
    max_people: int = MAX_PEOPLE,
) -> Matches:
    """Match results to people, the part of `evaluate` before any figure.

    Args:
        results: see `evaluate`.
        annotations: see `evaluate`.
        skeleton: see `evaluate`.
        areas: ranges of areas in square pixels, in place of those of the evaluation.
        max_people: results of an image that count, in place of those of the evaluation.

    Raises:
        ValueError: see `evaluate`.
    """
    truth = read_keypoints(annotations)
    skeleton = skeleton or _skeleton_of(truth.category)
    if skeleton.num_keypoints != truth.skeleton.num_keypoints:
        raise ValueError(
            f"the annotations have {truth.skeleton.num_keypoints} joints, the skeleton has "
            f"{skeleton.num_keypoints}: they must be of one skeleton"
        )
    images = truth.images
    is_crowdpose = bool(images) and all(
        image.get("crowdIndex") is not None for image in images.values()
    )
    found = _checked_results(results, truth)
    people = [
        _person(entry, number, box_areas=is_crowdpose)
        for number, entry in enumerate(truth.people, 1)  # pycocotools: the id 0 is "not matched"
    ]
    areas = areas or ({"all": AREAS["all"]} if is_crowdpose else AREAS)

    # the outcomes come range after range, image after image
    image_ids = np.array(sorted(images), dtype=np.int64)
    outcomes = _run_pycocotools(
        people, found, image_ids, truth.category, skeleton, areas, max_people
    )
    num_images = len(image_ids)
    ranges = {
        name: _collect(outcomes[k * num_images : (k + 1) * num_images])
        for k, name in enumerate(areas)
    }
    crowd = [images[i]["crowdIndex"] for i in image_ids.tolist()] if is_crowdpose else None
    return Matches(image_ids, ranges, None if crowd is None else np.array(crowd, float))


def summarise(matches: Matches, weights: Float[np.ndarray, " I"] | None = None) -> dict[str, float]:
    """The figures of `evaluate` over weighted images.

    Args:
        matches: what `match_results` returned.
        weights: (I,) of the images: 0 leaves one out, 2 counts it twice; None counts each once.
    """
    weights = np.ones(len(matches.image_ids)) if weights is None else weights
    curves = {name: precision_recall(found, weights) for name, found in matches.ranges.items()}
    figures = {}
    for k, name in enumerate(("AP", "AR")):
        values = curves["all"][k]
        figures |= {name: values.mean(), f"{name}50": values[0], f"{name}75": values[5]}
        if matches.crowd_index is None:
            medium, large = curves["medium"][k], curves["large"][k]
            figures |= {f"{name}M": medium.mean(), f"{name}L": large.mean()}
    if matches.crowd_index is not None:
        for level, (low, high) in CROWD_LEVELS.items():
            inside = (low <= matches.crowd_index) & (matches.crowd_index < high)
            precision, _ = precision_recall(matches.ranges["all"], weights * inside)
            figures[f"AP_{level}"] = precision.mean()
    return {name: float(value) for name, value in figures.items()}


def precision_recall(
    matches: RangeMatches, weights: Float[np.ndarray, " I"]
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Precision averaged over `RECALLS`, and the highest recall, at each of the T thresholds."""
    num_people = float(weights @ matches.num_people)
    if num_people == 0:
        undefined = np.full(len(matches.right), np.nan)
        return undefined, undefined
    counts = weights[matches.images]
    right = np.cumsum(matches.right * counts, axis=1)  # T D
    wrong = np.cumsum(matches.wrong * counts, axis=1)  # T D
    recall = right / num_people  # T D
    # a last column of zeros is the precision at recalls that are never reached
    precision = np.pad(right / np.maximum(right + wrong, np.spacing(1)), [(0, 0), (0, 1)])
    # the best precision at this recall or a higher one
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    places = np.array([reached.searchsorted(RECALLS) for reached in recall])
    return np.take_along_axis(precision, places, axis=1).mean(axis=1), recall.max(axis=1, initial=0)


def _run_pycocotools(
    people: Entries,
    results: Entries,
    image_ids: Int[np.ndarray, " I"],
    category: dict[str, Any],
    skeleton: Skeleton,
    areas: Mapping[str, tuple[float, float]],
    max_people: int,
) -> list[dict[str, Any] | None]:
    """The outcome of every image by range of areas; None without people and results."""
    from pycocotools import coco, cocoeval  # slow to import

    def index(entries: Entries) -> Any:
        made: Any = coco.COCO()
        made.dataset = {"images": images, "categories": [category], "annotations": entries}
        made.createIndex()
        return made

    images = [{"id": i} for i in image_ids.tolist()]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = index(people)
        found = truth.loadRes(results) if results else index([])
        evaluation: Any = cocoeval.COCOeval(truth, found, "keypoints")
        vars(evaluation.params).update(
            kpt_oks_sigmas=np.array(skeleton.sigmas),
            iouThrs=THRESHOLDS,
            maxDets=[max_people],
            areaRng=list(areas.values()),
            areaRngLbl=list(areas),
        )
        evaluation.evaluate()
    return evaluation.evalImgs


def _collect(outcomes: Sequence[dict[str, Any] | None]) -> RangeMatches:
    """Join the images' outcomes, best score first, then by image."""
    none = np.zeros((len(THRESHOLDS), 0))
    empty = {"gtIgnore": [], "dtScores": [], "dtMatches": none, "dtIgnore": none}
    # an image more without people and results, since there may be no images at all
    found = [outcome or empty for outcome in (*outcomes, None)]
    num_people = np.array([np.count_nonzero(np.equal(o["gtIgnore"], 0)) for o in found])
    scores = np.concatenate([o["dtScores"] for o in found])
    images = np.repeat(np.arange(len(found)), [len(o["dtScores"]) for o in found])
    order = np.argsort(-scores, kind="stable")
    hit, out = (
        np.concatenate([o[key] for o in found], axis=1)[:, order] > 0
        for key in ("dtMatches", "dtIgnore")
    )
    return RangeMatches(images[order], hit & ~out, ~hit & ~out, num_people[:-1])


def _skeleton_of(category: dict[str, Any]) -> Skeleton:
    """The joints of a category, with the sigmas of `evaluate`."""
    known = {skeleton.num_keypoints: skeleton.sigmas for skeleton in (COCO, CROWDPOSE)}
    sigmas = category.get("sigmas") or known.get(len(category["keypoints"]))
    return Skeleton.from_category(category, None if sigmas is None else tuple(sigmas))


def _checked_results(source: str | Path | Entries, truth: KeypointFile) -> Entries:
    """Copies of the results with what pycocotools needs and nothing else.

    Raises:
        ValueError: an entry lacks something, or does not belong to the annotations.
    """
    category_id, num_keypoints = truth.category["id"], truth.skeleton.num_keypoints
    results = []
    for number, entry in enumerate(read_results(source)):
        faults = checks.result_faults(entry, truth.images, category_id, num_keypoints)
        if fault := next(faults, None):
            name = source if isinstance(source, str | Path) else "results"
            raise ValueError(f"{name}: result {number}: {fault}")
        results.append(
            {
                "image_id": int(entry["image_id"]),
                "category_id": category_id,
                "keypoints": entry["keypoints"],
                "score": entry["score"],
            }
        )
    return results


def _person(entry: dict[str, Any], number: int, *, box_areas: bool) -> dict[str, Any]:
    """What pycocotools reads of an annotation.

    With `box_areas`, the area follows from the box, as in CrowdPose's evaluation. A person of whom
    neither is known does not count.
    """
    area = area_of(entry | {"area": None}) if box_areas else entry["area"]
    return {
        "id": number,
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "keypoints": entry["keypoints"],
        "num_keypoints": entry["num_keypoints"] if area > 0 else 0,
        "bbox": entry["bbox"],
        "area": area,
        "iscrowd": entry["iscrowd"],
    }
