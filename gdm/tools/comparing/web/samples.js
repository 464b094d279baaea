// The same seed's samples of every row side by side, and one of them in large.

function seedsOfAll() {
  const seeds = comparison.rows.flatMap((row) => row.members.map(({ seed }) => String(seed)));
  return [...new Set(seeds)].sort(compareValues);
}

function memberOfSeed(row) {
  return row.members.find(({ seed }) => String(seed) === chosen.seed);
}

function drawSamplesControls() {
  const seeds = seedsOfAll();
  settle("seed", seeds);
  if (seeds.length < 2) return;
  const change = (seed) => {
    chosen.seed = seed;
    drawSamples();
  };
  const options = seeds.map((seed) => [seed, seed]);
  byId("samples-controls").replaceChildren(choice("Seed", options, chosen.seed, change));
}

const figures = new Map(); // row and seed -> what was made for them, which sorting only moves

function drawSamples() {
  const made = sortedRows().map((row) => {
    const key = JSON.stringify([row.id, chosen.seed]);
    if (!figures.has(key)) figures.set(key, figure(row));
    return figures.get(key);
  });
  byId("pictures").replaceChildren(...made);
}

function figure(row) {
  const member = memberOfSeed(row);
  const name = element("figcaption", {}, named(row));
  if (!member?.picture?.data) {
    const why = !member ? `No finished run of seed ${chosen.seed}` : "No picture of its samples";
    const file = member?.picture && element("a", { href: member.picture.link }, "Only as a file");
    return element("figure", {}, element("div", { class: "missing" }, file ?? why), name);
  }
  const image = element("img", {
    src: member.picture.data,
    alt: `Samples of ${row.name}, seed ${chosen.seed}`,
    loading: "lazy",
  });
  const open = element(
    "button",
    { type: "button", class: "open", click: () => zoom(row), "aria-haspopup": "dialog" },
    image,
  );
  return element("figure", {}, open, name);
}

// One in large ----------------------------------------------------------------------------------

let zoomed = null; // the row

function zoom(row) {
  const { picture } = memberOfSeed(row);
  zoomed = row;
  byId("zoom-picture").src = picture.data;
  byId("zoom-picture").alt = `Samples of ${row.name}, seed ${chosen.seed}`;
  byId("zoom-picture").style.width = "";
  const shrunk = picture.factor > 1 ? `, shown at 1/${picture.factor} of its size` : "";
  const file = element("a", { href: picture.link }, "the file");
  byId("zoom-caption").replaceChildren(`${row.name}, seed ${chosen.seed}${shrunk}; `, file);
  if (!byId("zoom").open) byId("zoom").showModal();
}

function zoomAlong(step) {
  const rows = sortedRows().filter((row) => memberOfSeed(row)?.picture?.data);
  zoom(rows[(rows.indexOf(zoomed) + step + rows.length) % rows.length]);
}

// Show the whole picture, or three times as large around the point that was selected.
function magnify(event) {
  const image = byId("zoom-picture");
  const frame = byId("zoom-frame");
  const box = image.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  image.style.width = image.style.width ? "" : `${3 * box.width}px`;
  frame.scrollTo(
    x * image.offsetWidth - frame.clientWidth / 2,
    y * image.offsetHeight - frame.clientHeight / 2,
  );
}

function listenToZoom() {
  byId("zoom-previous").addEventListener("click", () => zoomAlong(-1));
  byId("zoom-next").addEventListener("click", () => zoomAlong(1));
  byId("zoom-close").addEventListener("click", () => byId("zoom").close());
  byId("zoom-picture").addEventListener("click", magnify);
  byId("zoom").addEventListener("click", (event) => {
    if (event.target === byId("zoom")) byId("zoom").close(); // beside the picture
  });
  byId("zoom").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !byId("zoom-picture").style.width) zoomAlong(step);
  });
}
