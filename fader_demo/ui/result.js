const figure = element.querySelector("figure");
const edited = element.querySelector(".edited");
const before = element.querySelector(".before");
const wipe = element.querySelector(".wipe");
const caption = element.querySelector("figcaption");
const wiping = element.querySelector(".wiping");
const pin = element.querySelector(".pin");
const original = () => document.querySelector("#original img")?.getAttribute("src");

edited.addEventListener("load", () => {
  figure.style.setProperty("--ratio", edited.naturalWidth / edited.naturalHeight);
});

let drawn; // the picture that the server drew last, and of what edit it is

function show(source) {
  edited.hidden = !source;
  if (source) edited.src = source;
}
show(props.first);

document.addEventListener("fader:drawn", (event) => {
  drawn = event.detail;
  show(drawn.source);
  frame();
  pin.disabled = false;
  const [server, trip] = [drawn.milliseconds, performance.now() - drawn.at].map(Math.round);
  element.querySelector(".times").textContent = `drawn in ${server} ms · round trip ${trip} ms`;
});

document.addEventListener("fader:status", (event) => {
  element.querySelector(".status").textContent = event.detail;
});

// The original, in place of the edit while something is held, or at the left of a line.

let holding = false;

function compare() {
  const wipes = wiping.getAttribute("aria-pressed") === "true";
  const shown = Boolean(original()) && (holding || wipes);
  before.hidden = !shown;
  wipe.hidden = !wipes || holding;
  if (shown && before.getAttribute("src") !== original()) before.src = original();
  const part = holding ? 100 : Number(wipe.value);
  figure.style.setProperty("--wiped", `${part}%`);
  caption.textContent = holding ? "Original" : wipes ? "Original | Edited" : "Edited";
}

function hold(held) {
  if (holding === held) return;
  holding = held;
  compare();
}

figure.addEventListener("pointerdown", (event) => {
  if (event.target === wipe || event.button !== 0) return;
  event.preventDefault();
  hold(true);
});
const button = element.querySelector(".hold");
button.addEventListener("pointerdown", () => hold(true));
for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, () => hold(false));
button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && hold(true));
button.addEventListener("keyup", () => hold(false));
figure.addEventListener("contextmenu", (event) => holding && event.preventDefault());

const typesText = (target) => target.matches?.("input:not([type=range]), textarea, select");
document.addEventListener("keydown", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key.toLowerCase() === "o" && plain && !typesText(event.target)) hold(true);
});
document.addEventListener("keyup", (event) => event.key.toLowerCase() === "o" && hold(false));

wiping.addEventListener("click", () => {
  wiping.setAttribute("aria-pressed", wiping.getAttribute("aria-pressed") !== "true");
  compare();
});
wipe.addEventListener("input", compare);
edited.addEventListener("load", compare); // another photo has another original

// The face, as large as its frame.

const zoom = element.querySelector(".zoom");

function frame() {
  const zooms = zoom.getAttribute("aria-pressed") === "true" && Boolean(drawn);
  figure.classList.toggle("zoomed", zooms);
  if (!zooms) return;
  const [left, top, right, bottom] = drawn.box;
  const scale = 1 / Math.max(right - left, bottom - top);
  const from = (low, high) => Math.min(Math.max((low + high) / 2 - 0.5 / scale, 0), 1 - 1 / scale);
  figure.style.setProperty("--zoom", scale);
  figure.style.setProperty("--across", `${-100 * from(left, right)}%`);
  figure.style.setProperty("--down", `${-100 * from(top, bottom)}%`);
}
zoom.addEventListener("click", () => {
  zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
  frame();
});

pin.addEventListener("click", () => {
  const { source, moved, detail } = drawn;
  document.dispatchEvent(new CustomEvent("fader:pin", { detail: { source, moved, detail } }));
});

// The connection. An event whose request fails is for Gradio the end of the page, which it reloads,
// pins and all. Here it is the end of that one event, which says so.

const LOST = "Connection lost. Try that again in a moment.";
const FAREWELL = [{ msg: "unexpected_error", message: LOST, success: false }, { msg: "close_stream" }]
  .map((message) => `data: ${JSON.stringify(message)}\n\n`)
  .join("");
const request = window.fetch;
let gone = false; // whether the server has ever let go of the photo
let heart = null; // what beats for as long as the page is open, so that the server knows

document.addEventListener("fader:gone", () => (gone = true));

window.fetch = (resource, options) => {
  const url = new URL(resource.url ?? resource, location);
  const answer = request(resource, options);
  if (/\/(queue\/join|run\/\w+)$/.test(url.pathname))
    return answer.catch(() => Response.json({ error: LOST }, { status: 500 }));
  if (!url.pathname.endsWith("/queue/data")) return answer;
  if (gone) keepAlive(url);
  return Promise.resolve(new Response(inGoodOrder(answer)));
};

// The stream of an answer, which ends with a farewell even when it breaks off.
function inGoodOrder(answer) {
  const encoder = new TextEncoder();
  const chunks = answer.then(({ ok, body }) => ok && body.pipeThrough(new TextDecoderStream()).getReader());
  return new ReadableStream({
    async pull(controller) {
      const { value } = await chunks.then((reader) => reader.read()).catch(() => ({}));
      // An unknown session is one that was lost: to Gradio, another reason to reload.
      const text = value?.replace('"session_not_found":true', '"session_not_found":false');
      controller.enqueue(encoder.encode(text ?? FAREWELL));
      if (text === undefined) controller.close();
    },
    cancel: () => chunks.then((reader) => reader.cancel()).catch(() => {}),
  });
}

// Gradio opens this once and never again: the server would not notice that the visitor has left.
function keepAlive(url) {
  const path = url.pathname.replace("queue/data", `heartbeat/${url.searchParams.get("session_hash")}`);
  heart ??= request(path)
    .then(({ body }) => body.pipeTo(new WritableStream()))
    .catch(() => {})
    .finally(() => (heart = null));
}
