
// -- what all pages of the leaderboard share --

const PAGES = [["index.html", "Table"], ["plots.html", "Plots"], ["compare.html", "Compare"], ["submit.html", "Submit"]];
// What is registered, each in the order of tables and with what it means in one line: kinds of probes, metrics,
// protocols, words of supervision, and the statuses of runs.
const { kinds: KINDS, metrics: METRICS, protocols: PROTOCOLS, statuses: STATUS } = pageData.registry;
const SUPERVISION = new Map(Object.entries(pageData.registry.supervision));
const METRIC = new Map(METRICS.map((metric) => [metric.name, metric]));
const BEYOND_NOTHING = METRICS.find(({ derived }) => derived).name; // of specificity, and shown beside it
const NO_EDIT = "No edit at all: not ranked, and not counted in the ranks of others."; // what the control is
const MINUS = "\u2212";
// What a run cost: its name, how a number of it is written, where it is found in a run, and its unit on an axis.
const COSTS = {
  seconds_per_edit: { name: "Seconds an edit", text: seconds, of: (run) => run.cost.edit_seconds / run.records },
  seconds: { name: "Seconds in all", text: seconds, of: (run) => run.cost.seconds },
  peak_memory: { name: "Peak memory", text: mebibytes, of: (run) => run.cost.peak_memory_bytes / 2 ** 20, unit: "MiB" },
  encoded_images: { name: "Encoded images", text: count, of: (run) => run.cost.encoded_images },
  trained_parameters: { name: "Trained parameters", text: count, of: (run) => run.cost.trained_parameters },
};

document.body.prepend(
  el("a", { class: "skip", href: "#main" }, "To the content"),
  el("header", {},
    el("nav", { class: "site", "aria-label": "Pages" },
      el("a", { class: "home", href: `${pageData.root}index.html` }, "FGVEdit leaderboard"),
      PAGES.map(([file, name]) =>
        el("a", { href: pageData.root + file, "aria-current": location.pathname.endsWith(`/${file}`) && "page" }, name)))),
);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part of the address behind "#" says what is shown
  document.getElementById("main").focus();
});
document.body.append(el("footer", {}, el("p", {},
  "Fine-grained visual knowledge editing: change what a multimodal model says about one entity of an image, and nothing " +
  "else. Percent, with 95 % intervals from a bootstrap over groups of records. ◉ marks what needs eyes: probes that are meant to be settled by the image alone.")));

function percent(value) {
  return value === undefined || value === null ? "" : value.toFixed(2).replace("-", MINUS);
}

function signed(value) {
  return value > 0 ? `+${percent(value)}` : value < 0 ? MINUS + percent(-value) : percent(0);
}

function count(number) {
  return number.toLocaleString("en");
}

function mebibytes(number) {
  return `${number.toLocaleString("en", { maximumFractionDigits: 0 })} MiB`;
}

function costText(run, name) {
  const value = COSTS[name].of(run);
  return value === null ? "not said" : COSTS[name].text(value);
}

function seconds(number) {
  return number < 10 ? number.toFixed(3) : number.toLocaleString("en", { maximumFractionDigits: 0 });
}

// "paper/score@end" -> ["paper", "score", "@end"]
function partsOf(name) {
  const [, protocol, metric, point] = name.match(/^([^/]*)\/([^@]*)(.*)$/);
  return [protocol, metric, point];
}

// What the address says of what is shown. Links to older pages say "moment" and "group".
function readAddress() {
  const { moment, group, ...said } = readHash();
  return { ...(moment !== undefined && { at: moment }), ...(group !== undefined && { block: group }), ...said };
}

