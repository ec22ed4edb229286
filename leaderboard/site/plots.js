
// -- the page of plots --

const IDS = ["block", "protocol", "at", "metric", "cost"];
const controls = Object.fromEntries(IDS.map((id) => [id, document.getElementById(id)]));
const names = distinct(pageData.runs.map((run) => run.editor)).sort();
const blocks = distinct(pageData.runs.map((run) => run.block));
const PROFILED = 4;
let profiled = [];

fill(controls.block, blocks.map((block, index) => {
  const run = pageData.runs.find((one) => one.block === block);
  return [String(index), blockText(run, pageData.runs)];
}));
fill(controls.at, [["", "right after each edit"], ["@end", "after all edits"]]);
fill(controls.metric, metricOptions());
fill(controls.cost, Object.entries(COSTS).map(([key, { name }]) => [key, name]));
for (const id of IDS) controls[id].addEventListener("change", () => change());
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());

// The runs that are shown, each with its index among all editors, which says how it is drawn, and its label.
function runs() {
  const block = blocks[Number(controls.block.value)];
  const own = pageData.runs.filter((run) => run.block === block && run.protocols.includes(controls.protocol.value));
  return own.map((run) => {
    const twice = own.some((other) => other !== run && other.editor === run.editor);
    return { ...run, index: names.indexOf(run.editor), label: editorText(twice ? { ...run, editor: run.id } : run),
      by: metricsOf(run, controls.protocol.value, evaluationPoint()) };
  });
}

function evaluationPoint() {
  return controls.at.closest("label").hidden ? "" : controls.at.value;
}

// Where the labels of points stand, as annotations: beside their points, off other points and labels, and where that is
// some lines away with a line to the point.
// `at`: a point -> its place in pixels; a point's `bars`: pairs of points; `size`: width and height of the plot in pixels.
function labels(points, at, [width, height]) {
  const taken = points.flatMap((point) => [{ ...at(point), w: 14, h: 14 }, ...point.bars.map((bar) => {
    const [from, to] = [at(bar[0]), at(bar[1])];
    return { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2, w: Math.abs(to.x - from.x) + 2, h: Math.abs(to.y - from.y) + 2 };
  })]);
  const overlap = (a, b) => Math.max(0, Math.min(a.x + a.w / 2, b.x + b.w / 2) - Math.max(a.x - a.w / 2, b.x - b.w / 2)) *
    Math.max(0, Math.min(a.y + a.h / 2, b.y + b.h / 2) - Math.max(a.y - a.h / 2, b.y - b.h / 2));
  const around = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5, -6, 6].flatMap((down) => [[1, down], [-1, down], ...(down ? [[0, down]] : [])]);
  return points.map((point) => {
    const { x, y } = at(point), w = 7 * point.label.length + 6, h = 15;
    const places = around.map(([across, down]) => {
      const place = { across, down, x: x + across * (w / 2 + 8), y: y + down * 13, w, h };
      const outside = place.x - w / 2 < 0 || place.x + w / 2 > width || place.y < 8 || place.y > height - 8;
      return { ...place, bad: outside * 1e6 + taken.reduce((sum, other) => sum + overlap(place, other), 0) + 4 * Math.abs(down) };
    });
    const best = places.reduce((a, b) => (b.bad < a.bad ? b : a));
    taken.push(best);
    const [ax, ay] = [best.across * 8, best.down * 13];
    return { x: point.x, y: point.y, text: plotText(point.label), xanchor: ["right", "center", "left"][best.across + 1], yanchor: "middle",
      ...(Math.abs(best.down) > 1 ? { showarrow: true, ax, ay, arrowhead: 0, arrowwidth: 1, arrowcolor: colour("edge") }
        : { showarrow: false, xshift: ax, yshift: -ay }),
      font: { size: 12, color: colour("ink") } };
  });
}

// The ends of an axis that shows `values` with some room around them.
function room(values) {
  const least = Math.min(...values), most = Math.max(...values), more = Math.max(0.07 * (most - least), 0.02);
  return [least - more, most + more];
}

