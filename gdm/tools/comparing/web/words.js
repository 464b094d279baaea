// What the parts of the page share: the data, what is chosen, elements, numbers and names.

const comparison = JSON.parse(document.getElementById("comparison").textContent);
const byId = (id) => document.getElementById(id);

// What is chosen, which outlives a loading of the page ----------------------------------------

const MOST_DRAWN = 12; // rows in the charts, unless the reader chooses more
const STORED = `gdm compare ${location.pathname}`;

const chosen = {
  sort: null, // key of a heading; null for the order that was asked for
  reversed: false,
  settings: comparison.settings.length <= 6 && innerWidth > 640, // whether they are columns
  seed: null,
  metric: null,
  over: "images",
  curvesLog: true, // where all values are above 0
  costX: null,
  costY: null,
  costLogX: false,
  costLogY: false,
  reference: null, // id of the row that others are told from
  hidden: comparison.rows.slice(MOST_DRAWN).map((row) => row.id), // from the charts
  theme: "auto",
  paused: false,
  scroll: [0, 0], // down the page, and along the table
};

try {
  Object.assign(chosen, JSON.parse(sessionStorage.getItem(STORED)));
} catch {
  // storage is switched off: each loading starts anew
}

function store() {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(chosen));
  } catch {
    // as above
  }
}

// Return a choice that may be of an earlier state of the sweep, or the first there is.
function settle(key, options) {
  if (!options.includes(chosen[key])) chosen[key] = options[0] ?? null;
  return chosen[key];
}

// Elements --------------------------------------------------------------------------------------

// Make an element. Strings among the children become text, so that no name is taken for markup.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

let numChoices = 0;

// Make radio buttons for a few short options, or a list. Options are [value, label] pairs.
function choice(label, options, value, change) {
  const length = options.reduce((sum, [, text]) => sum + text.length, 0);
  if (options.length > 4 || length > 40) {
    const listed = options.map(([option, text]) =>
      element("option", { value: option, selected: option === value }, text),
    );
    const list = element("select", { change: () => change(list.value) }, listed);
    return element("label", { class: "choice" }, element("span", {}, label), list);
  }
  const name = `choice-${numChoices++}`;
  const radios = options.map(([option, text]) =>
    element(
      "label",
      {},
      element("input", {
        type: "radio",
        name,
        value: option,
        checked: option === value,
        change: () => change(option),
      }),
      element("span", {}, text),
    ),
  );
  const group = element("span", { class: "segments" }, radios);
  return element("fieldset", { class: "choice" }, element("legend", {}, label), group);
}

function checkbox(label, value, change) {
  const box = element("input", {
    type: "checkbox",
    checked: value,
    change: () => change(box.checked),
  });
  return element("label", { class: "check" }, box, label);
}

// Make the mark of a row, the same in the table, the legends and the charts.
function swatch(index) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-12 -6 24 12");
  svg.setAttribute("class", `swatch series-${index % NUM_COLOURS}`);
  svg.setAttribute("aria-hidden", "true");
  for (const [data, filled] of [["M-12 0H12", false], [markerPath(index, 4.5), true]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", data);
    path.setAttribute("class", filled ? "marker" : "line");
    if (!filled) path.setAttribute("stroke-dasharray", dashes(index).join(" "));
    svg.append(path);
  }
  return svg;
}

// A row's colour, shape and dashes: told apart without colour too -------------------------------

const NUM_COLOURS = 7;

function dashes(index) {
  return [[], [6, 3], [2, 3]][Math.floor(index / NUM_COLOURS) % 3];
}

function markerPath(index, r) {
  const w = 0.9 * r;
  const arm = 0.4 * r;
  return [
    `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
    `M${-w} ${-w}H${w}V${w}H${-w}Z`,
    `M0 ${-1.2 * r}L${1.15 * r} ${0.9 * r}H${-1.15 * r}Z`,
    `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
    `M0 ${1.2 * r}L${1.15 * r} ${-0.9 * r}H${-1.15 * r}Z`,
    `M${-arm} ${-r}H${arm}V${-arm}H${r}V${arm}H${arm}V${r}H${-arm}V${arm}H${-r}V${-arm}H${-arm}Z`,
  ][index % 6];
}

