
// -- the table --

const TRACKS = { single: "Single edits", sequence: "Sequential editing", cost: "Cost" };
const IDS = ["protocol", "at", "rank", "data", "backbone", "status", "search"];
const controls = Object.fromEntries(IDS.map((id) => [id, document.getElementById(id)]));
const table = document.getElementById("table");
const reportedRows = pageData.reported.flatMap((paper) => paper.rows.map((row) => ({
  ...row,
  data: `${paper.dataset}/${paper.split}`,
  block: `reported\t${paper.id}\t${row.backbone}`,
  status: "reported",
  protocols: [paper.protocol],
  name: "",
  sequence: null,
  metrics: Object.fromEntries(Object.entries(row.metrics).map(([name, value]) => [name, [value]])),
  ranks: {},
  supervision: "",
  paper,
})));
const rows = [...pageData.runs, ...reportedRows];
let state = {};

for (const [value, name] of Object.entries(TRACKS)) {
  document.getElementById("track").append(
    el("label", {}, el("input", { type: "radio", name: "track", value, onchange: () => change({ track: value, sort: "" }) }), name));
}
fill(controls.protocol, inOrder(distinct(rows.flatMap((row) => row.protocols))).map((name) => [name, name]));
fill(controls.at, [["", "right after each edit"], ["@end", "after all edits"]]);
fill(controls.rank, metricOptions());
fill(controls.data, [["", "all"], ...distinct(rows.map((row) => row.data)).map((name) => [name, name])]);
fill(controls.backbone, [["", "all"], ...distinct(rows.map((row) => row.backbone)).map((name) => [name, name])]);
fill(controls.status, [["", "all"], ...Object.keys(STATUS).map((name) => [name, name])]);
for (const id of IDS) {
  controls[id].addEventListener(id === "search" ? "input" : "change", () => change({ [id]: controls[id].value }));
}
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());

function change(values) {
  state = { ...state, ...values };
  if ("rank" in values || "protocol" in values || "at" in values) state.sort = "";
  writeHash(state);
  show();
}

// What the address says, as far as there is such a thing.
function readState() {
  const said = readAddress();
  state = {};
  for (const id of IDS) {
    const fits = id === "search" || [...controls[id].options].some((option) => option.value === said[id]);
    if (said[id] && fits) state[id] = said[id];
    controls[id].value = state[id] || (id === "protocol" || id === "rank" ? controls[id].options[0]?.value : "");
  }
  state.track = Object.hasOwn(TRACKS, said.track) ? said.track : "single";
  state.sort = said.sort || "";
  state.order = said.order === "up" ? "up" : said.order === "down" ? "down" : "";
  document.querySelector(`[name="track"][value="${state.track}"]`).checked = true;
  show();
}

// The columns of the table: {key, name, value(row) to sort by, cell(row), up: whether small is good}. `kept`: the rows
// that are shown; a metric has a column where one of them has it.
function columns(kept) {
  const protocol = controls.protocol.value, point = state.track === "sequence" ? controls.at.value : "";
  const ranked = controls.rank.value;
  const about = { key: "editor", name: "Editor", value: (row) => row.editor.toLowerCase(), up: true, cell: editorCell };
  const supervision = { key: "supervision", name: "Supervision", up: true,
    value: (row) => row.supervision ? [...SUPERVISION.keys()].indexOf(row.supervision) : undefined,
    cell: (row) => el("td", { class: "supervision", title: SUPERVISION.get(row.supervision) }, el("bdi", {}, row.supervision)) };
  const status = { key: "status", name: "Status", value: (row) => Object.keys(STATUS).indexOf(row.status), up: false,
    cell: (row) => el("td", {}, statusTag(row.status)) };
  if (state.track === "cost") {
    return [about, supervision,
      ...Object.entries(COSTS).map(([key, { name, of }]) => ({ key, name, value: of, up: true, number: true,
        cell: (row) => el("td", { class: "number" }, costText(row, key)) })),
      { key: "hardware", name: "Hardware", value: (row) => row.hardware, up: true,
        cell: (row) => el("td", {}, el("bdi", {}, row.hardware), `, ${row.dtype}`) },
      status];
  }
  const full = (metric) => `${protocol}/${metric}${point}`;
  const rank = { key: "rank", name: "Rank", up: true, value: (row) => row.ranks[full(ranked)],
    cell: (row) => el("td", { class: "rank" }, rankText(row, full(ranked))) };
  const metrics = [ranked, ...[...METRIC.keys()].filter((name) => name !== ranked)]
    .filter((name) => kept.some((row) => row.metrics[full(name)]))
    .map((name) => ({ key: name, name, up: false, number: true, ranked: name === ranked,
      value: (row) => row.metrics[full(name)]?.[0],
      cell: (row) => {
        const made = valueCell(row.metrics[full(name)]);
        if (name === ranked) made.classList.add("ranked");
        return made;
      } }));
  return [rank, about, supervision, ...metrics, status];
}

