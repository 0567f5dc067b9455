"use strict";

const MOST = 16; // photos of one request
const PAGE = 60; // products shown at a time
const KEY = "itemrec.key";
const NAMES = ["title", "name"];

const at = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** What people call a product: text only, whatever it holds. Each name finds its own direction of writing. */
function nameOf(product) {
  return NAMES.map((column) => product.metadata[column]).find((value) => value) || product.product_id;
}

function said(text, className) {
  return element("span", { textContent: text, className, dir: "auto" });
}

// ---- asking the service -------------------------------------------------------------------------------------------

class Refused extends Error {}

async function ask(path, options = {}) {
  for (;;) {
    const headers = {};
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused("The service does not answer. Is it running, and is this device connected?");
    }
    if (response.ok) return response.json();
    let problem = {};
    try {
      problem = await response.json();
    } catch {
      // a proxy's own page
    }
    if (response.status === 401) {
      sessionStorage.removeItem(KEY);
      await keyAsked(key ? "That key is not known here." : "");
      continue;
    }
    throw new Refused([problem.message || `The service answered ${response.status}.`, problem.hint].filter(Boolean).join(" "));
  }
}

function keyAsked(note) {
  const dialog = at("key");
  at("key-note").textContent = note;
  at("secret").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const secret = at("secret").value.trim();
      if (secret) sessionStorage.setItem(KEY, secret);
      resolve(secret ? undefined : keyAsked("A key is needed."));
    }, { once: true });
  });
}

// ---- photos -------------------------------------------------------------------------------------------------------

let latest = 0;

async function recognize(files) {
  const photos = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
  if (!photos.length) {
    at("working").textContent = files.length ? "That is no photo." : "";
    return;
  }
  const turn = ++latest;
  const shown = photos.slice(0, MOST);
  const left = photos.length > MOST ? ` The first ${MOST} of ${photos.length} are shown.` : "";
  at("working").textContent = shown.length === 1 ? "Looking…" : `Looking at ${shown.length} photos…`;
  const form = new FormData();
  shown.forEach((photo, place) => form.append("photo", photo, `${place} ${photo.name || "photo"}`));
  try {
    const answered = await ask("v1/recognize?top=5", { method: "POST", body: form });
    if (turn !== latest) return; // a newer question
    show(shown, answered);
    at("working").textContent = left.trim();
  } catch (error) {
    if (turn !== latest) return;
    at("working").textContent = "";
    at("answers").replaceChildren(...shown.map((photo) => card(photo, "refused", "Not read", [element("p", { textContent: error.message })])));
  }
  document.body.classList.add("asked");
}

function show(photos, answered) {
  const byPlace = new Map();
  for (const result of answered.results) byPlace.set(parseInt(result.source, 10), result);
  for (const refused of answered.refused) byPlace.set(parseInt(refused.path, 10), refused);
  at("answers").replaceChildren(...photos.map((photo, place) => {
    const result = byPlace.get(place);
    if (!result || result.reason) return card(photo, "refused", "Not read", [element("p", { textContent: result ? result.reason : "" })]);
    return answer(photo, result);
  }));
}

function answer(photo, result) {
  const matches = result.matches;
  const nearest = result.nearest || [];
  const lesson = mayTeach ? teaching(photo, result.verdict === "match" ? matches[0] : null) : null;
  const choose = lesson ? lesson.choose : null;
  const body = [];
  let verdict = "Unknown";
  if (result.verdict === "unknown") {
    const by = result.refused_by;
    const why = by ? `It looks like a photo that was said not to be ours${by.note ? `: ${by.note}` : ""}.` : "None of ours is near enough.";
    body.push(said(nearest.length ? `${why} Nearest:` : why, "sure"));
    if (nearest.length) body.push(tiles(nearest, "dim", false, choose));
  } else if (result.verdict === "ambiguous") {
    verdict = "One of these";
    body.push(said("Several products fit. The likeliest first:", "sure"), tiles(matches, "", true, choose));
  } else {
    verdict = nameOf(matches[0]);
    body.push(said(sure(matches[0]), "sure"), tiles(matches, "", true));
  }
  if (lesson) body.push(lesson.box);
  return card(photo, result.verdict, verdict, body);
}

// ---- teaching -----------------------------------------------------------------------------------------------------

