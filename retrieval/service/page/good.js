// How good the answers are: shares by week, worst confusions, calibrating on what people confirmed, a dataset.

import { at, button, element, note, picture, plural, said, tell } from "./parts.js";
import { Refused, ask, fetched, status } from "./service.js";

const WEEKS = 12;
const [WIDEST, HIGH, LEFT, LOW] = [720, 260, 44, 34]; // of the drawing; margins at its left and its foot

const percent = (share) => (share === null ? "none" : `${Math.round(100 * share)} %`);

function drawn(tag, properties, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const day = (week) => new Date(`${week.begins}T00:00:00Z`).toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

/** Both shares by week, each with its interval. What the drawing shows stands in the table below it, too. */
function chart(weeks) {
  // As wide as the screen, so that its text is as large as text.
  const wide = Math.min(WIDEST, at("good").clientWidth || WIDEST);
  const x = (place) => LEFT + ((wide - LEFT - 12) * (place + 0.5)) / weeks.length;
  const y = (share) => 10 + (HIGH - LOW - 10) * (1 - share);
  const parts = [0, 0.25, 0.5, 0.75, 1].map((share) => drawn("g", {},
    drawn("line", { x1: LEFT, x2: wide, y1: y(share), y2: y(share), class: "grid" }),
    drawn("text", { x: LEFT - 8, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`)));
  const every = Math.ceil(weeks.length / (wide / 110));
  weeks.forEach((week, place) => {
    if (place % every === (weeks.length - 1) % every) parts.push(drawn("text", { x: x(place), y: HIGH - 8, "text-anchor": "middle" }, day(week)));
  });
  for (const [series, shift] of [["unknown", 4], ["right", -4]]) {
    const there = weeks.map((week, place) => ({ ...week[series], x: x(place) + shift, week })).filter((point) => point.share !== null);
    const group = drawn("g", { class: series });
    group.append(drawn("polyline", { points: there.map((point) => `${point.x},${y(point.share)}`).join(" "), class: "run" }));
    for (const point of there) {
      if (point.interval) group.append(drawn("line", { x1: point.x, x2: point.x, y1: y(point.interval[0]), y2: y(point.interval[1]), class: "interval" }));
      // Two shapes, so that color is not all that tells them apart.
      const mark = series === "right" ? drawn("circle", { cx: point.x, cy: y(point.share), r: 4.5 })
        : drawn("rect", { x: point.x - 4, y: y(point.share) - 4, width: 8, height: 8 });
      mark.append(drawn("title", {}, `${day(point.week)}: ${percent(point.share)} ${series}, ${point.part} of ${point.whole}`));
      group.append(mark);
    }
    parts.push(group);
  }
  return drawn("svg", { viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": "Right and unknown shares by week; the table below has the numbers", class: "chart" }, ...parts);
}

const within = (share) => (share.interval ? ` (${percent(share.interval[0])} to ${percent(share.interval[1])})` : "");

function table(head, rows, caption) {
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, element("table", {},
    element("caption", { className: "unseen", textContent: caption }),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { textContent: text, scope: "col" })))),
    element("tbody", {}, ...rows.map(([first, ...rest]) => element("tr", {}, element("th", { textContent: first, scope: "row", dir: "auto" }),
      ...rest.map((text) => element("td", { textContent: text })))))));
}

function figure(share, word, whole) {
  return element("div", { className: `figure ${word}` }, element("strong", { textContent: share.share === null ? "–" : percent(share.share) }),
    element("span", { textContent: `${word}${within(share)}` }), element("span", { className: "more", textContent: `${share.part.toLocaleString()} of ${share.whole.toLocaleString()} ${whole}` }));
}

const product = (one) => (one ? element("a", { href: `#catalog/${encodeURIComponent(one.product_id)}`, className: "guess" }, picture(one.link, "", 96), said(one.name || one.product_id, "name"))
  : element("span", { className: "guess" }, said("none of yours", "name")));

function confusion(entry) {
  const photos = entry.photos.map((photo) => picture(photo.link, "", 192));
  return element("li", {}, element("div", { className: "strip" }, ...photos), element("div", { className: "swap" },
    element("span", {}, "taken for ", product(entry.said)), element("span", {}, "shows ", product(entry.shows))),
    element("span", { className: "more", textContent: plural(entry.count, "photo") }));
}

/** What has left its usual range, and since when: the chance of a false alarm is bounded. */
function drifts(found = []) {
  const words = { unknown: ["The share of unknown photos", percent], distance: ["The distance of answers", (value) => value.toFixed(3)] };
  return found.filter((one) => one.drifted).map((one) => {
    const [what, told] = words[one.of] || [one.of, String];
    const since = new Date(one.since).toLocaleDateString(undefined, { dateStyle: "medium" });
    return `${what} has left its usual range on ${since}: ${told(one.before)} before, ${told(one.after)} since. Something changed: the camera, the light, or what people ask about.`;
  });
}

let turn = 0;

export async function showGood() {
  const mine = ++turn;
  const box = at("good-body");
  let found;
  try {
    found = await ask(`v1/inbox/quality?weeks=${WEEKS}`);
  } catch (error) {
    if (mine === turn) box.replaceChildren(element("p", { textContent: error instanceof Refused ? error.message : String(error) }));
    return;
  }
  if (mine !== turn) return;
  const first = found.weeks.findIndex((week) => week.unknown.whole);
  if (first < 0) {
    box.replaceChildren(element("h2", { textContent: "How good are the answers?" }), note("Nothing was asked in the last weeks. Each photo that somebody names in the inbox says whether its answer was right."));
    return;
  }
  const weeks = found.weeks.slice(first);
  box.replaceChildren(
    element("h2", { textContent: "How good are the answers?" }),
    ...drifts(found.drift).map((text) => element("p", { className: "alarm", role: "alert", textContent: text })),
    element("div", { className: "figures" }, figure(found.all.right, "right", "named photos"), figure(found.all.unknown, "unknown", "photos")),
    note("Right: the first answer was what people said later. Unknown photos are named first, so this is rather too low. In brackets: 95 % intervals over products."),
    chart(weeks),
    element("p", { className: "legend" }, element("span", { className: "right", textContent: "● right" }), " ", element("span", { className: "unknown", textContent: "■ unknown" })),
    element("details", {}, element("summary", { textContent: "The numbers" }),
      table(["Week of", "Right", "Named", "Unknown", "Photos"], weeks.map((week) => [day(week), `${percent(week.right.share)}${within(week.right)}`, week.right.whole.toLocaleString(), `${percent(week.unknown.share)}${within(week.unknown)}`, week.unknown.whole.toLocaleString()]), "Right and unknown shares by week")),
    element("h3", { textContent: "Worst confusions" }),
    found.confusions.length ? element("ul", { className: "confusions" }, ...found.confusions.map(confusion)) : note("No named photo was taken for another product."),
    ...(status.mayChange ? [calibrating(), dataset()] : []),
  );
}

const GROUPS = { known: "Yours", look_alikes: "Much like yours, not yours", others: "Others, not yours" };
const VERDICTS = {
  match_right: "named right", match_wrong: "named wrong", ambiguous_right: "several shown, the right one among them",
  ambiguous_wrong: "several shown, the right one not among them", unknown: "unknown",
};
// Of what is not ours no product is the right one, and unknown is.
const NOT_OURS = { ...VERDICTS, match_wrong: "named, as if it were yours", ambiguous_wrong: "several shown, as if it were yours", unknown: "unknown, as it is" };

/** What verdicts did to the same photos before and would do after, by kind of photo. */
function compared(before, after) {
  const rows = [];
  for (const group of after.groups) {
    const was = before && before.groups.find((one) => one.group === group.group);
    for (const [key, word] of Object.entries(group.group === "known" ? VERDICTS : NOT_OURS)) {
      if (!group[key] && !(was && was[key])) continue;
      rows.push([`${GROUPS[group.group] || group.group}: ${word}`, was ? String(was[key] || 0) : "–", String(group[key] || 0)]);
    }
  }
  return table(["Of the confirmed photos", "Before", "After"], rows, "What calibrating changes");
}

async function calibrated(dry) {
  let job = await ask(`v1/calibrate?dry=${dry}`, { method: "POST" });
  while (job.state === "running") {
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    job = await ask(`v1/calibrate/${encodeURIComponent(job.job)}`);
  }
  if (job.state !== "done") throw new Refused(job.message);
  return job.result;
}

function calibrating() {
  const result = element("div", { role: "status" });
  const look = button("See what calibrating changes", async () => {
    look.disabled = true;
    result.replaceChildren(note("Asking about the confirmed photos again…"));
    try {
      const found = await calibrated(true);
      const photos = found.known + found.unknown;
      const act = button(`Calibrate with ${plural(photos, "confirmed photo")}`, async () => {
        act.disabled = true;
        try {
          await calibrated(false);
          result.append(note("Done: answers go by it from now on."));
          tell("Calibrated.");
        } catch (error) {
          act.disabled = false;
          tell(error.message);
        }
      }, { className: "primary" });
      result.replaceChildren(compared(found.before, found.after), act);
    } catch (error) {
      result.replaceChildren(element("p", { textContent: error.message }));
    }
    look.disabled = false;
  });
  return element("section", { "aria-label": "Calibrate" }, element("h3", { textContent: "How sure is sure?" }),
    note("The photos that people named and that are never taught tell how often “80 % sure” is right. Calibrating fits the probabilities to them."), look, result);
}

function dataset() {
  const save = button("Download as a dataset", async () => {
    save.disabled = true;
    try {
      const url = URL.createObjectURL(await fetched("v1/inbox/export"));
      element("a", { href: url, download: "inbox.zip" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      tell(error.message);
    }
    save.disabled = false;
  });
  return element("section", { "aria-label": "Dataset" }, element("h3", { textContent: "Train on them" }),
    note("All named photos as folders of train, val and test; test is what is never taught. Unpacked, itemrec train takes them."), save);
}

