// Measures a page from inside. `about` says where its slider and picture are, and what asks for one.

const PATIENCE_MS = 60_000;
const LAST = 0.37; // where a drag ends: a value that it does not pass otherwise

const now = () => performance.now();
const frame = () => new Promise(requestAnimationFrame);
const picture = () => document.querySelector(about.picture);
const control = () => document.querySelector(about.control);

let sent = []; // {at, body, ...the answer}: requests for a picture
let shown = []; // {at, decoded, source, order}: pictures on screen
let changes = 0; // of the picture's source
let source, chosen;

const fetched = window.fetch;
window.fetch = async (address, options) => {
  if (!String(address).includes(about.route)) return fetched(address, options);
  const request = { at: now(), body: options.body };
  sent.push(request);
  const response = await fetched(address, options);
  response.clone().json().then((answer) => Object.assign(request, answer));
  return response;
};

new MutationObserver(async () => {
  const image = picture();
  if (!image || image.src === source) return;
  const drawn = { source: (source = image.src), order: changes++ };
  await image.decode().catch(() => {}); // replaced by a newer one meanwhile
  if (image.src !== drawn.source) return;
  drawn.decoded = now();
  await frame();
  setTimeout(() => shown.push({ ...drawn, at: now() }));
}).observe(document, { subtree: true, childList: true, attributeFilter: ["src"] });

const original = () => document.querySelector("#original img")?.src;
const note = (event) => event.target.type === "file" && (chosen = { at: now(), original: original() });
document.addEventListener("change", note, true);

async function until(condition) {
  const began = now();
  while (!condition()) {
    if (now() - began > PATIENCE_MS) throw new Error(`waited in vain: ${condition}`);
    await frame();
  }
  return now();
}

// The answer itself says which picture it holds; where it does not, pictures come in the order of
// the requests, but that the same one once more is no new picture.
const anew = (request, index) => request.body !== sent[index - 1]?.body;
const asked = ({ source, order, at }) =>
  sent.findLast((request) => request.source === source && request.at < at) ?? sent.filter(anew)[order];

async function atRest() {
  let last;
  do {
    last = sent.length + changes;
    await new Promise((resolve) => setTimeout(resolve, 500));
  } while (last !== sent.length + changes);
  [sent, shown, changes] = [[], [], 0];
  performance.clearResourceTimings();
}

function set(value) {
  const slider = control();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

// When the picture was on screen, and when the slider could be moved.
async function ready() {
  const visible = await until(() => picture()?.naturalWidth);
  return { visible, live: await until(() => control() && !control().disabled) };
}

// Once the photo that was chosen can be edited: when it was chosen.
async function opened() {
  await until(() => chosen && original() !== chosen.original && !control().disabled);
  return chosen.at;
}

// One move, and where its time goes.
async function move(value) {
  const at = now();
  set(value);
  const answers = (each) => asked(each)?.at >= at;
  await until(() => shown.some(answers));
  const { decoded, at: painted, ...rest } = shown.find(answers);
  const request = asked({ ...rest, at: painted });
  const entries = performance.getEntriesByType("resource");
  const { responseStart, responseEnd } = entries.findLast((each) => each.name.includes(about.route));
  const times = { at, sent: request.at, responseStart, responseEnd, decoded, painted };
  return { ...times, drawing: request.milliseconds };
}

// A slider dragged there and back at every frame. Times of the moves, and of each picture that came
// on screen: when, and when it was asked for.
async function drag(seconds) {
  await atRest();
  const [moves, began] = [[], now()];
  while (now() - began < 1000 * seconds) {
    await frame();
    const part = (now() - began) / 1000;
    moves.push(now());
    set(Math.abs((part % 2) - 1).toFixed(2));
  }
  await frame();
  moves.push(now());
  set(LAST);
  const last = () => shown.length && asked(shown.at(-1));
  await until(() => last()?.at >= moves.at(-1) && last().body.includes(LAST));
  return { moves, pictures: shown.map((each) => ({ at: each.at, asked: asked(each).at })) };
}

Object.assign(window, { ready, atRest, opened, move, drag });
