// The inbox: what was asked about, and saying what it shows, one photo or two hundred at a time.

import { described, newProduct, picked } from "./choose.js";
import { arrows, at, button, element, nameOf, picture, plural, said, sure, tell } from "./parts.js";
import { ask, countUnnamed, held, undoChange } from "./service.js";

const PAGE = 60; // stacks shown at a time
const MOST = 500; // labels of one call
const LOOK_SECONDS = 20;
const DRAFT = "itemrec.inbox"; // what is chosen and not yet said, for a page that is loaded again

const VERDICTS = { unknown: "Unknown", ambiguous: "Several fit", match: "Found" };
const POOR = {
  small: ["Small", "too few pixels: it is measured on, not taught"],
  dark: ["Dark", "too dark: it is measured on, not taught"],
  blurred: ["Blurred", "not sharp: it is measured on, not taught"],
};

let after = "";
let turn = 0;
let photosThere = -1;
let shown = new Map(); // photo id -> photo, in the order of the screen
let last = null; // where a range begins
const open = new Set(); // stacks whose shots stand side by side

const draft = () => {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT)) || {};
  } catch {
    return {};
  }
};
const keepDraft = (more) => sessionStorage.setItem(DRAFT, JSON.stringify({ ...draft(), ...more }));

const boxes = () => [...at("stacks").querySelectorAll("input[type=checkbox]")];
const photosOf = (box) => box.value.split(" ");
const chosen = () => [...new Set(boxes().filter((box) => box.checked).flatMap(photosOf))];

/** What the answer thought of first; null where it thought of nothing. */
function candidate(photo) {
  return photo.matches[0] || photo.nearest[0] || null;
}

export async function showInbox() {
  const { pending, chosen: ids = [], product } = draft();
  // What a page that was left in the middle of saying something had begun.
  if (pending) return say(pending.ids, pending.label, pending.name);
  await load(false, false);
  while (after && ids.some((id) => !shown.has(id))) {
    const before = shown.size;
    await load(true, false);
    if (shown.size === before) break;
  }
  for (const box of boxes()) box.checked = photosOf(box).every((id) => ids.includes(id));
  choose();
  return product && chosen().length && !document.querySelector("dialog[open]") ? nameNew(chosen()) : undefined;
}

async function load(more = false, focus = more ? true : null) {
  const mine = ++turn;
  const filters = new URLSearchParams();
  const named = at("inbox-named").value;
  if (named) filters.set("labeled", named);
  if (at("inbox-verdict").value) filters.set("verdict", at("inbox-verdict").value);
  if (at("inbox-quality").value) filters.set("quality", at("inbox-quality").value);
  filters.set("limit", PAGE);
  if (more && after) filters.set("after", after);
  try {
    const page = await ask(`v1/inbox?${filters}`);
    if (mine !== turn) return;
    if (!more) {
      shown = new Map();
      last = null;
    }
    for (const stack of page.stacks) for (const photo of stack.photos) shown.set(photo.photo, { ...photo, stack: stack.stack });
    const tiles = page.stacks.flatMap(tilesOf);
    if (more) at("stacks").append(...tiles);
    else at("stacks").replaceChildren(...tiles);
    if (focus && tiles.length) tiles[0].querySelector("input").focus();
    after = page.after || "";
    at("inbox-more").hidden = !after;
    photosThere = page.held.photos;
    at("inbox-new").hidden = true;
    at("inbox-found").textContent = !page.held.photos ? "Nothing was asked yet. What programs and people ask stays here until somebody says what it shows."
      : `${page.held.unlabeled.toLocaleString()} of ${plural(page.held.photos, "photo")} ${page.held.unlabeled === 1 ? "has" : "have"} no name yet.${page.stacks.length || more ? "" : " None fits these filters."}`;
    countUnnamed(page.held);
    if (focus !== false) choose();
  } catch (error) {
    if (mine === turn) at("inbox-found").textContent = error.message;
  }
}

function tilesOf(stack) {
  if (stack.photos.length > 1 && open.has(stack.stack)) return stack.photos.map((photo) => tile([photo], stack));
  return [tile(stack.photos, stack)];
}

function badges(photo) {
  return photo.quality.badges.map((name) => {
    const [word, why] = POOR[name] || [name, "not taught"];
    return element("span", { className: "badge poor", title: `${word}: ${why}`, textContent: word });
  });
}

function state(photo) {
  const label = photo.label;
  if (!label) return null;
  const product = label.label === "not-ours" ? "Not ours" : label.label === "skip" ? "Left aside" : label.name || label.product_id;
  const words = { waiting: "on its way", taught: "taught", refused: "refused from now on", measured: "measured on", kept: "", failed: "not taught" };
  const word = words[label.state] ?? label.state;
  return element("span", { className: "more", title: label.why }, said(product, "name"), word ? said(word, label.state === "failed" ? "fault" : "") : "");
}

