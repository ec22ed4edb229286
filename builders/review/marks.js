// The marks of the page: what is marked, kept in the browser, exported and read again.

const data = pageData;
const records = data.records;
const MARKS = ["right", "wrong", "unsure"];
const $ = (id) => document.getElementById(id);

// Ids come from the data: objects that are indexed by them inherit nothing.
const bare = (object) => Object.assign(Object.create(null), object);

const state = { marks: bare(), reviewer: "", at: "" };

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
