
document.body.inert = true; // until the marks of before are there
let at = -1; // the record that is shown, among all; -1: none

// -- what is shown ----------------------------------------------------------------------------------------------------

function say(text) {
  $("status").textContent = text;
}

function trouble(text) {
  $("trouble").textContent = text;
}

function fieldset(record, item, legend, ...about) {
  const takeBack = () => {
    give(record, item, "");
    node.focus();
  };
  const marks = MARKS.map((mark) => el("label", {},
    el("input", { type: "radio", name: `mark-${item}`, value: mark, onchange: () => give(record, item, mark) }), mark));
  const node = el("fieldset", { tabindex: -1, "data-item": item }, el("legend", {}, legend), ...about,
    el("div", { class: "marks" }, marks, el("button", { type: "button", class: "clear", title: "x", onclick: takeBack }, "take back")));
  paint(node, markOf(record, item));
  return node;
}

function paint(node, mark) {
  node.className = `item ${mark}`;
  for (const input of node.querySelectorAll("input")) input.checked = input.value === mark;
  node.querySelector(".clear").hidden = !mark;
}

function give(record, item, mark) {
  setMark(record, item, mark);
  paint(document.querySelector(`fieldset[data-item="${item}"]`), mark);
  progress();
}

function card(record) {
  const about = (text) => el("p", { class: "reason" }, text);
  const sight = el("section", { class: "sight" },
    el("figure", {}, picture(record.image, `Image ${record.image_id}`, record.box)),
    el("p", {}, `${record.id} (${record.split}), image ${record.image_id}`),
    record.entity && el("p", {}, `Edited entity: ${record.entity}${record.box ? " (in the box)" : ""}`),
    record.labeller && about(`Labelled by ${record.labeller}`),
    Object.entries(record.reasons).map(([step, reason]) => about(`${step}: ${reason}`)));

  const items = el("section", {}, el("h2", {}, "Is this right?"),
    fieldset(record, 0, "The edit",
      el("p", { class: "question" }, record.question),
      el("p", {}, `Before the edit “${record.answer}”, after it “${record.target}”.`),
      about("Right where the question is about one thing in the image and both are answers to it, of which one is true.")),
    record.probes.map((probe, number) => fieldset(record, number + 1, `${number}. ${probe.asks} (${probe.kind})`,
      probe.image && el("figure", { class: "other" }, picture(probe.image, `The image of probe ${number}`, null)),
      el("p", { class: "question" }, probe.question),
      el("p", {}, probe.expected),
      probe.reason && about(`Labeller: ${probe.reason}`))));
  const note = el("textarea", { id: "note", oninput: () => change(record, (own) => {
    if (note.value.trim()) own.note = note.value;
    else delete own.note;
  }) }, (state.marks[record.id] || {}).note || "");
  items.append(el("label", { for: "note" }, "Note on this record"), note);
  return [sight, items];
}

function show(index) {
  at = index;
  const main = $("record");
  main.classList.toggle("shown", at >= 0);
  if (at < 0) {
    main.replaceChildren(el("p", {}, "No record is like this."));
  } else {
    main.replaceChildren(...card(records[at]));
  }
  progress();
}

// What another page marked, without taking the focus from anything.
function refresh() {
  if (at >= 0) {
    items().forEach((node, item) => paint(node, markOf(records[at], item)));
    const note = $("note");
    if (document.activeElement !== note) note.value = (state.marks[records[at].id] || {}).note || "";
  }
  if (document.activeElement !== $("reviewer")) $("reviewer").value = state.reviewer;
  progress();
}

const indexOf = (id) => Math.max(0, records.findIndex((record) => record.id === id));

function keepPosition() {
  state.at = at < 0 ? "" : records[at].id;
  keep([["at", state.at]]);
}

function progress() {
  let marked = 0, all = 0, whole = 0;
  for (const record of records) {
    const done = marksOf(record).filter(Boolean).length;
    marked += done;
    all += size(record);
    whole += done === size(record);
  }
  Object.assign($("progress"), { max: all, value: marked });
  $("marked").textContent = `${marked} of ${all} marks, ${whole} of ${records.length} records done`;
  $("kept").textContent = pending.size ? "Marks are being kept …" : "All marks are kept.";
  const fitting = records.filter(matches).length;
  $("position").textContent = (at < 0 ? "no record" : `record ${at + 1} of ${records.length}`) +
    ($("filter").value === "all" ? "" : `; ${fitting} shown`);
  $("next").disabled = step(at, 1) < 0;
  $("previous").disabled = step(at, -1) < 0;
}

// -- going from one to the next ---------------------------------------------------------------------------------------

// The next record after (or before) `from` that the filter shows; -1: none.
function step(from, by) {
  for (let index = from + by; index >= 0 && index < records.length; index += by) if (matches(records[index])) return index;
  return -1;
}

function go(by) {
  const index = step(at, by);
  if (index < 0) {
    say(by > 0 ? "This is the last record." : "This is the first record.");
    return;
  }
  say("");
  show(index);
  keepPosition();
  scrollTo(0, 0);
  items()[0].focus({ preventScroll: true });
}

const items = () => [...document.querySelectorAll("fieldset.item")];

// The item that has the focus; else the first that is not marked.
function current() {
  const focused = document.activeElement.closest("fieldset.item");
  const open = items().find((node) => !node.querySelector("input:checked"));
  return focused || open || items()[0];
}

function focusItem(node) {
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const all = items();
  const node = all[all.indexOf(current()) + by];
  if (node) focusItem(node);
}

function markByKey(mark) {
  const all = items();
  const node = current();
  const item = all.indexOf(node);
  give(records[at], item, mark);
  focusItem(mark && all[item + 1] ? all[item + 1] : node);
  say(mark ? `Marked ${mark}.${all[item + 1] ? "" : " That was the last of this record."}` : "Mark taken back.");
}

const KEYS = {
  r: () => markByKey("right"),
  w: () => markByKey("wrong"),
  u: () => markByKey("unsure"),
  x: () => markByKey(""),
  j: () => move(document.activeElement.closest("fieldset.item") ? 1 : 0),
  k: () => move(-1),
  n: () => go(1),
  p: () => go(-1),
  t: () => $("note").focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
  if (event.key === "Escape" && event.target.id === "note") focusItem(items()[items().length - 1]);
  if (document.body.inert || typing || event.ctrlKey || event.metaKey || event.altKey || !$("keys").checked) return;
  const act = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
  if (!act || (at < 0 && !"np".includes(event.key))) return;
  event.preventDefault();
  act();
});

$("previous").addEventListener("click", () => go(-1));
$("next").addEventListener("click", () => go(1));
$("export").addEventListener("click", download);
$("import").addEventListener("change", async (event) => {
  if (event.target.files.length) await goOn(event.target.files[0]);
  event.target.value = "";
});
$("reviewer").addEventListener("input", (event) => {
  state.reviewer = event.target.value.trim();
  keep([["reviewer", state.reviewer]]);
});
$("filter").addEventListener("change", () => {
  show(at >= 0 && matches(records[at]) ? at : step(-1, 1));
  keepPosition();
});

async function start() {
  document.title = `Review of ${data.name}`;
  $("name").textContent = data.name;
  $("revision").textContent = short(data.revision);
  await recall().catch(unkept);
  $("reviewer").value = state.reviewer;
  show(indexOf(state.at));
  document.body.inert = false;
}

start();