function tile(photos, stack) {
  const [photo] = photos;
  const best = candidate(photo);
  const id = `photo-${photo.photo}`;
  const several = photos.length > 1;
  const box = element("input", { type: "checkbox", id, value: photos.map((one) => one.photo).join(" ") });
  const name = best ? nameOf(best) : "nothing near";
  box.setAttribute("aria-label", `${several ? `${photos.length} near-equal photos` : "Photo"}, ${VERDICTS[photo.verdict].toLowerCase()}, nearest: ${name}${photo.quality.badges.length ? `, ${photo.quality.badges.join(", ")}` : ""}${photo.label ? ", named" : ""}`);
  const look = element("label", { htmlFor: id, className: "shot" }, picture(photo.link, ""), several ? element("span", { className: "count", textContent: `×${photos.length}` }) : null, box);
  const chips = element("span", { className: "chips" }, element("span", { className: `badge ${photo.verdict}`, textContent: VERDICTS[photo.verdict] }), ...badges(photo));
  const guess = state(photo) || (best && element("span", { className: "guess" }, picture(best.evidence.length ? best.evidence[0].link : "", "", 96), said(nameOf(best), "name")));
  const actions = element("div", { className: "row" }, button("Look", () => closer(photo), { className: "small", label: `Look closer at the photo ${photo.name || ""}, nearest: ${name}` }));
  if (stack.photos.length > 1) {
    actions.append(button(several ? "Unstack" : "Stack", () => {
      if (several) open.add(stack.stack);
      else open.delete(stack.stack);
      const old = [...at("stacks").children].filter((item) => stack.photos.some((one) => item.dataset.photos.includes(one.photo)));
      const made = tilesOf(stack);
      old[0].before(...made);
      for (const item of old) item.remove();
      made[0].querySelector("input").focus();
      choose();
    }, { className: "small" }));
  }
  return element("li", { "data-photos": box.value }, look, chips, guess, actions);
}

/** Bring the bar of actions up to date with what is chosen. */
function choose() {
  const ids = chosen();
  keepDraft({ chosen: ids });
  at("chosen").hidden = !ids.length;
  const all = boxes();
  at("inbox-all").checked = all.length > 0 && all.every((box) => box.checked);
  at("inbox-all").indeterminate = ids.length > 0 && !at("inbox-all").checked;
  at("inbox-all").disabled = !all.length;
  if (!ids.length) return;
  at("chosen-count").textContent = plural(ids.length, "photo");
  const first = ids.map((id) => shown.get(id)).map((photo) => photo && candidate(photo));
  const one = first.every((match) => match && first[0] && match.product_id === first[0].product_id) ? first[0] : null;
  at("chosen-this").hidden = !one;
  if (one) {
    at("chosen-this").textContent = `It is ${nameOf(one)}`;
    at("chosen-this").onclick = () => say(ids, { label: "product", product_id: one.product_id }, nameOf(one));
  }
  const labeled = ids.filter((id) => shown.get(id)?.label);
  at("chosen-undo").hidden = !labeled.length;
  at("chosen-undo").onclick = () => takeBack(labeled);
}

/** Say what photos show. What is said is written down here first, so that a page that is loaded again goes on. */
async function say(ids, label, name, change = null) {
  keepDraft({ pending: { ids, label, name }, chosen: [], product: null });
  tell(`${plural(ids.length, "photo")}…`);
  const items = [];
  const batches = [];
  try {
    for (let from = 0; from < ids.length; from += MOST) {
      const labels = ids.slice(from, from + MOST).map((photo) => ({ photo, ...label }));
      const answered = await ask("v1/inbox/labels", { method: "POST", json: { labels } });
      batches.push(answered.batch);
      items.push(...answered.items);
    }
  } catch (error) {
    keepDraft({ pending: null, chosen: ids });
    tell(error.message);
    return;
  }
  keepDraft({ pending: null });
  const failed = items.filter((item) => !item.ok);
  const done = items.length - failed.length;
  const measured = items.filter((item) => item.state === "measured").length;
  const poor = items.filter((item) => item.state === "kept" && item.why).length;
  const facts = [
    label.label === "skip" ? `${plural(done, "photo")} left aside.` : `${plural(done, "photo")}: ${name}.`,
    measured ? `${measured} of them ${measured === 1 ? "is" : "are"} kept to measure on.` : "",
    poor ? `${poor} too small, dark or blurred to be taught.` : "",
    failed.length ? `${plural(failed.length, "photo")} not: ${failed[0].why}` : "",
  ];
  await load();
  tell(facts.filter(Boolean).join(" "), done ? async () => {
    for (const batch of batches.reverse()) await ask("v1/inbox/undo", { method: "POST", json: { batch } });
    if (change) await undoChange(change);
    await load();
  } : null);
  held();
}

async function takeBack(ids) {
  try {
    const answered = await ask("v1/inbox/undo", { method: "POST", json: { photos: ids } });
    const failed = answered.items.filter((item) => !item.ok);
    keepDraft({ chosen: [] });
    await load();
    tell(failed.length ? failed[0].why : `${plural(ids.length, "name")} taken back.`);
  } catch (error) {
    tell(error.message);
  }
}

