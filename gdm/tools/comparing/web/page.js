// The page as a whole: its head, its notes and lists, light and dark, and its being loaded again.

function drawHead() {
  const { title, made, command, rows, unfinished } = comparison;
  const numRuns = rows.reduce((sum, row) => sum + row.members.length, 0);
  const numMarked = rows.flatMap((row) => row.members).filter((m) => m.marks.length > 0).length;
  const parts = [
    count(rows.length, "configuration"),
    `${count(numRuns, "finished run")}`,
    unfinished.length > 0 && `${unfinished.length} not finished`,
    numMarked > 0 && `${numMarked} marked`,
    `made ${made.slice(0, 16).replace("T", " ")}`,
  ];
  byId("title").textContent = title;
  byId("summary").textContent = parts.filter(Boolean).join(" · ");
  byId("command").replaceChildren(element("code", {}, command));
  const sections = [...document.querySelectorAll("main > section")];
  byId("contents").replaceChildren(
    ...sections.map((section) =>
      element("a", { href: `#${section.id}` }, section.querySelector("h2").textContent),
    ),
  );
}

function drawTheme() {
  const options = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];
  const change = (theme) => {
    chosen.theme = theme;
    setTheme();
    drawCharts();
  };
  byId("theme").replaceChildren(choice("Colours", options, chosen.theme, change));
}

function setTheme() {
  document.documentElement.dataset.theme = chosen.theme;
}

// Notes, differences, runs, how it was measured -------------------------------------------------

function drawNotes() {
  const general = comparison.notes.map((note) => element("li", {}, note));
  const ofRows = comparison.rows.flatMap((row) =>
    row.notes.map((note) => element("li", {}, element("strong", {}, row.name), `: ${note}`)),
  );
  const parts = [element("h3", {}, "What to keep in mind"), element("ul", {}, general)];
  if (ofRows.length > 0) {
    const title = element("summary", {}, "How sure the differences are");
    const open = ofRows.length <= 12;
    parts.push(element("details", { open }, title, element("ul", {}, ofRows)));
  }
  if (general.length + ofRows.length > 0) byId("notes").replaceChildren(...parts);
}

function drawDifferences() {
  const { rows, settings } = comparison;
  const ids = rows.map((row) => row.id);
  const reference = rows.find((row) => row.id === settle("reference", ids));
  if (rows.length < 2 || settings.length === 0) {
    const why = rows.length < 2 ? "There is one configuration." : "No setting differs.";
    return byId("differing").replaceChildren(element("p", { class: "lead" }, why));
  }
  const change = (id) => {
    chosen.reference = id;
    drawDifferences();
    byId("differences-controls").querySelector("select, :checked").focus();
  };
  const options = rows.map((row) => [row.id, row.name]);
  byId("differences-controls").replaceChildren(choice("Compared with", options, reference.id, change));
  const others = rows.filter((row) => row !== reference);
  byId("differing").replaceChildren(...others.map((row) => difference(row, reference)));
}

function difference(row, reference) {
  const differing = comparison.settings.filter(
    (key) => row.settings[key] !== reference.settings[key],
  );
  const said = (value) => (value == null ? element("i", {}, "has none") : element("code", {}, value));
  const pairs = differing.map((key) =>
    element(
      "div",
      {},
      element("dt", {}, element("code", {}, key)),
      element("dd", {}, said(reference.settings[key]), " → ", said(row.settings[key])),
    ),
  );
  const few = differing.length <= 8;
  const title = element(
    "summary",
    {},
    named(row),
    element("small", {}, count(differing.length, "setting")),
  );
  return element("details", { open: few }, title, element("dl", { class: "settings" }, pairs));
}

function drawUnfinished() {
  if (comparison.unfinished.length === 0) return;
  const items = comparison.unfinished.map((run) =>
    element(
      "li",
      {},
      element("span", { class: "status" }, run.status),
      element("a", { href: `${run.link}/` }, run.path),
      element("p", {}, `${run.why} (${count(run.images_seen, "image")} seen)`),
      run.go_on && element("p", { class: "go-on" }, "Go on with ", element("code", {}, run.go_on)),
    ),
  );
  byId("unfinished").replaceChildren(
    element("h3", {}, "Not in the table"),
    element("ul", { class: "unfinished" }, items),
    element("h3", {}, "In the table"),
  );
}

function runRow(row, member) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "name" }, named(row)),
    element("td", { class: "count" }, String(member.seed)),
    element("td", { class: "count" }, member.images_seen.toLocaleString("en")),
    element("td", { class: "count" }, member.minutes == null ? "–" : fixed(member.minutes, 1)),
    element("td", {}, member.status, member.marks.map((mark) => element("p", { class: "mark" }, mark))),
    element("td", {}, element("a", { href: `${member.link}/` }, member.path)),
  );
}

function drawRuns() {
  const names = ["Configuration", "Seed", "Images seen", "Minutes", "Status", "Directory"];
  const kinds = ["name", "count", "count", "count", null, null];
  const head = names.map((name, k) => element("th", { scope: "col", class: kinds[k] }, name));
  const rows = comparison.rows.flatMap((row) => row.members.map((member) => runRow(row, member)));
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, head)),
    element("tbody", {}, rows),
  );
  const about = { class: "scroller", tabindex: "0", role: "region", "aria-label": "Finished runs" };
  byId("finished").replaceChildren(element("div", about, table));
}

function drawHow() {
  const pairs = comparison.columns.map((column) => {
    const facts = [unitOf(column), direction(column.better)].filter(Boolean).join("; ");
    return element(
      "div",
      {},
      element("dt", {}, columnLabel(column), facts && element("small", {}, facts)),
      element("dd", {}, column.how),
    );
  });
  byId("how").replaceChildren(...pairs);
}

// While a sweep runs ----------------------------------------------------------------------------

function watch(seconds) {
  const box = checkbox("Pause", chosen.paused, (paused) => {
    chosen.paused = paused;
  });
  byId("watching").hidden = false;
  byId("watching").replaceChildren(`Loaded again every ${count(seconds, "second")}. `, box);
  setInterval(() => {
    const busy = chosen.paused || byId("zoom").open || document.activeElement?.tagName === "SELECT";
    if (!busy) location.reload();
  }, 1000 * seconds);
}

function keepPlace() {
  const along = document.querySelector("#results .scroller");
  [window.scrollY, along.scrollLeft].forEach((place, k) => (chosen.scroll[k] = place));
  store();
}

function returnToPlace() {
  history.scrollRestoration = "manual";
  if (location.hash && performance.getEntriesByType("navigation")[0]?.type !== "reload") return;
  scrollTo({ top: chosen.scroll[0], behavior: "instant" });
  document.querySelector("#results .scroller").scrollLeft = chosen.scroll[1];
}

// -----------------------------------------------------------------------------------------------

function start() {
  setTheme();
  for (const draw of [drawHead, drawTheme, drawResultsControls, drawTable, drawNotes]) draw();
  for (const draw of [drawSamplesControls, drawSamples, drawCurvesControls]) draw();
  for (const draw of [drawCostControls, drawCharts, drawDifferences]) draw();
  for (const draw of [drawUnfinished, drawRuns, drawHow, listenToZoom]) draw();
  returnToPlace();
  addEventListener("pagehide", keepPlace);
  addEventListener("scroll", moveTip, { passive: true, capture: true }); // of the tables too
  addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  if (comparison.refresh_seconds) watch(comparison.refresh_seconds);
}

start();
