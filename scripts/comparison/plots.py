"""Plots as SVG: plain text that prints, follows light and dark by the page's colours, and needs nothing else.

Colours are classes: `.c0` to `.c7` by method, from the page's style sheet. From the ninth method on
they come again with dashes; marks differ by method, too. `data-m` names the method, so that the
page can hide it.
"""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence

NUM_COLORS = 8
WIDTH, HEIGHT = 430, 270  # pixels of a line plot
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46  # margins
ROW = 24  # height of a row of bars or intervals
NAMES = 190  # width for the names of rows


@dataclasses.dataclass(frozen=True)
class Series:
    """A line: one method.

    Attributes:
        name: of the method.
        slot: its colour and mark.
        points: x, y and the ends of the interval of y; points without a y (None or NaN) are left
            out.
        intervals: whether the intervals are drawn; they are in the hints at the points in any case.
    """

    name: str
    slot: int
    points: Sequence[tuple[float, float | None, float | None, float | None]]
    intervals: bool = False


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: what it shows, with the unit.
        ticks: places and their names.
        low: the left or lower end.
        high: the right or upper end.
    """

    label: str
    ticks: Sequence[tuple[float, str]]
    low: float
    high: float


def categories(label: str, names: Sequence[str]) -> Axis:
    """An axis with a place for each name: 0, 1, 2, ..."""
    return Axis(label, list(enumerate(names)), -0.25, max(len(names) - 0.75, 0.25))


def numbers(label: str, values: Sequence[float], *, num_ticks: int = 5) -> Axis:
    """An axis from 0 to beyond the largest value, with round ticks."""
    top = max([value for value in values if math.isfinite(value)], default=1.0)
    top = top if top > 0 else 1.0
    raw = top / num_ticks
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    count = math.ceil(top / step - 1e-9)
    return Axis(label, [(i * step, f"{i * step:.6g}") for i in range(count + 1)], 0.0, count * step)


def line_plot(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Lines with marks; intervals as thin bars."""

    def place(at: float, value: float) -> tuple[float, float]:
        right = LEFT + (at - x.low) / (x.high - x.low) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (value - y.low) / (y.high - y.low) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    parts = []
    for value, name in y.ticks:
        _, down = place(x.low, value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down}" y2="{down}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{down + 4}" text-anchor="end">{_safe(name)}</text>')
    for at, name in x.ticks:
        right, _ = place(at, y.low)
        parts.append(
            f'<text x="{right}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_safe(name)}</text>'
        )
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="label" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{_safe(x.label)}</text>'
    )
    turned = f'transform="rotate(-90 13 {middle_y})"'
    parts.append(
        f'<text class="label" x="13" y="{middle_y}" text-anchor="middle" {turned}>{_safe(y.label)}</text>'
    )
    parts += [_line(one, place, y) for one in series]
    return _svg(title, WIDTH, HEIGHT, parts)


def interval_plot(
    title: str, x: Axis, rows: Sequence[tuple[str, int, Sequence[float | None]]]
) -> str:
    """A row for each method: value, low and high as a dot on a bar."""
    height = len(rows) * ROW + 54

    def right(value: float) -> float:
        return round(NAMES + (value - x.low) / (x.high - x.low) * (WIDTH + 160 - NAMES - 20), 1)

    parts = [_bars_axis(x, right, height)]
    for i, (name, slot, (value, low, high)) in enumerate(rows):
        middle = 12 + i * ROW
        parts.append(
            f'<text x="{NAMES - 10}" y="{middle + 4}" text-anchor="end">{_safe(name)}</text>'
        )
        if value is None or low is None or high is None:
            continue
        hint = f"<title>{_safe(name)}: {value:.3f} ({low:.3f} to {high:.3f})</title>"
        bar = (
            f'<line class="bar" x1="{right(low)}" x2="{right(high)}" y1="{middle}" y2="{middle}"/>'
        )
        parts.append(
            f'<g class="c{slot % NUM_COLORS}">{hint}{bar}{_mark(slot, right(value), middle, 4.5)}</g>'
        )
    return _svg(title, WIDTH + 160, height, parts)


