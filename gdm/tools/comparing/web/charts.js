// The two charts, drawn by uPlot: curves while training, and quality against cost.

const POINTS_UP_TO = 40; // on a curve; more of them would be a line of their own
const MOST_LABELLED = 16; // points in the chart of cost
const MOST_LISTED = 10; // rows in the box beside the cursor

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
      const most = Math.max(2, upright ? plot.height / 50 : plot.width / 90);
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

// Curves ----------------------------------------------------------------------------------------

function curveKey({ metric, how }) {
  return `${metric}|${how}`;
}

// Return what there are curves of: key -> label.
function curveChoices() {
  const found = new Map();
  for (const row of comparison.rows) {
    for (const curve of row.members.flatMap(({ curves }) => curves)) {
      found.set(curveKey(curve), [words(curve.metric), protocol(curve.how)].filter(Boolean));
    }
  }
  return new Map([...found].map(([key, parts]) => [key, parts.join(" · ")]));
}

// Return a run's curve as its points [x, y, images] from left to right, the last of equal x.
function points(member) {
  const curve = member.curves.find((one) => curveKey(one) === chosen.metric);
  if (!curve) return [];
  const xs = curve[chosen.over];
  const at = new Map(xs.map((x, k) => [x, [x, curve.values[k], curve.images[k]]]));
  return [...at.values()].filter(([x, y]) => x != null && y != null).sort(([a], [b]) => a - b);
}

// Return the height of a broken line at x; null beside it.
function heightAt(line, x) {
  const after = line.findIndex(([at]) => at >= x);
  if (after < 0) return null;
  const [x1, y1] = line[after];
  if (x1 === x) return y1;
  if (after === 0) return null;
  const [x0, y0] = line[after - 1];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}

const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

// Return the mean of lines: point by point where all were measured at the same images, else of
// their heights wherever there are all of them.
function meanLine(all) {
  const at = (line) => line.map(([, , images]) => images).join();
  if (all.every((line) => at(line) === at(all[0]))) {
    return all[0].map((_, k) => [0, 1].map((part) => average(all.map((line) => line[k][part]))));
  }
  const xs = [...new Set(all.flat().map(([x]) => x))].sort((a, b) => a - b);
  const columns = xs.map((x) => [x, all.map((line) => heightAt(line, x))]);
  const whole = columns.filter(([, heights]) => !heights.includes(null));
  return whole.map(([x, heights]) => [x, average(heights)]);
}

function rowCurves() {
  const found = drawnRows().map((row) => {
    const members = row.members.map((member) => ({ seed: member.seed, line: points(member) }));
    const drawn = members.filter(({ line }) => line.length > 0);
    return { row, members: drawn, mean: drawn.length ? meanLine(drawn.map((m) => m.line)) : [] };
  });
  return found.filter(({ members }) => members.length > 0);
}

function curveSeries({ row, members }, line, isMean) {
  const index = comparison.rows.indexOf(row);
  const stroke = seriesColour(row);
  const dots = isMean && line.length <= POINTS_UP_TO;
  return {
    stroke,
    width: isMean ? 2.25 : 1,
    alpha: isMean || members.length === 1 ? 1 : 0.4,
    dash: dashes(index),
    spanGaps: true,
    points: { show: dots, size: 6, fill: stroke, stroke, space: 0 },
  };
}