// "=" before a rank says that it is shared.
function rankText(row, name) {
  const rank = row.ranks[name];
  if (row.control) return controlTag();
  if (!rank) return el("span", { title: "not ranked" }, "–");
  const tied = rows.some((other) => other !== row && other.block === row.block && other.ranks[name] === rank);
  return tied ? [el("span", { class: "tied", title: "shared" }, "="), String(rank)] : String(rank);
}

function controlTag() {
  return el("span", { class: "tag", title: NO_EDIT }, "control");
}

function editorCell(row) {
  if (row.paper) return el("th", { scope: "row" }, el("bdi", {}, row.editor));
  const control = state.track === "cost" && row.control; // elsewhere the place of its rank says so
  return el("th", { scope: "row" }, el("a", { href: runPage(row.id) }, el("bdi", {}, row.editor)), control && [" ", controlTag()],
    el("span", { class: "sub" }, el("bdi", {}, row.name)));
}

function shown(row) {
  const protocol = controls.protocol.value, search = controls.search.value.trim().toLowerCase();
  if (state.track === "cost" ? row.paper : (state.track === "sequence") !== Boolean(row.sequence)) return false;
  if (state.track !== "cost" && !row.protocols.includes(protocol)) return false;
  for (const [id, field] of [["data", "data"], ["backbone", "backbone"], ["status", "status"]]) {
    if (controls[id].value && row[field] !== controls[id].value) return false;
  }
  return !search || `${row.editor}\n${row.name}`.toLowerCase().includes(search);
}

function show() {
  for (const id of ["protocol", "rank"]) controls[id].closest("label").hidden = state.track === "cost";
  controls.at.closest("label").hidden = state.track !== "sequence";
  const kept = rows.filter(shown);
  const all = columns(kept);
  const standard = state.track === "cost" ? "seconds_per_edit" : "rank";
  const by = all.find((column) => column.key === state.sort) || all.find((column) => column.key === standard) || all[0];
  const up = state.order && by.key === state.sort ? state.order === "up" : by.up;
  const ranked = all.find((column) => column.ranked);
  const blocks = blocksOf(kept);
  const header = el("tr", {}, all.map((column) => {
    const sorted = column === by;
    return el("th", { scope: "col", class: [column.number && "number", column.key.replaceAll(" ", "")].filter(Boolean).join(" "),
      "aria-sort": sorted ? (up ? "ascending" : "descending") : "none" },
      el("button", { type: "button", title: METRIC.get(column.key)?.meaning,
        onclick: () => sortBy(column, sorted ? !up : column.up) }, METRIC.has(column.key) ? metricName(column.key) : column.name));
  }));
  const focused = document.activeElement?.closest?.("#table th")?.classList.value;
  table.tHead.replaceChildren(header);
  [...table.tBodies].forEach((body) => body.remove());
  for (const block of [...blocks.values()].sort((a, b) => apart(a[0]) - apart(b[0]) || b.length - a.length)) {
    block.sort((a, b) => Boolean(a.control) - Boolean(b.control) || compareValues(by.value(a), by.value(b), up) ||
      (ranked ? compareValues(ranked.value(a), ranked.value(b), false) : 0));
    table.append(el("tbody", {},
      el("tr", { class: "block" }, el("th", { scope: "rowgroup", colspan: all.length }, el("span", {}, heading(block[0])))),
      block.map((row) => el("tr", { "data-run": row.id }, all.map((column) => column.cell(row))))));
  }
  if (focused) [...table.tHead.rows[0].cells].find((cell) => cell.classList.value === focused)?.querySelector("button").focus();
  document.getElementById("caption").textContent = caption();
  const total = rows.filter((row) => (state.track === "cost" ? !row.paper : (state.track === "sequence") === Boolean(row.sequence))).length;
  document.getElementById("found").textContent = kept.length
    ? `${count(kept.length)} of ${count(total)} rows` : `None of ${count(total)} rows is like this.`;
}

