// Histograms of rho, with Plotly once it is there, and the same in numbers.

const ownRho = () => pageData.rho.counts[state.protocol + state.at] || {}; // kind -> counts below the threshold, and from it on
const bothSides = ([below, above]) => below.map((count, bin) => count + above[bin]);
const shownRho = () => [...kinds.keys()].filter((kind) => ownRho()[kind]);
const edge = (bin, bins) => pageData.rho.low + ((pageData.rho.high - pageData.rho.low) * bin) / bins;
const short = (value) => String(Number(value.toFixed(3)));

function showRho() {
  if (!pageData.rho) return;
  $("rho-key").replaceChildren(
    `How many probes have which rho, on a logarithmic scale; the dashed line is the threshold, ${pageData.threshold}.`,
    el("span", { class: "key fine" }), "on the side that its kind asks for", el("span", { class: "key off" }), "on the other side");
  const bins = 10;
  $("rho-table").replaceChildren(el("table", {},
    el("caption", {}, `Probes by rho, ${state.protocol}${state.at ? `, ${POINTS[state.at]}` : ""}; each column begins at its number`),
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
  own.forEach((kind, index) => {
    const suffix = index ? String(index + 1) : "";
    const [column, row] = [index % columns, Math.floor(index / columns)];
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
