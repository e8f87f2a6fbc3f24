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

function show() {
  const open = Boolean(props.value);
  const source = open ? props.value.source : props.first;
  edited.hidden = !source;
  pin.disabled = !open;
  if (source) edited.src = source;
  if (!open) return;
  const { milliseconds, at } = props.value;
  const trip = at == null ? "" : ` · round trip ${Math.round(performance.now() - at)} ms`;
  element.querySelector(".times").textContent = `drawn in ${Math.round(milliseconds)} ms${trip}`;
}
watch("value", show);
show();

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
  const zooms = zoom.getAttribute("aria-pressed") === "true" && Boolean(props.value);
  figure.classList.toggle("zoomed", zooms);
  if (!zooms) return;
  const [left, top, right, bottom] = props.value.box;
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
watch("value", frame);

pin.addEventListener("click", () => {
  const { source, moved, detail } = props.value;
  document.dispatchEvent(new CustomEvent("fader:pin", { detail: { source, moved, detail } }));
});
