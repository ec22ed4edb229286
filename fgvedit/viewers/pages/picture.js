// A picture with a box [x, y, width, height], in its pixels (null: none), and what else lies over it.
function picture(image, alt, box, ...over) {
  const marks = box && el("svg", { viewBox: `0 0 ${image.width} ${image.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ["under", "over"].map((name) => el("rect", { class: name, x: box[0], y: box[1], width: box[2], height: box[3] })));
  return el("div", { class: "picture" },
    el("img", { src: image.file, width: image.width, height: image.height, loading: "lazy", decoding: "async", alt }), ...over, marks);
}
