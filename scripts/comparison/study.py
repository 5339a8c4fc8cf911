"""A comparison step by step.

Each step runs the methods on images and gives a part of the report.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.evaluation.keypoints import RangeMatches
from comparison import accuracy, boxes, cost, errors, pasting, report, sweeps
from comparison.accuracy import Interval
from comparison.datasets import (
    Dataset,
    Entry,
    LabelledImage,
    best_labelled,
    by_image,
    levels_of,
    make,
    num_labelled,
    read_image,
    spread,
    write_json,
)
from comparison.methods import Method
from comparison.runs import Limits, Outcome, Runner

MIN_DONOR_HEIGHT = 100  # pixels, of people who are cut out
VERSION = 1  # of the images that are made; another one makes them again


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be chosen.

    Attributes:
        out: the folder of everything.
        samples: of the bootstrap for the accuracy on all images.
        sweep_samples: of the bootstrap for each point of a curve.
        seed: of everything that is drawn.
        threads: that a method may use.
        jobs: methods that run at once where no time is measured.
        timeout: seconds that one run of a method may take.
        again: names of methods that run although their results are there.
        sweep_images: images of each level of a sweep, and for spoiled boxes.
        photo_levels: levels by factor of `sweeps.PHOTO_FACTORS`.
        drawn_levels: levels by factor of `sweeps.DRAWN_FACTORS`.
        cost_people: numbers of people whose cost is measured.
        cost_repeats: images of each number of people.
        box_levels: how much boxes are spoiled.
    """

    out: Path
    samples: int
    sweep_samples: int
    seed: int
    threads: int
    jobs: int
    timeout: float
    again: frozenset[str]
    sweep_images: int
    photo_levels: Mapping[str, Sequence[float]]
    drawn_levels: Mapping[str, Sequence[float]]
    cost_people: Sequence[int]
    cost_repeats: int
    box_levels: Sequence[float]


