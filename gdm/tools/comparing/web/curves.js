// Curves of metrics while training, over images seen and over minutes.

const POINTS_UP_TO = 40; // on a curve; more of them would be a line of their own
const MOST_LISTED = 10; // rows in the box beside the cursor

function curveKey({ metric, how }) {
  return `${metric}|${how}`;
}

// Return what there are curves of: key -> label.
function curveChoices() {
  const curves = comparison.rows.flatMap((row) => row.members.flatMap((member) => member.curves));
  const kinds = [...new Map(curves.map((curve) => [curveKey(curve), curve]))];
  return new Map(
    kinds.map(([key, { metric, how }]) => {
      const same = kinds.filter(([, other]) => other.metric === metric);
      const parts = briefly(how, same.map(([, other]) => other.how));
      return [key, [words(metric), ...parts].join(" · ")];
    }),
  );
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