function drawCurves() {
  const labels = curveChoices();
  if (!settle("metric", [...labels.keys()])) {
    return noPlot("curves-chart", "No run of these has measured anything while it was trained.");
  }
  const curves = rowCurves();
  const all = curves.flatMap((curve) => [
    ...(curve.members.length > 1 ? curve.members.map(({ line }) => [curve, line, false]) : []),
    [curve, curve.mean, true],
  ]).filter(([, line]) => line.length > 0);
  const flat = all.flatMap(([, line]) => line);
  if (flat.length === 0) {
    const why = drawnRows().length ? "Nothing was recorded for this choice." : "No row is chosen.";
    return noPlot("curves-chart", why);
  }
  const [xs, ys] = [flat.map(([x]) => x), flat.map(([, y]) => y)];
  const log = chosen.curvesLog && Math.min(...ys) > 0;
  const over = { images: "images seen", minutes: "minutes of training" }[chosen.over];
  const options = {
    series: [{}, ...all.map(([curve, line, isMean]) => curveSeries(curve, line, isMean))],
    scales: { x: scale(xs, false, 0.02), y: scale(ys, log) },
    axes: [axis(over, false, false), axis(labels.get(chosen.metric), log, true)],
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: false, y: false },
      move: (made, left, top) => [left < 0 ? left : toMeasured(made, left), top],
    },
    hooks: { setCursor: [(made) => pointAtCurves(made, curves)] },
  };
  const tables = all.map(([, line]) => [line.map(([x]) => x), line.map(([, y]) => y)]);
  const label = `${labels.get(chosen.metric)} over ${over}; arrow keys read its values`;
  plot("curves-chart", options, uPlot.join(tables), label);
  listenToArrows("curves-chart", (made) =>
    made.data[0].map((x) => ({ left: made.valToPos(x, "x"), top: made.over.clientHeight / 2 })),
  );
}

// Return the place of the measurement that is nearest to a place along the axis.
function toMeasured(made, left) {
  return made.valToPos(made.data[0][made.posToIdx(left)], "x");
}

function pointAtCurves(made, curves) {
  const { left, top, idx } = made.cursor;
  if (left == null || left < 0 || idx == null) return hideTip();
  const x = made.data[0][idx];
  const found = curves
    .map((curve) => ({ ...curve, y: heightAt(curve.mean, x) }))
    .filter(({ y }) => y != null)
    .sort((a, b) => b.y - a.y);
  const distance = ({ y }) => Math.abs(made.valToPos(y, "y") - top);
  const nearest = found.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
  const pairs = found.slice(0, MOST_LISTED).map(({ row, mean, y }) => {
    const measured = mean.some(([at]) => at === x);
    const kind = row === nearest.row ? "near" : null;
    const mark = swatch(comparison.rows.indexOf(row));
    return [row.name, `${measured ? "" : "≈ "}${short(y)}`, kind, mark];
  });
  if (found.length > MOST_LISTED) pairs.push([`and ${found.length - MOST_LISTED} more`, ""]);
  const seeds = nearest?.members.length > 1 ? nearest.members : [];
  const single = seeds.map(({ seed, line }) => [`Seed ${seed}`, heightAt(line, x)]);
  const heights = single.filter(([, y]) => y != null).map(([seed, y]) => [seed, short(y)]);
  const over = chosen.over === "images" ? count(x, "image") : `${short(x)} minutes`;
  const about = heights.length ? element("p", { class: "how" }, `Seeds of ${nearest.row.name}`) : null;
  const parts = [element("p", { class: "title" }, over), lines(pairs), about, lines(heights)];
  const box = made.over.getBoundingClientRect();
  showTip(parts.filter(Boolean), box.left + made.valToPos(x, "x"), box.top + top);
}

function drawCurvesControls() {
  const labels = curveChoices();
  if (!settle("metric", [...labels.keys()])) return;
  const set = (key) => (value) => {
    chosen[key] = value;
    drawCurves();
  };
  const overs = [["images", "Images seen"], ["minutes", "Minutes"]];
  byId("curves-controls").replaceChildren(
    choice("Metric", [...labels], chosen.metric, set("metric")),
    choice("Over", overs, chosen.over, set("over")),
    checkbox("Logarithmic", chosen.curvesLog, set("curvesLog")),
  );
  byId("curves-lead").textContent =
    "A strong line is the mean over seeds, straight between the measurements; faint ones are the " +
    "single seeds. Only what was measured in the same way shares axes.";
}

// Quality against cost --------------------------------------------------------------------------

const costColumns = comparison.columns.filter(({ kind }) => kind === "cost");
const qualityColumns = comparison.columns.filter(({ kind }) => kind === "metric");
const columnOf = (key) => comparison.columns.find((column) => column.key === key);

