// Pieces that every view is made of. Text of a catalog enters the page here, as text alone.

const NAMES = ["title", "name"];

export const at = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What people call a product: its name, else its id. Each name finds its own direction of writing. */
export function nameOf(product) {
  return String(product.name || NAMES.map((column) => product.metadata[column]).find((value) => value) || product.product_id);
}

export function said(text, className = "") {
  return element("span", { textContent: text, className, dir: "auto" });
}

export function note(text) {
  return element("p", { className: "note", textContent: text });
}

/** A button. `label` is what a screen reader says where the text alone does not tell which thing is meant. */
export function button(text, act, { className = "", label = "" } = {}) {
  const made = element("button", { type: "button", textContent: text, className });
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

export function plural(count, word) {
  return `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
}

/** How sure an answer is, in words; `decimals` as elsewhere: none. */
export function sure(match) {
  return match.confidence === undefined || match.confidence === null ? "Not calibrated: how sure is not known"
    : match.confidence >= 0.995 ? "> 99 % sure" : `${Math.round(100 * match.confidence)} % sure`;
}

export function picture(link, name, size = 384) {
  const gone = () => element("span", { className: "gone", role: "img", "aria-label": name ? `${name}, without a picture` : "No picture" });
  if (!link) return gone();
  const image = element("img", { src: `${link}${link.includes("?") ? "&" : "?"}size=${size}`, alt: name, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(gone()), { once: true });
  return image;
}

/** A product as a tile; all of it is one button where something happens when it is chosen. */
export function productTile(product, choose = null) {
  const name = nameOf(product);
  const images = product.images || [];
  const taught = images.filter((image) => image.taught).length;
  const facts = [name === product.product_id ? "" : product.product_id, plural(images.length, "picture"), taught ? `${taught} taught` : ""];
  // The name stands beside the picture: said once.
  const inside = [picture(images.length ? images[0].link : "", ""), said(name, "name"), said(facts.filter(Boolean).join(" · "), "more")];
  if (!choose) return element("li", {}, ...inside);
  const all = element("button", { type: "button", className: "tile" }, ...inside);
  all.addEventListener("click", () => choose(product));
  return element("li", {}, all);
}

let closing = 0;

/** Say what was done, with a way back while it is on the screen; it stays until something else is said or it is closed. */
export function tell(text, undo = null) {
  const box = at("told");
  const mine = ++closing;
  const close = () => { if (mine === closing) box.replaceChildren(); };
  const parts = [element("span", { textContent: text, dir: "auto" })];
  if (undo) {
    parts.push(button("Undo", async () => {
      box.replaceChildren(element("span", { textContent: "Taking it back…" }));
      try {
        tell(await undo() || "Taken back.");
      } catch (error) {
        tell(error.message);
      }
    }));
  }
  parts.push(button("×", close, { className: "plain", label: "Close this message" }));
  box.replaceChildren(element("div", { className: "toast" }, ...parts));
}

/** Ask before what is not easily taken back; true when it is meant. */
export function confirmed(title, text, act) {
  const dialog = at("confirm");
  at("confirm-title").textContent = title;
  at("confirm-text").textContent = text;
  at("confirm-act").textContent = act;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
  });
}

/** Arrow keys go from tile to tile, as far as the rows of the screen go; Tab goes on to what follows. */
export function arrows(list) {
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    const step = steps[event.key];
    const here = event.target.closest("li");
    if (!step || !here || event.target.matches("input, textarea, select")) return;
    const items = [...list.children].filter((item) => item.querySelector("button, a, input"));
    const columns = Math.max(1, items.findIndex((item) => item.offsetTop > items[0].offsetTop));
    const across = getComputedStyle(list).direction === "rtl" ? -step[0] : step[0];
    const next = items[items.indexOf(here) + across + step[1] * (columns > 0 ? columns : 1)];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button, a, input").focus();
  });
}
