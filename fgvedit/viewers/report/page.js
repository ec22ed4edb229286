const { records, kinds, moments, manifest } = pageData;
const protocols = manifest.protocols;
const PAGE = 10; // records that are shown at a time
const SIGNS = { WRONG: 1, AWAY: 2, ROUTED: 4 }; // what a probe's sign is the sum of
const $ = (id) => document.getElementById(id);
const places = new Map(records.map((record, place) => [record.id, place]));
const looks = Boolean(pageData.looks);

const mustChange = (kind) => pageData.must_change.includes(kind);
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
const MOMENTS = { "": "right after its own edit", "@end": `after all ${manifest.sequence} edits` };
const FITS = { squash: "the whole image", shortest: "the square in the middle", longest: "the whole image with a border that makes it a square" };
const DEFAULTS = { protocol: protocols[0], moment: "", show: "all", kind: "all", q: "", record: "" };

const state = { ...DEFAULTS, heat: true };
let matched = []; // places of the records that the filter shows
let page = 0;
let turn = 0; // counts what is to be shown, so that what loads late is not

// -- the filter -------------------------------------------------------------------------------------------------------

const asked = () => protocols.indexOf(state.protocol) * moments.length + moments.indexOf(state.moment);
const signs = (record) => record.signs[asked()];
const kindAt = (record, probe) => kinds[Number(record.kinds[probe])];

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
  records.forEach((record, place) => {
    const own = text && !record.id.toLowerCase().includes(text) ? 0 : fitting(record).length;
    if (own) matched.push(place);
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

// A link to another view under the same protocol and at the same moment.
function link(changes, text) {
  const view = { ...DEFAULTS, protocol: state.protocol, moment: state.moment, ...changes };
  return el("a", { href: `#${new URLSearchParams(apart(view))}` }, text);
}

// -- what stands above ------------------------------------------------------------------------------------------------

function above() {
  const { editor, backbone, dataset } = manifest;
  $("title").textContent = `${editor.name} on ${backbone.name}`;
  const limit = dataset.limit === null ? "" : `, the first ${number(dataset.limit)}`;
  $("facts").textContent =
    `${number(records.length)} records of ${dataset.name}/${dataset.split}@${dataset.revision.slice(0, 8)}${limit}; ` +
    `${number(pageData.rows)} rows; ${manifest.sequence ? `${manifest.sequence} edits one after the other` : "one edit at a time"}; seed ${manifest.seed}`;
  const said = (value) => (typeof value === "object" && value !== null
    ? Object.entries(value).map(([name, inner]) => `${name}: ${typeof inner === "object" ? JSON.stringify(inner) : inner}`).join(", ")
    : String(value));
  $("made").append(...Object.entries(manifest).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, said(value))]));
  $("protocol").append(...protocols.map((name) => el("option", { value: name }, name)));
  $("moment").append(...moments.map((name) => el("option", { value: name }, MOMENTS[name])));
  $("moments").hidden = moments.length < 2;
  const routed = count((sign) => has(sign, "ROUTED")) > 0;
  const shows = routed ? Object.keys(SHOWS) : ["all", "wrong"];
  $("show").append(...shows.map((name) => el("option", { value: name }, SHOWS[name][0])));
  $("kind").append(el("option", { value: "all" }, "any"), ...pageData.there.map((kind) => el("option", { value: kind }, kind)));
  $("router-section").hidden = !routed;
  $("rho-section").hidden = !pageData.rho;
  document.querySelector(".summary").classList.toggle("alone", !routed);
  $("heat-bar").hidden = !looks;
  if (pageData.assumed_fit) {
    $("assumed").textContent = `This run does not say how much of an image its classifier saw: the heat maps are drawn on the assumption that it was ${FITS[pageData.assumed_fit]}.`;
  }
}

const th = (text, attributes) => el("th", { scope: "col", ...attributes }, text);
const td = (...children) => el("td", { class: "number" }, ...children);

