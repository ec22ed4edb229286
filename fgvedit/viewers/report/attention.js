// Images, and over them where the classifier attended.

// A weight of 0 to 255 -> red, green, blue, opacity; the legend in page.css has the same colours.
function heatColour(weight) {
  const stops = [[12, 12, 44, 0.55], [190, 30, 100, 0.6], [255, 150, 0, 0.65]];
  const at = (weight / 255) * 2, low = Math.min(1, Math.floor(at));
  return stops[low].map((from, part) => (from + (stops[low + 1][part] - from) * (at - low)) * (part === 3 ? 255 : 1));
}

const weightsOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// What a map covers of an image is `image.area`: left, top, width and height in pixels.
function heatMap(weights, [rows, columns], image) {
  const canvas = el("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const pixels = new ImageData(columns, rows);
  weights.forEach((weight, index) => pixels.data.set(heatColour(weight).map(Math.round), index * 4));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const [x, y, width, height] = image.area;
  Object.assign(canvas.style, { left: `${(100 * x) / image.width}%`, top: `${(100 * y) / image.height}%`,
    width: `${(100 * width) / image.width}%`, height: `${(100 * height) / image.height}%` });
  return canvas;
}

// Where the weight lies, in words.
function inWords(weights, { grid: [rows, columns], fit }, image, box) {
  const sum = weights.reduce((one, other) => one + other, 0) || 1;
  const order = Array.from(weights.keys()).sort((one, other) => weights[other] - weights[one]).slice(0, 3);
  const strongest = order.filter((cell) => weights[cell]).map((cell) =>
    `row ${Math.floor(cell / columns) + 1} column ${(cell % columns) + 1}: ${Math.round((100 * weights[cell]) / sum)} %`);
  const lines = [el("span", {}, `Strongest of ${rows} × ${columns} cells: ${strongest.join(", ")}`)];
  if (box) {
    const [x, y, width, height] = image.area;
    const shared = (from, size, start, length) => Math.max(0, Math.min(from + size, start + length) - Math.max(from, start));
    let within = 0;
    weights.forEach((weight, cell) => {
      const [w, h] = [width / columns, height / rows];
      const part = shared(x + (cell % columns) * w, w, box[0], box[2]) * shared(y + Math.floor(cell / columns) * h, h, box[1], box[3]);
      within += (weight / sum) * (part / (w * h));
    });
    const share = (box[2] * box[3]) / (image.width * image.height);
    lines.push(el("span", {}, `In the box: ${Math.round(100 * within)} % of the weight, on ${Math.round(100 * share)} % of the image`));
  }
  if (fit === "shortest" && image.width !== image.height) lines.push(el("span", {}, "It saw the square in the middle."));
  return lines;
}

const boxed = (record) => (record.box && record.entity ? `, with ${record.entity} in the box` : "");

function editFigure(record, seen) {
  const { image } = record;
  const weights = seen && weightsOf(record.attention.edit);
  return el("figure", { class: "edit" },
    picture(image, `The edit's image ${record.image_id}${boxed(record)}`, record.box, weights && heatMap(weights, record.attention.grid, image)),
    weights
      ? el("figcaption", {}, el("span", {}, el("b", {}, "Stored edit: "), `${record.question} ${record.target}`), ...inWords(weights, record.attention, image, record.box))
      : record.box && el("figcaption", {}, `${record.entity} in the box`));
}

function askedFigure(record, indexed, probe) {
  const { question, image } = record.probes[probe];
  const caption = el("span", {}, el("b", {}, `Asked (${kindAt(indexed, probe)}): `), question);
  if (image === null) {
    return el("figure", { class: "asked" }, el("div", { class: "blank" }, "A question without an image"), el("figcaption", {}, caption));
  }
  const own = image === "own", shown = own ? record.image : image, box = own ? record.box : null;
  const text = record.attention.probes[probe];
  const weights = text && weightsOf(text);
  return el("figure", { class: "asked" },
    picture(shown, own ? `The image asked about${boxed(record)}` : `Another image, ${image.other}`, box, weights && heatMap(weights, record.attention.grid, shown)),
    el("figcaption", {}, caption, ...(weights ? inWords(weights, record.attention, shown, box) : [])));
}
