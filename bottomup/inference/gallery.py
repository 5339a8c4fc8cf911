"""One page to look through a run: no network, no other scripts, keys and filters, dark and printable.

Small pictures of the first images are part of the page; the large ones, and the small ones of the
rest, are the files of overlays/, to which it refers. Only what is looked at is loaded.
"""

import base64
import os
import urllib.parse
from typing import Any

MAX_THUMBNAILS = 1000  # in the page itself, about 8 MB
MAX_ROWS = 20_000  # images beyond are in the lists only, and the page says so
THUMBNAIL_SIDE = 240


def entry(
    name: str,
    num_people: int | None,
    wh: tuple[int, int] | None,
    overlay: str | None,
    thumbnail: bytes | None,
    error: str | None,
) -> dict[str, Any]:
    """What the page knows of one image, by short names since there may be many."""
    found: dict[str, Any] = {"f": name.encode("utf-8", "replace").decode()}
    if num_people is not None:
        found["n"] = num_people
    if wh is not None:
        found["w"], found["h"] = wh
    if overlay is not None:
        found["o"] = urllib.parse.quote(os.fsencode(overlay))
    if thumbnail is not None:
        found["t"] = base64.b64encode(thumbnail).decode()
    if error is not None:
        found["e"] = error
    return found


START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>bottomup: people found</title>
<style>
:root { --back: #fff; --text: #1b1b1f; --quiet: #62626b; --line: #d9d9e0;
  --card: #f4f4f7; --bad: #b3261e; --mark: #2f6feb }
@media (prefers-color-scheme: dark) {
  :root { --back: #141417; --text: #ececf1; --quiet: #a0a0ab; --line: #35353d;
    --card: #1f1f24; --bad: #ff8a80; --mark: #82aaff }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center;
  padding: .7rem 1rem; background: var(--back); border-bottom: 1px solid var(--line) }
h1 { margin: 0; font-size: 1.05rem }
header .space { flex: 1 }
input, select, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .55rem }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .8rem; padding: 1rem }
.card { display: flex; flex-direction: column; padding: 0; overflow: hidden; text-align: left; cursor: pointer;
  break-inside: avoid }
