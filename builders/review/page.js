document.body.inert = true; // until the marks of before are there
const data = pageData;
const records = data.records;
const MARKS = ["right", "wrong", "unsure"];
const $ = (id) => document.getElementById(id);

// Ids come from the data: objects that are indexed by them inherit nothing.
const bare = (object) => Object.assign(Object.create(null), object);

const state = { marks: bare(), reviewer: "", at: "" };
let at = -1; // the record that is shown, among all; -1: none

// -- what is marked ---------------------------------------------------------------------------------------------------

// A record's items are its edit (0) and its probes (from 1).
const size = (record) => 1 + record.probes.length;

function markOf(record, item) {
  const own = state.marks[record.id];
  return (own && (item === 0 ? own.edit : (own.probes || {})[item - 1])) || "";
}

function change(record, alter) {
  const own = state.marks[record.id] || {};
  own.probes = own.probes || {};
  alter(own);
  if (own.edit || own.note || Object.keys(own.probes).length) state.marks[record.id] = own;
  else delete state.marks[record.id];
  keep([keptMarks(record.id)]);
}

function setMark(record, item, mark) {
  change(record, (own) => {
    const [holder, key] = item === 0 ? [own, "edit"] : [own.probes, item - 1];
    if (mark) holder[key] = mark;
    else delete holder[key];
  });
}

const marksOf = (record) => Array.from({ length: size(record) }, (_, item) => markOf(record, item));

function matches(record) {
  const filter = $("filter").value;
  return filter === "all" || marksOf(record).includes(filter === "unmarked" ? "" : filter);
}

// -- what is kept -----------------------------------------------------------------------------------------------------

// In a database of the browser, which says when something is stored; localStorage does not, and loses what is marked in
// the moments before a page is closed. Each record's marks are kept by themselves, so that two open pages of the same
// data do not write over each other's. Names are "reviewer", "at", and "marks " with a record's id.

let database; // undefined where the browser gives none
const pending = new Map(); // name -> text, "" for nothing: what is not stored yet
const others = new BroadcastChannel(`fgvedit-review ${data.revision}`);

const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function recall() {
  const opening = indexedDB.open("fgvedit-review", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
  database = await answer(opening);
  const store = database.transaction("kept").objectStore("kept");
  const own = IDBKeyRange.bound([data.revision], [data.revision, []]); // [revision, name] is between them
  const [keys, texts] = await Promise.all([answer(store.getAllKeys(own)), answer(store.getAll(own))]);
  keys.forEach(([, name], index) => take(name, texts[index]));
}

// Store texts under names, pairs of the two, in one go.
function keep(texts) {
  for (const [name, text] of texts) pending.set(name, text);
  const storing = new Map(pending);
  try {
    const transaction = database.transaction("kept", "readwrite", { durability: "strict" });
    const store = transaction.objectStore("kept");
    for (const [key, value] of storing) {
      if (value) store.put(value, [data.revision, key]);
      else store.delete([data.revision, key]);
    }
    transaction.oncomplete = () => stored(storing);
    transaction.onabort = () => unkept(transaction.error);
  } catch (error) {
    unkept(error);
  }
  progress();
}

function stored(these) {
  for (const [name, text] of these) if (pending.get(name) === text) pending.delete(name);
  others.postMessage([...these]);
  progress();
}

function unkept(error) {
  trouble(`This browser cannot keep the marks (${error ? error.name : "no reason given"}): export them before you leave the page.`);
}

// A record's marks as they are kept: their name and text.
const keptMarks = (id) => [`marks ${id}`, state.marks[id] ? JSON.stringify(state.marks[id]) : ""];

// Take over what is kept under a name; "": nothing.
function take(name, text) {
  if (name === "reviewer") state.reviewer = text;
  if (name === "at") state.at = text;
  if (!name.startsWith("marks ")) return;
  const id = name.slice("marks ".length);
  try {
    const own = JSON.parse(text || "{}");
    if (!isObject(own) || (own.probes !== undefined && !isObject(own.probes))) throw new TypeError();
    if (text) state.marks[id] = own;
    else delete state.marks[id];
  } catch (error) {
    trouble(`What this browser kept of the marks of record ${id} cannot be read.`);
  }
}

// What another page of this data stored; each is at its own record.
others.addEventListener("message", ({ data: texts }) => {
  for (const [name, text] of texts) if (name !== "at" && !pending.has(name)) take(name, text);
  refresh();
});

addEventListener("beforeunload", (event) => {
  if (pending.size) event.preventDefault(); // the browser asks
});

function exported() {
  const known = new Set(records.map((record) => record.id));
  const order = [...records.map((record) => record.id), ...Object.keys(state.marks).filter((id) => !known.has(id)).sort()];
  const marks = bare();
  for (const id of order) if (state.marks[id]) marks[id] = state.marks[id];
  return { format: 1, data: data.revision, ...(state.reviewer && { reviewer: state.reviewer }), marks };
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(exported(), null, 2) + "\n"], { type: "application/json" }));
  link.download = "marks.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // the browser may not have begun to read it
  say("Marks exported as marks.json.");
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// What is the matter with marks that were read; "" where nothing is.
function fault(found) {
  if (!isObject(found) || found.format !== 1 || !isObject(found.marks)) return "expected marks of format 1";
  if (found.data !== data.revision) return `expected marks of data ${short(data.revision)}, found ${short(String(found.data))}`;
  const sizes = new Map(records.map((record) => [record.id, record.probes.length]));
  for (const [id, own] of Object.entries(found.marks)) {
    const probes = isObject(own) && own.probes === undefined ? {} : own && own.probes;
    if (!isObject(own) || !isObject(probes)) return `record '${id}': expected marks`;
    const wrong = [own.edit, ...Object.values(probes)].find((mark) => mark !== undefined && !MARKS.includes(mark));
    if (wrong !== undefined) return `record '${id}': found mark '${wrong}', expected ${MARKS.join(", ")}`;
    // A record of the data that a sample leaves out is not on this page.
    const far = sizes.has(id) && Object.keys(probes).find((index) => !/^\d+$/.test(index) || Number(index) >= sizes.get(id));
    if (far) return `record '${id}': found probe ${far}, expected 0 to ${sizes.get(id) - 1}`;
    if (own.note !== undefined && typeof own.note !== "string") return `record '${id}': expected a note in words`;
  }
  return "";
}

async function goOn(file) {
  let found, wrong;
  try {
    found = JSON.parse(await file.text());
    wrong = fault(found);
  } catch (error) {
    wrong = "expected JSON";
  }
  if (wrong) {
    trouble(`${file.name} was not read: ${wrong}.`);
    return;
  }
  Object.assign(state.marks, found.marks);
  const texts = Object.keys(found.marks).map(keptMarks);
  if (found.reviewer && !state.reviewer) {
    $("reviewer").value = state.reviewer = String(found.reviewer);
    texts.push(["reviewer", state.reviewer]);
  }
  keep(texts);
  trouble("");
  show(at < 0 ? step(-1, 1) : at);
  say(`Marks of ${Object.keys(found.marks).length} records read from ${file.name}.`);
}

const short = (text) => text.slice(0, 12);

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
