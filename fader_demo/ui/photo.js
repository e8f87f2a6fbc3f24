const file_input = element.querySelector("input[type=file]");
const dialog = element.querySelector("dialog");
const video = element.querySelector("video");
const opened = []; // every file, to be opened again if the server no longer holds the photo

async function uploaded(photo) {
  if (photo.upload === undefined) return photo;
  const file = opened[photo.upload];
  const body = new FormData();
  body.append("files", file);
  // Not Gradio's own upload, which shows the answer as it came over the line.
  const answer = await fetch("gradio_api/upload", { method: "POST", body }).catch(() => null);
  if (!answer?.ok) throw new Error(await reason(answer));
  const [path] = await answer.json();
  return { ...photo, file: { path, orig_name: file.name, meta: { _type: "gradio.FileData" } } };
}

async function reason(answer) {
  const said = await answer?.json().catch(() => null);
  return said?.detail ?? "The photo did not arrive. Try again.";
}

// Photos are {upload: number of the file} or {example: number}, and may say which face is chosen.
async function open(photos, chosen = 0) {
  element.classList.add("busy");
  try {
    const arrived = [];
    for (const photo of photos) arrived.push(await uploaded(photo));
    props.value = { photos: arrived, chosen };
    trigger("upload");
    return true;
  } catch (error) {
    trigger("warning", error.message);
    return false;
  } finally {
    element.classList.remove("busy");
  }
}

async function send(files) {
  const fitting = [...files].filter((file) => file.size <= props.max_megabytes * 2 ** 20);
  if (fitting.length < files.length)
    trigger("warning", `A file is larger than ${props.max_megabytes} MB. Choose a smaller one.`);
  if (fitting.length === 0) return;
  await open(fitting.map((file) => ({ upload: opened.push(file) - 1 })));
}

file_input.addEventListener("change", () => {
  send(file_input.files);
  file_input.value = ""; // so that choosing the same file again is a change
});

// What the server no longer holds is opened again, though not at every move that it cannot draw.

const PATIENCE_MS = 30000;
const say = (text) => document.dispatchEvent(new CustomEvent("fader:status", { detail: text }));
let patience = null; // a timer, while the photo is waited for
let reopened; // the face that was shown when it was last opened again

document.addEventListener("fader:gone", async (event) => {
  const { face, photos, chosen, message } = event.detail;
  if (patience && face === reopened) return;
  reopened = face;
  say("Opening the photo again …");
  clearTimeout(patience);
  patience = setTimeout(() => {
    patience = null;
    say(message);
  }, PATIENCE_MS);
  if (!(await open(photos, chosen))) say(message);
});

document.addEventListener("fader:drawn", () => {
  clearTimeout(patience);
  patience = null;
});

// Drop: the whole page is the target.

let depth = 0; // dragenter and dragleave come for every element on the way
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

function dragging(by) {
  depth = Math.max(0, depth + by);
  document.body.classList.toggle("dropping", depth > 0);
}
document.addEventListener("dragenter", (event) => carriesFiles(event) && dragging(1));
document.addEventListener("dragleave", (event) => carriesFiles(event) && dragging(-1));
document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  dragging(-depth);
  send(event.dataTransfer.files);
});

// Clipboard: the keys and the button.

document.addEventListener("paste", (event) => send(event.clipboardData.files));

async function pasted() {
  for (const item of await navigator.clipboard.read()) {
    const type = item.types.find((type) => type.startsWith("image/"));
    if (type) return new File([await item.getType(type)], "pasted", { type });
  }
  return null;
}

element.querySelector(".paste").addEventListener("click", async () => {
  try {
    const file = await pasted();
    if (file) await send([file]);
    else trigger("warning", "There is no picture in the clipboard. Copy one first.");
  } catch {
    trigger("warning", "The browser does not let this page read the clipboard. Press Ctrl+V.");
  }
});

// Camera

function close() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}
dialog.addEventListener("close", close);

element.querySelector(".camera").addEventListener("click", async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } },
    });
    dialog.showModal();
  } catch {
    trigger("warning", "There is no camera, or the browser does not let this page use it.");
  }
});

element.querySelector(".cancel").addEventListener("click", () => dialog.close());

element.querySelector(".shoot").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  dialog.close();
  canvas.toBlob((blob) => send([new File([blob], "camera.jpg", { type: blob.type })]), "image/jpeg", 0.95);
});
