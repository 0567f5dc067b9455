// The catalog: its products, their pictures, and changing both.

import { made, newProduct } from "./choose.js";
import { arrows, at, button, confirmed, element, nameOf, note, picture, plural, productTile, said, tell } from "./parts.js";
import { Refused, ask, held, picturePath, productPath, settled, status, undoChange } from "./service.js";

const PAGE = 60; // products shown at a time

let shown = 0;
let searching = 0;
let showing = 0;

async function search(after = 0) {
  const turn = ++searching;
  const words = encodeURIComponent(at("words").value.slice(0, 200));
  const taught = at("taught").checked ? "&taught=true" : "";
  try {
    const found = await ask(`v1/products?limit=${PAGE}&after=${after}&q=${words}${taught}`);
    if (turn !== searching) return;
    const items = found.products.map((product) => productTile(product, () => { location.hash = `catalog/${encodeURIComponent(product.product_id)}`; }));
    if (after) at("products").append(...items);
    else at("products").replaceChildren(...items);
    shown = after + items.length;
    at("more").hidden = shown >= found.total;
    at("found").textContent = found.total ? plural(found.total, "product")
      : words || taught ? "None of your products fits." : "No products yet. Add one, or put pictures into the catalog's folder.";
    if (after && items[0]) items[0].querySelector("button").focus();
  } catch (error) {
    if (turn === searching) at("found").textContent = error.message;
  }
}

/** Show all products, or one. */
export async function showCatalog(id) {
  at("all").hidden = Boolean(id);
  at("one").hidden = !id;
  at("add").hidden = !status.mayTeach;
  if (!id) {
    at("one").replaceChildren();
    search();
    unfound();
    recent();
    return;
  }
  await show(id);
}

async function show(id, focus = true) {
  const turn = ++showing;
  let product;
  try {
    product = await ask(productPath(id));
  } catch (error) {
    if (turn === showing) at("one").replaceChildren(back(), element("p", { textContent: error.message }));
    return;
  }
  if (turn !== showing) return;
  const name = nameOf(product);
  const heading = element("h2", { textContent: name, dir: "auto", tabIndex: -1 });
  const facts = Object.entries(product.metadata).filter(([column, value]) => !["name", "title"].includes(column) && value !== "" && value !== null);
  const list = element("dl", { className: "facts" }, element("dt", { textContent: "Id" }), element("dd", { textContent: id, dir: "auto" }),
    ...facts.flatMap(([column, value]) => [element("dt", { textContent: column, dir: "auto" }), element("dd", { textContent: [value].flat().join(", "), dir: "auto" })]));
  const actions = element("div", { className: "row" });
  if (status.mayTeach) actions.append(button("Add pictures…", () => at("more-pictures").click(), { className: "primary" }));
  if (status.mayChange) {
    actions.append(button("Edit…", () => edit(product)), button("Remove this product…", () => removeProduct(product), { className: "bad" }));
  }
  at("more-pictures").onchange = async () => {
    const files = [...at("more-pictures").files];
    at("more-pictures").value = "";
    await addPictures(id, files);
  };
  const images = product.images;
  const taught = images.filter((image) => image.taught).length;
  const counted = images.length ? [plural(images.length - taught, "studio picture"), taught ? plural(taught, "taught picture") : ""].filter(Boolean).join(", ") : "No picture yet: it cannot be found until it has one.";
  const gallery = element("ul", { className: "tiles gallery" }, ...images.map((image, place) => pictureTile(product, image, place)));
  arrows(gallery);
  at("one").replaceChildren(back(), heading, list, actions, note(counted), gallery);
  if (focus) heading.focus();
}

function back() {
  return button("‹ All products", () => { location.hash = "catalog"; }, { className: "plain" });
}