function interval({ value, low, high }) {
  const x = (share) => 2 + share * 0.96;
  return el("svg", { class: "interval", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    el("line", { x1: x(0), x2: x(100), y1: 10, y2: 10 }),
    el("line", { class: "reach", x1: x(low), x2: x(high), y1: 10, y2: 10 }),
    el("rect", { x: x(value) - 0.75, y: 3, width: 1.5, height: 14, fill: "currentColor" }));
}

function showMetrics() {
  const rows = Object.entries(pageData.metric_kinds).flatMap(([metric, kind]) => {
    const found = pageData.metrics[`${state.protocol}/${metric}${state.moment}`];
    if (!found) return [];
    const wrong = kind && count((sign, own) => own === kind && has(sign, "WRONG"));
    return [el("tr", {},
      el("th", { scope: "row" }, metric),
      td(found.value.toFixed(2)),
      td(`${found.low.toFixed(2)} – ${found.high.toFixed(2)}`),
      el("td", { class: "wide" }, interval(found)),
      el("td", { class: "number wide" }, number(found.probes)),
      td(wrong ? link({ kind, show: "wrong" }, number(wrong)) : kind ? "0" : ""))];
  });
  $("metrics").replaceChildren(el("table", {},
    el("caption", {}, "In percent, with 95 % intervals from a bootstrap over images"),
    el("thead", {}, el("tr", {}, th("metric"), th("value", { class: "number" }), th("interval", { class: "number" }),
      th("0 to 100", { class: "wide" }), th("probes", { class: "number wide" }), th("wrong", { class: "number" }))),
    el("tbody", {}, rows)));
}

function showRouter() {
  const group = (title, right, wrong, show, own) => own.length > 0 && el("tbody", {},
    el("tr", { class: "group" }, th(title, { scope: "colgroup" }), th("probes", { class: "number wide" }), th(right, { class: "number" }), th(wrong, { class: "number" })),
    own.map((kind) => {
      const all = count((sign, other) => other === kind && has(sign, "ROUTED"));
      const off = count((sign, other) => other === kind && SHOWS[show][1](sign, kind));
      return el("tr", {}, el("th", { scope: "row" }, kind), el("td", { class: "number wide" }, number(all)),
        td(`${number(all - off)} · ${percent(all - off, all)}`),
        td(off ? link({ kind, show }, `${number(off)} · ${percent(off, all)}`) : `0 · ${percent(0, all)}`));
    }));
  $("router").replaceChildren(el("table", {},
    el("caption", {}, `By the kind of probe; a query is sent away from the base model from rho = ${pageData.threshold} on`),
    group("should change", "caught", "missed", "missed", pageData.there.filter(mustChange)),
    group("must stay", "kept", "falsely routed", "falsely", pageData.there.filter((kind) => !mustChange(kind)))));
}

// -- rho --------------------------------------------------------------------------------------------------------------

const ownRho = () => pageData.rho.counts[state.protocol + state.moment] || {}; // kind -> counts below the threshold, and from it on
const bothSides = ([below, above]) => below.map((count, bin) => count + above[bin]);
const shownRho = () => pageData.there.filter((kind) => ownRho()[kind]);
const edge = (bin, bins) => pageData.rho.low + ((pageData.rho.high - pageData.rho.low) * bin) / bins;
const short = (value) => String(Number(value.toFixed(3)));

function showRho() {
  if (!pageData.rho) return;
  $("rho-key").replaceChildren(
    `How many probes have which rho, on a logarithmic scale; the dashed line is the threshold, ${pageData.threshold}.`,
    el("span", { class: "key fine" }), "on the side that its kind asks for", el("span", { class: "key off" }), "on the other side");
  const bins = 10;
  $("rho-table").replaceChildren(el("table", {},
    el("caption", {}, `Probes by rho, ${state.protocol}${state.moment ? `, ${MOMENTS[state.moment]}` : ""}; each column begins at its number`),
    el("thead", {}, el("tr", {}, th("kind"), ...Array.from({ length: bins }, (_, bin) => th(short(edge(bin, bins)), { class: "number" })))),
    el("tbody", {}, shownRho().map((kind) => {
      const fine = bothSides(ownRho()[kind]);
      const sum = (bin) => fine.slice((bin * fine.length) / bins, ((bin + 1) * fine.length) / bins).reduce((a, b) => a + b, 0);
      return el("tr", {}, el("th", { scope: "row" }, kind), Array.from({ length: bins }, (_, bin) => td(number(sum(bin)))));
    }))));
  plot();
}

function plot() {
  const box = $("rho-plot");
  const own = shownRho();
  const columns = box.clientWidth > 900 ? 4 : 2;
  const rows = Math.ceil(own.length / columns);
  const height = rows * 130 + 10;
  box.style.height = `${height}px`; // so that nothing moves when the library has come
  if (!globalThis.Plotly) return;
  const most = Math.max(1, ...own.flatMap((kind) => bothSides(ownRho()[kind])));
  const [ink, line] = [colour("ink"), colour("line")];
  const traces = [], shapes = [], annotations = [];
  const layout = {
    width: box.clientWidth, height, margin: { l: 32, r: 8, t: 8, b: 8 }, showlegend: false, barmode: "stack",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12, family: "system-ui, sans-serif" },
    shapes, annotations,
  };
  own.forEach((kind, place) => {
    const suffix = place ? String(place + 1) : "";
    const [column, row] = [place % columns, Math.floor(place / columns)];
    const left = column / columns, top = 1 - row / rows;
    const [below, above] = ownRho()[kind];
    const bins = below.length;
    layout[`xaxis${suffix}`] = { domain: [left, left + 1 / columns - (columns === 4 ? 0.03 : 0.08)], anchor: `y${suffix}`, range: [pageData.rho.low, pageData.rho.high],
      linecolor: line, gridcolor: line, zeroline: false, fixedrange: true, nticks: 6 };
    layout[`yaxis${suffix}`] = { domain: [top - (1 - 24 / 130) / rows, top - 24 / 130 / rows], anchor: `x${suffix}`, type: "log", gridcolor: line,
      range: [-0.3, Math.log10(most) + 0.15], tickvals: most < 10 ? [1, 2, 5] : [1, 10, 100, 1000, 10000], fixedrange: true };
    for (const right of [true, false]) {
      traces.push({
        type: "bar", x: below.map((_, bin) => edge(bin + 0.5, bins)), y: mustChange(kind) === right ? above : below, xaxis: `x${suffix}`, yaxis: `y${suffix}`,
        width: edge(1, bins) - edge(0, bins),
        marker: { color: colour(right ? "hue-1" : "hue-2"), pattern: { shape: right ? "" : "/", fillmode: "overlay", fgcolor: ink, fgopacity: 0.6, size: 5, solidity: 0.2 } },
        hovertemplate: `rho %{x:.3f}: %{y} probes<extra>${kind}</extra>`,
      });
    }
    shapes.push({ type: "line", xref: `x${suffix}`, yref: `y${suffix} domain`, x0: pageData.threshold, x1: pageData.threshold, y0: 0, y1: 1, line: { color: ink, width: 1.5, dash: "dash" } });
    annotations.push({ text: columns === 4 ? `${kind} (${mustChange(kind) ? "should change" : "must stay"})` : kind, showarrow: false, xref: `x${suffix} domain`, yref: `y${suffix} domain`,
      x: 0, y: 1, xanchor: "left", yanchor: "bottom", font: { size: 13, color: ink } });
  });
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", "Histograms of rho by kind; the table below has their numbers");
  globalThis.Plotly.react(box, traces, layout, { displayModeBar: false, responsive: false });
}