// Ticks of an axis of logarithms: powers of ten, and the more between them the shorter it is.
function ticks([from, to]) {
  const found = [];
  const digits = to - from > 2 ? [1] : to - from > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  for (let power = Math.floor(from); power <= to; power++) {
    for (const digit of digits) if (Math.log10(digit) + power >= from && Math.log10(digit) + power <= to) found.push(digit * 10 ** power);
  }
  return { tickvals: found, ticktext: found.map((value) => value.toLocaleString("en", { maximumSignificantDigits: 2 })) };
}

// Runs as points with error bars. `xOf` -> [value, low, high] or [value]; runs without one are left out.
function points(xOf, yOf) {
  return runs().map((run) => ({ run, x: xOf(run), y: yOf(run) })).filter(({ x, y }) => x && y && x[0] !== null);
}

function scatter(box, found, xTitle, yTitle, log) {
  const placed = found.map(({ run, x, y }) => {
    const at = log ? Math.log10(x[0]) : x[0];
    const bars = [[{ x: at, y: y[1] }, { x: at, y: y[2] }], ...(x.length > 1 ? [[{ x: x[1], y: y[0] }, { x: x[2], y: y[0] }]] : [])];
    return { x: at, y: y[0], label: run.label, bars };
  });
  const xs = room(found.flatMap(({ x }) => (log ? x.map(Math.log10) : x))), ys = room(found.flatMap(({ y }) => y));
  const size = [box.clientWidth - 75, box.clientHeight - 65];
  const at = ({ x, y }) => ({ x: (size[0] * (x - xs[0])) / (xs[1] - xs[0]), y: (size[1] * (ys[1] - y)) / (ys[1] - ys[0]) });
  return {
    traces: found.map(({ run, x, y }) => {
      const { color, symbol } = mark(run.index);
      return { type: "scatter", mode: "markers", name: plotText(run.label), x: [x[0]], y: [y[0]], showlegend: false,
        marker: { color, symbol, size: 11 }, error_y: bars([y], color), ...(x.length > 1 ? { error_x: bars([x], color) } : {}),
        hovertemplate: `%{x:.3~g}, %{y:.2f}<extra>${plotText(run.label)}</extra>` };
    }),
    layout: {
      xaxis: { title: { text: xTitle }, range: xs, ...(log ? { type: "log", ...ticks(xs) } : {}) },
      yaxis: { title: { text: yTitle }, range: ys },
      annotations: labels(placed, at, size),
    },
  };
}

const plane = figure({
  title: "Specificity against locality",
  text: "Up: the edit reaches what it entails and leaves the rest of the image. Right: questions without an image are left alone.",
  draw: (box) => {
    const found = points((run) => run.by.locality, (run) => run.by.specificity);
    return found.length && scatter(box, found, "locality, percent", "specificity, percent");
  },
  numbers: () => ({
    caption: "Specificity and locality, in percent with 95 % intervals",
    header: ["Editor", "Locality", "Specificity", BEYOND_NOTHING],
    rows: points((run) => run.by.locality, (run) => run.by.specificity)
      .map(({ run, x, y }) => [run.label, valueCell(x), valueCell(y), valueCell(run.by[BEYOND_NOTHING])]),
  }),
});

const price = {
  x: (run) => [COSTS[controls.cost.value].of(run)],
  y: (run) => run.by[controls.metric.value],
};
const priceName = () => [COSTS[controls.cost.value].name, COSTS[controls.cost.value].unit].filter(Boolean).join(", ");
const priced = figure({
  title: "Cost against quality",
  text: "Up and to the left is better. Times compare only between runs on the same machine.",
  draw: (box) => {
    const found = points(price.x, price.y);
    const log = controls.cost.value.startsWith("seconds") && found.every(({ x }) => x[0] > 0);
    return found.length && scatter(box, found, priceName(), `${controls.metric.value}, percent`, log);
  },
  numbers: () => ({
    caption: `${priceName()} and ${controls.metric.value}`,
    header: ["Editor", priceName(), controls.metric.value, "Hardware"],
    rows: points(price.x, price.y).map(({ run, x, y }) =>
      [run.label, el("td", { class: "number" }, x[0].toLocaleString("en", { maximumSignificantDigits: 4 })), valueCell(y), el("bdi", {}, run.hardware)]),
  }),
});

