"""A comparison: methods, images and settings, and the parts of the report that they give.

Each part runs the methods on one or more datasets and returns plain dicts and lists, ready for
report.json.
"""

import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.evaluation.keypoints import RangeMatches
from comparison import accuracy, boxes, cost, drawn_sweeps, errors, photo_sweeps
from comparison.datasets import Dataset, Entry, Picture, levels_of, make, read_picture, write_json
from comparison.methods import Method, Outcome, run
from comparison.people import num_labelled
from comparison.photo_sweeps import Factor

MIN_DONOR_HEIGHT = 100  # pixels, of people who are pasted


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be chosen.

    Attributes:
        out: the folder of everything.
        samples: of the bootstrap for the accuracy on all images.
        sweep_samples: of the bootstrap for each point of a curve.
        seed: of all that is drawn.
        threads: that a method may use.
        jobs: methods that run at once where no time is measured.
        timeout: seconds that one run of a method may take.
        again: names of methods that run though their results are there.
        sweep_images: images in each sweep, and for spoiled boxes.
        photo_levels: levels by factor of `photo_sweeps`.
        drawn_levels: levels by factor of `drawn_sweeps`.
        cost_people: numbers of people whose cost is measured.
        cost_repeats: pictures of each number of people.
        box_levels: how much boxes are spoiled.
    """

    out: Path
    samples: int = 1000
    sweep_samples: int = 200
    seed: int = 0
    threads: int = 1
    jobs: int = 2
    timeout: float = 3600.0
    again: frozenset[str] = frozenset()
    sweep_images: int = 24
    photo_levels: Mapping[str, Sequence[float]] = dataclasses.field(
        default_factory=lambda: {
            name: factor.levels for name, factor in photo_sweeps.FACTORS.items()
        }
    )
    drawn_levels: Mapping[str, Sequence[float]] = dataclasses.field(
        default_factory=lambda: {
            name: factor.levels for name, factor in drawn_sweeps.FACTORS.items()
        }
    )
    cost_people: Sequence[int] = (1, 2, 5, 10, 20, 50, 100)
    cost_repeats: int = 3
    box_levels: Sequence[float] = boxes.LEVELS


class Study:
    """The methods on the images, step by step.

    Args:
        settings: what was chosen.
        dataset: the images.
        methods: to compare, in the order of the report.
        say: gets lines of progress.
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
        self.problems: list[dict[str, str]] = []
        self.seconds: dict[str, float] = {}
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._people: dict[int, list[Entry]] = {info["id"]: [] for info in self.truth["images"]}
        for entry in self.truth["annotations"]:
            self._people[entry["image_id"]].append(entry)

    @property
    def done(self) -> list[Method]:
        """The methods that have results on the images themselves; only they take part in the rest."""
        return [method for method in self.methods if self.outcomes[method.name].status == "done"]

    def run_methods(self) -> None:
        """Run all methods on the images, one after the other: this is where time is measured."""
        self.outcomes = self._run_all(self.dataset, self.methods, "images", jobs=1)

    def measure_accuracy(self, reference: str | None) -> dict[str, Any]:
        """Figures, differences to a reference method, bins of images and people, and the kinds of errors."""
        start = time.monotonic()
        samples = {}
        report: dict[str, Any] = {"figures": {}, "differences": {}, "errors": {}}
        report["bins"] = {"people": {}, "crowding": {}, "size": {}}
        options = {"num_samples": self.settings.samples, "seed": self.settings.seed}
        for method in self.done:
            outcome = self.outcomes[method.name]
            assert outcome.matches is not None
            samples[method.name] = accuracy.figure_samples(outcome.matches, **options)
            report["figures"][method.name] = plain(accuracy.intervals(samples[method.name]))
            bins = report["bins"]
            bins["people"][method.name] = plain(
                accuracy.by_people(outcome.entries, self.truth, outcome.matches, **options)
            )
            bins["crowding"][method.name] = plain(
                accuracy.by_crowding(outcome.matches, self.truth, **options)
            )
            bins["size"][method.name] = plain(
                accuracy.by_size(outcome.entries, self.truth, **options)
            )
            counts = errors.count_errors(outcome.entries, self.truth)
            report["errors"][method.name] = plain(counts) | {"missed": counts.missed}
            self._say(
                f"accuracy of {method.name}: AP {report['figures'][method.name]['AP'][0]:.3f}"
            )
        if reference in samples:
            for name in samples:
                report["differences"][name] = plain(
                    accuracy.differences(samples[name], samples[reference])
                )
        self.seconds["evaluation"] = time.monotonic() - start
        return report

    def measure_cost(self) -> dict[str, Any]:
        """The cost of each method on the images."""
        found = {}
        for method in self.done:
            timing = self.outcomes[method.name].timing
            assert timing is not None
            found[method.name] = plain(cost.cost_of(timing)) | {
                "peak_memory_mb": timing.peak_memory_mb, "parameters": timing.parameters,
                "gflops": timing.gflops, "threads": timing.threads, "machine": dict(timing.machine),
            }  # fmt: skip
        return found

    def sweep_photos(self) -> list[dict[str, Any]]:
        """The sweeps of photos, for all methods."""
        found = []
        for factor, levels in self.settings.photo_levels.items():
            chosen = self._eligible(factor, levels)
            if not chosen:
                self._say(f"no photo can show the levels {list(levels)} of {factor!r}: left out")
                continue
            spec = {
                "sweep": factor,
                "levels": list(levels),
                "seed": self.settings.seed,
                "version": 1,
            }
            spec |= {"from": self.dataset.fingerprint(), "images": [info["id"] for info in chosen]}

            def pictures(
                factor: str = factor, levels: Sequence[float] = levels, chosen: list[Entry] = chosen
            ) -> Any:
                return photo_sweeps.sweep(
                    factor, levels, self._pictures(chosen), seed=self.settings.seed
                )

            about = photo_sweeps.FACTORS[factor]
            found.append(self._sweep(f"photos-{factor}", about, levels, spec, pictures, self.done))
        return found

    def sweep_drawn(self) -> list[dict[str, Any]]:
        """The sweeps of drawn people, for our own systems."""
        methods = [method for method in self.done if method.ours]
        found = []
        for factor, levels in self.settings.drawn_levels.items() if methods else ():
            count, seed = self.settings.sweep_images, self.settings.seed
            spec = {
                "sweep": factor,
                "levels": list(levels),
                "seed": seed,
                "images": count,
                "version": 1,
            }

            def pictures(factor: str = factor, levels: Sequence[float] = levels) -> Any:
                return drawn_sweeps.sweep(
                    factor, levels, self.settings.sweep_images, seed=self.settings.seed
                )

            about = drawn_sweeps.FACTORS[factor]
            found.append(self._sweep(f"drawn-{factor}", about, levels, spec, pictures, methods))
        return found

    def measure_growth(self) -> dict[str, Any]:
        """The cost against the number of people, and where the curves of top-down cross those of bottom-up."""
        donors = [
            info for info in self._eligible("occlusion", (0,), every=True) if self._height(info)
        ]
        if not donors:
            self._say(
                f"nobody is labelled well and {MIN_DONOR_HEIGHT} pixels high: no crowds can be made"
            )
            return {}
        counts, seed = list(self.settings.cost_people), self.settings.seed
        spec = {"growth": counts, "repeats": self.settings.cost_repeats, "seed": seed, "version": 1}
        spec |= {"from": self.dataset.fingerprint()}

        def pictures() -> Any:
            return cost.growing_crowds(
                self._pictures(donors), counts, self.settings.cost_repeats, seed=seed
            )

        dataset = self._made("crowds", spec, pictures)
        people = {image_id: counts[level] for image_id, level in levels_of(dataset).items()}
        curves = {}
        for name, outcome in self._run_all(dataset, self.done, "crowds", jobs=1).items():
            if outcome.status == "done" and outcome.timing is not None:
                curves[name] = cost.growth_of(outcome.timing, people)
        flat = [
            method.name
            for method in self.done
            if method.kind == "bottom-up" and method.name in curves
        ]
        rising = [
            method.name
            for method in self.done
            if method.kind == "top-down" and method.name in curves
        ]
        crossings = [
            {
                "flat": one,
                "rising": other,
                "fitted": cost.fitted_crossing(curves[one], curves[other]),
                "measured": cost.measured_crossing(curves[one], curves[other]),
            }
            for one in flat
            for other in rising
        ]
        return {
            "curves": plain(curves),
            "crossings": crossings,
            "pictures": self.settings.cost_repeats,
        }

    def spoil_boxes(self) -> dict[str, Any]:
        """AP of top-down as its boxes get worse, and of all others on the same images."""
        methods = [method for method in self.done if method.boxes]
        if not methods:
            return {}
        ids = self._spread(
            [info["id"] for info in self.truth["images"] if self._people[info["id"]]]
        )
        subset = {
            "images": [info for info in self.truth["images"] if info["id"] in ids],
            "annotations": [
                entry for entry in self.truth["annotations"] if entry["image_id"] in ids
            ],
            "categories": self.truth["categories"],
        }
        folder = self.settings.out / "data" / "boxes"
        write_json(folder / "annotations.json", subset)
        dataset = Dataset("boxes", self.dataset.images, folder / "annotations.json")
        kinds, whole = [], self._boxes_run(dataset, subset, methods, "shifted", 0)
        for kind, (title, unit) in boxes.KINDS.items():
            points = [whole]
            points += [
                self._boxes_run(dataset, subset, methods, kind, level)
                for level in self.settings.box_levels
            ]
            ap = {method.name: [point.get(method.name) for point in points] for method in methods}
            levels = [0, *self.settings.box_levels]
            kinds.append({"kind": kind, "title": title, "unit": unit, "levels": levels, "ap": ap})
        others = {}
        for method in self.done:
            matches = self.outcomes[method.name].matches
            if not method.boxes and matches is not None:
                inside = np.isin(matches.image_ids, sorted(ids))
                others[method.name] = self._ap(accuracy.keep(matches.ranges["all"], inside))
        people = sum(num_labelled(entry) > 0 for entry in subset["annotations"])
        return {"images": len(ids), "people": people, "kinds": kinds, "others": others}

    def _boxes_run(
        self,
        dataset: Dataset,
        truth: dict[str, Any],
        methods: Sequence[Method],
        kind: str,
        level: float,
    ) -> dict[str, Any]:
        name = f"boxes-{kind}-{level:g}" if level else "boxes-true"
        path = dataset.annotations.with_name(f"{name}.json")
        write_json(path, boxes.spoiled_boxes(truth, kind, level, seed=self.settings.seed))
        outcomes = self._run_all(
            dataset, methods, name, jobs=self.settings.jobs, extra=("--boxes", str(path))
        )
        return {
            name: self._ap(outcome.matches.ranges["all"])
            for name, outcome in outcomes.items()
            if outcome.matches is not None
        }

    def _sweep(
        self,
        name: str,
        about: Factor,
        levels: Sequence[float],
        spec: Mapping[str, Any],
        pictures: Callable[[], Any],
        methods: Sequence[Method],
    ) -> dict[str, Any]:
        dataset = self._made(name, spec, pictures)
        level_of = levels_of(dataset)
        ap: dict[str, list[Any]] = {}
        people: list[int] = [0] * len(levels)
        for entry in dataset.load()["annotations"]:
            people[level_of[entry["image_id"]]] += num_labelled(entry) > 0
        for method, outcome in self._run_all(
            dataset, methods, name, jobs=self.settings.jobs
        ).items():
            if outcome.matches is None:
                continue
            places = np.array([level_of[i] for i in outcome.matches.image_ids.tolist()])
            matches = outcome.matches.ranges["all"]
            ap[method] = [
                self._ap(accuracy.keep(matches, places == level)) for level in range(len(levels))
            ]
        images = len(level_of) // len(levels)
        return {
            "name": name, "title": about.title, "unit": about.unit, "levels": list(levels), "images": images,
            "people": people, "ap": ap,
        }  # fmt: skip

    def _run_all(
        self,
        dataset: Dataset,
        methods: Sequence[Method],
        part: str,
        *,
        jobs: int,
        extra: Sequence[str] = (),
    ) -> dict[str, Outcome]:
        """The outcomes by name, in the order of the methods; what went wrong is noted."""
        start, stop, settings = time.monotonic(), threading.Event(), self.settings

        def one(method: Method) -> Outcome:
            def say(line: str) -> None:
                self._say(f"{part}, {method.name}: {line}")

            folder = settings.out / "runs" / part / method.name
            outcome = run(
                method, dataset, folder, extra=extra, threads=settings.threads, timeout=settings.timeout,
                again=method.name in settings.again, stop=stop, say=say,
            )  # fmt: skip
            was_there = outcome.status == "done" and not outcome.seconds
            say(
                f"{outcome.status}, {'was there' if was_there else f'{outcome.seconds:.1f} s'} {outcome.reason}".strip()
            )
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            futures = {method.name: pool.submit(one, method) for method in methods}
            try:
                outcomes = {name: future.result() for name, future in futures.items()}
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self.problems += [
            {"part": part, "method": name, "status": outcome.status, "reason": outcome.reason}
            for name, outcome in outcomes.items()
            if outcome.status != "done"
        ]
        self.seconds[part] = time.monotonic() - start
        return outcomes

    def _made(self, name: str, spec: Mapping[str, Any], pictures: Callable[[], Any]) -> Dataset:
        start = time.monotonic()
        dataset = make(
            name, self.settings.out / "data" / name, spec, (picture for picture in pictures())
        )
        self.seconds["making images"] = (
            self.seconds.get("making images", 0.0) + time.monotonic() - start
        )
        return dataset

    def _ap(self, matches: RangeMatches) -> list[float | None]:
        return plain(
            accuracy.average_precision(
                matches, num_samples=self.settings.sweep_samples, seed=self.settings.seed
            )
        )

    def _eligible(
        self, factor: str, levels: Sequence[float], *, every: bool = False
    ) -> list[Entry]:
        infos = [info for info in self.truth["images"] if self._can_show(factor, info, levels)]
        kept = (
            {info["id"] for info in infos}
            if every
            else self._spread([info["id"] for info in infos])
        )
        return [info for info in infos if info["id"] in kept]

    def _can_show(self, factor: str, info: Entry, levels: Sequence[float]) -> bool:
        return photo_sweeps.eligible(factor, self._people[info["id"]], levels)

    def _height(self, info: Entry) -> bool:
        return max(self._people[info["id"]], key=num_labelled)["bbox"][3] >= MIN_DONOR_HEIGHT

    def _spread(self, ids: Sequence[int]) -> set[int]:
        """As many of the ids as a sweep has images, evenly spread."""
        count = min(self.settings.sweep_images, len(ids))
        return (
            {ids[i] for i in np.linspace(0, len(ids) - 1, count).round().astype(int)}
            if count
            else set()
        )

    def _pictures(self, infos: Sequence[Entry]) -> list[Picture]:
        return [read_picture(self.dataset.images, info, self._people[info["id"]]) for info in infos]


def plain(value: Any) -> Any:
    """Dataclasses as dicts, an `Interval` as its three numbers, and None for what is not finite: ready for JSON."""
    if isinstance(value, accuracy.Interval):
        return [plain(value.value), plain(value.low), plain(value.high)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