let mayTeach = false;

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** What stands under an answer: who it was, said by somebody who knows. `first` is the product that was named. */
function teaching(photo, first) {
  const told = element("p", { className: "note", role: "status" });
  const buttons = element("div", { className: "row" });
  const box = element("div", { className: "teach" }, buttons, told);

  async function settle(job, done) {
    for (let turn = 0; ["waiting", "running"].includes(job.state); turn += 1) {
      told.textContent = turn > 20 ? "Kept in the catalog; the index is busy and takes it up soon." : "Kept in the catalog. The index takes it up…";
      await pause(turn < 10 ? 200 : 1000);
      job = await ask(`v1/jobs/${encodeURIComponent(job.job)}`);
    }
    told.textContent = job.state === "done" ? done : `It did not work: ${job.message}`;
    return job;
  }

  async function teach(productId, name, more = "") {
    const form = new FormData();
    form.append("photo", photo, "photo");
    for (const button of box.parentElement.querySelectorAll("button")) button.disabled = true;
    try {
      const path = `v1/products/${encodeURIComponent(productId)}/pictures`;
      const job = await settle(await ask(path + more, { method: "POST", body: form }), "");
      if (job.state !== "done") throw new Refused(job.message);
      const undo = element("button", { type: "button", textContent: "Undo" });
      undo.addEventListener("click", async () => {
        undo.remove();
        try {
          const place = job.image.split("/").map(encodeURIComponent).join("/");
          await settle(await ask(`${path}/${place}`, { method: "DELETE" }), "Taken back.");
          for (const button of box.parentElement.querySelectorAll("button")) button.disabled = false;
        } catch (error) {
          told.textContent = error.message;
        }
      });
      told.replaceChildren("Learned: this is ", said(name, ""), ". The next photo of it can be found. ", undo);
      held();
    } catch (error) {
      told.textContent = error.message;
      for (const button of box.parentElement.querySelectorAll("button")) button.disabled = false;
    }
  }

  const add = (text, act) => {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", act);
    buttons.append(button);
  };
  const choose = (match) => teach(match.product_id, nameOf(match));
  if (first) add("It is this", () => choose(first));
  add(first ? "Another product…" : "One of ours…", async () => {
    const product = await picked();
    if (product) teach(product.product_id, product.name || product.product_id);
  });
  add("A new product…", async () => {
    const made = await newProduct();
    if (made) teach(made.id, made.name || made.id, `?new=true&name=${encodeURIComponent(made.name)}`);
  });
  add("Not ours", async () => {
    const form = new FormData();
    form.append("photo", photo, photo.name || "photo");
    const all = () => box.parentElement.querySelectorAll("button");
    for (const button of all()) button.disabled = true;
    try {
      const refusal = await ask("v1/refusals", { method: "POST", body: form });
      const undo = element("button", { type: "button", textContent: "Undo" });
      undo.addEventListener("click", async () => {
        undo.remove();
        try {
          await ask(`v1/refusals/${encodeURIComponent(refusal.refusal_id)}`, { method: "DELETE" });
          told.textContent = "Taken back.";
          for (const button of all()) button.disabled = false;
        } catch (error) {
          told.textContent = error.message;
        }
      });
      told.replaceChildren("Learned: not ours. What looks like it stays unknown. ", undo);
    } catch (error) {
      told.textContent = error.message;
      for (const button of all()) button.disabled = false;
    }
  });
  return { box, choose };
}

/** A product out of a dialog that searches as somebody types; null when it is closed. */
function picked() {
  const dialog = at("pick");
  at("pick-words").value = "";
  let chosen = null;
  let turn = 0;
  const find = async () => {
    const mine = ++turn;
    try {
      const found = await ask(`v1/products?limit=12&q=${encodeURIComponent(at("pick-words").value.slice(0, 200))}`);
      if (mine !== turn) return;
      at("pick-found").textContent = found.total > 12 ? `${found.total.toLocaleString()} products; type more of the name.` : "";
      at("pick-products").replaceChildren(...found.products.map((product) => {
        const button = element("button", { type: "button", textContent: "This one" });
        const name = product.name || product.product_id;
        button.setAttribute("aria-label", `This one: ${name}`);
        button.addEventListener("click", () => { chosen = product; dialog.close(); });
        return element("li", {}, picture(product.images.length ? product.images[0].link : "", name), said(name, "name"), said(product.product_id, "more"), button);
      }));
    } catch (error) {
      at("pick-found").textContent = error.message;
    }
  };
  at("pick-words").oninput = find;
  find();
  dialog.showModal();
  return new Promise((resolve) => { dialog.addEventListener("close", () => resolve(chosen), { once: true }); });
}

function newProduct() {
  const dialog = at("make");
  at("make-id").value = "";
  at("make-name").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const id = at("make-id").value.trim();
      resolve(dialog.returnValue === "ok" && id ? { id, name: at("make-name").value.trim() } : null);
    }, { once: true });
  });
}

async function held() {
  const status = await ask("v1/status");
  at("held").textContent = `${status.products.toLocaleString()} products, ${status.images.toLocaleString()} pictures`;
  document.querySelector("[data-view=catalog]").hidden = !status.whole_catalog;
  mayTeach = status.role !== "recognize" && status.whole_catalog;
}

function sure(match) {
  return match.confidence === undefined || match.confidence === null ? "Not calibrated: how sure is not known"
    : match.confidence >= 0.995 ? "> 99 % sure" : `${Math.round(100 * match.confidence)} % sure`;
}

function tiles(matches, className, marksFirst = false, choose = null) {
  return element("ul", { className: `tiles ${className}` }, ...matches.map((match, place) => {
    const name = String(nameOf(match));
    const facts = [name === match.product_id ? "" : match.product_id, match.metadata.price ?? ""].filter((fact) => fact !== "");
    if (place > 0 || marksFirst) {
      if (match.confidence !== undefined && match.confidence !== null && place > 0) facts.unshift(sure(match));
    }
    return element("li", { className: marksFirst && place === 0 ? "first" : "" },
      picture(match.evidence.length ? match.evidence[0].link : "", name), said(name, "name"),
      facts.length ? said(facts.join(" · "), "more") : null, address(match), choose ? chooser(match, name, choose) : null);
  }));
}

