
// -- the page of a run --

const { run, submission, manifest } = pageData;
const points = run.sequence ? [["", "right after each edit"], ["@end", `after all ${count(run.sequence)} edits`]] : [["", ""]];
const series = run.protocols.flatMap((protocol) => points.map(([point, when]) => ({ protocol, point, label: when ? `${protocol}, ${when}` : protocol })));

document.getElementById("title").append(el("bdi", {}, run.editor), " on ", el("bdi", {}, run.backbone));
document.getElementById("about").append(el("div", {},
  el("div", { class: "bar" }, statusTag(run.status), el("span", { class: "muted" }, STATUS[run.status])),
  run.control && el("div", { class: "bar" }, el("span", { class: "tag" }, "control"), el("span", { class: "muted" }, NO_EDIT)),
  run.supervision && el("p", {}, "Supervision: ", el("b", {}, el("bdi", {}, run.supervision)), el("span", { class: "muted" }, `, ${SUPERVISION.get(run.supervision) || "not known where this was made"}`)),
  submission.description && el("p", {}, el("bdi", {}, submission.description)),
  el("p", {}, "Submitted as ", outside(submission.link, el("bdi", {}, submission.name)), ` on ${submission.submitted}.`),
  submission.reproduced && reproducedText(submission.reproduced),
  el("p", {}, `${count(run.records)} records of ${run.data}${olderText(run)}, ${editsText(run)}, seed ${run.seed}, on `, el("bdi", {}, run.hardware), ` in ${run.dtype}.`),
  run.older && el("p", { class: "note" }, run.older)));

function reproducedText({ by, link, date, agreement }) {
  return el("p", {}, "Reproduced by ", outside(link, el("bdi", {}, by)), ` on ${date}: ${count(agreement.equal)} of ` +
    `${count(agreement.rows)} rows equal; ${agreement.metric} differs most, by ${percent(agreement.difference)} ` +
    `(tolerance ${percent(agreement.tolerance)}).`);
}

const fullName = ({ protocol, point }, metric) => `${protocol}/${metric}${point}`;
const known = [...METRIC.keys()].filter((metric) => series.some((one) => run.metrics[fullName(one, metric)]));
document.getElementById("metrics").append(dataTable(
  "In percent with 95 % intervals" + (run.control ? "" : `; in brackets the rank among ${count(pageData.ranked)} ${pageData.ranked === 1 ? "run" : "runs"} on the same records, backbone and edits`),
  ["Metric", ...series.map((one) => one.label)],
  known.map((metric) => [
    metricHeader(metric),
    ...series.map((one) => {
      const cell = valueCell(run.metrics[fullName(one, metric)]);
      const rank = run.ranks[fullName(one, metric)];
      if (rank) cell.firstChild.after(el("span", { class: "muted" }, ` (${rank})`));
      return cell;
    }),
  ])));

document.getElementById("profile").append(profileFigure("Score by kind of probe",
  () => series.map((one, index) => ({ label: one.label, index, metrics: metricsOf(run, one.protocol, one.point) }))).element);

if (run.sequence) {
  document.getElementById("sequential").hidden = false;
  const protocol = document.getElementById("protocol"), metric = document.getElementById("metric");
  fill(protocol, run.protocols.map((name) => [name, name]));
  fill(metric, metricOptions(METRICS.filter(({ name }) => run.curves[`${run.protocols[0]}/${name}`])), "specificity");
  for (const control of [protocol, metric]) control.addEventListener("change", redraw);
  const curves = ["edits_in_force", "edits_since"].map((side) =>
    curveFigure(side, () => [{ ...run, index: 0, label: run.editor }], () => `${protocol.value}/${metric.value}`));
  document.getElementById("curves").append(...curves.map((one) => one.element));
}
redraw();

const routed = inOrder(Object.keys(pageData.router)).map((name) => [name, pageData.router[name]]);
if (routed.length) {
  document.getElementById("routing").hidden = false;
  const recalls = [["caught", "in-scope recall"], ["kept", "out-of-scope recall"]]; // as result files call them
  const kinds = [...recalls, ...PROFILE.map(({ name }) => [name, name])].filter(([kind]) => routed.some(([, figures]) => figures[kind]));
  document.getElementById("router").append(dataTable("Routed as the kind of probe asks for, in percent with 95 % intervals",
    ["Probes", ...routed.map(([name]) => name.replace("@end", ", after all edits"))],
    kinds.map(([kind, text]) => [text, ...routed.map(([, figures]) =>
      valueCell(figures[kind] && [figures[kind].value, figures[kind].low, figures[kind].high]))])));
}

const copied = el("span", { role: "status", class: "note" });
document.getElementById("repeat").append(el("div", {}, el("pre", { id: "command", tabindex: "0" }, pageData.command),
  el("div", { class: "bar" }, el("button", { type: "button", onclick: copy }, "Copy the command"), copied),
  pageData.tag && el("p", { class: "note" }, "These data are no longer the embedded ones. The run is made at the git tag ", el("code", {}, pageData.tag),
    ", which holds them, in a checkout installed anew; or with --dataset FOLDER, where they lie in a folder."),
  el("p", { class: "note" }, manifest.editor.checkpoint
    ? "The editor was trained: give its own checkpoint with --checkpoint DIR unless it is the one that comes with the backbone. Its content hash stands below."
    : "The editor needs no checkpoint."),
  manifest.git && el("p", { class: "note" }, "At commit ", el("code", {}, manifest.git.commit), manifest.git.dirty ? ", with changes that were not committed." : ".")));

async function copy() {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    await navigator.clipboard.writeText(pageData.command);
    copied.textContent = "Copied.";
  } catch {
    copied.textContent = "Selected; copy it with your keyboard.";
  }
}

function list(title, pairs) {
  return el("section", {}, el("h3", {}, title), el("dl", {}, pairs.filter(([, value]) => value !== null && value !== "")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Element ? value : String(value))])));
}
const code = (text) => text && el("code", {}, text);
const { editor, backbone, dataset } = manifest;
document.getElementById("what").append(
  list("Editor", [["class", code(editor.class)], ["checkpoint", code(editor.checkpoint)],
    ...Object.entries(editor.config).map(([name, value]) => [name, code(JSON.stringify(value))])]),
  list("Backbone", [["name", backbone.name], ["source", backbone.source], ["revision", code(backbone.revision)], ["input mode", backbone.input_mode]]),
  list("Data", [["name", `${dataset.name}/${dataset.split}`], ["revision", code(dataset.revision)], ["records", count(dataset.records)],
    ["limit", dataset.limit], ["protocols", manifest.protocols.join(", ")], ["sequential edits", manifest.sequence], ["rows, SHA-256", code(manifest.rows_sha256)]]),
  list("Cost", [...Object.entries(COSTS).map(([key, { name }]) => [name.toLowerCase(), costText(run, key)]),
    ["hardware", el("span", {}, el("bdi", {}, run.hardware), `, ${manifest.dtype}`)]]),
  list("Software", [["python", manifest.python], ...Object.entries(manifest.packages),
    ["code, SHA-256", manifest.code ? code(manifest.code) : null]]),
  pageData.others ? el("section", {}, el("h3", {}, "Other runs on the same probes"), el("p", {},
    el("a", { href: `../compare.html#${new URLSearchParams({ a: run.id })}` },
      `Compare it probe by probe with ${pageData.others === 1 ? "the other one" : `one of ${count(pageData.others)}`}`))) : "");
