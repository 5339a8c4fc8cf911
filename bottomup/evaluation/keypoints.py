"""Average precision of keypoint results: COCO's ten figures, and CrowdPose's with its easy, medium and hard images.

Results are matched to people by pycocotools, image by image, once. Every figure is then a sum over
images, so a subset of the images, or a bootstrap sample of them, only needs other weights.
"""

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bottomup.data.coco import (
    area_of,
    box_of,
    keypoint_category,
    num_labelled_joints,
    read_raw,
    read_results,
)
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton

MAX_PEOPLE = 20  # per image; both evaluations drop the lowest-scored results beyond it
THRESHOLDS = np.linspace(
    0.5, 0.95, 10
)  # of object keypoint similarity, from which on a result counts as right
RECALLS = np.linspace(0, 1, 101)  # at which the precision is read
AREAS = {
    "all": (0.0, 1e10),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}  # square pixels of a person
CROWD_LEVELS = {
    "easy": (-np.inf, 0.2),
    "medium": (0.2, 0.8),
    "hard": (0.8, np.inf),
}  # of an image's crowdIndex

Entries = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class RangeMatches:
    """All results of all I images against the people of one range of areas, best score first.

    Attributes:
        images: (D,) the index of the image that each result belongs to.
        right: (T, D) matched to a person who counts, at each of the T thresholds.
        wrong: (T, D) matched to nobody. A result may be neither: its person does not count.
        num_people: (I,) how many people of each image count.
    """

    images: Int[np.ndarray, " D"]
    right: Bool[np.ndarray, "T D"]
    wrong: Bool[np.ndarray, "T D"]
    num_people: Int[np.ndarray, " I"]


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """The outcome of `match`, from which every figure follows.

    Attributes:
        image_ids: (I,) ids of the images, ascending.
        ranges: the matches by range of areas: "all" and, for COCO, "medium" and "large".
        crowd_index: (I,) how crowded each image is; None if the annotations are not CrowdPose's.
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
        skeleton: whose sigmas to use. By default those of the annotations' category: its own
            `sigmas` if it has them, COCO's or CrowdPose's for 17 or 14 joints, `DEFAULT_SIGMA` for
            any other set of joints.

    Returns:
        Fractions by name. COCO: AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL (M, L: medium
        and large people). CrowdPose: AP, AP50, AP75, AR, AR50, AR75, AP_easy, AP_medium, AP_hard.
        NaN where there is nobody to find.

    Raises:
        ValueError: a file is not what it should be, or the two do not belong together.

    Source: the COCO keypoint evaluation (pycocotools), and section 4 of Li et al., CrowdPose, CVPR
    2019.
    """
    return summarise(match(results, annotations, skeleton=skeleton))


def match(
    results: str | Path | Entries,
    annotations: str | Path | dict[str, Any],
    *,
    skeleton: Skeleton | None = None,
    areas: Mapping[str, tuple[float, float]] | None = None,
    max_people: int = MAX_PEOPLE,
) -> Matches:
    """Match results to people: arguments and errors are those of `evaluate`; two more go beyond the standard.

    Args:
        results: see `evaluate`.
        annotations: see `evaluate`.
        skeleton: see `evaluate`.
        areas: other ranges of areas, in square pixels, than those of the evaluation.
        max_people: how many results of an image count at most.
    """
    truth = read_raw(annotations, "images", "categories")
    category = keypoint_category(truth["categories"], annotations)
    skeleton = skeleton or _skeleton_of(category)
    images = {image["id"]: image for image in truth["images"]}
    is_crowdpose = bool(images) and all("crowdIndex" in image for image in images.values())
    results = _checked_results(read_results(results), category["id"], skeleton, images)
    people = _people(truth.get("annotations", []), category["id"], skeleton, box_areas=is_crowdpose)
    if areas is None:
        areas = {"all": AREAS["all"]} if is_crowdpose else AREAS

    image_ids = np.unique(np.array(list(images), dtype=np.int64))
    outcomes = _run_pycocotools(people, results, image_ids, category, skeleton, areas, max_people)
    num_images = len(image_ids)
    ranges = {
        name: _collect(outcomes[k * num_images : (k + 1) * num_images])
        for k, name in enumerate(areas)
    }
    crowd_index = (
        np.array([images[i]["crowdIndex"] for i in image_ids.tolist()], float)
        if is_crowdpose
        else None
    )
    return Matches(image_ids, ranges, crowd_index)