.card img, .card .none { width: 100%; height: 150px; object-fit: contain; background: #0002 }
.card .none { display: grid; place-items: center; color: var(--quiet) }
.card span { padding: .3rem .5rem; overflow-wrap: anywhere }
.card small { display: block; color: var(--quiet) }
.bad, .card .bad { color: var(--bad) }
footer { padding: 1rem; text-align: center }
dialog { width: 100vw; height: 100vh; max-width: none; max-height: none; margin: 0; padding: 0; border: 0;
  background: var(--back); color: inherit }
dialog[open] { display: flex; flex-direction: column }
dialog nav { display: flex; gap: .6rem; align-items: center; padding: .6rem 1rem }
dialog nav p { flex: 1; margin: 0; overflow-wrap: anywhere }
@media print {
  header { position: static } header label, header button, footer button, dialog { display: none !important }
  main { grid-template-columns: repeat(3, 1fr) }
}
</style>
</head>
<body>
<header>
<h1>bottomup</h1><span id="count" role="status"></span><span class="space"></span>
<label>People <select id="people"><option value="all">any number</option><option value="0">none</option>
<option value="1">1 or more</option><option value="2">2 or more</option><option value="5">5 or more</option>
<option value="10">10 or more</option><option value="20">20 or more</option><option value="bad">failures</option>
</select></label>
<label>Order <select id="order"><option value="source">of the source</option>
<option value="most">most people first</option></select></label>
<label>Name <input id="name" type="search" placeholder="part of it"></label>
</header>
<main id="grid"></main>
<footer><p id="more"></p><p>A click or Enter opens a picture; arrow keys go on, Escape goes back.</p>
<noscript>This page needs JavaScript; the pictures are in overlays/, the numbers in results.json.</noscript></footer>
<dialog id="viewer"><nav><button id="previous" title="left arrow">&larr;</button><p id="caption"></p>
<button id="next" title="right arrow">&rarr;</button><button id="back" title="Escape">Close</button></nav>
<div id="stage"></div></dialog>
<script id="rows" type="application/json">["""

END = """]</script>
<script>
"use strict";
const PAGE = 200, MAX_ROWS = %MAX_ROWS%;
const byId = id => document.getElementById(id);
const rows = JSON.parse(byId("rows").textContent);
let chosen = [], shown = 0, at = 0;
const people = n => n === 1 ? "1 person" : `${n} people`;
const small = row => row.t ? "data:image/jpeg;base64," + row.t : row.o;
const large = row => row.o || small(row);
function make(tag, text, kind) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}
function picture(source, name) {
  const image = make("img");
  image.loading = "lazy"; image.decoding = "async"; image.alt = "people found in " + name; image.src = source;
  return image;
}
function card(row, index) {
  const node = make("button", "", "card"), text = make("span", row.f);
  const empty = row.n === undefined ? "failed" : "no picture kept";
  node.append(small(row) ? picture(small(row), row.f) : make("div", empty, "none"));
  if (row.n !== undefined) text.append(make("small", `${people(row.n)}, ${row.w} x ${row.h}`));
  if (row.e) text.append(make("small", row.e, "bad"));
  node.append(text);
  node.onclick = () => { at = index; look(); };
  return node;
}
function grow() {
  const end = Math.min(shown + PAGE, chosen.length), cards = [];
  for (; shown < end; shown++) cards.push(card(chosen[shown], shown));
  byId("grid").append(...cards);
}
function choose() {
  const limit = byId("people").value, part = byId("name").value.toLowerCase();
  const fits = row => limit === "all" || (limit === "bad" ? row.e !== undefined
    : row.n !== undefined && (limit === "0" ? row.n === 0 : row.n >= Number(limit)));
  chosen = rows.filter(row => fits(row) && row.f.toLowerCase().includes(part));
  if (byId("order").value === "most") chosen.sort((a, b) => (b.n || 0) - (a.n || 0));
  const total = chosen.reduce((sum, row) => sum + (row.n || 0), 0), bad = chosen.filter(row => row.e).length;
  const failed = bad ? `, ${bad} failed` : "";
  byId("count").textContent = `${chosen.length} of ${rows.length} images, ${people(total)}${failed}`;
  byId("grid").replaceChildren(); shown = 0; grow();
}
function look() {
  if (!chosen.length) return;
  at = Math.max(0, Math.min(at, chosen.length - 1));
  const row = chosen[at], none = () => make("p", row.e || "no picture kept", row.e && "bad");
  byId("caption").textContent = `${at + 1} / ${chosen.length}   ${row.f}   ${row.n === undefined ? "" : people(row.n)}`;
  byId("stage").replaceChildren(large(row) ? picture(large(row), row.f) : none());
  if (!byId("viewer").open) byId("viewer").showModal();
}
const step = by => { at += by; look(); };
byId("people").onchange = byId("order").onchange = byId("name").oninput = choose;
byId("previous").onclick = () => step(-1);
byId("next").onclick = () => step(1);
byId("back").onclick = () => byId("viewer").close();
const STEPS = { ArrowLeft: -1, ArrowUp: -1, PageUp: -10, Home: -1e9,
  ArrowRight: 1, ArrowDown: 1, PageDown: 10, End: 1e9 };
byId("viewer").onkeydown = event => {
  const by = STEPS[event.key];
  if (by) { event.preventDefault(); step(by); }
};
const watch = new IntersectionObserver(seen => {
  if (!seen[0].isIntersecting || shown >= chosen.length) return;
  grow();
  watch.unobserve(seen[0].target); watch.observe(seen[0].target);  // asks again whether the end is still in sight
}, { rootMargin: "800px" });
watch.observe(document.querySelector("footer"));
addEventListener("beforeprint", () => { while (shown < Math.min(chosen.length, 1000)) grow(); });
if (rows.length >= MAX_ROWS) byId("more").textContent =
  `This page shows the first ${MAX_ROWS} images; all of them are in images.json and results.json.`;
choose();
</script>
</body>
</html>""".replace("%MAX_ROWS%", str(MAX_ROWS))
