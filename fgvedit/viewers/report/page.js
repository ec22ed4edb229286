const { records, layouts, points, manifest } = pageData;
const protocols = pageData.protocols.map((protocol) => protocol.name);
const kinds = new Map(pageData.kinds.map((kind) => [kind.name, kind])); // those that the run has, by name
const PAGE = 10; // records that are shown at a time
const SIGNS = { WRONG: 1, AWAY: 2, ROUTED: 4 }; // what a probe's sign is the sum of
const $ = (id) => document.getElementById(id);
const indexOf = new Map(records.map((record, index) => [record.id, index]));

const mustChange = (kind) => kinds.get(kind).changes;
const has = (sign, what) => sign !== "-" && (Number(sign) & SIGNS[what]) !== 0;
const missed = (sign, kind) => has(sign, "ROUTED") && mustChange(kind) && !has(sign, "AWAY");
const falsely = (sign, kind) => has(sign, "ROUTED") && !mustChange(kind) && has(sign, "AWAY");

// name -> what is said of it, and which probes it shows by their sign and kind
const SHOWS = {
  all: ["all probes", (sign) => sign !== "-"],
  wrong: ["wrong", (sign) => has(sign, "WRONG")],
  missed: ["missed by the router", missed],
  falsely: ["falsely routed", falsely],
  answer: ["wrong, though routed right", (sign, kind) => has(sign, "WRONG") && has(sign, "ROUTED") && !missed(sign, kind) && !falsely(sign, kind)],
};
const POINTS = { "": "right after its own edit", "@end": `after all ${manifest.sequence} edits` };
const FITS = { squash: "the whole image", shortest: "the square in the middle", longest: "the whole image with a border that makes it a square" };
const DEFAULTS = { protocol: protocols[0], at: "", show: "all", kind: "all", q: "", record: "" };

const state = { ...DEFAULTS, heat: true };
let matched = []; // indices of the records that the filter shows
let page = 0;
let turn = 0; // counts what is to be shown, so that what loads late is not

// -- the filter -------------------------------------------------------------------------------------------------------

const evaluated = () => protocols.indexOf(state.protocol) * points.length + points.indexOf(state.at);
const signs = (record) => record.signs[evaluated()];
const kindAt = (record, probe) => layouts[record.kinds][probe];

// Which probes of a record the filter shows, as numbers from 0, the edit.
function fitting(record) {
  const test = SHOWS[state.show][1];
  return Array.from(signs(record), (sign, probe) => probe).filter((probe) => {
    const kind = kindAt(record, probe);
    return (state.kind === "all" || state.kind === kind) && test(signs(record)[probe], kind);
  });
}

function filter() {
  const text = state.q.trim().toLowerCase();
  matched = [];
  let probes = 0;
  records.forEach((record, index) => {
    const own = text && !record.id.toLowerCase().includes(text) ? 0 : fitting(record).length;
    if (own) matched.push(index);
    probes += own;
  });
  return probes;
}

const isFiltered = () => state.show !== "all" || state.kind !== "all";
const number = (value) => value.toLocaleString("en");
const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(1)} %` : "–");

function count(test) {
  let found = 0;
  for (const record of records) {
    const own = signs(record);
    for (let probe = 0; probe < own.length; probe += 1) if (own[probe] !== "-" && test(own[probe], kindAt(record, probe))) found += 1;
  }
  return found;
}

// What is to stand behind "#" for a view, as names and values: where it is not what the page begins with.
const apart = (view) => Object.keys(DEFAULTS).filter((name) => view[name] !== DEFAULTS[name]).map((name) => [name, view[name]]);

// A link to another view under the same protocol and at the same evaluation point.
function link(changes, text) {
  const view = { ...DEFAULTS, protocol: state.protocol, at: state.at, ...changes };
  return el("a", { href: `#${new URLSearchParams(apart(view))}` }, text);
}

// -- records ----------------------------------------------------------------------------------------------------------

function script(name) {
  return new Promise((resolve, reject) => {
    document.head.append(el("script", { src: name, onload: resolve, onerror: reject }));
  });
}

const loading = new Map(); // number of a script of records that is on its way -> the promise that it comes

async function loaded(index) {
  const chunk = Math.floor(index / pageData.chunk);
  globalThis.recordChunks ??= [];
  if (!recordChunks[chunk]) {
    if (!loading.has(chunk)) loading.set(chunk, script(pageData.chunks[chunk]).finally(() => loading.delete(chunk)));
    await loading.get(chunk);
  }
  return recordChunks[chunk][index % pageData.chunk];
}

function trouble(text) {
  $("trouble").textContent = text;
}

async function showRecords() {
  const own = (turn += 1);
  const shown = matched.slice(page * PAGE, (page + 1) * PAGE);
  let found;
  try {
    found = await Promise.all(shown.map(loaded));
  } catch (error) {
    trouble("The folder records is not beside this page as it was made: copy the whole folder, or make the page again.");
    return false;
  }
  if (own !== turn) return false;
  $("list").replaceChildren(...found.map((record, at) => card(record, records[shown[at]])));
  if (!shown.length) $("list").append(el("p", {}, "No record is like this."));
  return true;
}