// Return where each row stands, with its standard deviations.
function costPoints(x, y) {
  const both = drawnRows().filter((row) => {
    return row.cells[x.key]?.mean != null && row.cells[y.key]?.mean != null;
  });
  return both.map((row) => ({ row, x: row.cells[x.key], y: row.cells[y.key] }));
}

// Return the lowest and the highest that is drawn of a cell; a logarithm has no place for some.
function ends({ mean, std }, log) {
  const low = mean - (std ?? 0);
  return [log && low <= 0 ? mean : low, mean + (std ?? 0)];
}

function drawCost() {
  const [x, y] = [columnOf(chosen.costX), columnOf(chosen.costY)];
  if (!x || !y) return noPlot("cost-chart", "There is no column of cost, or none of quality.");
  const found = costPoints(x, y);
  if (found.length === 0) return noPlot("cost-chart", "No row that is drawn has both.");
  const logX = chosen.costLogX && found.every((point) => point.x.mean > 0);
  const logY = chosen.costLogY && found.every((point) => point.y.mean > 0);
  const floor = commonFloor(y);
  const shownFloor = floor != null && !(logY && floor <= 0) ? [floor] : [];
  const xs = found.flatMap((point) => ends(point.x, logX));
  const ys = [...found.flatMap((point) => ends(point.y, logY)), ...shownFloor];
  const sorted = [...found].sort((a, b) => a.x.mean - b.x.mean);
  const label = (column) =>
    [words(column.name), unitOf(column), direction(column.better)].filter(Boolean).join(", ");
  const options = {
    series: [{}, { paths: () => null, points: { show: false } }],
    scales: { x: scale(xs, logX, 0.1), y: scale(ys, logY, 0.1) },
    axes: [axis(label(x), logX, false), axis(label(y), logY, true)],
    cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
    hooks: {
      draw: [(made) => paintCost(made, sorted, shownFloor, logX, logY)],
      setCursor: [(made) => pointAtCost(made, sorted, x, y)],
    },
  };
  const data = [sorted.map((point) => point.x.mean), sorted.map((point) => point.y.mean)];
  plot("cost-chart", options, data, `${label(y)} against ${label(x)}; arrow keys read the points`);
  listenToArrows("cost-chart", (made) => sorted.map((point) => position(made, point)));
}

function position(made, { x, y }) {
  return { left: made.valToPos(x.mean, "x"), top: made.valToPos(y.mean, "y") };
}