// Numbers and names -----------------------------------------------------------------------------

const compactNumber = new Intl.NumberFormat("en", {
  notation: "compact",
  maximumSignificantDigits: 4,
});

function fixed(value, decimals) {
  if (value == null) return "not finite";
  return value.toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

// Write a number of unknown kind with four digits.
function short(value) {
  if (value == null) return "not finite";
  return value.toLocaleString("en", { maximumSignificantDigits: Math.abs(value) < 1e4 ? 4 : 12 });
}

function meanAndStd(cell, column) {
  const mean = fixed(cell.mean, column.decimals);
  return !cell.std ? mean : `${mean} ± ${fixed(cell.std, column.decimals)}`;
}

function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

function words(name) {
  const spaced = name.replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

// Let a long name go on in the next line after a dot, an underscore and the like.
function breakable(name) {
  return name.split(/(?<=[._/=,])/).flatMap((part) => [part, element("wbr")]);
}

// Make a row's name with its mark.
function named(row) {
  const name = element("span", {}, breakable(row.name));
  return element("span", { class: "named" }, swatch(comparison.rows.indexOf(row)), name);
}

// Return the parts of how a quantity was measured, which follow its name in the key.
function protocol(key) {
  return key.split("|").slice(1);
}

// Return the parts by which a key differs from others of the same quantity.
function distinction(key, others) {
  return protocol(key).filter((part) => others.some((other) => !protocol(other).includes(part)));
}

// Return the parts that a reader needs at once: the first two, of which one is the split, the
// number of images, and what tells it apart.
function briefly(key, others) {
  const parts = protocol(key);
  const apart = distinction(key, others);
  return parts.filter((part, k) => k < 2 || part.startsWith("n=") || apart.includes(part));
}

function keysOf(name) {
  return comparison.columns.filter((other) => other.name === name).map(({ key }) => key);
}

function columnLabel({ name, key }) {
  const apart = distinction(key, keysOf(name)).join(" · ");
  return apart ? `${words(name)} (${apart})` : words(name);
}

// Return a column's unit unless its name says it, as that of minutes does.
function unitOf({ name, unit }) {
  return name.startsWith(unit) ? "" : unit;
}

function direction(better) {
  const said = { lower: "lower is better", higher: "higher is better", "as real": "best as real" };
  return said[better] ?? "";
}

// Return what all rows that have a column agree on for real images; null where they differ.
function commonFloor(column) {
  const floors = new Set();
  for (const row of comparison.rows) {
    if (row.cells[column.key]) floors.add(row.real[column.key] ?? null);
  }
  return floors.size === 1 ? [...floors][0] : null;
}

// The box of what is pointed at -----------------------------------------------------------------

const tip = byId("tip");

let tipAgain = null; // shows it anew where its cell has gone, while that has the focus

function showTip(children, left, top, again = null) {
  tipAgain = again;
  tip.replaceChildren(...children);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = document.documentElement.clientWidth;
  const x = left + 16 + width > right ? left - width - 16 : left + 16;
  const y = top + 16 + height > innerHeight ? top - height - 16 : top + 16;
  tip.style.left = `${Math.max(8, Math.min(x, right - width - 8))}px`;
  tip.style.top = `${Math.max(8, y)}px`;
}

function hideTip() {
  tipAgain = null;
  tip.hidden = true;
}

function moveTip() {
  if (tipAgain && document.activeElement.matches("td.value")) tipAgain();
  else hideTip();
}

// Make lines of a name and a value; each is [name, value, class?, mark?].
function lines(pairs) {
  const rows = pairs.map(([name, value, kind, mark]) =>
    element("div", { class: kind }, element("dt", {}, mark, name), element("dd", {}, value)),
  );
  return element("dl", { class: "lines" }, rows);
}
