
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
    Plotly.react(box, found.traces, { ...look(), ...found.layout, xaxis: { ...axis(), ...found.layout.xaxis }, yaxis: { ...axis(), ...found.layout.yaxis } },
      { displayModeBar: false, responsive: true, scrollZoom: false });
    const { caption, header, rows } = numbers();
    table.replaceChildren(table.firstElementChild, dataTable(caption, header, rows));
  };
  drawn.push(update);
  return { element: made, update };
}

function look() {
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

// How the run at a place in its list is drawn, the same in every plot.
function mark(place) {
  return { color: colour(`hue-${HUES[place % 8]}`), symbol: SYMBOLS[(place + Math.floor(place / 8)) % 8], dash: DASHES[Math.floor(place / 8) % 4] };
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
  const ages = side === "age";
  const title = ages ? "At the end, by age of the edit" : "Right after each edit, by edits in force";
  const points = () => runs().map((run) => [run, run.curves[chosen()]?.[side] || []]).filter(([, found]) => found.length);
  return figure({
    title,
    text: ages ? "Asked after all edits: how an edit fares that was followed by so many others."
      : "Asked right after its own edit, when so many edits were in force.",
    draw: () => {
      const found = points();
      return found.length && {
        traces: found.map(([run, line]) => {
          const { color, symbol, dash } = mark(run.place);
          return { type: "scatter", mode: "lines+markers", name: plotText(run.label), x: line.map(([x]) => x), y: line.map(([, y]) => y),
            line: { color, dash, width: 2 }, marker: { color, symbol, size: 7 },
            hovertemplate: `%{y:.2f} at %{x}<extra>${plotText(run.label)}</extra>` };
        }),
        layout: { xaxis: { title: { text: ages ? "edits made since" : "edits in force" }, rangemode: "tozero" },
          yaxis: { title: { text: chosen() }, range: [-2, 102] } },
      };
    },
    numbers: () => ({
      caption: `${title}: ${chosen()}, in percent`,
      header: ["Run", ages ? "Edits made since" : "Edits in force", "Value", "95 % interval", "Probes"],
      rows: points().flatMap(([run, line]) => line.map(([x, value, low, high, probes]) =>
        [run.label, el("td", { class: "number" }, String(x)), el("td", { class: "number" }, percent(value)),
          el("td", { class: "number" }, low === null ? "" : `${percent(low)}–${percent(high)}`), el("td", { class: "number" }, probes === null ? "" : count(probes))])),
    }),
  });
}

const KINDS = [["reliability", "edit"], ["generality", "rephrase"], ["in_scope", "in_scope"], ["reference_in", "reference_in"],
  ["retention", "out_of_scope"], ["reference_out", "reference_out"], ["other_image", "other_image"], ["locality", "text_locality"]];

// A profile over the kinds of probes. `series` -> [{label, place, metrics: kind's metric -> [value, low, high]}]
function profileFigure(title, text, series) {
  const kinds = () => KINDS.filter(([metric]) => series().some((one) => one.metrics[metric])).reverse();
  return figure({
    title, text, tall: true,
    draw: () => {
      const all = series(), rows = kinds();
      return rows.length && {
        traces: all.map((one, index) => {
          const { color, symbol } = mark(one.place);
          const own = rows.map(([metric], row) => [metric, row]).filter(([metric]) => one.metrics[metric]);
          const values = own.map(([metric]) => one.metrics[metric]);
          const offset = all.length > 1 ? 0.5 * (index / (all.length - 1) - 0.5) : 0;
          return { type: "scatter", mode: "markers", name: plotText(one.label), x: values.map(([value]) => value),
            y: own.map(([, row]) => row - offset), marker: { color, symbol, size: 10 }, error_x: bars(values, color),
            text: own.map(([metric]) => metric), hovertemplate: `%{text}: %{x:.2f}<extra>${plotText(one.label)}</extra>` };
        }),
        layout: {
          xaxis: { title: { text: "score, percent" }, range: [-2, 102] },
          yaxis: { tickvals: rows.map((_, row) => row), ticktext: rows.map(([, kind]) => kind), range: [-0.6, rows.length - 0.4] },
          showlegend: all.length > 1,
          shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: rows.findIndex(([metric]) => metric === "reference_in") - 0.5,
            y1: rows.findIndex(([metric]) => metric === "reference_in") - 0.5, line: { color: colour("edge"), width: 1, dash: "dot" } }]
            .filter((shape) => shape.y0 > 0),
        },
      };
    },
    numbers: () => ({
      caption: `${title}, in percent with 95 % intervals`,
      header: ["Kind of probe", "Metric", ...series().map((one) => one.label)],
      rows: kinds().reverse().map(([metric, kind]) => [kind, metric, ...series().map((one) => valueCell(one.metrics[metric]))]),
    }),
  });
}

// The metrics of a run under one protocol and at one moment, without their prefix.
function metricsOf(run, protocol, moment) {
  return Object.fromEntries(Object.entries(run.metrics).map(([name, metric]) => [partsOf(name), metric])
    .filter(([[of, , at]]) => of === protocol && at === moment).map(([[, name], metric]) => [name, metric]));
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