function paintCost(made, found, floor, logX, logY) {
  const { ctx, bbox } = made;
  const ratio = devicePixelRatio;
  const [toX, toY] = [(v) => made.valToPos(v, "x", true), (v) => made.valToPos(v, "y", true)];
  ctx.save();
  ctx.font = `${12 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
  const taken = floor.map((value) => paintFloor(ctx, bbox, toY(value), ratio));
  const placed = found.map(({ row, x, y }) => {
    const at = [toX(x.mean), toY(y.mean)];
    const [left, right] = ends(x, logX).map(toX);
    const [low, high] = ends(y, logY).map(toY);
    const half = 4 * ratio;
    ctx.strokeStyle = ctx.fillStyle = seriesColour(row);
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    if (x.std) bar(ctx, left, at[1], right, at[1], half);
    if (y.std) bar(ctx, at[0], low, at[0], high, half);
    ctx.stroke();
    ctx.translate(...at);
    ctx.fill(new Path2D(markerPath(comparison.rows.indexOf(row), 6 * ratio)));
    ctx.translate(-at[0], -at[1]);
    taken.push(box(left, at[1] - half, right - left, 2 * half));
    taken.push(box(at[0] - half, high, 2 * half, low - high));
    taken.push(box(at[0] - 2 * half, at[1] - 2 * half, 4 * half, 4 * half));
    return { row, at };
  });
  ctx.fillStyle = colour("--ink");
  if (placed.length <= MOST_LABELLED) {
    for (const { row, at } of placed) paintLabel(ctx, bbox, row.name, at, taken, ratio);
  }
  ctx.restore();
}

// Add a bar with a cross stroke at each end to the path.
function bar(ctx, x0, y0, x1, y1, half) {
  const [across, down] = x0 === x1 ? [half, 0] : [0, half];
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  for (const [x, y] of [[x0, y0], [x1, y1]]) {
    ctx.moveTo(x - across, y - down);
    ctx.lineTo(x + across, y + down);
  }
}

function paintFloor(ctx, bbox, y, ratio) {
  ctx.strokeStyle = ctx.fillStyle = colour("--muted");
  ctx.lineWidth = ratio;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.textAlign = "right";
  ctx.fillText("real images", bbox.left + bbox.width - 6 * ratio, y - 6 * ratio);
  ctx.textAlign = "left";
  const width = ctx.measureText("real images").width + 12 * ratio;
  return box(bbox.left + bbox.width - width, y - 20 * ratio, width, 22 * ratio);
}

function box(left, top, width, height) {
  return { left, top, right: left + width, bottom: top + height };
}

// Write a name beside its point where it covers nothing, or not at all.
function paintLabel(ctx, bbox, name, [x, y], taken, ratio) {
  const text = name.length > 30 ? `${name.slice(0, 29)}…` : name;
  const [width, height, gap] = [ctx.measureText(text).width, 14 * ratio, 10 * ratio];
  const corners = [
    [x + gap, y - height / 2],
    [x - gap - width, y - height / 2],
    [x - width / 2, y - gap - height],
    [x - width / 2, y + gap],
  ];
  const frame = box(bbox.left, bbox.top, bbox.width, bbox.height);
  for (const [left, top] of corners) {
    const place = box(left, top, width, height);
    const inside = place.left >= frame.left && place.right <= frame.right;
    const apart = (o) =>
      place.right < o.left || o.right < place.left || place.bottom < o.top || o.bottom < place.top;
    if (inside && place.top >= frame.top && place.bottom <= frame.bottom && taken.every(apart)) {
      taken.push(place);
      ctx.fillText(text, left, top + 11 * ratio);
      return;
    }
  }
}

function pointAtCost(made, found, x, y) {
  const { left, top } = made.cursor;
  const distance = (point) => {
    const at = position(made, point);
    return Math.hypot(at.left - left, at.top - top);
  };
  const nearest = found.reduce((a, b) => (distance(a) <= distance(b) ? a : b));
  if (left == null || left < 0 || distance(nearest) > 40) return hideTip();
  const pairs = [x, y].map((column) => {
    const cell = nearest.row.cells[column.key];
    return [columnLabel(column), `${meanAndStd(cell, column)} (n = ${cell.n})`];
  });
  const mark = swatch(comparison.rows.indexOf(nearest.row));
  const title = element("p", { class: "title" }, mark, nearest.row.name);
  const at = position(made, nearest);
  const { left: boxLeft, top: boxTop } = made.over.getBoundingClientRect();
  showTip([title, lines(pairs)], boxLeft + at.left, boxTop + at.top);
}

function drawCostControls() {
  const first = costColumns.filter(({ name }) => name === "minutes"); // then in their order
  settle("costX", [...first, ...costColumns].map(({ key }) => key));
  settle("costY", qualityColumns.map(({ key }) => key));
  if (!chosen.costX || !chosen.costY) return;
  const set = (key) => (value) => {
    chosen[key] = value;
    drawCost();
  };
  const options = (columns) => columns.map((column) => [column.key, columnLabel(column)]);
  byId("cost-controls").replaceChildren(
    choice("Quality", options(qualityColumns), chosen.costY, set("costY")),
    choice("Cost", options(costColumns), chosen.costX, set("costX")),
    checkbox("Logarithmic quality", chosen.costLogY, set("costLogY")),
    checkbox("Logarithmic cost", chosen.costLogX, set("costLogX")),
  );
  byId("cost-lead").textContent =
    "Every configuration on the same axes; bars are one standard deviation over seeds.";
}

function drawCharts() {
  drawCurves();
  drawCost();
  drawLegend("curves-legend");
  drawLegend("cost-legend");
}