function blocksOf(list) {
  const blocks = new Map();
  for (const row of list) blocks.set(row.block, [...(blocks.get(row.block) || []), row]);
  return blocks;
}

// Where a block stands: runs on data as they are first, then those on older ones, and what papers report last.
function apart(row) {
  return row.paper ? 2 : row.older ? 1 : 0;
}

function sortBy(column, up) {
  state = { ...state, sort: column.key, order: up ? "up" : "down" };
  writeHash(state);
  show();
}

// What is not there comes last, whichever way one sorts.
function compareValues(a, b, up) {
  const missing = (value) => value === undefined || value === null;
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = a < b ? -1 : a > b ? 1 : 0;
  return up ? order : -order;
}

function heading(row) {
  if (row.paper) {
    return [`${row.data} on ${row.backbone} `, el("span", { class: "note" }, "reported in ",
      outside(row.paper.link, row.paper.title), `, ${row.paper.table}; not computed again, not ranked`,
      ". ", row.paper.note && [el("bdi", {}, row.paper.note), " "], pageData.registry.not_compared)];
  }
  const where = `${row.data} on ${row.backbone}`;
  return [where, el("span", { class: "note" }, blockText(row, pageData.runs).slice(where.length), row.older && `. ${row.older}`)];
}

function caption() {
  if (state.track === "cost") return "What runs cost. Times compare only on the same machine.";
  const when = state.track === "sequence" ? `, ${controls.at.selectedOptions[0].textContent}` : "";
  const protocol = controls.protocol.value;
  return `Protocol ${protocol} (${protocolText(protocol)})${when}, in percent; ranked by ${controls.rank.value} within each data set and backbone`;
}

document.getElementById("legend").append(
  el("p", {}, "A rank is 1 more than the number of runs that are better beyond doubt: the 95 % interval of their paired " +
    "difference, from a bootstrap over groups of records, lies above 0. “=” marks a rank that is shared. Runs are ranked among those on the same records, backbone and number of sequential edits."),
  el("p", {}, el("span", { class: "tag" }, "control"),
    ` ${NO_EDIT} Doing nothing earns half of specificity; beside it stands what is above that, ${BEYOND_NOTHING}.`),
  el("h3", {}, "Metrics"),
  el("dl", {}, METRICS.flatMap(({ name, meaning }) =>
    [el("dt", {}, metricName(name)), el("dd", {}, meaning)])),
  el("h3", {}, "Protocols"),
  el("dl", {}, PROTOCOLS.flatMap(({ name }) => [el("dt", {}, name), el("dd", {}, protocolText(name))])),
  el("h3", {}, "Supervision"),
  el("p", {}, "What an editor learned from before it was given an edit, as its run says. One that was told more is not to be compared unawares with one that was told less."),
  el("dl", {}, [...SUPERVISION].flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
  el("h3", {}, "Status"),
  el("dl", {}, Object.entries(STATUS).flatMap(([name, text]) => [el("dt", {}, statusTag(name)), el("dd", {}, text)])));
window.addEventListener("hashchange", readState);
readState();