function pictureTile(product, image, place) {
  const kind = image.taught ? "Taught" : "Studio";
  const label = `${kind} picture ${place + 1} of ${nameOf(product)}`;
  const buttons = element("div", { className: "row" });
  if (status.mayChange && place > 0) buttons.append(button("Cover", () => cover(product, image), { className: "small", label: `Make ${label} the cover` }));
  if (image.taught ? status.mayTeach : status.mayChange && product.images.length > 1) {
    buttons.append(button("Remove", () => removePicture(product, image), { className: "small", label: `Remove ${label}` }));
  }
  return element("li", {}, picture(image.link, label), element("span", { className: "more" },
    element("span", { className: `badge ${image.taught ? "taught" : ""}`, textContent: kind }), place === 0 && product.images.length > 1 ? " Cover" : ""), buttons);
}

/** Do something and show the product as it is then. */
async function changed(id, act) {
  tell("Working…");
  const again = () => Promise.all([refresh(id), held()]);
  try {
    const { text, undo } = await act();
    await again();
    tell(text, undo && (async () => { await undo(); await again(); }));
  } catch (error) {
    tell(error.message);
    await again();
  }
}

/** Show again what is on the screen, where it is still about this product. */
async function refresh(id) {
  if (location.hash === `#catalog/${encodeURIComponent(id)}`) await show(id, false);
  else if (location.hash === "#catalog") await showCatalog("");
}

const forget = async (id, image) => settled(await ask(picturePath(id, image), { method: "DELETE" }));

function addPictures(id, files) {
  return changed(id, async () => {
    const kept = [];
    for (const file of files) {
      const body = new FormData();
      body.append("photo", file, "photo");
      try {
        kept.push(await settled(await ask(`${productPath(id)}/pictures`, { method: "POST", body })));
      } catch (error) {
        if (!kept.length) throw error;
        return { text: `${plural(kept.length, "picture")} added, then: ${error.message}`, undo: back };
      }
    }
    async function back() {
      for (const job of kept) await forget(id, job.image);
    }
    return { text: `${plural(kept.length, "picture")} added.`, undo: back };
  });
}

function removePicture(product, image) {
  const id = product.product_id;
  return changed(id, async () => {
    if (!image.taught || product.images.length > 1) {
      const path = `${picturePath(id, image.image)}${status.mayChange && product.images.length > 1 ? "?studio=true" : ""}`;
      const job = await settled(await ask(path, { method: "DELETE" }));
      return { text: "Picture removed.", undo: job.change && (() => undoChange(job.change)) };
    }
    await forget(id, image.image);
    location.hash = "catalog";
    return { text: "Picture removed, and with its last one the product." };
  });
}

function cover(product, image) {
  const id = product.product_id;
  const choose = (chosen) => ask(`${productPath(id)}/cover`, { method: "PUT", json: { image: chosen } });
  return changed(id, async () => {
    const before = product.images[0].image;
    await choose(image.image);
    return { text: "This picture is shown for the product now.", undo: () => choose(before) };
  });
}

async function removeProduct(product) {
  const name = nameOf(product);
  const sure = await confirmed(`Remove ${name}?`, `Its ${plural(product.images.length, "picture")} and its row leave the catalog. You can put them back for 30 days.`, "Remove it");
  if (!sure) return;
  await changed(product.product_id, async () => {
    const job = await settled(await ask(productPath(product.product_id), { method: "DELETE" }));
    location.hash = "catalog";
    return { text: `${name} is removed.`, undo: () => undoChange(job.change) };
  });
}

