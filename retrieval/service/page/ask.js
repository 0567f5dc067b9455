// The view that answers photos, and learns from whoever knows better.

import { closeCamera, openCamera, shot } from "./camera.js";
import { described, made, newProduct, picked } from "./choose.js";
import { cropped } from "./crop.js";
import { itemsFound, outlines } from "./items.js";
import { at, button, element, nameOf, note, picture, plural, said, sure } from "./parts.js";
import { Refused, ask, held, picturePath, productPath, settled, status, undoChange } from "./service.js";

const MOST = 16; // photos of one request

let latest = 0;
let asked = []; // photos on the page

const isTogether = () => at("same").checked;

const form = (photos) => {
  const made = new FormData();
  // The place in front keeps photos of one name apart.
  photos.forEach((photo, place) => made.append("photo", photo, `${place} ${photo.name || "photo"}`));
  return made;
};

/** Ask about photos. Shots of one item add to those that are there already. */
export async function recognize(files) {
  const photos = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
  if (!photos.length) {
    at("working").textContent = files.length ? "That is no photo." : "";
    return;
  }
  const all = isTogether() ? [...asked, ...photos] : photos;
  asked = all.slice(0, MOST);
  await answered(all.length > MOST ? `The first ${MOST} of ${all.length} are shown.` : "");
}

async function answered(left = "") {
  const photos = asked;
  const turn = ++latest;
  document.body.classList.toggle("asked", photos.length > 0);
  at("over").hidden = !photos.length;
  if (!photos.length) {
    at("answers").replaceChildren();
    at("working").textContent = "";
    return;
  }
  at("working").textContent = photos.length === 1 ? "Looking…" : `Looking at ${photos.length} photos…`;
  const one = isTogether() && photos.length > 1;
  let cards;
  try {
    if (at("many").checked) {
      const found = await ask("v1/recognize?many=true", { method: "POST", body: form(photos) });
      if (turn !== latest) return;
      show(photos.map((photo, place) => single(photo, found, place, shelf)), left);
      return;
    }
    const found = await ask(`v1/recognize?top=5${one ? "&same=true" : ""}`, { method: "POST", body: form(photos) });
    if (turn !== latest) return; // a newer question
    cards = one ? [answer(photos, found.results[0])] : photos.map((photo, place) => single(photo, found, place));
  } catch (error) {
    if (turn !== latest) return;
    cards = one ? [refusedCard(photos, error.message)] : photos.map((photo) => refusedCard([photo], error.message));
  }
  show(cards, left);
}

function show(cards, left) {
  at("answers").replaceChildren(...cards);
  at("working").textContent = left;
  speak(cards);
}

/** A screen reader hears the verdicts and not all that stands around them. */
function speak(cards) {
  at("spoken").textContent = cards.map((card) => card.querySelector(".verdict").textContent).join(". ");
}

function single(photo, found, place, answered = answer) {
  const refused = found.refused.find((entry) => parseInt(entry.path, 10) === place);
  const result = found.results.find((entry) => parseInt(entry.source, 10) === place);
  return result && !refused ? answered([photo], result) : refusedCard([photo], refused ? refused.reason : "");
}

function answer(photos, result) {
  const matches = result.matches;
  const nearest = result.nearest || [];
  const lesson = status.mayTeach ? teaching(photos, result) : null;
  const choose = lesson ? lesson.choose : null;
  const body = [];
  let verdict = "Unknown";
  if (result.verdict === "unknown") {
    const by = result.refused_by;
    const why = showsNothing(result) ? "It shows nothing: one color, or noise." : by ? `It looks like a photo that was said not to be ours${by.note ? `: ${by.note}` : ""}.` : "None of yours is near enough.";
    body.push(said(nearest.length ? `${why} Nearest:` : why, "sure"));
    if (nearest.length) body.push(tiles(nearest, "dim", false, choose));
  } else if (result.verdict === "ambiguous") {
    verdict = "One of these";
    body.push(said("Several products fit. The likeliest first:", "sure"), tiles(matches, "", true, choose));
  } else {
    verdict = nameOf(matches[0]);
    body.push(said(sure(matches[0]), "sure"), tiles(matches, "", true));
  }
  body.push(...remarks(result).map(note));
  if (lesson) body.push(lesson.box);
  return card(photos, result.verdict, verdict, body);
}

/** Whether it is unknown because none of its photos shows anything. */
const showsNothing = ({ matches, blanks = [], photos = [] }) => !matches.length && blanks.length === Math.max(1, photos.length);

/** The items of one photo, drawn over it. */
function shelf([photo], result) {
  const { verdict, className, body } = itemsFound(result);
  const made = card([photo], `${className} shelf`, verdict, body, false);
  const shots = made.querySelector(".shots");
  shots.replaceChildren(element("div", {}, shots.firstChild, outlines(result)));
  return made;
}

/** A barcode as people know it: with 13 digits, or with 8. */
const numberOf = (code) => (code.gtin.startsWith("000000") ? code.gtin.slice(-8) : code.gtin.replace(/^0/, ""));

