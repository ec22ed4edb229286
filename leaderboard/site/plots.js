
// -- the page of plots --

const COSTS = {
  seconds: ["seconds an edit", (run) => run.cost.edit_seconds / run.records],
  memory: ["peak memory, MiB", (run) => run.cost.peak_memory_bytes / 2 ** 20],
  parameters: ["trained parameters", (run) => run.cost.trained_parameters],
};
const IDS = ["group", "protocol", "moment", "metric", "cost"];
const controls = Object.fromEntries(IDS.map((id) => [id, document.getElementById(id)]));
const names = distinct(pageData.runs.map((run) => run.editor)).sort();
const groups = distinct(pageData.runs.map((run) => run.group));
const PROFILED = 4;
let profiled = [];

fill(controls.group, groups.map((group, place) => {
  const run = pageData.runs.find((one) => one.group === group);
  return [String(place), `${run.data} on ${run.backbone}, ${count(run.records)} records, ${editsText(run)}`];
}));
fill(controls.moment, [["", "right after each edit"], ["@end", "after all edits"]]);
fill(controls.metric, pageData.metrics.map((name) => [name, name]));
fill(controls.cost, Object.entries(COSTS).map(([name, [text]]) => [name, text]));
for (const id of IDS) controls[id].addEventListener("change", () => change());
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());

// The runs that are shown, each with its place among all editors, which says how it is drawn, and its label.
function runs() {
  const group = groups[Number(controls.group.value)];
  const own = pageData.runs.filter((run) => run.group === group && run.protocols.includes(controls.protocol.value));
  return own.map((run) => {
    const twice = own.some((other) => other !== run && other.editor === run.editor);
    return { ...run, place: names.indexOf(run.editor), label: twice ? run.id : run.editor,
      by: metricsOf(run, controls.protocol.value, moment()) };
  });
}

function moment() {
  return controls.moment.closest("label").hidden ? "" : controls.moment.value;
}

// Labels of points; points that lie on each other share one.
function labelled(points, spanX, spanY) {
  const rest = [...points], found = [];
  while (rest.length) {
    const first = rest.shift();
    const near = rest.filter((other) => Math.abs(other.x - first.x) < spanX * 0.12 && Math.abs(other.y - first.y) < spanY * 0.045);
    near.forEach((other) => rest.splice(rest.indexOf(other), 1));
    found.push({ x: first.x, y: first.y, text: [first, ...near].map((one) => one.label).join(", ") });
  }
  return found;
}

// Runs as points with error bars. `xOf` -> [value, low, high] or [value]; runs without one are left out.
function points(xOf, yOf) {
  return runs().map((run) => ({ run, x: xOf(run), y: yOf(run) })).filter(({ x, y }) => x && y && x[0] !== null);
}

function scatter(found, layout, log) {
  const placed = found.map(({ run, x, y }) => ({ x: log ? Math.log10(x[0]) : x[0], y: y[0], label: run.label }));
  const span = (of) => Math.max(1e-6, Math.max(...placed.map(of)) - Math.min(...placed.map(of)));
  const least = Math.min(...placed.map((one) => one.x)), wide = span((one) => one.x);
  return {
    traces: found.map(({ run, x, y }) => {
      const { color, symbol } = mark(run.place);
      return { type: "scatter", mode: "markers", name: plotText(run.label), x: [x[0]], y: [y[0]], showlegend: false,
        marker: { color, symbol, size: 11 }, error_y: bars([y], color), ...(x.length > 1 ? { error_x: bars([x], color) } : {}),
        hovertemplate: `%{x:.3~g}, %{y:.2f}<extra>${plotText(run.label)}</extra>` };
    }),
    layout: {
      ...layout,
      annotations: labelled(placed, wide, span((one) => one.y)).map(({ x, y, text }) => {
        const right = x > least + wide * 0.55; // towards the middle, so that none is cut off
        return { x, y, text: plotText(text), showarrow: false, xanchor: right ? "right" : "left", xshift: right ? -9 : 9, yshift: 9,
          font: { size: 12, color: colour("ink") } };
      }),
    },
  };
}

