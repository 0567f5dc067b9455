// What a photo of several items shows: each item's outline over the photo, and how many there are of each product.

import { element, nameOf, note, picture, plural, said } from "./parts.js";

const COLORS = 8; // .item-0 to .item-7 of the style sheet

const drawn = (tag, properties, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const titled = (text) => {
  const title = drawn("title", {});
  title.textContent = text;
  return title;
};

/** The products of a photo, the most frequent first, each with a place in the list and how many items it has. */
function productsOf(result) {
  const first = new Map(result.items.map((item) => [item.matches[0].product_id, item.matches[0]]));
  return Object.entries(result.counts).map(([id, count], place) => ({ match: first.get(id), id, count, place }));
}

/** Outlines and numbers, in the pixels of the upright photo. */
export function outlines(result) {
  const [width, height] = result.size;
  const places = new Map(productsOf(result).map((product) => [product.id, product.place]));
  const size = Math.max(width, height) / 40;
  const items = result.items.map((item) => {
    const place = places.get(item.matches[0].product_id);
    const text = drawn("text", { x: item.box[0] + size / 4, y: item.box[1] + size, "font-size": size });
    text.textContent = `${place + 1}${item.verdict === "ambiguous" ? "?" : ""}`;
    return drawn("g", { class: `item-${place % COLORS} ${item.verdict}` },
      titled(nameOf(item.matches[0])), drawn("polygon", { points: item.quad.map((corner) => corner.join(",")).join(" ") }), text);
  });
  const regions = result.regions.map(({ box: [left, top, right, bottom] }) =>
    drawn("rect", { class: "region", x: left, y: top, width: right - left, height: bottom - top }, titled("None of yours, or not found")));
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "outlines" }, ...regions, ...items);
}

/** What was found, in words: a heading, and what stands below it. */
export function itemsFound(result) {
  const products = productsOf(result);
  if (!products.length) return { verdict: "Nothing found", className: "unknown", body: [said("No package of yours was found in the photo.", "sure")] };
  const lines = products.map(({ match, id, count, place }) => element("li", { className: `item-${place % COLORS}` },
    element("span", { className: "number", textContent: place + 1, "aria-hidden": "true" }),
    picture(match.link, "", 96),
    element("div", {}, said(nameOf(match), "name"), said(nameOf(match) === id ? "" : id, "more")),
    element("strong", { textContent: count.toLocaleString() })));
  const unsure = result.items.filter((item) => item.verdict === "ambiguous").length;
  const body = [said(`of ${plural(products.length, "product")}`, "sure"), element("ul", { className: "counted" }, ...lines)];
  if (unsure) body.push(note(`${plural(unsure, "item")} with a ? may be another product.`));
  if (result.regions.length) body.push(note(`Between them ${plural(result.regions.length, "place")} with something else, outlined in gray.`));
  if (result.missing) body.push(note(`${plural(result.missing, "picture")} of the catalog could not be read.`));
  return { verdict: plural(result.items.length, "item"), className: "match", body };
}
