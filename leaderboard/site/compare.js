
// -- comparing two runs --

const PAGE = 25;
const WHO = {
  differ: ["they differ", (row) => row.score[0] !== row.score[1] || row.after[0] !== row.after[1]],
  a: ["A scores higher", (row) => row.score[0] > row.score[1]],
  b: ["B scores higher", (row) => row.score[1] > row.score[0]],
  neither: ["neither is right", (row) => row.score[0] < 1 && row.score[1] < 1],
  both: ["both are right", (row) => row.score[0] === 1 && row.score[1] === 1],
  all: ["all probes", () => true],
};
const IDS = ["a", "b", "protocol", "at", "who", "kind", "search"];
const controls = Object.fromEntries(IDS.map((id) => [id, document.getElementById(id)]));
const byId = new Map(pageData.runs.map((run) => [run.id, run]));
const waiting = new Map(); // name of a script -> its promise and what fulfils it
let rows = [];
let page = 0;
let latest = 0; // counts what was asked for, so that a slow answer to an earlier question is dropped

// A script beside the page that calls `loaded`; each is asked for once.
function load(name) {
  if (!waiting.has(name)) {
    const held = {};
    held.promise = new Promise((resolve, reject) => Object.assign(held, { resolve, reject }));
    waiting.set(name, held);
    const failed = () => {
      waiting.delete(name);
      held.reject(new Error(`The file data/${name}.js is not there.`));
    };
    document.head.append(el("script", { src: `data/${encodeURIComponent(name)}.js`, onerror: failed }));
  }
  return waiting.get(name).promise;
}

function loaded(name, text) {
  waiting.get(name)?.resolve(JSON.parse(text));
}

function nameOf(run) {
  const text = (one, id) => `${editorText(one)}${id} · ${one.backbone} · ${one.data}${olderText(one)} · ${editsText(one)}`;
  const twice = pageData.runs.some((other) => other !== run && text(other, "") === text(run, ""));
  return text(run, twice ? ` (${run.id})` : "");
}

function shared(a, b) {
  return a.protocols.filter((protocol) => a.probes[protocol] && a.probes[protocol] === b.probes[protocol]);
}

function others(a) {
  return pageData.runs.filter((run) => run !== a && shared(a, run).length);
}

function options(runs) {
  return runs.map((run) => [run.id, nameOf(run)]);
}

fill(controls.a, options(pageData.runs));
fill(controls.at, [["", "right after each edit"], ["@end", "after all edits"]]);
fill(controls.who, Object.entries(WHO).map(([name, [text]]) => [name, text]));
for (const id of ["a", "b", "protocol", "at"]) controls[id].addEventListener("change", () => choose());
for (const id of ["who", "kind"]) controls[id].addEventListener("change", () => list());
controls.search.addEventListener("input", () => list());
for (const id of ["choice", "filters"]) document.getElementById(id).addEventListener("submit", (event) => event.preventDefault());
document.getElementById("swap").addEventListener("click", () => {
  const [a, b] = [controls.a.value, controls.b.value];
  controls.a.value = b;
  choose({ b: a });
});