const profile = profileFigure("Score by kind of probe",
  () => runs().filter((run) => profiled.includes(run.id)).map((run) => ({ label: run.label, index: run.index, metrics: run.by })));
const chosenMetric = () => `${controls.protocol.value}/${controls.metric.value}`;
const curves = ["edits_in_force", "edits_since"].map((side) => curveFigure(side, runs, chosenMetric));

document.getElementById("first").append(plane.element, priced.element);
document.getElementById("second").append(profile.element);
document.getElementById("third").append(...curves.map((one) => one.element));

function change(keep = false) {
  const block = pageData.runs.filter((run) => run.block === blocks[Number(controls.block.value)]);
  fill(controls.protocol, inOrder(distinct(block.flatMap((run) => run.protocols))).map((name) => [name, name]));
  const sequence = block.some((run) => run.sequence);
  controls.at.closest("label").hidden = !sequence;
  document.getElementById("nosequence").hidden = sequence;
  document.getElementById("third").hidden = !sequence;
  const all = runs();
  profiled = profiled.filter((id) => all.some((run) => run.id === id));
  if (!profiled.length) {
    profiled = [...all].sort((a, b) => (b.by.score?.[0] ?? -1) - (a.by.score?.[0] ?? -1)).slice(0, 3).map((run) => run.id);
  }
  const box = document.getElementById("profiled");
  box.replaceChildren(box.firstElementChild, ...all.map((run) => el("label", {},
    el("input", { type: "checkbox", value: run.id, checked: profiled.includes(run.id), onchange: (event) => choose(event.target) }),
    el("bdi", {}, run.label))));
  limitChoice();
  if (!keep) save();
  redraw();
  document.getElementById("said").textContent =
    `${count(all.length)} runs under protocol ${controls.protocol.value} (${protocolText(controls.protocol.value)}). ` +
    `${controls.metric.value}: ${METRIC.get(controls.metric.value).meaning}. ${block[0].older}`;
}

function choose(box) {
  profiled = box.checked ? [...profiled, box.value] : profiled.filter((id) => id !== box.value);
  limitChoice();
  save();
  profile.update();
}

function limitChoice() {
  for (const box of document.querySelectorAll("#profiled input")) box.disabled = !box.checked && profiled.length >= PROFILED;
}

function save() {
  const value = (id) => (controls[id].closest("label").hidden || controls[id].selectedIndex === 0 ? "" : controls[id].value);
  writeHash({ ...Object.fromEntries(IDS.map((id) => [id, id === "block" && controls.block.selectedIndex > 0 ? runs()[0]?.id : value(id)])),
    profile: profiled.join(",") });
}

// What the address says, as far as there is such a thing, and else the first; a block of runs by one of its runs.
function readState() {
  const said = readAddress();
  const block = blocks.indexOf(pageData.runs.find((run) => run.id === said.block)?.block);
  controls.block.value = String(Math.max(block, 0));
  fill(controls.protocol, inOrder(distinct(pageData.runs.flatMap((run) => run.protocols))).map((name) => [name, name]));
  for (const id of IDS.slice(1)) {
    const values = [...controls[id].options].map((option) => option.value);
    controls[id].value = values.includes(said[id]) ? said[id] : values[0];
  }
  profiled = (said.profile || "").split(",").filter((id) => pageData.runs.some((run) => run.id === id)).slice(0, PROFILED);
  change(true);
}
window.addEventListener("hashchange", readState);
if (pageData.runs.length) readState();
else document.getElementById("said").textContent = "There is no run yet.";
