// The camera: opened, said why not, one photo at a time.

import { at, element } from "./parts.js";

let stream = null;

export async function openCamera() {
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

export function closeCamera() {
  if (!stream) return;
  stream.getTracks().forEach((track) => track.stop());
  stream = null;
  at("video").srcObject = null;
  at("shooting").hidden = true;
}

/** A photo of what the camera sees, as a file; null when it sees nothing yet. */
export function shot() {
  const video = at("video");
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => {
    canvas.toBlob((blob) => resolve(blob && new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
  });
}
