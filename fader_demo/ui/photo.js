const file_input = element.querySelector("input[type=file]");
const dialog = element.querySelector("dialog");
const video = element.querySelector("video");

async function send(files) {
  const fitting = [...files].filter((file) => file.size <= props.max_megabytes * 2 ** 20);
  if (fitting.length < files.length)
    trigger("warning", `A file is larger than ${props.max_megabytes} MB. Choose a smaller one.`);
  if (fitting.length === 0) return;
  element.classList.add("busy");
  try {
    const sent = [];
    for (const file of fitting) {
      const { path, url } = await upload(file);
      sent.push({ path, url, orig_name: file.name, meta: { _type: "gradio.FileData" } });
    }
    props.value = sent;
    trigger("upload");
  } catch (error) {
    console.warn(error); // `upload` itself has told the visitor
  } finally {
    element.classList.remove("busy");
  }
}

file_input.addEventListener("change", () => {
  send(file_input.files);
  file_input.value = ""; // so that choosing the same file again is a change
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
