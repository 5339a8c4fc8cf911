"""Golden people: grouping step by step, crowds with known truth, and the figures of evaluation."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bottomup.evaluation.keypoints import evaluate
from bottomup.files import read_json
from bottomup.method.grouping import Grouper
from bottomup.method.matching import ABSENT, OFFICIAL, ROBUST, Members, Rules, match
from bottomup.method.peaks import find_candidates, locate
from bottomup.skeleton import Skeleton
from golden.comparison import SKELETONS, Arrays, Case, Deviation, close, file_cases, same
from golden.rendering import render

COCO_NAMES = {"AP_medium": "APM", "AP_large": "APL", "AR_medium": "ARM", "AR_large": "ARL"}
ROUNDED = ("AP_easy", "AP_medium", "AP_hard")  # CrowdPose's figures that come with four places


def grouping_cases(folder: Path) -> list[Case]:
    """A case for every scene."""
    return file_cases(folder, compare_grouping)


def compare_grouping(scene: Arrays, entry: dict[str, Any]) -> Iterator[Deviation]:
    """The people after each step, in the order in which they were opened, and their scores."""
    heatmaps, tags = scene["heatmaps"], scene["tags"]
    skeleton = SKELETONS[len(heatmaps)]
    order = scene["joint_order"].tolist()
    yield same("joint_order", list(skeleton.grouping_order), order)

    # match: cells, with the values and tags there
    members = match_maps(heatmaps, tags, skeleton, OFFICIAL)
    person, joint = np.nonzero(members != ABSENT)
    cell = members[person, joint]
    y, x = np.divmod(cell, heatmaps.shape[2])
    found = np.zeros((*members.shape, 3 + tags.shape[3]))  # P K 3+L
    found[person, joint] = np.column_stack([x, y, heatmaps[joint, y, x], tags[joint, y, x]])
    yield close("match", found, scene["match"], atol=1e-4)

    # adjust: positions finer than a cell
    index = joint * heatmaps[0].size + cell
    xy, _ = locate(torch.from_numpy(heatmaps)[None], index, quarter_offset=True)
    found[person, joint, :2] = xy
    yield close("adjust", found, scene["adjust"], atol=1e-4)

    # refine: all steps at once; what is filled in has no tags of its own
    grouper = Grouper(rules=OFFICIAL, skeleton=skeleton)
    poses = grouper(torch.from_numpy(heatmaps)[None], torch.from_numpy(tags)[None])[0]
    rows = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    yield close("refine", rows, scene["refine"][..., :3], atol=1e-4)
    yield close("scores", poses.scores, scene["scores"], atol=1e-5)


def match_maps(heatmaps: np.ndarray, tags: np.ndarray, skeleton: Skeleton, rules: Rules) -> Members:
    """The people of K H W heatmaps and K H W L tags before anything is filled in."""
    settings = Grouper(rules=rules, skeleton=skeleton)
    candidates = find_candidates(
        torch.from_numpy(heatmaps)[None],
        torch.from_numpy(tags)[None],
        detection_threshold=settings.detection_threshold,
        refine_threshold=settings.refine_threshold,
    )[0]
    return match(
        candidates,
        heatmaps[0].size,
        order=skeleton.grouping_order,
        tag_threshold=settings.tag_threshold,
        rules=rules,
    )


def crowd_cases(folder: Path) -> list[Case]:
    """A case for every crowd."""
    return file_cases(folder, compare_crowd)


def compare_crowd(scene: Arrays, entry: dict[str, Any]) -> Iterator[Deviation]:
    """One pure group for every true person, and none that is mixed."""
    people = int(scene["people"])
    counts = count_groups(scene)
    yield same("pure groups", counts["pure"], people)
    yield same("mixed groups", counts["mixed"], 0)
    yield same("people found", counts["people_found"], people)


def count_groups(scene: Arrays) -> dict[str, int]:
    """Groups of a crowd by what they are made of.

    Returns:
        pure (all joints are of one true person), mixed, of_spurious_only, and people_found: how
        many true people are the majority of a group.
    """
    num_people, num_joints = int(scene["people"]), scene["score"].shape[1]
    height, width = (int(side) for side in scene["hw"])
    maps = render(scene["xy"], scene["score"], scene["tag"], (height, width))
    members = match_maps(*maps, SKELETONS[num_joints], ROBUST)

    # the row that owns each cell; rows from `num_people` on are spurious joints
    x, y = np.moveaxis(np.floor(scene["xy"] + 0.5).astype(int), 2, 0)
    owner = {
        (joint, y[row, joint] * width + x[row, joint]): row
        for row, joint in zip(*np.nonzero(scene["score"]), strict=True)
    }
    nobody = len(scene["score"])
    counts = {"pure": 0, "mixed": 0, "of_spurious_only": 0}
    found = set()
    for person in members:
        owners = [owner.get(key, nobody) for key in enumerate(person) if key[1] != ABSENT]
        if min(owners) >= num_people:
            counts["of_spurious_only"] += 1
            continue
        counts["pure" if len(set(owners)) == 1 else "mixed"] += 1
        found |= {row for row in owners if 2 * owners.count(row) > len(owners) and row < num_people}
    return counts | {"people_found": len(found)}


def evaluation_cases(folder: Path) -> list[Case]:
    """A case for every pair of annotations and results that expected.json names or the folder has.

    Raises:
        ValueError: expected.json is damaged.
    """
    path = folder / "expected.json"
    expected = read_json(path, "expected figures") if path.exists() else {}
    if not isinstance(expected, dict):
        raise ValueError(f"expected figures {str(path)!r} are not an object")
    kinds = {
        kind
        for kind, figures in expected.items()
        if isinstance(figures, dict)
        and all(isinstance(value, int | float) for value in figures.values())
    }
    kinds |= {file.name.removesuffix("_gt.json") for file in folder.glob("*_gt.json")}
    return [
        Case(kind, functools.partial(compare_evaluation, folder, kind, expected))
        for kind in sorted(kinds)
    ]


def compare_evaluation(folder: Path, kind: str, expected: dict[str, Any]) -> Iterator[Deviation]:
    """All figures of one kind, and the sigmas where they are given."""
    figures = evaluate(folder / f"{kind}_results.json", folder / f"{kind}_gt.json")
    is_crowdpose = "AP_easy" in figures
    renamed = {} if is_crowdpose else COCO_NAMES
    expected_figures: dict[str, float] = expected[kind]
    for name, value in expected_figures.items():
        atol = 5e-5 if is_crowdpose and name in ROUNDED else 1e-6
        # with nobody to find, the reference evaluations say -1, and ours NaN
        found, value = np.nan_to_num([figures[renamed.get(name, name)], value], nan=-1)
        yield close(name, found, value, atol=atol)
    sigmas = expected.get(f"{kind}_sigmas")
    if sigmas is not None:
        yield same("sigmas", list(SKELETONS[len(sigmas)].sigmas), sigmas)
