// Makes and fills elements. Texts of devices become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** A new element with attributes and children. A child that is null is left out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** A new SVG element with attributes and children. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Set a text, without a change of the document if it is the same. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** The element of the page with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Calls `render(value)` only when the JSON of the value has changed. */
export function whenChanged(render) {
  let last = "";
  return (value) => {
    const now = JSON.stringify(value ?? null);
    if (now !== last) {
      last = now;
      render(value);
    }
  };
}

/** A table with column headings. Each row is an array of texts and nodes; the first is its heading. */
export function table(caption, headings, rows) {
  return element(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    element(
      "table",
      {},
      element("caption", { class: "hidden" }, caption),
      element("thead", {}, element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)))),
      element("tbody", {}, ...rows.map((cells) => tableRow(headings, cells))),
    ),
  );
}

function tableRow(headings, cells) {
  return element(
    "tr",
    {},
    ...cells.map((cell, column) =>
      column === 0
        ? element("th", { scope: "row" }, cell)
        : element("td", { "data-heading": headings[column] }, cell),
    ),
  );
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
