// The page: its views by the address after the hash.

import { closeCamera } from "./camera.js";
import { startAsking } from "./ask.js";
import { showCatalog, startCatalog } from "./catalog.js";
import { showGood } from "./good.js";
import { showInbox, startInbox } from "./inbox.js";
import { at } from "./parts.js";
import { held } from "./service.js";

const VIEWS = { ask: () => {}, inbox: showInbox, catalog: showCatalog, good: showGood };

function view() {
  const [asked, rest = ""] = location.hash.slice(1).split("/");
  const name = asked in VIEWS ? asked : "ask";
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  if (name !== "ask") closeCamera();
  let id = rest;
  try {
    id = decodeURIComponent(rest);
  } catch {
    // typed by hand
  }
  VIEWS[name](id);
}

async function start() {
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => { location.hash = button.dataset.view; });
  }
  startAsking();
  startInbox();
  startCatalog();
  // Dialogs close when their ground is clicked, as people expect.
  for (const dialog of document.querySelectorAll("dialog:not(#key)")) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(""); });
  }
  try {
    await held();
  } catch (error) {
    at("held").textContent = error.message;
  }
  addEventListener("hashchange", view);
  view();
}

start();