async function nameNew(ids) {
  const [photo] = ids.map((id) => shown.get(id));
  let file = null;
  try {
    file = photo && "BarcodeDetector" in window ? await (await fetch(`${photo.link}&size=768`)).blob() : null;
  } catch {
    // a barcode can be typed
  }
  const product = await newProduct(file, "", { read: () => draft().product, write: (typed) => keepDraft({ product: typed }) });
  if (!product) {
    keepDraft({ product: null });
    return;
  }
  const name = product.name || product.id;
  if (!product.barcode) {
    await say(ids, { label: "new", product_id: product.id, name: product.name }, name);
    return;
  }
  try {
    await say(ids, { label: "product", product_id: product.id }, name, await described(product));
  } catch (error) {
    tell(error.message);
  }
}

/** One photo large, and what it was taken for with pictures. */
function closer(photo) {
  const dialog = at("closer");
  const matches = [...photo.matches, ...photo.nearest].slice(0, 6);
  const choices = element("ul", { className: "tiles" }, ...matches.map((match) => {
    const all = element("button", { type: "button", className: "tile" }, picture(match.evidence.length ? match.evidence[0].link : "", ""), said(nameOf(match), "name"),
      match.confidence !== undefined && match.confidence !== null ? said(sure(match), "more") : "");
    all.setAttribute("aria-label", `It is this: ${nameOf(match)}`);
    all.addEventListener("click", () => {
      dialog.close();
      say([photo.photo], { label: "product", product_id: match.product_id }, nameOf(match));
    });
    return element("li", {}, all);
  }));
  arrows(choices);
  const facts = [
    new Date(photo.asked).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
    photo.times > 1 ? `asked ${photo.times} times` : "",
    `${photo.quality.width} × ${photo.quality.height} pixels`,
    ...photo.quality.badges.map((name) => (POOR[name] || [name, "not taught"]).join(": ")),
    photo.held_out ? "kept to measure on, never taught" : "",
    photo.label ? photo.label.why : "",
  ];
  at("closer-body").replaceChildren(
    element("figure", {}, picture(photo.link, "The photo", 768)),
    element("div", {}, said(facts.filter(Boolean).join(" · "), "more"),
      element("p", { className: "note", textContent: matches.length ? "It was taken for one of these. Which is it?" : "Nothing of yours is near it." }), choices));
  dialog.showModal();
}

/** Photos that came since; what is chosen is not taken away from under a hand. */
async function watch() {
  if (document.hidden || location.hash !== "#inbox" || document.querySelector("dialog[open]")) return;
  try {
    const { held: numbers } = await ask("v1/inbox?limit=1");
    countUnnamed(numbers);
    const more = numbers.photos - photosThere;
    at("inbox-new").hidden = more <= 0;
    if (more > 0) at("inbox-new").textContent = `Show ${plural(more, "new photo")}`;
  } catch {
    // it is said when somebody asks
  }
}

export function startInbox() {
  const list = at("stacks");
  arrows(list);
  for (const filter of ["inbox-named", "inbox-verdict", "inbox-quality"]) at(filter).addEventListener("change", () => load());
  at("inbox-more").addEventListener("click", () => load(true));
  at("inbox-new").addEventListener("click", () => load());
  at("inbox-all").addEventListener("change", () => {
    for (const box of boxes()) box.checked = at("inbox-all").checked;
    choose();
  });
  // With Shift all from the last one on: a click on a picture reaches its box, and a key is a click of the box.
  let shift = false;
  addEventListener("keydown", (event) => { shift = event.shiftKey; }, true);
  list.addEventListener("click", (event) => {
    if (event.target.closest("label.shot") && event.target.type !== "checkbox") shift = event.shiftKey;
  }, true);
  list.addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); });
  list.addEventListener("click", (event) => {
    const box = event.target;
    if (box.type !== "checkbox") return;
    const all = boxes();
    if ((event.shiftKey || shift) && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const one of all.slice(from, to + 1)) one.checked = box.checked;
    }
    shift = false;
    last = box;
    choose();
  });
  at("chosen-other").addEventListener("click", async () => {
    const ids = chosen();
    const product = await picked();
    if (product) say(ids, { label: "product", product_id: product.product_id }, nameOf(product));
  });
  at("chosen-new").addEventListener("click", () => nameNew(chosen()));
  at("chosen-none").addEventListener("click", () => say(chosen(), { label: "not-ours" }, "not ours"));
  at("chosen-skip").addEventListener("click", () => say(chosen(), { label: "skip" }, ""));
  at("chosen-clear").addEventListener("click", () => {
    for (const box of boxes()) box.checked = false;
    choose();
    at("inbox-all").focus();
  });
  setInterval(watch, 1000 * LOOK_SECONDS);
}

