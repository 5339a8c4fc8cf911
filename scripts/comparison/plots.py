"""Plots as SVG text.

No plotting library: the text follows light, dark and paper by the colours of the page, prints
sharply, weighs little, and needs nothing when it is opened. Its elements can be hidden by method.

Colours are the classes `.c0` to `.c7` of the style sheet, by method. From the ninth method on they
come again with dashes; marks differ by method, too. `data-m` names the method, so that the page can
hide it.
"""

import dataclasses
import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

NUM_COLORS = 8
WIDTH, HEIGHT = 430, 270  # pixels of a line plot
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46  # margins
BARS_WIDTH = WIDTH + 160  # of a plot with a row for each method
ROW = 24  # height of a row
NAMES = 190  # width for the names of rows

Place = Callable[[float, float], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Series:
    """A line: one method.

    Attributes:
        name: of the method.
        slot: its colour and mark.
        points: x, y and the ends of the interval of y. Points without a y (None or NaN) are left
            out.
        intervals: whether intervals are drawn; the hints at the points show them in any case.
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

    def share(self, value: float) -> float:
        """How far along the axis a value is, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


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
        right = LEFT + x.share(at) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)
        return round(right, 1), round(down, 1)

    parts = []
    for value, name in y.ticks:
        _, down = place(x.low, value)
        parts.append(_line("grid", LEFT, WIDTH - RIGHT, down, down))
        parts.append(_text(LEFT - 6, down + 4, name, "end"))
    for at, name in x.ticks:
        parts.append(_text(place(at, y.low)[0], HEIGHT - BOTTOM + 17, name))
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text(middle_x, HEIGHT - 8, x.label, kind="label"))
    turned = f' transform="rotate(-90 13 {middle_y})"'
    parts.append(_text(13, middle_y, y.label, kind="label", more=turned))
    parts += [_curve(one, place, y) for one in series]
    return _svg(title, WIDTH, HEIGHT, parts)


def interval_plot(
    title: str, x: Axis, rows: Sequence[tuple[str, int, Sequence[float | None]]]
) -> str:
    """A row for each method: value, low and high as a dot on a bar."""
    height = _bars_height(rows)
    parts = [_bars_axis(x, height)]
    for i, (name, slot, (value, low, high)) in enumerate(rows):
        middle = 12 + i * ROW
        parts.append(_text(NAMES - 10, middle + 4, name, "end"))
        if _is_finite(value) and _is_finite(low) and _is_finite(high):
            hint = _hint(f"{name}: {value:.3f} ({low:.3f} to {high:.3f})")
            bar = _line("bar", _right(x, low), _right(x, high), middle, middle)
            mark = _mark(slot, _right(x, value), middle, 4.5)
            parts.append(f'<g class="c{slot % NUM_COLORS}">{hint}{bar}{mark}</g>')
    return _svg(title, BARS_WIDTH, height, parts)


def stacked_bars(
    title: str,
    label: str,
    rows: Sequence[tuple[str, Mapping[str, float]]],
    parts_in_order: Sequence[str],
) -> str:
    """A bar for each row, its parts one after the other, in the colours `.p0`, `.p1`, ..."""
    height = _bars_height(rows)
    x = numbers(label, [sum(parts.values()) for _, parts in rows])
    drawn = [_bars_axis(x, height)]
    for i, (name, parts) in enumerate(rows):
        top, start = 3 + i * ROW, 0.0
        drawn.append(_text(NAMES - 10, top + 13, name, "end"))
        for number, part in enumerate(parts_in_order):
            value = parts.get(part, 0.0)
            if not math.isfinite(value) or value <= 0:
                continue
            left, end = _right(x, start), _right(x, start + value)
            place = f'x="{left}" y="{top}" width="{round(end - left, 1)}" height="18"'
            hint = _hint(f"{name}, {part}: {value:.4g}")
            drawn.append(f'<rect class="p{number}" {place}>{hint}</rect>')
            start += value
    return _svg(title, BARS_WIDTH, height, drawn)


def swatch(slot: int) -> str:
    """The colour and mark of a method, for a legend."""
    line = f'<line class="curve{_dashes(slot)}" x1="1" x2="27" y1="7" y2="7"/>'
    kind = f"swatch c{slot % NUM_COLORS}"
    return f'<svg class="{kind}" width="28" height="14">{line}{_mark(slot, 14, 7, 4)}</svg>'


def _bars_height(rows: Sequence[object]) -> int:
    return len(rows) * ROW + 54


def _right(x: Axis, value: float) -> float:
    """The place of a value in a plot with rows."""
    return round(NAMES + x.share(value) * (BARS_WIDTH - NAMES - 20), 1)


def _bars_axis(x: Axis, height: float) -> str:
    parts = []
    for value, name in x.ticks:
        right = _right(x, value)
        parts.append(_line("grid", right, right, 0, height - 46))
        parts.append(_text(right, height - 30, name))
    middle = (_right(x, x.low) + _right(x, x.high)) / 2
    parts.append(_text(middle, height - 8, x.label, kind="label"))
    return "".join(parts)


def _curve(series: Series, place: Place, y: Axis) -> str:
    marks, path = [], []
    for at, value, low, high in series.points:
        if not _is_finite(value):
            continue
        right, down = place(at, min(value, y.high))
        path.append(f"{right},{down}")
        between = ""
        if _is_finite(low) and _is_finite(high):
            between = f" ({low:.3f} to {high:.3f})"
            if series.intervals:
                top, bottom = place(at, min(high, y.high))[1], place(at, max(low, y.low))[1]
                marks.append(_line("bar", right, right, top, bottom))
        hint = _hint(f"{series.name}: {value:.4g}{between}")
        marks.append(f"<g>{hint}{_mark(series.slot, right, down, 3.5)}</g>")
    line = ""
    if len(path) > 1:
        line = f'<polyline class="curve{_dashes(series.slot)}" points="{" ".join(path)}"/>'
    kind = f'class="c{series.slot % NUM_COLORS}" data-m="{html.escape(series.name)}"'
    return f"<g {kind}>{line}{''.join(marks)}</g>"


def _dashes(slot: int) -> str:
    return " dashed" if slot >= NUM_COLORS else ""


def _mark(slot: int, x: float, y: float, r: float) -> str:
    """A circle, a square, a triangle or a diamond."""
    kind = slot % 4
    if kind == 0:
        return f'<circle class="mark" cx="{x}" cy="{y}" r="{r}"/>'
    if kind == 1:
        corner = f'x="{x - r:.1f}" y="{y - r:.1f}"'
        return f'<rect class="mark" {corner} width="{2 * r}" height="{2 * r}"/>'
    triangle = [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)]
    diamond = [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)]
    corners = triangle if kind == 2 else diamond
    points = " ".join(f"{x + dx * r:.1f},{y + dy * r:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{points}"/>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    about = f'role="img" aria-label="{html.escape(title)}"'
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="plot" {about} {size}>{"".join(parts)}</svg>'


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "middle", *, kind: str = "", more: str = ""
) -> str:
    kind = f'class="{kind}" ' if kind else ""
    return f'<text {kind}x="{x}" y="{y}" text-anchor="{anchor}"{more}>{html.escape(text)}</text>'


def _hint(text: str) -> str:
    """What a pointer over the element shows."""
    return f"<title>{html.escape(text)}</title>"


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
