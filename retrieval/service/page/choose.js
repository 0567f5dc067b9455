// Two dialogs: which product it is, and what a new one is called.

import { arrows, at, productTile } from "./parts.js";
import { ask, barcodeColumn, productPath, settled } from "./service.js";

const SHOWN = 12;

arrows(at("pick-products"));

/** A product out of a dialog that searches as somebody types; null when it is closed. */
export function picked() {
  const dialog = at("pick");
  const words = at("pick-words");
  words.value = "";
  let chosen = null;
  let turn = 0;
  const choose = (product) => { chosen = product; dialog.close(); };
  const find = async () => {
    const mine = ++turn;
    try {
      const found = await ask(`v1/products?limit=${SHOWN}&q=${encodeURIComponent(words.value.slice(0, 200))}`);
      if (mine !== turn) return;
      at("pick-found").textContent = found.total > SHOWN ? `${found.total.toLocaleString()} products; type more of the name.`
        : found.total ? "" : "None is called that.";
      at("pick-products").replaceChildren(...found.products.map((product) => productTile(product, choose)));
    } catch (error) {
      at("pick-found").textContent = error.message;
    }
  };
  words.oninput = find;
  words.onkeydown = (event) => {
    const first = at("pick-products").querySelector("button");
    if (event.key === "ArrowDown" && first) {
      event.preventDefault();
      first.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (first && at("pick-products").children.length === 1) first.click();
    }
  };
  find();
  dialog.showModal();
  return new Promise((resolve) => { dialog.addEventListener("close", () => resolve(chosen), { once: true }); });
}

/** The barcode in a photo, where this browser reads one; empty otherwise. */
async function barcodeIn(photo) {
  if (!photo || !("BarcodeDetector" in window)) return "";
  try {
    const found = await new window.BarcodeDetector().detect(await createImageBitmap(photo));
    return found.length ? found[0].rawValue : "";
  } catch {
    return "";
  }
}

/** What a new product is called; null when the dialog is closed. A barcode in the photo is read where the browser can.
 * `draft` keeps what is typed. */
export function newProduct(photo = null, code = "", draft = { read: () => null, write: () => {} }) {
  const dialog = at("make");
  const fields = ["make-id", "make-name", "make-barcode"];
  // What was typed before the page was loaded again is still there.
  const typed = draft.read() || ["", "", code];
  fields.forEach((field, place) => { at(field).value = typed[place]; });
  dialog.oninput = () => draft.write(fields.map((field) => at(field).value));
  at("make-note").textContent = "";
  if (!code) {
    barcodeIn(photo).then((read) => {
      if (!read || !dialog.open || at("make-barcode").value) return;
      at("make-barcode").value = read;
      if (!at("make-id").value) at("make-id").placeholder = read;
      at("make-note").textContent = `The barcode ${read} was read from the photo.`;
    });
  }
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const barcode = at("make-barcode").value.trim();
      const id = at("make-id").value.trim() || barcode;
      resolve(dialog.returnValue === "ok" && id ? { id, name: at("make-name").value.trim(), barcode } : null);
    }, { once: true });
  });
}

/** Make a product by what a photo cannot say, so that it is whole as soon as it is found; the change, for undoing it. */
export async function described(product, progress = () => {}) {
  const json = { metadata: { [barcodeColumn()]: product.barcode } };
  if (product.name) json.name = product.name;
  return (await settled(await ask(`${productPath(product.id)}?new=true`, { method: "PUT", json }), progress)).change;
}

/** Make a product with its first photo. Gives the last job and a way to take all of it back. */
export async function made(product, photo, progress = () => {}) {
  const form = new FormData();
  form.append("photo", photo, "photo");
  const path = productPath(product.id);
  let change = null;
  let more = `?new=true&name=${encodeURIComponent(product.name)}`;
  if (product.barcode) {
    change = await described(product, progress);
    more = "";
  }
  try {
    return { change, job: await settled(await ask(`${path}/pictures${more}`, { method: "POST", body: form }), progress) };
  } catch (error) {
    if (change) await ask(`v1/changes/${encodeURIComponent(change)}/undo`, { method: "POST" });
    throw error;
  }
}