function card(record, indexed) {
  const fit = fitting(indexed);
  const name = `card-${indexOf.get(record.id)}`;
  const seen = record.attention;
  const node = el("article", { class: seen ? "card" : "card single", tabindex: "-1", "aria-labelledby": name, "data-record": record.id },
    el("header", {},
      el("h3", { id: name }, `${record.question} `, el("span", { class: "muted" }, `${record.answer} → `), record.target),
      el("p", {}, link({ record: record.id }, record.id),
        ` · entity: ${record.entity || "not named"} · image ${record.image_id}`,
        manifest.sequence ? ` · edit ${record.number} of ${manifest.sequence}` : "")));
  const sight = el("div", { class: "sight" });
  const table = el("div", { class: "probes" });
  node.append(el("div", { class: "body" }, sight, table));

  const view = { all: !isFiltered(), picked: fit.find((probe) => has(signs(indexed)[probe], "WRONG")) ?? fit[0] };
  const draw = () => {
    sight.replaceChildren(editFigure(record, seen), ...(seen ? [askedFigure(record, indexed, view.picked)] : []));
    const rows = Array.from(record.probes.keys()).filter((probe) => view.all || fit.includes(probe));
    table.replaceChildren(probesTable(record, indexed, rows, seen ? view.picked : null, (probe) => {
      view.picked = probe;
      const focus = document.activeElement.closest && document.activeElement.closest(".pick");
      draw();
      if (focus) table.querySelector("input:checked").focus({ preventScroll: true });
    }));
    const rest = record.probes.length - fit.length;
    if (!view.all && rest) {
      table.append(el("button", { type: "button", class: "more", onclick: () => {
        view.all = true;
        draw();
        node.focus({ preventScroll: true });
      } }, `Show the ${rest} other ${rest === 1 ? "probe" : "probes"}`));
    }
  };
  node.pick = (by) => {
    if (!seen) return;
    const rows = [...table.querySelectorAll(".pick input")].map((input) => Number(input.value));
    const next = rows[rows.indexOf(view.picked) + by];
    if (next === undefined) return;
    view.picked = next;
    draw();
  };
  draw();
  return node;
}

// -- probes -----------------------------------------------------------------------------------------------------------

function verdict(score) {
  if (score === 1) return ["right", "✓ right"];
  return score === 0 ? ["wrong", "✗ wrong"] : ["partly", `◐ ${(100 * score).toFixed(0)} %`];
}

function meter(rho) {
  if (typeof rho !== "number" || rho < 0 || rho > 1) return null;
  return el("svg", { class: "meter", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    el("rect", { width: 100, height: 10 }), el("rect", { class: "reach", width: 100 * rho, height: 10 }),
    el("line", { x1: 100 * pageData.threshold, x2: 100 * pageData.threshold, y1: 0, y2: 10 }));
}

function routing(record, sign, kind, route, stored) {
  const parts = [el("span", {}, route)];
  if (has(sign, "ROUTED")) {
    const right = mustChange(kind) ? !missed(sign, kind) : !falsely(sign, kind);
    const word = mustChange(kind) ? (right ? "routed" : "missed") : right ? "left to base" : "falsely routed";
    parts.push(el("br"), el("span", { class: right ? "tag" : "tag wrong" }, word));
  }
  if (manifest.sequence && stored !== null && route !== "base" && stored !== record.number - 1) {
    parts.push(el("br"), el("small", {}, `by edit ${stored + 1}, another record's`));
  }
  return parts;
}

function probesTable(record, indexed, rows, picked, pick) {
  const hasRho = Boolean(pageData.rho);
  const heads = ["probe", "before → after", "expected", "score", ...(hasRho ? ["rho"] : []), "route"];
  const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children);
  const body = rows.map((probe) => {
    const { question, answer, image, asked: answers } = record.probes[probe];
    const kind = kindAt(indexed, probe), sign = signs(indexed)[probe], answered = answers[evaluated()];
    if (!answered) return null;
    const [before, after, score, rho, route, stored] = answered;
    const [className, word] = verdict(score);
    const about = [
      el("span", {}, question),
      el("small", {}, ` ${kind}, ${mustChange(kind) ? "should change" : "must stay"}`),
      image !== null && image !== "own" && picked === null &&
        el("img", { class: "thumb", src: image.file, width: image.width, height: image.height, loading: "lazy", alt: `Another image, ${image.other}` }),
    ];
    const first = picked === null ? about : [el("label", { class: "pick" },
      el("input", { type: "radio", name: `pick-${indexOf.get(record.id)}`, value: probe, checked: probe === picked, onchange: () => pick(probe) }),
      el("span", {}, about))];
    return el("tr", { role: "row", class: `${className}${probe === picked ? " picked" : ""}`, "data-probe": probe - 1 },
      el("th", { scope: "row", role: "rowheader" }, first),
      el("td", { role: "cell", class: "answers", "data-label": "before → after" }, el("del", {}, before || "(nothing)"), " → ", el("b", {}, after || "(nothing)")),
      cell("expected", mustChange(kind) ? answer : [el("small", {}, "as before: "), before, before !== answer && el("small", {}, ` (in the data: ${answer})`)]),
      cell("score", el("span", { class: `verdict ${className}` }, word)),
      hasRho && cell("rho", rho === null ? "–" : [typeof rho === "number" ? rho.toFixed(3) : rho, meter(rho)]),
      cell("route", routing(record, sign, kind, route, stored)));
  });
  return el("table", { role: "table", "aria-label": "Probes" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((head) => th(head, { role: "columnheader" })))),
    el("tbody", { role: "rowgroup" }, body));
}

