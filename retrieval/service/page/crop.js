// A part of a photo: chosen by dragging with a mouse, a finger or a pen, or with the arrow keys.

import { at, element } from "./parts.js";

const LEAST = 0.06; // of the photo's side
const STEP = 0.02;

/** The part of a photo that somebody chooses, as a file; null when the dialog is closed without one. */
export async function cropped(photo) {
  const dialog = at("crop");
  const stage = at("crop-stage");
  const box = at("crop-box");
  const image = at("crop-image");
  const url = URL.createObjectURL(photo);
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
  let part = { x: 0.15, y: 0.15, w: 0.7, h: 0.7 };
  const hold = (value, least, most) => Math.min(Math.max(value, least), most);
  const show = () => {
    box.style.left = `${100 * part.x}%`;
    box.style.top = `${100 * part.y}%`;
    box.style.width = `${100 * part.w}%`;
    box.style.height = `${100 * part.h}%`;
    box.setAttribute("aria-valuetext", `${Math.round(100 * part.w)} by ${Math.round(100 * part.h)} percent, ${Math.round(100 * part.x)} from the left, ${Math.round(100 * part.y)} from the top`);
    box.setAttribute("aria-valuenow", Math.round(100 * part.w));
  };
  const place = (event) => {
    const edge = stage.getBoundingClientRect();
    return { x: hold((event.clientX - edge.left) / edge.width, 0, 1), y: hold((event.clientY - edge.top) / edge.height, 0, 1) };
  };
  let drag = null;
  const down = (event) => {
    if (event.button > 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    const start = place(event);
    const corner = event.target.dataset.corner;
    if (corner) {
      // The corner across stays where it is.
      drag = { anchor: { x: corner.includes("w") ? part.x + part.w : part.x, y: corner.includes("n") ? part.y + part.h : part.y } };
    } else if (event.target === box) drag = { from: start, part: { ...part } };
    else drag = { anchor: start };
  };
  const move = (event) => {
    if (!drag) return;
    const now = place(event);
    if (drag.anchor) {
      const w = hold(Math.abs(now.x - drag.anchor.x), LEAST, 1);
      const h = hold(Math.abs(now.y - drag.anchor.y), LEAST, 1);
      part = { x: hold(now.x < drag.anchor.x ? drag.anchor.x - w : drag.anchor.x, 0, 1 - w), y: hold(now.y < drag.anchor.y ? drag.anchor.y - h : drag.anchor.y, 0, 1 - h), w, h };
    } else {
      part = { ...part, x: hold(drag.part.x + now.x - drag.from.x, 0, 1 - part.w), y: hold(drag.part.y + now.y - drag.from.y, 0, 1 - part.h) };
    }
    show();
  };
  const up = () => { drag = null; };
  const key = (event) => {
    const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    if (event.shiftKey) part = { ...part, w: hold(part.w + step[0], LEAST, 1 - part.x), h: hold(part.h + step[1], LEAST, 1 - part.y) };
    else part = { ...part, x: hold(part.x + step[0], 0, 1 - part.w), y: hold(part.y + step[1], 0, 1 - part.h) };
    show();
  };
  const ears = [["pointerdown", down], ["pointermove", move], ["pointerup", up], ["pointercancel", up]];
  for (const [name, ear] of ears) stage.addEventListener(name, ear);
  box.addEventListener("keydown", key);
  show();
  dialog.returnValue = "";
  dialog.showModal();
  box.focus();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  for (const [name, ear] of ears) stage.removeEventListener(name, ear);
  box.removeEventListener("keydown", key);
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  let file = null;
  if (dialog.returnValue === "ok") {
    const canvas = element("canvas", { width: Math.max(1, Math.round(part.w * width)), height: Math.max(1, Math.round(part.h * height)) });
    canvas.getContext("2d").drawImage(image, part.x * width, part.y * height, part.w * width, part.h * height, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.95); });
    file = blob && new File([blob], photo.name || "photo.jpg", { type: "image/jpeg" });
  }
  image.removeAttribute("src");
  URL.revokeObjectURL(url);
  return file;
}