const plane = figure({
  title: "Specificity against locality",
  text: "Up: the edit reaches what it entails and leaves the rest of the image. Right: questions without an image are left alone.",
  draw: () => {
    const found = points((run) => run.by.locality, (run) => run.by.specificity);
    return found.length && scatter(found, { xaxis: { title: { text: "locality, percent" } }, yaxis: { title: { text: "specificity, percent" } } });
  },
  numbers: () => ({
    caption: "Specificity and locality, in percent with 95 % intervals",
    header: ["Editor", "Locality", "Specificity"],
    rows: points((run) => run.by.locality, (run) => run.by.specificity).map(({ run, x, y }) => [run.label, valueCell(x), valueCell(y)]),
  }),
});

const price = {
  x: (run) => [COSTS[controls.cost.value][1](run)],
  y: (run) => run.by[controls.metric.value],
};
const priced = figure({
  title: "Cost against quality",
  text: "Up and to the left is better. Times compare only between runs on the same machine.",
  draw: () => {
    const found = points(price.x, price.y);
    const log = controls.cost.value !== "memory" && found.every(({ x }) => x[0] > 0);
    return found.length && scatter(found, {
      xaxis: { title: { text: COSTS[controls.cost.value][0] }, type: log ? "log" : "linear", ...(log ? { dtick: "D2" } : {}) },
      yaxis: { title: { text: `${controls.metric.value}, percent` } },
    }, log);
  },
  numbers: () => ({
    caption: `${COSTS[controls.cost.value][0]} and ${controls.metric.value}`,
    header: ["Editor", COSTS[controls.cost.value][0], controls.metric.value, "Device"],
    rows: points(price.x, price.y).map(({ run, x, y }) =>
      [run.label, el("td", { class: "number" }, x[0].toLocaleString("en", { maximumSignificantDigits: 4 })), valueCell(y), run.device]),
  }),
});

const profile = profileFigure("Score by kind of probe",
  "Above the line: probes whose answer the edit must change. Below it: probes whose answer must stay.",
  () => runs().filter((run) => profiled.includes(run.id)).map((run) => ({ label: run.label, place: run.place, metrics: run.by })));
const chosenMetric = () => `${controls.protocol.value}/${controls.metric.value}`;
const curves = ["place", "age"].map((side) => curveFigure(side, runs, chosenMetric));

document.getElementById("first").append(plane.element, priced.element);
document.getElementById("second").append(profile.element);
document.getElementById("third").append(...curves.map((one) => one.element));

function change(keep = false) {
  const group = pageData.runs.filter((run) => run.group === groups[Number(controls.group.value)]);
  fill(controls.protocol, distinct(group.flatMap((run) => run.protocols)).sort((a, b) => (b === "paper") - (a === "paper"))
    .map((name) => [name, name]));
  const sequence = group.some((run) => run.sequence);
  controls.moment.closest("label").hidden = !sequence;
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
  document.getElementById("said").textContent = `${count(all.length)} runs`;
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
  writeHash({ ...Object.fromEntries(IDS.map((id) => [id, id === "group" && controls.group.selectedIndex > 0 ? runs()[0]?.id : value(id)])),
    profile: profiled.join(",") });
}

// What the address says, as far as there is such a thing; a group of runs by one of its runs.
function readState() {
  const said = readHash();
  const group = groups.indexOf(pageData.runs.find((run) => run.id === said.group)?.group);
  if (group >= 0) controls.group.value = String(group);
  fill(controls.protocol, distinct(pageData.runs.flatMap((run) => run.protocols)).map((name) => [name, name]));
  for (const id of IDS.slice(1)) if ([...controls[id].options].some((option) => option.value === said[id])) controls[id].value = said[id];
  profiled = (said.profile || "").split(",").filter((id) => pageData.runs.some((run) => run.id === id)).slice(0, PROFILED);
  change(true);
}
window.addEventListener("hashchange", readState);
if (pageData.runs.length) readState();
else document.getElementById("said").textContent = "There is no run yet.";