/** What the barcodes in a photo say, and which shots hardly show one item. */
function remarks(result) {
  const codes = result.codes || [];
  const found = codes.filter((code) => !code.products.length).map((code) => `The barcode ${numberOf(code)} is not in the catalog.`);
  if (result.by === "barcode") found.push("Its barcode decided.");
  if (result.conflict) found.push(`The picture alone says ${result.conflict.picture}${result.conflict.wins === "barcode" ? "" : ", which carries another barcode"}.`);
  if ((result.photos || []).length && (result.blanks || []).length && !showsNothing(result)) found.push("Shots that show nothing do not count.");
  if ((result.apart || []).length) found.push("These photos hardly show one item.");
  return found;
}

function refusedCard(photos, reason) {
  return card(photos, "refused", "Not read", [element("p", { textContent: reason })]);
}

function card(photos, className, verdict, body, cuts = className !== "refused") {
  const images = photos.map((photo) => {
    const url = URL.createObjectURL(photo);
    const image = element("img", { alt: photos.length === 1 ? "Your photo" : "One of your photos", src: url });
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.addEventListener("error", () => { URL.revokeObjectURL(url); image.replaceWith(element("span", { className: "gone" })); }, { once: true });
    return image;
  });
  const figure = element("figure", { className: photos.length > 1 ? "several" : "" }, element("div", { className: "shots" }, ...images),
    element("figcaption", { className: "source", textContent: photos.length === 1 ? photos[0].name || "photo" : `${plural(photos.length, "photo")} of one item`, dir: "auto" }));
  const made = element("article", { className: `answer ${className}` }, figure,
    element("div", {}, element("h2", { className: "verdict", textContent: verdict, dir: "auto" }), ...body));
  if (photos.length === 1 && cuts) {
    figure.append(button("Crop…", async () => {
      const part = await cropped(photos[0]);
      if (!part) return;
      at("working").textContent = "Looking…";
      let next;
      try {
        next = single(part, await ask("v1/recognize?top=5", { method: "POST", body: form([part]) }), 0);
      } catch (error) {
        next = refusedCard([part], error.message);
      }
      at("working").textContent = "";
      asked = asked.map((photo) => (photo === photos[0] ? part : photo));
      made.replaceWith(next);
      speak([next]);
      next.querySelector("button")?.focus();
    }, { className: "small" }));
  }
  return made;
}

function tiles(matches, className, marksFirst = false, choose = null) {
  return element("ul", { className: `tiles ${className}` }, ...matches.map((match, place) => {
    const name = nameOf(match);
    const facts = [name === match.product_id ? "" : match.product_id, match.metadata.price ?? ""].filter((fact) => fact !== "");
    // What stands first in a match is said above it.
    if ((place > 0 || choose) && match.confidence !== undefined && match.confidence !== null) facts.unshift(sure(match));
    return element("li", { className: marksFirst && place === 0 ? "first" : "" },
      picture(match.evidence.length ? match.evidence[0].link : "", ""), said(name, "name"),
      facts.length ? said(facts.join(" · "), "more") : null, address(match),
      choose ? button("It is this", () => choose(match), { label: `It is this: ${name}` }) : null);
  }));
}

/** A link to the shop's own page of the product, where the catalog names one. */
function address(match) {
  let url;
  try {
    url = new URL(match.metadata.url || match.metadata.link || "");
  } catch {
    return null;
  }
  if (!["http:", "https:"].includes(url.protocol)) return null;
  return element("a", { href: url.href, textContent: "Open in the shop", target: "_blank", rel: "noopener noreferrer", className: "more" });
}

