// What stands above the records: the run, its metrics and what its router did.

function above() {
  const { editor, backbone, dataset } = manifest;
  $("title").textContent = `${editor.name}${pageData.control ? " (the control: no edit at all)" : ""} on ${backbone.name}`;
  const limit = dataset.limit === null ? "" : `, the first ${number(dataset.limit)}`;
  $("facts").textContent =
    `${number(records.length)} records of ${dataset.name}/${dataset.split}@${dataset.revision.slice(0, 8)}${limit}; ` +
    `${number(pageData.rows)} rows; ${manifest.sequence ? `sequential editing, ${manifest.sequence} edits each` : "one edit at a time"}; seed ${manifest.seed}`;
  $("older").textContent = pageData.older;
  $("older").hidden = !pageData.older;
  const said = (value) => (typeof value === "object" && value !== null
    ? Object.entries(value).map(([name, inner]) => `${name}: ${typeof inner === "object" ? JSON.stringify(inner) : inner}`).join(", ")
    : String(value));
  $("made").append(...Object.entries(manifest).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, said(value))]));
  $("protocol").append(...protocols.map((name) => el("option", { value: name }, name)));
  $("at").append(...points.map((name) => el("option", { value: name }, POINTS[name])));
  $("points").hidden = points.length < 2;
  const routed = count((sign) => has(sign, "ROUTED")) > 0;
  const shows = routed ? Object.keys(SHOWS) : ["all", "wrong"];
  $("show").append(...shows.map((name) => el("option", { value: name }, SHOWS[name][0])));
  $("kind").append(el("option", { value: "all" }, "any"), ...pageData.kinds.map(({ name, retired }) => el("option", { value: name }, retired ? `${name} (retired)` : name)));
  $("router-section").hidden = !routed;
  $("rho-section").hidden = !pageData.rho;
  document.querySelector(".summary").classList.toggle("alone", !routed);
  $("heat-bar").hidden = !pageData.attention;
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

function showProtocol() {
  const { meaning } = pageData.protocols.find((protocol) => protocol.name === state.protocol);
  $("protocol-meaning").textContent = meaning || "This protocol is not registered here: what it asks is not known.";
}

function showMetrics() {
  const rows = pageData.metrics.flatMap((metric) => {
    const found = pageData.figures[`${state.protocol}/${metric.name}${state.at}`];
    if (!found) return [];
    const kind = metric.kinds.length === 1 && metric.kinds[0];
    const wrong = kind && count((sign, own) => own === kind && has(sign, "WRONG"));
    const tag = (text) => [" ", el("span", { class: "tag" }, text)];
    return [el("tbody", {},
      el("tr", {},
        el("th", { scope: "row" }, metric.name),
        td(found.value.toFixed(2)),
        td(`${found.low.toFixed(2)} – ${found.high.toFixed(2)}`),
        el("td", { class: "wide" }, !metric.derived && interval(found)),
        el("td", { class: "number wide" }, number(found.probes)),
        td(wrong ? link({ kind, show: "wrong" }, number(wrong)) : kind ? "0" : "")),
      el("tr", { class: "meaning" }, el("td", { colspan: 6 },
        metric.meaning, metric.needs_eyes && tag("needs eyes"), metric.retired && tag("retired"))))];
  });
  $("metrics").replaceChildren(el("table", {},
    el("caption", {}, "In percent, with 95 % intervals from a bootstrap over groups of records"),
    el("thead", {}, el("tr", {}, th("metric"), th("value", { class: "number" }), th("interval", { class: "number" }),
      th("0 to 100", { class: "wide" }), th("probes", { class: "number wide" }), th("wrong", { class: "number" }))),
    rows));
}

function showRouter() {
  const there = [...kinds.keys()];
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
    group("should change", "in-scope recall", "missed", "missed", there.filter(mustChange)),
    group("must stay", "out-of-scope recall", "falsely routed", "falsely", there.filter((kind) => !mustChange(kind)))));
}
