"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

// Sorting: numbers before words, and what is missing last in either direction.

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
  if (table.id === "scores") {
    // Samples and legend stand in the table's order.
    for (const list of document.querySelectorAll("#samples, #legend"))
      list.append(...rows.map((row) => list.querySelector(`[data-row="${row.dataset.row}"]`)));
  }
}

for (const table of document.querySelectorAll("table.sortable"))
  for (const header of table.tHead.rows[0].cells)
    header.querySelector("button").addEventListener("click", () => sortBy(table, header));

// Colours: the colours first, then the same ones dashed.

function stroke(row) {
  const dashes = ["none", "6 3", "2 2", "8 2 2 2"];
  return {
    stroke: data.colours[row % data.colours.length],
    "stroke-dasharray": dashes[Math.floor(row / data.colours.length) % dashes.length],
  };
}

// Filtering: a configuration is shown if each of its choices is ticked.

const form = document.getElementById("filter");

function isShown(configuration) {
  if (!form) return true;
  return [...form.querySelectorAll("fieldset")].every((fieldset) =>
    [...fieldset.querySelectorAll("input")].some(
      (input) => input.checked && input.value === configuration[fieldset.dataset.factor],
    ),
  );
}

function update() {
  const shown = data.configurations.map(isShown);
  for (const element of document.querySelectorAll("[data-row]"))
    element.toggleAttribute("hidden", !shown[Number(element.dataset.row)]);
  if (form) {
    const count = shown.filter(Boolean).length;
    document.getElementById("shown").textContent = `${count} of ${shown.length} configurations are shown`;
  }
  const charts = data.panels.map((panel) => chart(panel, shown));
  document.getElementById("curves")?.replaceChildren(...charts);
}

form?.addEventListener("change", update);
// The boxes are ticked again only after this event.
form?.addEventListener("reset", () => setTimeout(update));

// Curves.

for (const swatch of document.querySelectorAll("[data-row] .swatch")) {
  const row = Number(swatch.closest("[data-row]").dataset.row);
  swatch.append(element("line", { x1: 0, x2: 24, y1: 4, y2: 4, ...stroke(row) }));
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function linearTicks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(Number((i * step).toPrecision(6)));
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  const factors = high / low > 1000 ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(6)));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function axis(values, from, to, mayBeLog) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const isLog = mayBeLog && low > 0 && high > 5 * low;
  const scale = isLog ? Math.log : (value) => value;
  const place = (value) => from + ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (to - from);
  return { place, ticks: isLog ? logTicks(low, high) : linearTicks(low, high) };
}

function shorten(value) {
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential() : String(value);
}

function chart(panel, shown) {
  const [left, right, top, bottom] = [55, 390, 25, 210];
  const svg = element("svg", { viewBox: "0 0 400 245", role: "img", "aria-label": panel.title });
  svg.append(element("text", { x: left, y: 14, "font-weight": 600 }, panel.title));
  const lines = panel.lines.filter((line) => shown[line.row]);
  const points = lines.flatMap((line) => line.points.filter(([, value]) => value !== null));
  if (points.length === 0) return svg;
  const x = axis(points.map(([step]) => step), left, right, false);
  const y = axis(points.map(([, value]) => value), bottom, top, true);
  for (const tick of x.ticks)
    svg.append(element("text", { x: x.place(tick), y: bottom + 16, "text-anchor": "middle" }, shorten(tick)));
  svg.append(element("text", { x: (left + right) / 2, y: bottom + 32, "text-anchor": "middle" }, "step"));
  for (const tick of y.ticks) {
    const height = y.place(tick);
    svg.append(element("line", { class: "grid", x1: left, x2: right, y1: height, y2: height }));
    svg.append(element("text", { x: left - 6, y: height + 4, "text-anchor": "end" }, shorten(tick)));
  }
  for (const line of lines) {
    const path = element("path", { "data-row": line.row, d: pathThrough(line.points, x.place, y.place), ...stroke(line.row) });
    path.append(element("title", {}, `${data.labels[line.row]}, seed ${line.seed}`));
    svg.append(path);
  }
  return svg;
}

function pathThrough(points, x, y) {
  let pen = "M";
  let path = "";
  for (const [step, value] of points) {
    if (value !== null) path += `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = value === null ? "M" : "L";
  }
  // A point by itself is drawn as a short dash.
  return points.length === 1 ? `${path}h3` : path;
}

update();
