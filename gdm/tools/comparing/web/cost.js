// Quality against cost: one point per row, with its standard deviations.

const MOST_LABELLED = 16; // points with a name beside them

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
  [ctx.textAlign, ctx.textBaseline] = ["left", "alphabetic"]; // the axes leave others behind
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
    ...[-gap - height, gap].flatMap((down) => [
      [x + 0.6 * gap, y + down], // between the bars
      [x - 0.6 * gap - width, y + down],
    ]),
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