// Plots come after the first records: the library is large.
async function loadPlots() {
  if (!pageData.rho) return;
  if (document.readyState !== "complete") await new Promise((resolve) => addEventListener("load", resolve));
  script("plotly.min.js").then(plot, () => trouble("plotly.min.js is not beside this page: copy its whole folder."));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plot);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) plot();
    width = innerWidth;
  });
}

// -- records ----------------------------------------------------------------------------------------------------------

function script(name) {
  return new Promise((resolve, reject) => {
    document.head.append(el("script", { src: name, onload: resolve, onerror: reject }));
  });
}

const loading = new Map(); // number of a script of records that is on its way -> the promise that it comes

async function loaded(place) {
  const chunk = Math.floor(place / pageData.chunk);
  globalThis.recordChunks ??= [];
  if (!recordChunks[chunk]) {
    if (!loading.has(chunk)) loading.set(chunk, script(pageData.chunks[chunk]).finally(() => loading.delete(chunk)));
    await loading.get(chunk);
  }
  return recordChunks[chunk][place % pageData.chunk];
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
  const name = `card-${places.get(record.id)}`;
  const seen = looks && record.look;
  const node = el("article", { class: seen ? "card" : "card single", tabindex: "-1", "aria-labelledby": name, "data-record": record.id },
    el("header", {},
      el("h3", { id: name }, `${record.question} `, el("span", { class: "muted" }, `${record.answer} → `), record.target),
      el("p", {}, link({ record: record.id }, record.id),
        ` · entity: ${record.entity || "not named"} · image ${record.image_id}`,
        manifest.sequence ? ` · edit ${record.place} of ${manifest.sequence}` : "")));
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

// -- images -----------------------------------------------------------------------------------------------------------

// A weight of 0 to 255 -> red, green, blue, opacity; the legend in page.css has the same colours.
function heatColour(weight) {
  const stops = [[12, 12, 44, 0.55], [190, 30, 100, 0.6], [255, 150, 0, 0.65]];
  const at = (weight / 255) * 2, low = Math.min(1, Math.floor(at));
  return stops[low].map((from, part) => (from + (stops[low + 1][part] - from) * (at - low)) * (part === 3 ? 255 : 1));
}

const weightsOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// What a map covers of an image is `image.area`: left, top, width and height in pixels.
function heatMap(weights, [rows, columns], image) {
  const canvas = el("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const pixels = new ImageData(columns, rows);
  weights.forEach((weight, place) => pixels.data.set(heatColour(weight).map(Math.round), place * 4));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const [x, y, width, height] = image.area;
  Object.assign(canvas.style, { left: `${(100 * x) / image.width}%`, top: `${(100 * y) / image.height}%`,
    width: `${(100 * width) / image.width}%`, height: `${(100 * height) / image.height}%` });
  return canvas;
}

// Where the weight lies, in words.
function inWords(weights, { grid: [rows, columns], fit }, image, box) {
  const sum = weights.reduce((one, other) => one + other, 0) || 1;
  const order = Array.from(weights.keys()).sort((one, other) => weights[other] - weights[one]).slice(0, 3);
  const strongest = order.filter((place) => weights[place]).map((place) =>
    `row ${Math.floor(place / columns) + 1} column ${(place % columns) + 1}: ${Math.round((100 * weights[place]) / sum)} %`);
  const lines = [el("span", {}, `Strongest of ${rows} × ${columns} places: ${strongest.join(", ")}`)];
  if (box) {
    const [x, y, width, height] = image.area;
    const shared = (from, size, start, length) => Math.max(0, Math.min(from + size, start + length) - Math.max(from, start));
    let within = 0;
    weights.forEach((weight, place) => {
      const [w, h] = [width / columns, height / rows];
      const part = shared(x + (place % columns) * w, w, box[0], box[2]) * shared(y + Math.floor(place / columns) * h, h, box[1], box[3]);
      within += (weight / sum) * (part / (w * h));
    });
    const share = (box[2] * box[3]) / (image.width * image.height);
    lines.push(el("span", {}, `In the box: ${Math.round(100 * within)} % of the weight, on ${Math.round(100 * share)} % of the image`));
  }
  if (fit === "shortest" && image.width !== image.height) lines.push(el("span", {}, "It saw the square in the middle."));
  return lines;
}

const boxed = (record) => (record.box && record.entity ? `, with ${record.entity} in the box` : "");

function editFigure(record, seen) {
  const { image } = record;
  const weights = seen && weightsOf(record.look.edit);
  return el("figure", { class: "edit" },
    picture(image, `The edit's image ${record.image_id}${boxed(record)}`, record.box, weights && heatMap(weights, record.look.grid, image)),
    weights
      ? el("figcaption", {}, el("span", {}, el("b", {}, "Stored edit: "), `${record.question} ${record.target}`), ...inWords(weights, record.look, image, record.box))
      : record.box && el("figcaption", {}, `${record.entity} in the box`));
}

function askedFigure(record, indexed, probe) {
  const { question, image } = record.probes[probe];
  const caption = el("span", {}, el("b", {}, `Asked (${kindAt(indexed, probe)}): `), question);
  if (image === null) {
    return el("figure", { class: "asked" }, el("div", { class: "blank" }, "A question without an image"), el("figcaption", {}, caption));
  }
  const own = image === "own", shown = own ? record.image : image, box = own ? record.box : null;
  const text = record.look.probes[probe];
  const weights = text && weightsOf(text);
  return el("figure", { class: "asked" },
    picture(shown, own ? `The image asked about${boxed(record)}` : `Another image, ${image.other}`, box, weights && heatMap(weights, record.look.grid, shown)),
    el("figcaption", {}, caption, ...(weights ? inWords(weights, record.look, shown, box) : [])));
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
    const word = mustChange(kind) ? (right ? "caught" : "missed") : right ? "kept" : "falsely routed";
    parts.push(el("br"), el("span", { class: right ? "tag" : "tag wrong" }, word));
  }
  if (manifest.sequence && stored !== null && route !== "base" && stored !== record.place - 1) {
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
    const kind = kindAt(indexed, probe), sign = signs(indexed)[probe], answered = answers[asked()];
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
      el("input", { type: "radio", name: `pick-${places.get(record.id)}`, value: probe, checked: probe === picked, onchange: () => pick(probe) }),
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
  let at = matched.indexOf(places.get(state.record) ?? -1);
  if (state.record && at < 0) {
    if (places.has(state.record)) {
      Object.assign(state, { show: "all", kind: "all", q: "" });
      probes = filter();
      at = matched.indexOf(places.get(state.record));
    } else {
      trouble(`There is no record '${state.record}' in this run.`);
      state.record = "";
    }
  }
  page = at < 0 ? 0 : Math.floor(at / PAGE);
  for (const name of ["protocol", "moment", "show", "kind"]) $(name).value = state[name];
  if ($("search").value !== state.q) $("search").value = state.q;
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
  const found = readHash();
  const known = { protocol: protocols, moment: moments, show: [...$("show").options].map((option) => option.value), kind: ["all", ...kinds] };
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

for (const name of ["protocol", "moment"]) $(name).addEventListener("change", (event) => {
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
