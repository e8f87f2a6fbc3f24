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