function outside(href, ...text) {
  if (!/^https?:\/\//i.test(href)) return el("span", {}, ...text);
  return el("a", { href, rel: "noopener nofollow" }, ...text);
}

function runPage(id) {
  return `${pageData.root}runs/${encodeURIComponent(id)}.html`;
}

// A metric's name as elements; marks say that it needs eyes, and that it is retired.
function metricName(name) {
  const { needs_eyes: eyes, retired } = METRIC.get(name) || {};
  return [name, eyes && el("span", { class: "eyes", role: "img", "aria-label": "needs eyes", title: "its probes are meant to be settled by the image alone" }, "◉"),
    retired && el("span", { class: "note", title: "of earlier data: its probes are not built any more" }, " (retired)")];
}

// The same with what it means below it.
function metricHeader(name) {
  return el("th", { scope: "row" }, metricName(name), el("span", { class: "between" }, METRIC.get(name).meaning));
}

// [value, text] pairs of metrics, for `fill`, of which the text under the pointer says what they mean; those that runs
// do not store are left out.
function metricOptions(metrics = METRICS) {
  return metrics.filter(({ derived }) => !derived)
    .map(({ name, meaning, retired }) => [name, retired ? `${name} (retired)` : name, meaning]);
}

// What a protocol asks, and whether its scores were computed again.
function protocolText(name) {
  const found = PROTOCOLS.find((one) => one.name === name);
  if (!found) return "not registered where this was made";
  return found.meaning + (found.checked ? "" : "; its scores are as the run wrote them");
}

function statusTag(status) {
  return el("span", { class: `tag ${status}`, title: STATUS[status] }, status);
}

// The ends of an interval, shorter than its value.
function ends(low, high) {
  const short = (value) => (value === 0 || value === 100 ? String(value) : value.toFixed(1).replace("-", MINUS));
  return short(low) + (low < 0 ? " to " : "–") + short(high);
}

// A cell of a value with its interval.
function valueCell(metric) {
  if (!metric) return el("td", { class: "number" });
  const [value, low, high] = metric;
  return el("td", { class: "number" }, percent(value), low !== undefined && el("span", { class: "between" }, ends(low, high)));
}

// A table in a box that scrolls. `rows`: lists of cells, each a text, a number, or a <td> or <th>.
function dataTable(caption, header, rows) {
  const cell = (value, index) => value instanceof Element && /^(td|th)$/i.test(value.tagName) ? value
    : index === 0 ? el("th", { scope: "row" }, value)
    : el("td", { class: typeof value === "number" && "number" }, typeof value === "number" ? String(value) : value);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, el("span", {}, caption)),
      el("thead", {}, el("tr", {}, header.map((name, index) => {
        const number = rows.length && (typeof rows[0][index] === "number" || rows[0][index]?.className === "number");
        return el("th", { scope: "col", class: number && "number" }, name);
      }))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

// Fill a <select> with [value, text] pairs, keeping the value where it is still there, else taking the first; a third
// text is shown under the pointer.
function fill(select, options, value = select.value) {
  select.replaceChildren(...options.map(([name, text, title]) => el("option", { value: name, title }, text)));
  select.value = options.some(([name]) => name === value) ? value : options.length ? options[0][0] : "";
  select.closest("label").hidden = options.length < 2;
}

function distinct(values) {
  return [...new Set(values)];
}

// Names of protocols, with or without an evaluation point, in the order of the registry.
function inOrder(names) {
  const known = PROTOCOLS.map(({ name }) => name);
  const index = (name) => (known.indexOf(name.split("@")[0]) + 1) || known.length + 1;
  return [...names].sort((a, b) => index(a) - index(b) || (a < b ? -1 : 1));
}

// What runs that are ranked together have in common, in words; weights and input mode where `runs` hold others that
// would read alike.
function blockText(run, runs) {
  const text = (one) => `${one.data} on ${one.backbone}, ${count(one.records)} records, ${editsText(one)}`;
  const alike = runs.some((other) => other.block !== run.block && text(other) === text(run));
  return text(run) + (alike ? ` (weights ${run.weights}, ${run.input_mode} input)` : "") + olderText(run);
}

function olderText({ older }) {
  return older && ", an older revision of the data";
}

// An editor's name; a mark says that it is the control.
function editorText(run) {
  return run.control ? `${run.editor} (control)` : run.editor;
}

function editsText(run) {
  return run.sequence ? `${count(run.sequence)} sequential edits` : "single edits";
}