// Take what the controls say, or `said`, and show the two runs.
async function choose(said = {}, at = 0) {
  const a = byId.get(controls.a.value);
  fill(controls.b, options(others(a)), said.b ?? controls.b.value);
  controls.b.closest("label").hidden = false;
  const b = byId.get(controls.b.value);
  fill(controls.protocol, inOrder(shared(a, b)).map((name) => [name, name]), said.protocol ?? controls.protocol.value);
  controls.at.closest("label").hidden = !a.sequence;
  const protocol = controls.protocol.value, status = document.getElementById("status");
  const turn = ++latest;
  status.textContent = "Loading the answers of both runs …";
  try {
    const turned = pageData.runs.indexOf(a) > pageData.runs.indexOf(b); // a pair's differences lie with its first run
    const [probes, ours, theirs, differences] = await Promise.all(
      [`probes-${a.probes[protocol]}`, `rows-${a.id}`, `rows-${b.id}`, `differences-${turned ? b.id : a.id}`].map(load));
    if (turn !== latest) return;
    rows = joined(probes, ours[protocol], theirs[protocol], a.sequence);
    status.textContent = "";
    document.getElementById("result").hidden = false;
    const found = Object.entries(differences[turned ? a.id : b.id] || {});
    showDifferences(Object.fromEntries(found.map(([name, [value, low, high]]) =>
      [name, turned ? [-value, -high, -low] : [value, low, high]])), a, b);
    fill(controls.kind, [["", "all"], ...distinct(rows.map((row) => row.kind)).sort().map((kind) => [kind, kind])], said.kind ?? controls.kind.value);
    list(at);
  } catch (error) {
    if (turn !== latest) return;
    document.getElementById("result").hidden = true;
    status.textContent = error.message;
  }
}

// The probes of one evaluation point, with both runs' answers.
function joined({ texts, probes }, ours, theirs, sequence) {
  const end = controls.at.value === "@end" && sequence;
  const of = (run, column, index) => run.texts[run[column][index]];
  return probes.map(([record, kind, question, answer, stays, edits, since], index) => ({
    record: texts[record], kind: texts[kind], question: texts[question], answer: texts[answer], stays, edits, since,
    before: [of(ours, "before", index), of(theirs, "before", index)],
    after: [of(ours, "after", index), of(theirs, "after", index)],
    score: [ours.score[index], theirs.score[index]],
    rho: [ours.rho[index], theirs.rho[index]],
    route: [of(ours, "route", index), of(theirs, "route", index)],
  })).filter((row) => (end ? row.edits === sequence : row.since === 0));
}

function showDifferences(found, a, b) {
  const protocol = controls.protocol.value, point = a.sequence ? controls.at.value : "";
  const all = [...METRIC.keys()].map((metric) => [metric, found[`${protocol}/${metric}${point}`]]).filter(([, difference]) => difference);
  const most = Math.max(1, ...all.flatMap(([, [, low, high]]) => [Math.abs(low), Math.abs(high)]));
  document.getElementById("differences").replaceChildren(dataTable(
    "A less B in percentage points, with the 95 % interval of a paired bootstrap over groups of records", ["Metric", "A less B", "95 % interval", "Better beyond doubt", "To the left B, to the right A"],
    all.map(([metric, [value, low, high]]) => [metricHeader(metric), el("td", { class: "number" }, signed(value)),
      el("td", { class: "number" }, `${signed(low)} to ${signed(high)}`),
      el("td", {}, low > 0 ? el("b", { class: "a" }, `A: ${a.editor}`) : high < 0 ? el("b", { class: "b" }, `B: ${b.editor}`) : "cannot be told"),
      el("td", {}, bar(value, low, high, most))])));
}