/** Name and columns of a product in a dialog; a column that the catalog does not have yet can be added. */
async function edit(product) {
  const dialog = at("edit");
  const fields = at("edit-fields");
  const names = Object.keys(product.metadata);
  const title = ["name", "title"].find((column) => names.includes(column)) || "name";
  const columns = [title, ...new Set([...names, ...status.columns].filter((column) => column !== title))];
  const field = (column) => {
    const value = product.metadata[column];
    const input = element("input", { type: "text", autocomplete: "off", dir: "auto", value: [value ?? ""].flat().join(", "), id: `edit-${fields.children.length}` });
    input.dataset.column = column;
    fields.append(element("div", {}, element("label", { textContent: column, for: input.id, dir: "auto" }), input));
    return input;
  };
  fields.replaceChildren();
  columns.forEach(field);
  at("edit-column").value = "";
  at("edit-add").onclick = () => {
    const column = at("edit-column").value.trim();
    if (!column) return at("edit-column").focus();
    const there = [...fields.querySelectorAll("input")].find((input) => input.dataset.column === column) || field(column);
    at("edit-column").value = "";
    return there.focus();
  };
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  if (dialog.returnValue !== "ok") return;
  const metadata = {};
  for (const input of fields.querySelectorAll("input")) {
    const before = [product.metadata[input.dataset.column] ?? ""].flat().join(", ");
    if (input.value !== before) metadata[input.dataset.column] = input.value || null;
  }
  if (!Object.keys(metadata).length) return;
  await changed(product.product_id, async () => {
    const job = await settled(await ask(productPath(product.product_id), { method: "PUT", json: { metadata } }));
    return { text: "Saved.", undo: () => undoChange(job.change) };
  });
}

/** A product with its first picture: the picture is chosen first, so that its barcode can be read. */
async function addProduct(file) {
  const product = await newProduct(file);
  if (!product) return;
  tell("Working…");
  try {
    const { job, change } = await made(product, file);
    location.hash = `catalog/${encodeURIComponent(product.id)}`;
    tell(`${product.name || product.id} is in the catalog.`, async () => {
      await forget(product.id, job.image);
      if (change) await undoChange(change);
      location.hash = "catalog";
      await Promise.all([showCatalog(""), held()]);
    });
    held();
  } catch (error) {
    tell(error.message);
  }
}

/** Products that came first in no answer: their studio pictures may not be what people photograph. */
async function unfound() {
  at("unfound").hidden = true;
  if (!status.inbox || !status.mayTeach) return;
  try {
    const { never_found: never } = await ask("v1/inbox/quality?weeks=1");
    if (!never) return;
    at("unfound").hidden = !never.total;
    at("unfound-count").textContent = `${plural(never.total, "product")} that no photo ever found`;
    at("unfound-products").replaceChildren(...never.products.map((one) => {
      const all = element("a", { href: `#catalog/${encodeURIComponent(one.product_id)}`, className: "tile" }, picture(one.link, ""), said(one.name || one.product_id, "name"), said(one.product_id, "more"));
      return element("li", {}, all);
    }));
  } catch {
    // an older service
  }
}

/** What was changed lately, each with a way back. */
async function recent() {
  at("recent").hidden = true;
  if (!status.mayChange) return;
  const words = { edit: "edited", "remove-product": "removed", "remove-picture": "lost a picture" };
  let changes;
  try {
    ({ changes } = await ask("v1/changes"));
  } catch (error) {
    if (error instanceof Refused) return;
    throw error;
  }
  at("recent").hidden = !changes.length;
  at("changes").replaceChildren(...changes.slice(0, 50).map((change) => element("li", {},
    element("span", {}, said(change.product_id, "name"), ` ${words[change.action] || change.action}, `,
      element("time", { dateTime: change.created, textContent: new Date(change.created).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) })),
    button("Put back", () => changed(change.product_id, async () => {
      await undoChange(change.change);
      return { text: "Put back." };
    }), { className: "small", label: `Put back: ${change.product_id} ${words[change.action] || change.action}` }))));
}

export function startCatalog() {
  arrows(at("products"));
  arrows(at("unfound-products"));
  at("more").addEventListener("click", () => search(shown));
  at("search").addEventListener("submit", (event) => event.preventDefault());
  at("taught").addEventListener("change", () => search());
  at("add").addEventListener("click", () => at("first-picture").click());
  at("first-picture").addEventListener("change", () => {
    const [file] = at("first-picture").files;
    at("first-picture").value = "";
    if (file) addProduct(file);
  });
  let typing = 0;
  at("words").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 150);
  });
}