def stacked_bars(
    title: str,
    label: str,
    rows: Sequence[tuple[str, Mapping[str, float]]],
    parts_in_order: Sequence[str],
) -> str:
    """A bar for each row, its parts one after the other; parts have the colours .p0, .p1, ..."""
    height = len(rows) * ROW + 54
    x = numbers(label, [sum(parts.values()) for _, parts in rows])

    def right(value: float) -> float:
        return round(NAMES + (value - x.low) / (x.high - x.low) * (WIDTH + 160 - NAMES - 20), 1)

    drawn = [_bars_axis(x, right, height)]
    for i, (name, parts) in enumerate(rows):
        top, start = 3 + i * ROW, 0.0
        drawn.append(
            f'<text x="{NAMES - 10}" y="{top + 13}" text-anchor="end">{_safe(name)}</text>'
        )
        for number, part in enumerate(parts_in_order):
            value = parts.get(part, 0.0)
            if not math.isfinite(value) or value <= 0:
                continue
            left, width = right(start), round(right(start + value) - right(start), 1)
            hint = f"<title>{_safe(name)}, {_safe(part)}: {value:.4g}</title>"
            drawn.append(
                f'<rect class="p{number}" x="{left}" y="{top}" width="{width}" height="18">{hint}</rect>'
            )
            start += value
    return _svg(title, WIDTH + 160, height, drawn)


def swatch(slot: int) -> str:
    """A method's colour and mark, for a legend."""
    line = f'<line class="curve{_dashes(slot)}" x1="1" x2="27" y1="7" y2="7"/>'
    return f'<svg class="swatch c{slot % NUM_COLORS}" width="28" height="14">{line}{_mark(slot, 14, 7, 4)}</svg>'


def _bars_axis(x: Axis, right, height: float) -> str:
    parts = []
    for value, name in x.ticks:
        parts.append(
            f'<line class="grid" x1="{right(value)}" x2="{right(value)}" y1="0" y2="{height - 46}"/>'
        )
        parts.append(
            f'<text x="{right(value)}" y="{height - 30}" text-anchor="middle">{_safe(name)}</text>'
        )
    middle = (right(x.low) + right(x.high)) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{height - 8}" text-anchor="middle">{_safe(x.label)}</text>'
    )
    return "".join(parts)


def _line(series: Series, place, y: Axis) -> str:
    marks, path = [], []
    for at, value, low, high in series.points:
        if value is None or not math.isfinite(value):
            continue
        right, down = place(at, min(value, y.high))
        path.append(f"{right},{down}")
        between = ""
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            between = f" ({low:.3f} to {high:.3f})"
            if series.intervals:
                top, bottom = place(at, min(high, y.high))[1], place(at, max(low, y.low))[1]
                marks.append(
                    f'<line class="bar" x1="{right}" x2="{right}" y1="{top}" y2="{bottom}"/>'
                )
        hint = f"<title>{_safe(series.name)}: {value:.4g}{between}</title>"
        marks.append(f"<g>{hint}{_mark(series.slot, right, down, 3.5)}</g>")
    line = (
        f'<polyline class="curve{_dashes(series.slot)}" points="{" ".join(path)}"/>'
        if len(path) > 1
        else ""
    )
    return f'<g class="c{series.slot % NUM_COLORS}" data-m="{_safe(series.name)}">{line}{"".join(marks)}</g>'


def _dashes(slot: int) -> str:
    return " dashed" if slot >= NUM_COLORS else ""


def _mark(slot: int, x: float, y: float, r: float) -> str:
    kind = slot % 4
    if kind == 0:
        return f'<circle class="mark" cx="{x}" cy="{y}" r="{r}"/>'
    if kind == 1:
        return (
            f'<rect class="mark" x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}"/>'
        )
    corners = {
        2: [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }[kind]
    points = " ".join(f"{x + dx * r:.1f},{y + dy * r:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{points}"/>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="plot" role="img" aria-label="{_safe(title)}" {size}>{"".join(parts)}</svg>'


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