// -- going about ------------------------------------------------------------------------------------------------------

function said() {
  writeHash(Object.fromEntries(apart(state)));
}

// Show what `state` says; `focus`: whether its record is to have the focus.
async function show(focus) {
  trouble("");
  let probes = filter();
  let at = matched.indexOf(indexOf.get(state.record) ?? -1);
  if (state.record && at < 0) {
    if (indexOf.has(state.record)) {
      Object.assign(state, { show: "all", kind: "all", q: "" });
      probes = filter();
      at = matched.indexOf(indexOf.get(state.record));
    } else {
      trouble(`There is no record '${state.record}' in this run.`);
      state.record = "";
    }
  }
  page = at < 0 ? 0 : Math.floor(at / PAGE);
  for (const name of ["protocol", "at", "show", "kind"]) $(name).value = state[name];
  if ($("search").value !== state.q) $("search").value = state.q;
  showProtocol();
  showMetrics();
  if (!$("router-section").hidden) showRouter();
  showRho();
  said();
  if (!(await showPage(probes))) return;
  const node = focus && state.record && cards().find((one) => one.dataset.record === state.record);
  if (node) focusCard(node);
}

let shownProbes = 0;
async function showPage(probes = shownProbes) {
  shownProbes = probes;
  if (!(await showRecords())) return false;
  const from = page * PAGE, to = Math.min(matched.length, from + PAGE);
  $("count").textContent = matched.length
    ? `Records ${number(from + 1)} to ${number(to)} of ${number(matched.length)}, ${number(probes)} probes`
    : "No record";
  document.querySelectorAll(".step").forEach((button) => {
    const next = page + Number(button.dataset.by);
    button.disabled = next < 0 || next * PAGE >= matched.length;
  });
  return true;
}

const cards = () => [...document.querySelectorAll(".card")];

function focusCard(node) {
  state.record = node.dataset.record;
  said();
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "start" });
}

async function turnPage(by, last) {
  const next = page + by;
  if (next < 0 || next * PAGE >= matched.length) return;
  page = next;
  state.record = records[matched[page * PAGE]].id;
  said();
  if (await showPage()) focusCard(cards()[last ? cards().length - 1 : 0]);
}

const current = () => document.activeElement.closest(".card") || cards().find((node) => node.dataset.record === state.record);

function go(by) {
  const all = cards(), at = all.indexOf(current());
  const next = all[at < 0 ? 0 : at + by];
  if (next) focusCard(next);
  else turnPage(by, by < 0);
}

function change(values) {
  Object.assign(state, { record: "" }, values);
  show(false);
}

function fromHash() {
  const { moment, ...given } = readHash(); // links of older pages say "moment"
  const found = moment === undefined ? given : { at: moment, ...given };
  const known = { protocol: protocols, at: points, show: [...$("show").options].map((option) => option.value), kind: ["all", ...kinds.keys()] };
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    const value = Object.hasOwn(found, name) ? found[name] : fallback;
    state[name] = known[name] && !known[name].includes(value) ? fallback : value;
  }
}

const KEYS = {
  n: () => go(1),
  p: () => go(-1),
  j: () => (current() || cards()[0])?.pick(1),
  k: () => (current() || cards()[0])?.pick(-1),
  h: () => $("heat").click(),
  "/": () => $("search").focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !$("keys").checked || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

for (const name of ["protocol", "at"]) $(name).addEventListener("change", (event) => {
  state[name] = event.target.value;
  show(false);
});
for (const name of ["show", "kind"]) $(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
$("search").addEventListener("input", (event) => change({ q: event.target.value }));
$("reset").addEventListener("click", () => change({ show: "all", kind: "all", q: "" }));
$("heat").addEventListener("change", (event) => $("list").classList.toggle("cold", !event.target.checked));
document.querySelectorAll(".step").forEach((button) => button.addEventListener("click", () => turnPage(Number(button.dataset.by), false)));
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("records-title").focus();
});
addEventListener("hashchange", async () => {
  fromHash();
  await show(true);
  if (!state.record) $("records-title").focus();
});

above();
fromHash();
show(true).then(loadPlots);
