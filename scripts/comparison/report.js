// Sorts the tables of the comparison report and hides methods in its plots. Inlined into the page.
"use strict";

// Sort a table by the column of a heading: numbers from the largest on first, then the other way.
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
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;  // rows without a number last
    return up ? a.localeCompare(b) : b.localeCompare(a);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows.map(([, row]) => row));
}

for (const button of document.querySelectorAll("th button")) {
  button.onclick = () => sort(button.parentNode);
}

// Everything that a method draws names it in data-m.
for (const box of document.querySelectorAll("[data-toggle]")) {
  box.onchange = () => {
    for (const node of document.querySelectorAll("[data-m]")) {
      if (node.dataset.m === box.dataset.toggle) node.classList.toggle("off", !box.checked);
    }
  };
}

// With #selftest in its address, the page tries its tables, its plots and the hiding of a method.
// It writes the outcome into the attribute data-selftest of its body.
function selftest() {
  let sorted = 0;
  for (const table of document.querySelectorAll("table")) {
    const cells = [...table.tBodies[0].rows[0]?.cells ?? []];
    const column = cells.findIndex(cell => cell.dataset.v !== undefined);
    if (column < 0) continue;
    const values = () => [...table.tBodies[0].rows].map(row => row.cells[column].dataset.v)
      .filter(value => value !== undefined).map(Number);
    const button = table.tHead.rows[0].cells[column].querySelector("button");
    for (const sign of [-1, 1]) {
      button.click();
      const now = values();
      if (now.some((value, i) => i && sign * (value - now[i - 1]) < 0)) {
        throw new Error("a table does not sort");
      }
    }
    sorted++;
  }
  let plots = 0;
  for (const plot of document.querySelectorAll("svg.plot")) {
    const frame = plot.getBoundingClientRect();
    if (frame.width < 50 || frame.height < 50 || !plot.querySelector(".mark, rect")) {
      throw new Error("an empty plot");
    }
    plots++;
  }
  const box = document.querySelector("[data-toggle]");
  if (box) {
    box.click();
    const own = [...document.querySelectorAll("[data-m]")]
      .filter(node => node.dataset.m === box.dataset.toggle);
    if (own.some(node => getComputedStyle(node).display !== "none")) {
      throw new Error("a method cannot be hidden");
    }
    box.click();
  }
  document.body.dataset.selftest = `sorted ${sorted} tables, ${plots} plots`;
}
if (location.hash === "#selftest") selftest();
