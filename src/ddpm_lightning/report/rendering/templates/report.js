"use strict";

// Sorting: numbers before words, and missing values last in either direction.

function compareKeys(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  if (Number.isNaN(x) !== Number.isNaN(y)) return sign * (Number.isNaN(x) - Number.isNaN(y));
  return sign * (Number.isNaN(x) ? a.localeCompare(b) : x - y);
}

function sortBy(table, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => row.cells[header.cellIndex].dataset.key;
  const rows = [...table.tBodies[0].rows].sort((a, b) => compareKeys(key(a), key(b), ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
  if (table.id !== "scores") return;
  const samples = document.getElementById("samples");
  samples.append(...rows.map((row) => samples.querySelector(`[data-row="${row.dataset.row}"]`)));
}

for (const table of document.querySelectorAll("table.sortable"))
  for (const header of table.tHead.rows[0].cells)
    header.querySelector("button").addEventListener("click", () => sortBy(table, header));

// Filtering: a configuration is shown if all its choices are ticked. Factor i is column i of the table.

function update() {
  const factors = [...form.querySelectorAll("fieldset")];
  const ticked = factors.map((factor) => [...factor.querySelectorAll("input:checked")].map((box) => box.value));
  const rows = [...document.getElementById("scores").tBodies[0].rows];
  const shown = rows.filter((row) => ticked.every((choices, i) => choices.includes(row.cells[i].dataset.key)));
  const numbers = new Set(shown.map((row) => row.dataset.row));
  for (const element of document.querySelectorAll("[data-row]")) element.hidden = !numbers.has(element.dataset.row);
  document.getElementById("shown").textContent = `${shown.length} of ${rows.length} configurations are shown.`;
}

const form = document.getElementById("filter");
if (form) {
  form.addEventListener("change", update);
  form.addEventListener("reset", () => setTimeout(update)); // the boxes are ticked only after this event
  update(); // browsers remember ticks when a page is reloaded
}