/** What stands under an answer: what it was, said by somebody who knows. */
function teaching(photos, result) {
  const first = result.verdict === "match" ? result.matches[0] : null;
  const told = element("p", { className: "note", role: "status" });
  const buttons = element("div", { className: "row" });
  const box = element("div", { className: "teach" }, buttons, told);
  const progress = (text) => { told.textContent = text; };
  const freeze = (frozen) => {
    for (const one of box.parentElement.querySelectorAll("button")) if (!one.classList.contains("undo")) one.disabled = frozen;
  };

  /** Do something that can be taken back; `act` gives what to say, and how to undo it. */
  async function learn(act) {
    freeze(true);
    try {
      const { text, undo } = await act();
      const back = button("Undo", async () => {
        back.remove();
        try {
          progress("Taking it back…");
          await undo();
          progress("Taken back.");
          freeze(false);
          held();
        } catch (error) {
          progress(error.message);
        }
      }, { className: "undo" });
      told.replaceChildren(...text, " ", back);
      held();
    } catch (error) {
      progress(error.message);
      freeze(false);
    }
  }

  /** With an inbox what is said is said of the photos there: a part of them is kept to measure on. */
  async function label(what) {
    const labels = result.inbox.map((photo) => ({ photo, ...what }));
    const said = await ask("v1/inbox/labels", { method: "POST", json: { labels } });
    const failed = said.items.find((item) => !item.ok);
    if (failed) throw new Refused(failed.why);
    for (let turn = 0; said.items.some((item) => item.state === "waiting") && turn < 100; turn += 1) {
      progress("Kept. The index takes it up…");
      await new Promise((resolve) => { setTimeout(resolve, 200); });
      for (const item of said.items) {
        if (item.state !== "waiting") continue;
        const { label: now } = await ask(`v1/inbox/${encodeURIComponent(item.photo)}`);
        if (now) Object.assign(item, { state: now.state, why: now.why });
      }
    }
    const why = said.items.find((item) => item.why);
    return { why: why ? why.why : "", undo: () => ask("v1/inbox/undo", { method: "POST", json: { batch: said.batch } }) };
  }

  const inInbox = Boolean(status.inbox && result.inbox && result.inbox.length);
  const noted = (name, why) => (why ? ["Noted: this is ", said(name), `. ${why}`] : learned(name));

  const learned = (name) => ["Learned: this is ", said(name), ". The next photo of it can be found."];
  const forget = async (jobs) => {
    for (const job of [...jobs].reverse()) await settled(await ask(picturePath(job.product_id, job.image), { method: "DELETE" }));
  };

  async function teachAll(id, shots) {
    const jobs = [];
    try {
      for (const photo of shots) {
        const body = new FormData();
        body.append("photo", photo, "photo");
        jobs.push(await settled(await ask(`${productPath(id)}/pictures`, { method: "POST", body }), progress));
      }
    } catch (error) {
      await forget(jobs);
      throw error;
    }
    return jobs;
  }

  const choose = (product) => learn(async () => {
    if (inInbox) {
      const { why, undo } = await label({ label: "product", product_id: product.product_id });
      return { text: noted(nameOf(product), why), undo };
    }
    const jobs = await teachAll(product.product_id, photos);
    return { text: learned(nameOf(product)), undo: () => forget(jobs) };
  });

  if (first) {
    buttons.append(button("It is this", () => choose(first)), button("Not this", (event) => {
      event.target.disabled = true;
      const others = [...result.matches.slice(1), ...(result.nearest || [])];
      const list = tiles(others, "", false, choose);
      box.parentElement.querySelector(".tiles").replaceWith(...(others.length ? [note("Then which? These came next:"), list] : [note("Nothing else of yours is near.")]));
      (list.querySelector("button") || buttons.querySelector("button:not(:disabled)")).focus();
    }));
  }
  buttons.append(
    button(first ? "Another product…" : "One of ours…", async () => {
      const product = await picked();
      if (product) choose(product);
    }),
    button("A new product…", async () => {
      const product = await newProduct(photos[0], (result.codes || []).filter((code) => !code.products.length).map(numberOf)[0] || "");
      if (!product) return;
      learn(async () => {
        if (inInbox) {
          const change = product.barcode ? await described(product, progress) : null;
          const { why, undo } = await label(change ? { label: "product", product_id: product.id } : { label: "new", product_id: product.id, name: product.name });
          return { text: noted(product.name || product.id, why), undo: async () => { await undo(); if (change) await undoChange(change); } };
        }
        const { job, change } = await made(product, photos[0], progress);
        const more = await teachAll(product.id, photos.slice(1));
        return {
          text: learned(product.name || product.id),
          undo: async () => {
            await forget([job, ...more]);
            if (change) await undoChange(change);
          },
        };
      });
    }),
    button("Not ours", () => learn(async () => {
      if (inInbox) {
        const { why, undo } = await label({ label: "not-ours" });
        return { text: [why ? `Noted: not ours. ${why}` : "Learned: not ours. What looks like it stays unknown."], undo };
      }
      const refusals = [];
      for (const photo of photos) {
        const body = new FormData();
        body.append("photo", photo, photo.name || "photo");
        refusals.push(await ask("v1/refusals", { method: "POST", body }));
      }
      return {
        text: ["Learned: not ours. What looks like it stays unknown."],
        undo: async () => { for (const refusal of refusals) await ask(`v1/refusals/${encodeURIComponent(refusal.refusal_id)}`, { method: "DELETE" }); },
      };
    })),
  );
  return { box, choose };
}

export function startAsking() {
  at("choose").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    const files = [...at("file").files];
    at("file").value = "";
    recognize(files);
  });
  at("camera").addEventListener("click", openCamera);
  at("shoot").addEventListener("click", async () => {
    const photo = await shot();
    if (photo) recognize([photo]);
  });
  at("stop").addEventListener("click", () => { closeCamera(); at("camera").focus(); });
  for (const [one, other] of [["same", "many"], ["many", "same"]]) {
    at(one).addEventListener("change", () => {
      if (at(one).checked) at(other).checked = false;
      answered();
    });
  }
  at("over").addEventListener("click", () => { asked = []; answered(); at("choose").focus(); });
  const take = (files) => {
    if (!files || !files.length || document.querySelector("dialog[open]")) return;
    location.hash = "ask";
    recognize(files);
  };
  let depth = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; at("drop").classList.add("over"); });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) at("drop").classList.remove("over"); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    at("drop").classList.remove("over");
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => take(event.clipboardData && event.clipboardData.files));
}
