"use strict";
const pageData = JSON.parse(document.getElementById("page-data").textContent);

const SVG_TAGS = ["svg", "g", "rect", "line", "path", "text", "circle"];

// An element with attributes and children; strings become text, never markup. An attribute that is null or false is
// left out; one whose name begins with "on" is a listener.
function el(tag, attributes, ...children) {
  const made = SVG_TAGS.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// What a deep link says: the part of the address behind "#" as names and values.
function readHash() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

// Put names and values behind "#" without a new entry in the history; those that are empty are left out.
function writeHash(values) {
  const said = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(said).toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// The value of one of the colours in base.css, as it is now (light or dark).
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