def summarise(matches: Matches, weights: Float[np.ndarray, " I"] | None = None) -> dict[str, float]:
    """The figures of `evaluate` over weighted images: weight 0 leaves an image out, 2 counts it twice."""
    weights = np.ones(len(matches.image_ids)) if weights is None else weights
    precision, recall = precision_recall(matches.ranges["all"], weights)
    figures = {}
    for name, values in (("AP", precision), ("AR", recall)):
        figures |= {name: values.mean(), f"{name}50": values[0], f"{name}75": values[5]}
        if matches.crowd_index is None:
            figures |= {f"{name}M": np.nan, f"{name}L": np.nan}  # their place in COCO's order
    if matches.crowd_index is None:
        for letter, area in (("M", "medium"), ("L", "large")):
            precision, recall = precision_recall(matches.ranges[area], weights)
            figures |= {f"AP{letter}": precision.mean(), f"AR{letter}": recall.mean()}
    else:
        for level, (low, high) in CROWD_LEVELS.items():
            inside = (low <= matches.crowd_index) & (matches.crowd_index < high)
            figures[f"AP_{level}"] = precision_recall(matches.ranges["all"], weights * inside)[
                0
            ].mean()
    return {name: float(value) for name, value in figures.items()}


def bootstrap(
    matches: Matches, *, num_samples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """How far each figure would move on other images of the same kind.

    Args:
        matches: what `match` returned.
        num_samples: how often as many images are drawn with replacement.
        confidence: the share of the samples that each interval holds.
        seed: of the drawing; the same seed gives the same intervals.

    Returns:
        (low, high) for each figure of `summarise`: the percentile interval.
    """
    samples = [
        summarise(matches, weights)
        for weights in draw_images(len(matches.image_ids), num_samples, seed=seed)
    ]
    return {
        name: percentile_interval(np.array([sample[name] for sample in samples]), confidence)
        for name in samples[0]
    }


def draw_images(num_images: int, num_samples: int, *, seed: int = 0) -> Float[np.ndarray, "S I"]:
    """How often each image is in each bootstrap sample; the same arguments give the same samples."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(
        num_images, np.full(num_images, 1 / num_images), size=num_samples
    ).astype(float)


def percentile_interval(
    values: Float[np.ndarray, " S"], confidence: float = 0.95
) -> tuple[float, float]:
    """What `confidence` of the samples lie between; samples that are NaN do not count."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def precision_recall(
    matches: RangeMatches, weights: Float[np.ndarray, " I"]
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Precision averaged over `RECALLS`, and the highest recall, at each threshold."""
    num_people = float(weights @ matches.num_people)
    num_thresholds = len(matches.right)
    if num_people == 0:
        return np.full(num_thresholds, np.nan), np.full(num_thresholds, np.nan)
    counts = weights[matches.images]
    right = np.cumsum(matches.right * counts, axis=1)  # (T, D)
    wrong = np.cumsum(matches.wrong * counts, axis=1)  # (T, D)
    recall = right / num_people
    precision = np.zeros(
        (num_thresholds, len(counts) + 1)
    )  # a recall that is never reached has precision 0
    precision[:, :-1] = right / np.maximum(right + wrong, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[
        :, ::-1
    ]  # the best at this recall or a higher one
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
    """The verdicts on every image (None where there is neither person nor result), range after range of areas."""
    from pycocotools import coco, cocoeval  # slow to import, and only this function needs it

    def index(entries: Entries) -> Any:
        made: Any = coco.COCO()
        made.dataset = {"images": images, "categories": [category], "annotations": entries}
        made.createIndex()
        return made

    images = [{"id": i} for i in image_ids.tolist()]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = index(people)
        evaluation: Any = cocoeval.COCOeval(
            truth, truth.loadRes(results) if results else index([]), "keypoints"
        )
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.params.iouThrs = THRESHOLDS
        evaluation.params.maxDets = [max_people]
        evaluation.params.areaRng = list(areas.values())
        evaluation.params.areaRngLbl = list(areas)
        evaluation.evaluate()
    return evaluation.evalImgs


def _collect(outcomes: Sequence[dict[str, Any] | None]) -> RangeMatches:
    """Join the images' outcomes, best score first; results of equal score stay in the order of their images."""
    num_people = np.zeros(len(outcomes), int)
    num_thresholds = len(THRESHOLDS)
    scores, images = [np.zeros(0)], [np.zeros(0, int)]
    matched, ignored = [np.zeros((num_thresholds, 0), bool)], [np.zeros((num_thresholds, 0), bool)]
    for i, outcome in enumerate(outcomes):
        if outcome is None:
            continue
        num_people[i] = np.count_nonzero(np.equal(outcome["gtIgnore"], 0))
        scores.append(np.array(outcome["dtScores"], float))
        images.append(np.full(len(outcome["dtScores"]), i))
        matched.append(np.array(outcome["dtMatches"]) > 0)
        ignored.append(np.array(outcome["dtIgnore"], bool))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit, out = np.concatenate(matched, axis=1)[:, order], np.concatenate(ignored, axis=1)[:, order]
    return RangeMatches(np.concatenate(images)[order], hit & ~out, ~hit & ~out, num_people)


def _skeleton_of(category: dict[str, Any]) -> Skeleton:
    """The joints of a category; 17 or 14 joints have the sigmas of COCO or CrowdPose under whatever names."""
    sigmas = category.get("sigmas")
    if sigmas is None:
        same_size = (
            known.sigmas
            for known in (COCO, CROWDPOSE)
            if known.num_keypoints == len(category["keypoints"])
        )
        sigmas = next(same_size, None)
    return Skeleton.from_category(category, None if sigmas is None else tuple(sigmas))


def _checked_results(
    results: list[Any], category_id: int, skeleton: Skeleton, images: Mapping[int, Any]
) -> Entries:
    """Copies of the results with no more than pycocotools needs.

    Raises:
        ValueError: an entry lacks something, or does not belong to the annotations.
    """
    needed = {"image_id", "category_id", "keypoints", "score"}
    for number, entry in enumerate(results):
        if not isinstance(entry, dict) or not needed <= entry.keys():
            lacking = (
                sorted(needed - entry.keys())
                if isinstance(entry, dict)
                else f"all, it is {entry!r}"
            )
            raise ValueError(f"result {number} lacks {lacking}: pass a COCO keypoint results file")
    _refuse_strangers("images", [entry["image_id"] for entry in results], images)
    _refuse_strangers("categories", [entry["category_id"] for entry in results], {category_id})
    expected = 3 * skeleton.num_keypoints
    for number, entry in enumerate(results):
        if len(entry["keypoints"]) != expected:
            raise ValueError(
                f"result {number} (image {entry['image_id']}) has {len(entry['keypoints'])} keypoint numbers, and the "
                f"annotations' {skeleton.num_keypoints} joints need {expected}: they must be of one skeleton"
            )
        if not np.isfinite([entry["score"], *entry["keypoints"]]).all():
            raise ValueError(
                f"result {number} (image {entry['image_id']}) holds a number that is not finite"
            )
    return [{key: entry[key] for key in needed} for entry in results]


def _refuse_strangers(what: str, ids: Sequence[int], known: Any) -> None:
    strangers = sorted({i for i in ids if i not in known}, key=str)
    if strangers:
        first = ", ".join(str(i) for i in strangers[:5]) + (", ..." if len(strangers) > 5 else "")
        raise ValueError(
            f"results name {len(strangers)} {what} that the annotations do not have ({first}): "
            "let `bottomup predict --annotations FILE` take the ids from the same annotations"
        )


def _people(
    annotations: Entries, category_id: int, skeleton: Skeleton, *, box_areas: bool
) -> Entries:
    """Annotations of the category, with all that pycocotools reads.

    With `box_areas`, areas follow from the boxes, as in CrowdPose's evaluation.
    """
    people = []
    expected = 3 * skeleton.num_keypoints
    for entry in annotations:
        if entry["category_id"] != category_id:
            continue
        keypoints = entry.get("keypoints") or [0] * expected
        if len(keypoints) != expected:
            raise ValueError(
                f"annotation {entry.get('id')} has {len(keypoints)} keypoint numbers, "
                f"not {expected}"
            )
        person = {key: entry[key] for key in ("image_id", "category_id")}
        person |= {
            "keypoints": keypoints,
            "bbox": box_of(entry),
            "iscrowd": entry.get("iscrowd", 0),
        }
        person["id"] = len(people) + 1  # from 1: pycocotools takes the id 0 for "not matched"
        person["num_keypoints"] = entry.get("num_keypoints", num_labelled_joints(entry))
        person["area"] = area_of(entry | {"area": None} if box_areas else entry)
        people.append(person)
    return people
