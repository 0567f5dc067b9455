// Asking the service: keys, errors in words, and jobs that are waited for.

import { at, plural } from "./parts.js";

const KEY = "itemrec.key";

export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The answer of the service as JSON; a photo or a form goes as it is, an object as JSON. */
export async function ask(path, { method = "GET", body, json, signal } = {}) {
  for (;;) {
    const headers = {};
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    if (json !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, signal, body: json === undefined ? body : JSON.stringify(json) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
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
    throw new Refused([problem.message || `The service answered ${response.status}.`, problem.hint].filter(Boolean).join(" "), response.status);
  }
}

/** A file of the service, for saving. */
export async function fetched(path) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  if (!response.ok) throw new Refused(`The service answered ${response.status}.`, response.status);
  return response.blob();
}

let asking = null;

/** Several questions may meet a closed door at once: the key is asked for once. */
function keyAsked(text) {
  asking ||= new Promise((resolve) => {
    const dialog = at("key");
    const open = (why) => {
      at("key-note").textContent = why;
      at("secret").value = "";
      if (!dialog.open) dialog.showModal();
      dialog.addEventListener("close", () => {
        const secret = at("secret").value.trim();
        if (!secret) return open("A key is needed.");
        sessionStorage.setItem(KEY, secret);
        asking = null;
        return resolve();
      }, { once: true });
    };
    open(text);
  });
  return asking;
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Wait until the index has taken a change up. `progress` is told what to say meanwhile. */
export async function settled(job, progress = () => {}) {
  for (let turn = 0; ["waiting", "running"].includes(job.state); turn += 1) {
    progress(turn > 20 ? "Kept in the catalog; the index is busy and takes it up soon." : "Kept in the catalog. The index takes it up…");
    await pause(turn < 10 ? 200 : 1000);
    job = await ask(`v1/jobs/${encodeURIComponent(job.job)}`);
  }
  if (job.state !== "done") throw new Refused(`It did not work: ${job.message}`);
  return job;
}

export const undoChange = async (change) => settled(await ask(`v1/changes/${encodeURIComponent(change)}/undo`, { method: "POST" }));

export const productPath = (id) => `v1/products/${encodeURIComponent(id)}`;

export const picturePath = (id, image) => `${productPath(id)}/pictures/${image.split("/").map(encodeURIComponent).join("/")}`;

/** What is served and what this key may do; brought up to date by `held`. */
export const status = { columns: [], mayTeach: false, mayChange: false, whole: false, inbox: false };

const BARCODES = /^(variant_|product_)?(gtin|ean|upc|barcode)(_?\d\d?)?(_?(code|number|no|nr))?s?$/;

/** The column that holds barcodes in this catalog. */
export function barcodeColumn() {
  return status.columns.find((column) => BARCODES.test(column.toLowerCase().replace(/[\s_.-]+/g, "_"))) || "barcode";
}

/** How many photos wait for a name, in the navigation. */
export function countUnnamed(numbers) {
  at("inbox-count").textContent = numbers.unlabeled ? ` ${numbers.unlabeled.toLocaleString()}` : "";
}

export async function held() {
  const answered = await ask("v1/status");
  status.columns = answered.columns;
  status.whole = answered.whole_catalog;
  status.mayTeach = answered.role !== "recognize" && answered.whole_catalog;
  status.mayChange = answered.role === "admin" && answered.whole_catalog;
  status.inbox = Boolean(answered.inbox);
  at("held").textContent = `${plural(answered.products, "product")}, ${plural(answered.images, "picture")}`;
  for (const button of document.querySelectorAll("nav [data-needs]")) {
    const needs = button.dataset.needs;
    button.hidden = needs === "whole" ? !status.whole : !(status.inbox && status.mayTeach);
  }
  if (status.inbox && status.mayTeach) {
    countUnnamed((await ask("v1/inbox?limit=1")).held);
  }
  return answered;
}
