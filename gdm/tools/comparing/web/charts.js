// What the two charts share: colours, axes, their place, and which rows are drawn in them.

function drawnRows() {
  return comparison.rows.filter((row) => !chosen.hidden.includes(row.id));
}

// Colours and axes ------------------------------------------------------------------------------

// Return a colour of the style sheet as the canvas knows it.
function colour(name) {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function seriesColour(row) {
  return colour(`--series-${comparison.rows.indexOf(row) % NUM_COLOURS}`);
}

// Return round numbers between two: multiples of 1, 2 or 5 times a power of ten.
function roundNumbers(low, high, most) {
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = [1, 2, 5, 10].map((part) => part * power).find((s) => (high - low) / s <= most);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-12); k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

function logNumbers(low, high, most) {
  if (high / low < 10) return roundNumbers(low, high, most);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const parts = last - first > 3 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = first; power <= last; power++) {
    found.push(...parts.map((part) => Number((part * 10 ** power).toPrecision(12))));
  }
  return found.filter((value) => value >= low && value <= high);
}

function axis(label, log, upright) {
  const [ink, line] = [colour("--muted"), colour("--line")];
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return {
    label,
    labelSize: 24,
    labelFont: font,
    font,
    stroke: ink,
    size: upright ? 58 : 34,
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
    splits: (plot, index, low, high) => {
      const most = Math.max(3, upright ? plot.height / 50 : plot.width / 80);
      return (log ? logNumbers : roundNumbers)(low, high, most);
    },
    filter: (plot, splits) => splits,
    values: (plot, splits) => splits.map((value) => compactNumber.format(value)),
  };
}

// Return the range of an axis that holds all values with some room around them.
function range(values, log, room = 0.06) {
  const to = log ? Math.log10 : (value) => value;
  const from = log ? (value) => 10 ** value : (value) => value;
  const [low, high] = [to(Math.min(...values)), to(Math.max(...values))];
  const extra = room * (high - low) || (log ? 0.1 : 0.1 * Math.abs(low) || 1);
  return [from(low - extra), from(high + extra)];
}

function scale(values, log, room) {
  const ends = range(values, log, room);
  return { time: false, auto: false, distr: log ? 3 : 1, range: () => ends };
}

// One chart in its place: drawn anew on every change, as wide as there is room ------------------

const plots = new Map(); // id of its place -> the chart

function plot(id, options, data, label) {
  plots.get(id)?.destroy();
  const place = byId(id);
  const size = () => ({ width: place.clientWidth, height: place.clientWidth < 600 ? 300 : 400 });
  place.replaceChildren();
  const made = new uPlot({ ...options, ...size(), legend: { show: false } }, data, place);
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", label);
  place.setAttribute("tabindex", "0");
  plots.set(id, made);
  new ResizeObserver((entries, observer) => {
    if (plots.get(id) !== made) observer.disconnect();
    else if (size().width !== made.width) made.setSize(size());
  }).observe(place);
  return made;
}

function noPlot(id, why) {
  plots.get(id)?.destroy();
  plots.delete(id);
  byId(id).replaceChildren(element("p", { class: "missing" }, why));
  for (const name of ["role", "aria-label", "tabindex"]) byId(id).removeAttribute(name);
}

// Let the arrow keys go from point to point; `positions` returns them from left to right.
function listenToArrows(id, positions) {
  const place = byId(id);
  place.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const made = plots.get(id);
    if (!made || !step) return;
    event.preventDefault();
    const all = positions(made);
    const at = all.findIndex(({ left }) => left >= made.cursor.left - 0.5);
    const next = made.cursor.left < 0 ? 0 : (at < 0 ? all.length : at) + step;
    if (all[next]) made.setCursor(all[next]);
  };
  place.onblur = () => plots.get(id)?.setCursor({ left: -10, top: -10 });
}

function drawLegend(id) {
  const toggle = (row) => {
    const on = chosen.hidden.includes(row.id);
    chosen.hidden = on ? chosen.hidden.filter((h) => h !== row.id) : [...chosen.hidden, row.id];
    drawCharts();
  };
  const all = (hidden) => () => {
    chosen.hidden = hidden;
    drawCharts();
  };
  const buttons = comparison.rows.map((row, index) =>
    element(
      "button",
      {
        type: "button",
        "aria-pressed": String(!chosen.hidden.includes(row.id)),
        "data-row": row.id,
        click: () => {
          toggle(row);
          byId(id).querySelector(`[data-row="${CSS.escape(row.id)}"]`).focus();
        },
      },
      swatch(index),
      row.name,
    ),
  );
  const every = comparison.rows.map((row) => row.id);
  if (every.length > 2) {
    buttons.push(element("button", { type: "button", class: "plain", click: all([]) }, "All"));
    buttons.push(element("button", { type: "button", class: "plain", click: all(every) }, "None"));
  }
  byId(id).replaceChildren(...buttons);
}

function drawCharts() {
  drawCurves();
  drawCost();
  drawLegend("curves-legend");
  drawLegend("cost-legend");
}
