
// -- plots: each with its numbers as a table below it --

const HUES = [1, 2, 3, 4, 5, 6, 7, 8];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "pentagon"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const drawn = [];

// A figure: `title`, `text` below it, `draw` -> {traces, layout} or null, `numbers` -> {caption, header, rows}.
function figure({ title, text, draw, numbers, tall }) {
  const box = el("div", { class: tall ? "plot tall" : "plot", role: "img", "aria-label": `${title}; its numbers are in the table below` });
  const nothing = el("p", { class: "note", hidden: true }, "No run has these numbers.");
  const table = el("details", {}, el("summary", {}, `Numbers of “${title}” as a table`));
  const made = el("figure", {}, el("h3", {}, title), el("figcaption", {}, text), box, nothing, table);
  const update = () => {
    const found = draw(box);
    box.hidden = table.hidden = !found;
    nothing.hidden = Boolean(found);
    if (!found) return;
    Plotly.react(box, found.traces, { ...layoutStyle(), ...found.layout, xaxis: { ...axis(), ...found.layout.xaxis }, yaxis: { ...axis(), ...found.layout.yaxis } },
      { displayModeBar: false, responsive: true, scrollZoom: false });
    const { caption, header, rows } = numbers();
    table.replaceChildren(table.firstElementChild, dataTable(caption, header, rows));
  };
  drawn.push(update);
  return { element: made, update };
}

function layoutStyle() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    margin: { l: 56, r: 16, t: 12, b: 48 }, hovermode: "closest", dragmode: false,
    hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("edge"), font: { color: colour("ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } },
    colorway: HUES.map((hue) => colour(`hue-${hue}`)),
  };
}

function axis() {
  return { gridcolor: colour("line"), linecolor: colour("edge"), zeroline: false, showline: true, ticks: "outside",
    tickcolor: colour("edge"), automargin: true, fixedrange: true };
}

// How the run of an index is drawn, the same in every plot.
function mark(index) {
  return { color: colour(`hue-${HUES[index % 8]}`), symbol: SYMBOLS[(index + Math.floor(index / 8)) % 8], dash: DASHES[Math.floor(index / 8) % 4] };
}

// Error bars of [value, low, high] metrics.
function bars(metrics, color) {
  return { type: "data", symmetric: false, array: metrics.map(([value, , high]) => high - value),
    arrayminus: metrics.map(([value, low]) => value - low), color, thickness: 1.5, width: 3 };
}

function redraw() {
  drawn.forEach((update) => update());
}

// Text that Plotly shows: it reads a little markup, so that a "<" must not start any.
function plotText(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function curveFigure(side, runs, chosen) {
  const end = side === "edits_since";
  const title = end ? "At the end, by edits since" : "Right after each edit, by edits in force";
  const points = () => runs().map((run) => [run, run.curves[chosen()]?.[side] || []]).filter(([, found]) => found.length);
  return figure({
    title,
    text: end ? "Asked after all edits: how an edit fares that was followed by so many others."
      : "Asked right after its own edit, when so many edits were in force.",
    draw: () => {
      const found = points();
      return found.length && {
        traces: found.map(([run, line]) => {
          const { color, symbol, dash } = mark(run.index);
          return { type: "scatter", mode: "lines+markers", name: plotText(run.label), x: line.map(([x]) => x), y: line.map(([, y]) => y),
            line: { color, dash, width: 2 }, marker: { color, symbol, size: 7 },
            hovertemplate: `%{y:.2f} at %{x}<extra>${plotText(run.label)}</extra>` };
        }),
        layout: { xaxis: { title: { text: end ? "edits since" : "edits in force" }, rangemode: "tozero" },
          yaxis: { title: { text: chosen() }, range: [-2, 102] } },
      };
    },
    numbers: () => ({
      caption: `${title}: ${chosen()}, in percent`,
      header: ["Run", end ? "Edits since" : "Edits in force", "Value", "95 % interval", "Probes"],
      rows: points().flatMap(([run, line]) => line.map(([x, value, low, high, probes]) =>
        [run.label, el("td", { class: "number" }, String(x)), el("td", { class: "number" }, percent(value)),
          el("td", { class: "number" }, low === null ? "" : `${percent(low)}–${percent(high)}`), el("td", { class: "number" }, probes === null ? "" : count(probes))])),
    }),
  });
}

// Kinds of probes in the order of profiles, from above: those whose answer the edit must change, then the others.
const PROFILE = [...KINDS.filter((kind) => kind.changes), ...KINDS.filter((kind) => !kind.changes)];

// A profile over the kinds of probes. `series` -> [{label, index, metrics: kind's metric -> [value, low, high]}]
function profileFigure(title, series) {
  const text = "Above the line: probes whose answer the edit must change. Below it: probes whose answer must stay.";
  const kinds = () => PROFILE.filter(({ metric }) => series().some((one) => one.metrics[metric])).reverse();
  return figure({
    title, text, tall: true,
    draw: () => {
      const all = series(), rows = kinds();
      return rows.length && {
        traces: all.map((one, index) => {
          const { color, symbol } = mark(one.index);
          const own = rows.map(({ metric }, row) => [metric, row]).filter(([metric]) => one.metrics[metric]);
          const values = own.map(([metric]) => one.metrics[metric]);
          const offset = all.length > 1 ? 0.5 * (index / (all.length - 1) - 0.5) : 0;
          return { type: "scatter", mode: "markers", name: plotText(one.label), x: values.map(([value]) => value),
            y: own.map(([, row]) => row - offset), marker: { color, symbol, size: 10 }, error_x: bars(values, color),
            text: own.map(([metric]) => metric), hovertemplate: `%{text}: %{x:.2f}<extra>${plotText(one.label)}</extra>` };
        }),
        layout: {
          xaxis: { title: { text: "score, percent" }, range: [-2, 102] },
          yaxis: { tickvals: rows.map((_, row) => row), ticktext: rows.map(({ name }) => name), range: [-0.6, rows.length - 0.4] },
          showlegend: all.length > 1,
          shapes: [line(rows.filter(({ changes }) => !changes).length - 0.5)].filter((shape) => shape.y0 > 0 && shape.y0 < rows.length - 1),
        },
      };
    },
    numbers: () => ({
      caption: `${title}, in percent with 95 % intervals`,
      header: ["Kind of probe", "Metric", ...series().map((one) => one.label)],
      rows: kinds().reverse().map((kind) => [
        el("th", { scope: "row" }, kind.name, el("span", { class: "between" }, `${kind.asks}: ${kind.right}`)),
        el("td", {}, metricName(kind.metric)), ...series().map((one) => valueCell(one.metrics[kind.metric]))]),
    }),
  });
}

// A dotted line across a plot.
function line(y) {
  return { type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour("edge"), width: 1, dash: "dot" } };
}

// The metrics of a run under one protocol and at one evaluation point, without their prefix.
function metricsOf(run, protocol, point) {
  return Object.fromEntries(Object.entries(run.metrics).map(([name, metric]) => [partsOf(name), metric])
    .filter(([[of, , at]]) => of === protocol && at === point).map(([[, name], metric]) => [name, metric]));
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