class Study:
    """The methods on the images.

    Args:
        settings: what was chosen.
        dataset: the images.
        methods: to compare, in the order of the report.
        say: gets lines of progress.

    Attributes:
        outcomes: by method, on the images themselves; filled by `run_methods`.
        runner: knows what went wrong, and how long each part took.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        methods: Sequence[Method],
        say: Callable[[str], None] | None = None,
    ):
        self.settings, self.dataset, self.methods = settings, dataset, tuple(methods)
        self.truth = dataset.load()
        self.outcomes: dict[str, Outcome] = {}
        self.runner = Runner(
            settings.out / "runs",
            Limits(settings.threads, settings.timeout),
            jobs=settings.jobs,
            again=settings.again,
            say=say,
        )
        self._people = by_image(self.truth)

    @property
    def done(self) -> list[Method]:
        """The methods that have results on the images; only they take part in the other steps."""
        return [method for method in self.methods if self.outcomes[method.name].status == "done"]

    def run_methods(self) -> None:
        """Run all methods on the images, one after the other: this is where time is measured."""
        self.outcomes = self.runner.run_all(self.dataset, self.methods, "images", is_timed=True)

    def measure_accuracy(self, reference: str) -> report.Accuracy:
        """Figures, differences from a reference, bins of images and people, kinds of errors."""
        options = {"num_samples": self.settings.samples, "seed": self.settings.seed}
        bins: dict[str, dict[str, Any]] = {"people": {}, "crowding": {}, "size": {}}
        samples, counts = {}, {}
        with self.runner.clock("evaluation"):
            for method in self.done:
                name, outcome = method.name, self.outcomes[method.name]
                entries, matches = outcome.entries, outcome.matches
                assert matches is not None
                samples[name] = accuracy.figure_samples(matches, **options)
                bins["people"][name] = accuracy.by_people(entries, self.truth, matches, **options)
                bins["crowding"][name] = accuracy.by_crowding(matches, self.truth, **options)
                bins["size"][name] = accuracy.by_size(entries, self.truth, **options)
                counts[name] = errors.count_errors(entries, self.truth)
                self.runner.say(f"accuracy of {name}: AP {samples[name][0]['AP']:.3f}")
            theirs = samples[reference]
            return report.Accuracy(
                figures={name: accuracy.intervals(ours) for name, ours in samples.items()},
                differences={
                    name: accuracy.differences(ours, theirs) for name, ours in samples.items()
                },
                errors=counts,
                bins=bins,
            )

    def measure_cost(self) -> dict[str, cost.Cost]:
        """The cost of each method on the images."""
        timings = {method.name: self.outcomes[method.name].timing for method in self.done}
        return {name: cost.cost_of(timing) for name, timing in timings.items() if timing}

    def sweep_photos(self) -> list[report.Sweep]:
        """The sweeps of photos, for all methods."""
        found = []
        for factor, levels in self.settings.photo_levels.items():
            chosen = self._spread(self._eligible(factor, levels))
            if not chosen:
                self.runner.say(
                    f"no photo can show the levels {list(levels)} of {factor!r}: left out"
                )
                continue
            spec = {"sweep": factor, "levels": list(levels), "seed": self.settings.seed}
            spec |= {"from": self.dataset.fingerprint(), "images": [info["id"] for info in chosen]}
            dataset = self._make(
                f"photos-{factor}", spec, self._changed_photos(factor, levels, chosen)
            )
            about = sweeps.PHOTO_FACTORS[factor]
            found.append(self._sweep("photos", dataset, about, levels, self.done))
        return found

    def sweep_drawings(self) -> list[report.Sweep]:
        """The sweeps of drawn people, for our own methods."""
        methods = [method for method in self.done if method.ours]
        count, seed = self.settings.sweep_images, self.settings.seed
        found = []
        for factor, levels in self.settings.drawn_levels.items() if methods else ():
            spec = {"sweep": factor, "levels": list(levels), "seed": seed, "images": count}
            images = sweeps.sweep_drawings(factor, levels, count, seed=seed)
            dataset = self._make(f"drawn-{factor}", spec, images)
            about = sweeps.DRAWN_FACTORS[factor]
            found.append(self._sweep("drawn", dataset, about, levels, methods))
        return found

    def measure_growth(self) -> report.CostGrowth | None:
        """The cost against the number of people; None if there are no people to cut out."""
        donors = [
            info
            for info in self._eligible("occlusion", (0,))
            if best_labelled(self._people[info["id"]])["bbox"][3] >= MIN_DONOR_HEIGHT
        ]
        if not donors:
            self.runner.say(
                f"no well labelled person is {MIN_DONOR_HEIGHT} pixels high: no crowds can be made"
            )
            return None
        counts, repeats = list(self.settings.cost_people), self.settings.cost_repeats
        spec = {"growth": counts, "repeats": repeats, "seed": self.settings.seed}
        spec |= {"from": self.dataset.fingerprint()}
        dataset = self._make("crowds", spec, self._crowds(donors))
        people = {image_id: counts[level] for image_id, level in levels_of(dataset).items()}
        outcomes = self.runner.run_all(dataset, self.done, "crowds", is_timed=True)
        curves = {
            name: cost.growth_of(outcome.timing, people)
            for name, outcome in outcomes.items()
            if outcome.timing is not None
        }
        measured = [method for method in self.done if method.name in curves]
        flat = [method.name for method in measured if method.kind == "bottom-up"]
        rising = [method.name for method in measured if method.kind == "top-down"]
        return report.CostGrowth(curves, cost.crossings(curves, flat, rising), repeats)

    def spoil_boxes(self) -> report.SpoiledBoxes | None:
        """AP of top-down methods as their boxes get worse, and of the others on the same images.

        None if no method takes boxes.
        """
        methods = [method for method in self.done if method.boxes]
        if not methods:
            return None
        infos = [info for info in self.truth["images"] if self._people[info["id"]]]
        infos = self._spread(infos)
        people = [entry for info in infos for entry in self._people[info["id"]]]
        truth = {"images": infos, "annotations": people, "categories": self.truth["categories"]}
        path = self.settings.out / "data" / "boxes" / "annotations.json"
        write_json(path, truth)
        dataset = Dataset("boxes", self.dataset.images, path)

        levels = [0, *self.settings.box_levels]
        whole, kinds = self._spoil(dataset, truth, methods, "shifted", 0), []
        for kind, (title, unit) in boxes.KINDS.items():
            points = [whole]
            points += [self._spoil(dataset, truth, methods, kind, level) for level in levels[1:]]
            ap = {method.name: [point.get(method.name) for point in points] for method in methods}
            kinds.append(report.BoxErrors(kind, title, unit, levels, ap))
        others = {}
        for method in self.done:
            matches = self.outcomes[method.name].matches
            if not method.boxes and matches is not None:
                inside = np.isin(matches.image_ids, [info["id"] for info in infos])
                others[method.name] = self._ap(accuracy.keep(matches.ranges["all"], inside))
        return report.SpoiledBoxes(len(infos), _num_counting(people), kinds, others)

    def _spoil(
        self,
        dataset: Dataset,
        truth: Mapping[str, Any],
        methods: Sequence[Method],
        kind: str,
        level: float,
    ) -> dict[str, Interval]:
        """AP by method with boxes that have one kind of error."""
        part = f"boxes-{kind}-{level:g}" if level else "boxes-true"
        path = dataset.annotations.with_name(f"{part}.json")
        write_json(path, boxes.spoiled_boxes(truth, kind, level, seed=self.settings.seed))
        outcomes = self.runner.run_all(dataset, methods, part, extra=("--boxes", str(path)))
        return {
            name: self._ap(outcome.matches.ranges["all"])
            for name, outcome in outcomes.items()
            if outcome.matches is not None
        }

    def _sweep(
        self,
        family: str,
        dataset: Dataset,
        about: sweeps.Factor,
        levels: Sequence[float],
        methods: Sequence[Method],
    ) -> report.Sweep:
        """AP by method at each level of a made dataset."""
        level_of = levels_of(dataset)
        entries: list[list[Entry]] = [[] for _ in levels]
        for entry in dataset.load()["annotations"]:
            entries[level_of[entry["image_id"]]].append(entry)
        ap = {}
        for method, outcome in self.runner.run_all(dataset, methods, dataset.name).items():
            if outcome.matches is not None:
                places = np.array([level_of[i] for i in outcome.matches.image_ids.tolist()])
                matches = outcome.matches.ranges["all"]
                parts = [accuracy.keep(matches, places == level) for level in range(len(levels))]
                ap[method] = [self._ap(part) for part in parts]
        return report.Sweep(
            family=family,
            name=dataset.name,
            title=about.title,
            unit=about.unit,
            levels=list(levels),
            images=len(level_of) // len(levels),
            people=[_num_counting(people) for people in entries],
            ap=ap,
        )

    def _make(self, name: str, spec: Mapping[str, Any], images: Iterable[LabelledImage]) -> Dataset:
        with self.runner.clock("making images"):
            folder = self.settings.out / "data" / name
            return make(name, folder, {**spec, "version": VERSION}, images)

    def _changed_photos(
        self, factor: str, levels: Sequence[float], infos: Sequence[Entry]
    ) -> Iterator[LabelledImage]:
        """A sweep of photos; they are read when the first one is asked for."""
        yield from sweeps.sweep_photos(factor, levels, self._read(infos), seed=self.settings.seed)

    def _crowds(self, donors: Sequence[Entry]) -> Iterator[LabelledImage]:
        """Crowds of people who are cut out; they are read when the first one is asked for."""
        counts, repeats = self.settings.cost_people, self.settings.cost_repeats
        yield from pasting.growing_crowds(
            self._read(donors), counts, repeats, seed=self.settings.seed
        )

    def _read(self, infos: Sequence[Entry]) -> list[LabelledImage]:
        return [read_image(self.dataset.images, info, self._people[info["id"]]) for info in infos]

    def _ap(self, matches: RangeMatches) -> Interval:
        options = {"num_samples": self.settings.sweep_samples, "seed": self.settings.seed}
        return accuracy.average_precision(matches, **options)

    def _eligible(self, factor: str, levels: Sequence[float]) -> list[Entry]:
        """The photos that can show all levels of a factor."""
        return [
            info
            for info in self.truth["images"]
            if sweeps.eligible(factor, self._people[info["id"]], levels)
        ]

    def _spread(self, infos: list[Entry]) -> list[Entry]:
        """As many of the images as a sweep has, evenly spread."""
        return spread(infos, self.settings.sweep_images)


def _num_counting(people: Iterable[Entry]) -> int:
    return sum(num_labelled(entry) > 0 for entry in people)