function chooser(match, name, choose) {
  const button = element("button", { type: "button", textContent: "It is this" });
  button.setAttribute("aria-label", `It is this: ${name}`);
  button.addEventListener("click", () => choose(match));
  return button;
}

/** A link to the shop's own page of the product, where the catalog names one. */
function address(match) {
  const found = match.metadata.url || match.metadata.link || "";
  let url;
  try {
    url = new URL(found);
  } catch {
    return null;
  }
  if (!["http:", "https:"].includes(url.protocol)) return null;
  return element("a", { href: url.href, textContent: "Open in the shop", target: "_blank", rel: "noopener noreferrer", className: "more" });
}

function picture(link, name) {
  const gone = () => element("span", { className: "gone", role: "img", ariaLabel: `${name}, whose picture is gone` });
  if (!link) return gone();
  const image = element("img", { src: `${link}&size=384`, alt: name, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(gone()), { once: true });
  return image;
}

function card(photo, className, verdict, body) {
  const image = element("img", { alt: "Your photo" });
  const url = URL.createObjectURL(photo);
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
  return element("article", { className: `answer ${className}` },
    element("figure", {}, image, element("figcaption", { className: "source", textContent: photo.name || "photo", dir: "auto" })),
    element("div", {}, element("h2", { className: "verdict", textContent: verdict, dir: "auto" }), ...body));
}

// ---- the camera ---------------------------------------------------------------------------------------------------

let stream = null;

async function openCamera() {
  const note = at("camera-note");
  note.hidden = true;
  const refuse = (text) => {
    note.textContent = text;
    note.hidden = false;
  };
  if (!navigator.mediaDevices) {
    refuse("The camera works on https pages and on this machine (localhost) only. Choose a photo instead.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The camera was refused. Allow it for this page in the browser's settings, or choose a photo.",
      NotFoundError: "There is no camera here. Choose a photo instead.",
      NotReadableError: "Another program uses the camera.",
    };
    refuse(reasons[error.name] || "The camera does not start. Choose a photo instead.");
    return;
  }
  at("video").srcObject = stream;
  await at("video").play();
  at("shooting").hidden = false;
  at("shoot").focus();
}

function closeCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  at("video").srcObject = null;
  at("shooting").hidden = true;
}

function shoot() {
  const video = at("video");
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    if (blob) recognize([new File([blob], "camera.jpg", { type: "image/jpeg" })]);
  }, "image/jpeg", 0.92);
}

// ---- the catalog --------------------------------------------------------------------------------------------------

let shownProducts = 0;
let searching = 0;

async function search(after = 0) {
  const turn = ++searching;
  const words = at("words").value;
  try {
    const found = await ask(`v1/products?limit=${PAGE}&after=${after}&q=${encodeURIComponent(words.slice(0, 200))}`);
    if (turn !== searching) return;
    const items = found.products.map((product) => element("li", {},
      picture(product.images.length ? product.images[0].link : "", product.name || product.product_id),
      said(product.name || product.product_id, "name"),
      said([product.name ? product.product_id : "", `${product.images.length} picture${product.images.length === 1 ? "" : "s"}`].filter(Boolean).join(" · "), "more")));
    if (after) at("products").append(...items);
    else at("products").replaceChildren(...items);
    shownProducts = after + items.length;
    at("more").hidden = shownProducts >= found.total;
    at("found").textContent = found.total === 1 ? "1 product" : `${found.total.toLocaleString()} products`;
  } catch (error) {
    if (turn === searching) at("found").textContent = error.message;
  }
}

// ---- the page -----------------------------------------------------------------------------------------------------

function view(name) {
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  if (name !== "ask") closeCamera();
  if (name === "catalog") search();
}

async function start() {
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => { location.hash = button.dataset.view; });
  }
  const fromHash = () => view(["ask", "catalog"].includes(location.hash.slice(1)) ? location.hash.slice(1) : "ask");
  addEventListener("hashchange", fromHash);
  at("choose").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    recognize(at("file").files);
    at("file").value = "";
  });
  at("camera").addEventListener("click", openCamera);
  at("shoot").addEventListener("click", shoot);
  at("stop").addEventListener("click", closeCamera);
  at("more").addEventListener("click", () => search(shownProducts));
  at("search").addEventListener("submit", (event) => event.preventDefault());
  let typing = 0;
  at("words").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 150);
  });
  let depth = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; at("drop").classList.add("over"); });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) at("drop").classList.remove("over"); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    at("drop").classList.remove("over");
    if (event.dataTransfer.files.length) { location.hash = "ask"; recognize(event.dataTransfer.files); }
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData && event.clipboardData.files.length) { location.hash = "ask"; recognize(event.clipboardData.files); }
  });
  fromHash();
  try {
    await held();
  } catch (error) {
    at("held").textContent = error.message;
  }
}

start();
