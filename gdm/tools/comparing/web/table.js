// The table of results: what sorts it, its cells, and what they show when pointed at.

function headings() {
  const settings = (chosen.settings ? comparison.settings : []).map((key) => ({
    key: `setting ${key}`,
    label: key.split(".").at(-1),
    below: key.includes(".") ? [key] : [],
    kind: "setting",
    value: (row) => row.settings[key] ?? null,
  }));
  const columns = comparison.columns.map((column) => ({
    key: column.key,
    label: words(column.name),
    below: [
      unitOf(column),
      briefly(column.key, keysOf(column.name)).join(" · "),
      direction(column.better),
    ].filter(Boolean),
    kind: column.kind,
    column,
    value: (row) => rank(row, column),
  }));
  return [
    { key: "name", label: "Configuration", kind: "name", value: (row) => row.name },
    { key: "seeds", label: "Seeds", kind: "count", value: (row) => -row.num_seeds },
    ...settings,
    ...columns,
  ];
}

// Return a number that is the smaller the better a row is in a column; null where it has none.
function rank(row, column) {
  const mean = row.cells[column.key]?.mean;
  if (mean == null) return null;
  if (column.better === "higher") return -mean;
  const real = row.real[column.key];
  return column.better === "as real" && real != null ? Math.abs(mean - real) : mean;
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortedRows() {
  const heading = headings().find(({ key }) => key === chosen.sort);
  if (!heading) return comparison.rows;
  const sign = chosen.reversed ? -1 : 1;
  const has = (row) => heading.value(row) != null;
  const rows = comparison.rows.filter(has);
  rows.sort((a, b) => sign * compareValues(heading.value(a), heading.value(b)));
  return [...rows, ...comparison.rows.filter((row) => !has(row))]; // nothing is never best
}

function sortBy(key) {
  chosen.reversed = chosen.sort === key && !chosen.reversed;
  chosen.sort = key;
  drawTable();
  drawSamples();
  byId("table").querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
}

// Headings --------------------------------------------------------------------------------------

function ariaSort(heading) {
  if (heading.key !== chosen.sort) return null;
  if (heading.column?.better === "as real") return "other";
  const falls = heading.column?.better === "higher" || heading.kind === "count";
  return falls !== chosen.reversed ? "descending" : "ascending";
}

function headingCell(heading) {
  const sort = ariaSort(heading);
  const arrow = { ascending: "↑", descending: "↓", other: chosen.reversed ? "↓" : "↑" }[sort];
  const button = element(
    "button",
    { type: "button", "data-key": heading.key, click: () => sortBy(heading.key) },
    element("span", { class: "label" }, breakable(heading.label)),
    element("span", { class: "arrow", "aria-hidden": "true" }, arrow ?? ""),
    (heading.below ?? []).map((text) => element("small", {}, breakable(text))),
  );
  return element("th", { scope: "col", class: heading.kind, "aria-sort": sort }, button);
}

function sortedWords() {
  const heading = headings().find(({ key }) => key === chosen.sort);
  if (!heading) return "In the order that was asked for";
  const ordered = heading.column?.better ? ["best first", "best last"] : ["rising", "falling"];
  if (heading.kind === "count") ordered.reverse();
  return `Sorted by ${heading.label}, ${ordered[Number(chosen.reversed)]}`;
}

// Cells -----------------------------------------------------------------------------------------

// Return the rows that no other is better than in a column.
function bestRows(column) {
  const ranked = comparison.rows.filter((row) => rank(row, column) != null);
  if (!column.better || ranked.length < 2) return new Set();
  const least = Math.min(...ranked.map((row) => rank(row, column)));
  return new Set(ranked.filter((row) => rank(row, column) === least));
}

function nameCell(row) {
  const marked = row.members.filter((member) => member.marks.length > 0).length;
  const mark = marked > 0 && element("a", { class: "mark", href: "#runs" }, `${marked} marked`);
  return element(
    "th",
    { scope: "row", class: "name" },
    named(row),
    mark || null,
  );
}

function valueCell(row, column, isBest, floor) {
  const cell = row.cells[column.key];
  if (!cell) return element("td", { class: `${column.kind} none` }, "–");
  const real = row.real[column.key];
  const show = (event) => pointAt(event.currentTarget, row, column);
  return element(
    "td",
    {
      class: `${column.kind} value${isBest ? " best" : ""}`,
      tabindex: "-1",
      mouseenter: show,
      focus: show,
      mouseleave: hideTip,
      blur: hideTip,
    },
    element("span", { class: "mean" }, fixed(cell.mean, column.decimals)),
    cell.std ? element("span", { class: "std" }, ` ± ${fixed(cell.std, column.decimals)}`) : null,
    isBest ? element("span", { class: "unseen" }, " (best)") : null,
    cell.n === row.num_seeds ? null : element("small", {}, ` of ${count(cell.n, "seed")}`),
    floor == null && real != null
      ? element("small", {}, ` real ${fixed(real, column.decimals)}`)
      : null,
  );
}

function pointAt(cell, row, column) {
  const { mean, std, n, values } = row.cells[column.key];
  const { left, bottom, width } = cell.getBoundingClientRect();
  const real = row.real[column.key];
  const seeds = Object.entries(values).map(([seed, value]) => [
    `Seed ${seed}`,
    fixed(value, column.decimals),
  ]);
  const over = [`Mean ± std of ${count(n, "seed")}`, meanAndStd({ mean, std }, column), "sum"];
  const pairs = std == null ? seeds : [...seeds, over];
  if (real != null) pairs.push(["Real images", fixed(real, column.decimals)]);
  const title = element("p", { class: "title" }, `${columnLabel(column)} of ${row.name}`);
  const how = element("p", { class: "how" }, column.how);
  const again = () => pointAt(cell, row, column);
  showTip([title, lines(pairs), how], left + width / 2, bottom - 12, again);
}

// The whole -------------------------------------------------------------------------------------

function floorRow(heads, floors) {
  if (![...floors.values()].some((floor) => floor != null)) return null;
  const cells = heads.slice(1).map(({ kind, column }) => {
    const floor = column && floors.get(column.key);
    return element("td", { class: kind }, floor == null ? "" : fixed(floor, column.decimals));
  });
  const name = element("th", { scope: "row", class: "name" }, "Real images, the floor");
  return element("tfoot", {}, element("tr", {}, name, cells));
}

function drawTable() {
  const heads = headings();
  const columns = comparison.columns;
  const best = new Map(columns.map((column) => [column.key, bestRows(column)]));
  const floors = new Map(columns.map((column) => [column.key, commonFloor(column)]));
  const cellOf = (row, { key, kind, column, value }) => {
    if (kind === "name") return nameCell(row);
    if (kind === "count") return element("td", { class: kind }, String(row.num_seeds));
    if (kind === "setting") return element("td", { class: kind }, value(row) ?? "–");
    return valueCell(row, column, best.get(key).has(row), floors.get(key));
  };
  const rows = sortedRows().map((row) =>
    element("tr", {}, heads.map((heading) => cellOf(row, heading))),
  );
  const body = element("tbody", { keydown: moveFocus }, rows);
  body.querySelector(".value")?.setAttribute("tabindex", "0");
  byId("sorted").textContent = sortedWords();
  const head = element("thead", {}, element("tr", {}, heads.map(headingCell)));
  byId("table").replaceChildren(head, body, floorRow(heads, floors) ?? "");
}

// Move among the cells by the arrow keys, so that the table is one stop of the Tab key.
function moveFocus(event) {
  const cell = event.target.closest("td.value");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!cell || !step[event.key]) return;
  event.preventDefault();
  const [down, along] = step[event.key];
  const rows = event.currentTarget.rows;
  let [y, x] = [cell.parentNode.rowIndex - 1 + down, cell.cellIndex + along];
  while (rows[y]?.cells[x] && !rows[y].cells[x].matches(".value")) [y, x] = [y + down, x + along];
  const next = rows[y]?.cells[x];
  if (!next) return;
  cell.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

function drawResultsControls() {
  const number = comparison.settings.length;
  if (number === 0) return;
  const change = (on) => {
    chosen.settings = on;
    drawTable();
  };
  byId("results-controls").replaceChildren(
    checkbox(`Show the ${count(number, "setting")} that differ`, chosen.settings, change),
  );
}