// A bar from 0 to the value, with its interval; the numbers stand beside it.
function bar(value, low, high, most) {
  const at = (x) => 50 + (50 * x) / most;
  return el("svg", { class: "difference", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    el("rect", { class: value > 0 ? "a" : "b", x: Math.min(50, at(value)), y: 1, width: Math.abs(at(value) - 50), height: 8 }),
    el("line", { x1: at(low), x2: at(high), y1: 5, y2: 5 }), el("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 10 }));
}

// List the probes that the filters let through, from the page `at`.
function list(at = 0) {
  const who = WHO[controls.who.value][1], kind = controls.kind.value, search = controls.search.value.trim().toLowerCase();
  const kept = rows.filter((row) => who(row) && (!kind || row.kind === kind) &&
    (!search || [row.question, ...row.after, ...row.before].some((text) => text.toLowerCase().includes(search))));
  const pages = Math.max(1, Math.ceil(kept.length / PAGE));
  page = Math.min(Math.max(at, 0), pages - 1);
  document.getElementById("found").textContent = kept.length
    ? `${count(kept.length)} of ${count(rows.length)} probes${pages > 1 ? `, page ${count(page + 1)} of ${count(pages)}` : ""}`
    : `None of ${count(rows.length)} probes is like this.`;
  document.getElementById("probes").replaceChildren(...kept.slice(page * PAGE, (page + 1) * PAGE).map(item));
  showPager(pages);
  save();
}

function showPager(pages) {
  const pager = document.getElementById("pager");
  pager.hidden = pages < 2;
  const focused = document.activeElement?.closest?.("#pager [data-does]")?.dataset.does;
  const go = (to) => list(to);
  pager.replaceChildren(
    el("button", { type: "button", "data-does": "previous", disabled: page === 0, onclick: () => go(page - 1) }, "Previous"),
    el("button", { type: "button", "data-does": "next", disabled: page === pages - 1, onclick: () => go(page + 1) }, "Next"),
    el("label", {}, "Page ", el("input", { type: "number", "data-does": "page", min: 1, max: pages, value: page + 1, onchange: (event) => go(Number(event.target.value) - 1) })));
  const again = focused && pager.querySelector(`[data-does="${focused}"]`);
  if (again) (again.disabled ? pager.querySelector("button:not(:disabled)") : again).focus();
}

function item(row) {
  const expected = row.stays ? "The answer must stay what it was" : `The answer must be “${row.answer}”`;
  const before = row.before[0] === row.before[1] ? `before “${row.before[0]}”` : `before A “${row.before[0]}”, B “${row.before[1]}”`;
  return el("li", {},
    el("div", { class: "asked" },
      el("p", { class: "question" }, row.question),
      el("p", { class: "note" }, `${expected}; ${before}.`),
      el("p", { class: "note small" }, el("span", { class: "tag" }, row.kind), ` ${row.record}`,
        row.edits > 1 && `, ${count(row.edits)} edits in force`)),
    [0, 1].map((side) => answered(row, side)));
}

function answered(row, side) {
  const score = row.score[side];
  const said = score === 1 ? ["right", "right"] : score === 0 ? ["wrong", "wrong"] : ["", `${percent(100 * score)} % as it was`];
  const name = byId.get(controls[side ? "b" : "a"].value).editor;
  const routed = row.rho[side] === null ? "" : ` · rho ${row.rho[side].toFixed(2)}, to ${row.route[side]}`;
  return el("div", {},
    el("p", { class: "who" }, el("b", { class: side ? "b" : "a" }, side ? "B" : "A"), ": ", el("bdi", {}, name)),
    el("p", { class: "answer" }, row.after[side] || "(nothing)"),
    el("p", { class: "small" }, el("span", { class: said[0] || null }, said[1]), routed && el("span", { class: "muted" }, routed)));
}

function save() {
  const standard = { who: "differ", protocol: controls.protocol.options[0]?.value };
  const said = Object.fromEntries(IDS.map((id) => [id, controls[id].value === standard[id] ? "" : controls[id].value]));
  writeHash({ ...said, at: controls.at.closest("label").hidden ? "" : said.at, page: page ? page + 1 : "" });
}

function readState() {
  const said = readAddress();
  if (byId.has(said.a)) controls.a.value = said.a;
  for (const id of ["at", "who"]) {
    controls[id].value = [...controls[id].options].some((option) => option.value === said[id]) ? said[id] : controls[id].options[0].value;
  }
  controls.search.value = said.search || "";
  choose({ b: said.b, protocol: said.protocol, kind: said.kind || "" }, (Number(said.page) || 1) - 1);
}
window.addEventListener("hashchange", readState);
if (pageData.runs.length) readState();
else {
  document.getElementById("choice").hidden = document.getElementById("swap").hidden = true;
  document.getElementById("status").textContent = "There are no two runs on the same probes yet.";
}
