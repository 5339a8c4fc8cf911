"""The frame of the report: one page for light, dark and paper, with tables that sort and methods that can be hidden.

Nothing is loaded from anywhere. With #selftest behind its address, the page tries its tables and
writes the outcome into the attribute `data-selftest` of its body.
"""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence

from comparison.plots import swatch

NONE = "-"  # in place of a number


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        value: the number that it is sorted by; without one, by its text.
        small: a second line.
    """

    text: str
    value: float | None = None
    small: str = ""


def page(title: str, sections: Sequence[str], methods: Mapping[str, int]) -> str:
    """The whole page.

    Args:
        title: of the page.
        sections: HTML.
        methods: those in the plots, with their colours.
    """
    keys = "".join(
        f'<label><input type="checkbox" checked data-toggle="{safe(name)}">{swatch(slot)} {safe(name)}</label>'
        for name, slot in methods.items()
    )
    head = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{safe(title)}</title>\n'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    head += f'<meta name="color-scheme" content="light dark">\n<style>{STYLE}</style>\n</head>\n<body>\n'
    legend = f'<nav aria-label="methods in the plots">{keys}</nav>'
    body = (
        f"<header><h1>{safe(title)}</h1>{legend}</header>\n<main>\n{''.join(sections)}\n</main>\n"
    )
    return f"{head}{body}<script>{SCRIPT}</script>\n</body>\n</html>\n"


def section(title: str, *parts: str) -> str:
    """A part of the page with a heading."""
    return f"<section><h2>{safe(title)}</h2>{''.join(parts)}</section>\n"


def note(text: str) -> str:
    """A paragraph."""
    return f"<p>{safe(text)}</p>"


def figure(svg: str, caption: str) -> str:
    """A plot with what it shows, and on how many images."""
    return f"<figure>{svg}<figcaption>{safe(caption)}</figcaption></figure>"


def figures(*parts: str) -> str:
    """Plots side by side as far as there is room."""
    return f'<div class="figures">{"".join(parts)}</div>'


def key(names: Sequence[str]) -> str:
    """What the colours of stacked bars mean."""
    spans = "".join(
        f'<span><i class="p{number}"></i>{safe(name)}</span>' for number, name in enumerate(names)
    )
    return f'<p class="key">{spans}</p>'


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that sorts by a click on a heading; the first column is text."""
    heads = ""
    for column, name in enumerate(headers):
        is_text = all(row[column].value is None and row[column].text != NONE for row in rows)
        kind = ' class="text"' if is_text else ""
        heads += f'<th scope="col"{kind}><button type="button">{safe(name)}</button></th>'
    lines = []
    for row in rows:
        lines.append(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>")
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    small = f"<small>{safe(cell.small)}</small>" if cell.small else ""
    if cell.value is not None and math.isfinite(cell.value):
        return f'<td data-v="{float(cell.value)!r}">{safe(cell.text)}{small}</td>'
    kind = "" if cell.text == NONE else ' class="text"'
    return f"<td{kind}>{safe(cell.text)}{small}</td>"


def safe(text: object) -> str:
    """Text that is only text, whatever a file put into it."""
    return html.escape(str(text), quote=True)


STYLE = """
:root { --back: #fff; --text: #1b1b1f; --quiet: #5c5c66; --line: #d9d9e0; --card: #f5f5f8; --mark: #2f6feb;
  --c0: #0072b2; --c1: #d55e00; --c2: #00875f; --c3: #b8508f; --c4: #a87400; --c5: #3c9bd6; --c6: #6b6b6b;
  --c7: #7a4b2a;
  --p0: #4c9a7a; --p1: #e0a32e; --p2: #c65d9b; --p3: #3c7fb8; --p4: #8a4b3c; --p5: #8d8d98 }
@media screen and (prefers-color-scheme: dark) { :root { --back: #141417; --text: #ececf1; --quiet: #a6a6b2;
  --line: #3a3a43; --card: #1e1e23; --mark: #82aaff;
  --c0: #56aeea; --c1: #ff8a4c; --c2: #2fcf9f; --c3: #ea9aca; --c4: #f2bb3c; --c5: #9ad4ff; --c6: #b5b5b5;
  --c7: #cda07a;
  --p0: #5db894; --p1: #e8b54f; --p2: #d97fb4; --p3: #62a3dc; --p4: #c07e6c; --p5: #8d8d98 } }
@media print { :root { --back: #fff; --text: #000; --quiet: #444; --line: #ccc; --card: #fff } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
header { position: sticky; top: 0; z-index: 1; padding: .6rem 1.2rem; background: var(--back);
  border-bottom: 1px solid var(--line) }
h1 { margin: 0; font-size: 1.15rem }
h2 { margin: 0 0 .4rem; font-size: 1.1rem }
h3 { margin: 1rem 0 .3rem; font-size: 1rem }
nav { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: 13px }
nav label { display: inline-flex; align-items: center; gap: .3rem; cursor: pointer }
main { max-width: 1400px; margin: 0 auto; padding: .6rem 1.2rem 3rem }
section { margin: 1.6rem 0 0 }
p { max-width: 60rem; margin: .3rem 0 .6rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; padding: .6rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  break-inside: avoid; width: fit-content; max-width: 100% }
figcaption { contain: inline-size; color: var(--quiet); font-size: 13px }
svg.plot { max-width: 100%; height: auto; display: block }
svg text { fill: var(--text); font: 12px system-ui, sans-serif }
svg .label { fill: var(--quiet) }
svg .grid { stroke: var(--line); stroke-width: 1 }
svg .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
svg .dashed { stroke-dasharray: 6 4 }
svg .bar { stroke: currentColor; stroke-width: 2; opacity: .7 }
svg .mark { fill: currentColor; stroke: var(--card); stroke-width: 1 }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) } .c3 { color: var(--c3) }
.c4 { color: var(--c4) } .c5 { color: var(--c5) } .c6 { color: var(--c6) } .c7 { color: var(--c7) }
.p0 { fill: var(--p0) } .p1 { fill: var(--p1) } .p2 { fill: var(--p2) } .p3 { fill: var(--p3) }
.p4 { fill: var(--p4) } .p5 { fill: var(--p5) }
rect { stroke: var(--card) }
.key span { margin-right: 1.2rem; white-space: nowrap }
.key i { display: inline-block; width: .9rem; height: .9rem; margin-right: .35rem; vertical-align: -.1rem }
i.p0 { background: var(--p0) } i.p1 { background: var(--p1) } i.p2 { background: var(--p2) }
i.p3 { background: var(--p3) } i.p4 { background: var(--p4) } i.p5 { background: var(--p5) }
.wide { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
td, th { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top }
td { white-space: nowrap }
td:first-child, th:first-child, td.text { text-align: left }
td.text { white-space: normal; overflow-wrap: break-word; max-width: 34rem }
th.text { text-align: left }
td:first-child { white-space: nowrap; min-width: 9rem }
td small { display: block; color: var(--quiet); font-size: 12px }
th button { font: inherit; font-weight: 600; text-align: inherit;
  color: inherit; background: none; border: 0; padding: 0; cursor: pointer }
th button::after { content: "\\00a0\\2195"; color: var(--quiet) }
th[aria-sort=ascending] button::after { content: "\\00a0\\2191" }
th[aria-sort=descending] button::after { content: "\\00a0\\2193" }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px }
.pictures { display: flex; gap: .6rem; overflow-x: auto; margin: .3rem 0 1rem }
.pictures figure { flex: none; padding: .3rem }
.pictures img { display: block; max-height: 240px }
.off { display: none }
@media print { header { position: static } nav input { display: none } .pictures { flex-wrap: wrap }
  * { print-color-adjust: exact } }
"""

SCRIPT = """
"use strict";
function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const key = row => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const numeric = [...body.rows].some(row => typeof key(row) === "number");
  const was = head.getAttribute("aria-sort");
  const up = was ? was === "descending" : !numeric;
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (typeof a === "number" && typeof b === "number") return up ? a - b : b - a;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;  // what has no number stays below
    return up ? a.localeCompare(b) : b.localeCompare(a);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows.map(([, row]) => row));
}
for (const button of document.querySelectorAll("th button")) button.onclick = () => sort(button.parentNode);
for (const box of document.querySelectorAll("[data-toggle]")) box.onchange = () => {
  for (const node of document.querySelectorAll("[data-m]"))
    if (node.dataset.m === box.dataset.toggle) node.classList.toggle("off", !box.checked);
};
function selftest() {
  let sorted = 0;
  for (const table of document.querySelectorAll("table")) {
    const column = [...table.tBodies[0].rows[0]?.cells ?? []].findIndex(cell => cell.dataset.v !== undefined);
    if (column < 0) continue;
    const values = () => [...table.tBodies[0].rows].map(row => row.cells[column].dataset.v)
      .filter(value => value !== undefined).map(Number);
    const button = table.tHead.rows[0].cells[column].querySelector("button");
    for (const sign of [-1, 1]) {
      button.click();
      const now = values();
      if (now.some((value, i) => i && sign * (value - now[i - 1]) < 0)) throw new Error("a table does not sort");
    }
    sorted++;
  }
  let plots = 0;
  for (const plot of document.querySelectorAll("svg.plot")) {
    const box = plot.getBoundingClientRect();
    if (box.width < 50 || box.height < 50 || !plot.querySelector(".mark, rect")) throw new Error("an empty plot");
    plots++;
  }
  const box = document.querySelector("[data-toggle]");
  if (box) {
    box.click();
    const mine = [...document.querySelectorAll("[data-m]")].filter(node => node.dataset.m === box.dataset.toggle);
    if (mine.some(node => getComputedStyle(node).display !== "none")) throw new Error("a method cannot be hidden");
    box.click();
  }
  document.body.dataset.selftest = `sorted ${sorted} tables, ${plots} plots`;
}
if (location.hash === "#selftest") selftest();
"""
