// `value` holds the numbers; the controls only show them, rounded to their step. So a slider
// that nobody touched keeps its exact start, which the editor takes for "no edit". props.value, which
// the server's events are told, follows when the hand rests: Gradio takes longer to take note of
// it than a picture at 60 a second may take.
//
// An edit, between panels and in the address, is {moved: {name: number}, detail: number}: what
// differs from where the face started, so that it means something for any face. A panel that has
// one dispatches "fader:set" on the document; "fader:moved" is dispatched whenever sliders rest, and
// in answer to "fader:hello" from a panel that has just come to life. Each picture that the server
// has drawn is handed over by "fader:drawn". "fader:status" tells the visitor something, "fader:gone"
// that the server no longer holds the photo.

const KEY_STEPS = 5; // an arrow key moves this many of the finest steps
const DETAIL = props.usual_detail; // where the detail stands on its own
const DETAIL_KEY = "@detail"; // in the address, where no attribute's name begins like this
const HISTORY = 200;
const DEMONSTRATION_MS = 3000;
const REST_MS = 150; // a hand that has not moved for so long rests
const RETRY_MS = [500, 4000]; // the first pause when something is tried again, and the longest
const OVERDUE = 4; // tries until a face that should be on its way here is taken for lost

let { value } = props; // of the face that is shown, where the sliders are at this moment
const section = () => element.querySelector("section");
const rows = () => [...element.querySelectorAll(".fader")];
const controlOf = (row) => row.querySelector(".control");
const nameOf = (row) => row.dataset.name; // undefined: the detail
const rowOf = (event) => event.target.closest(".fader");

const startOf = (row) => (nameOf(row) === undefined ? DETAIL : value.start[nameOf(row)]);
const nowOf = (row) => (nameOf(row) === undefined ? detailNow() : value.now[nameOf(row)]);
const detailNow = () => value.detail ?? DETAIL;

function rounded(row, number) {
  const step = Number(controlOf(row).step) || 1;
  return Number((Math.round(number / step) * step).toFixed(6));
}

// Showing

function paint(row) {
  const control = controlOf(row);
  // A row of another model's panel waits for that model's values.
  const open = Boolean(value) && startOf(row) !== undefined;
  for (const part of row.querySelectorAll("input, select, button")) part.disabled = !open;
  if (!open) return;
  const [start, now] = [startOf(row), nowOf(row)];
  control.value = now;
  row.classList.toggle("moved", now !== start);
  row.querySelector(".reset").disabled = now === start;
  const note = row.querySelector(".start");
  if (control.tagName === "SELECT") {
    note.textContent = `started at ${control.options[start].text}`;
    return;
  }
  const unit = row.dataset.unit && ` ${row.dataset.unit}`;
  if (nameOf(row) !== undefined) note.textContent = `started at ${rounded(row, start)}${unit}`;
  row.querySelector(".number").value = rounded(row, now);
  control.setAttribute("aria-valuetext", `${rounded(row, now)}${unit}`);
  const part = (number) => (number - control.min) / (control.max - control.min);
  const places = { start, from: Math.min(start, now), to: Math.max(start, now) };
  if (row.dataset.low !== undefined) Object.assign(places, { low: row.dataset.low, high: row.dataset.high });
  for (const [name, number] of Object.entries(places)) row.style.setProperty(`--${name}`, part(number));
}

function paintAll(changed = rows()) {
  const open = Boolean(value);
  changed.forEach(paint);
  const untouched = !rows().some((row) => row.classList.contains("moved"));
  element.querySelector(".reset-all").disabled = !open || untouched;
  element.querySelector(".undo").disabled = !open || past.length === 0;
  element.querySelector(".redo").disabled = !open || future.length === 0;
  for (const idea of element.querySelectorAll(".surprise, .presets")) idea.disabled = !open;
}

// The edit, and its history

let past = [];
let future = [];
let rested; // the edit when the sliders last came to rest

function current() {
  const { start, now } = value;
  const names = Object.keys(now).filter((name) => now[name] !== start[name]);
  return { moved: Object.fromEntries(names.map((name) => [name, now[name]])), detail: detailNow() };
}

const same = (one, other) => {
  const names = Object.keys({ ...one.moved, ...other.moved });
  return one.detail === other.detail && names.every((name) => one.moved[name] === other.moved[name]);
};

// What is lost stays as it is, lest it takes the place of what comes instead.
const commit = () => lost || (props.value = value);

// changed: the rows that it changes.
function assign(change, changed = rows()) {
  value = { ...value, ...change };
  standing = current();
  paintAll(changed);
  draw();
}

// Drawing: one call to the server at a time, so that no picture overtakes another. The newest move
// waits for its turn, so that the last one is always drawn.

let standing = { moved: {}, detail: DETAIL }; // the edit where the sliders are
let movedAt = null; // when the move that waits to be drawn was made
let drawing = false;
let resting; // the timer until what is below the editor is drawn: it would slow a drag down
let lost = false; // whether the server no longer holds the photo

const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`fader:${name}`, { detail }));
const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

async function draw() {
  movedAt = performance.now();
  if (drawing) return;
  drawing = true;
  let [retry, longest] = RETRY_MS;
  let elsewhere = 0; // answers in a row by which another face should be shown here
  while (movedAt !== null && value) {
    const at = movedAt;
    movedAt = null;
    const { visit, face, now } = value;
    const answer = await server.draw({ visit, face, now, detail: detailNow() });
    elsewhere = answer?.problem === "elsewhere" && face === value.face ? elsewhere + 1 : 0;
    // Two that were opened at once may have come here in another order than they were opened in.
    if (elsewhere >= OVERDUE) answer.problem = "gone";
    const waits = !answer || answer.problem === "busy" || (elsewhere && elsewhere < OVERDUE);
    if (!waits) {
      show(answer, face, at);
      [retry] = RETRY_MS;
      continue;
    }
    movedAt ??= at;
    if (!elsewhere) tell("status", answer ? answer.message : "Connection lost. Trying again …");
    await pause(answer?.retry_seconds ? 1000 * answer.retry_seconds : retry);
    retry = Math.min(2 * retry, longest);
  }
  drawing = false;
}

function show(answer, face, at) {
  if (face !== value.face || answer.problem === "superseded") return; // by another face, or move
  if (answer.problem === "gone") {
    const { photos, chosen } = value;
    lost = true;
    tell("gone", { face, photos, chosen, message: answer.message });
  } else if (answer.problem) {
    tell("status", answer.message);
  } else {
    tell("status", "");
    tell("drawn", { ...answer, at });
    clearTimeout(resting);
    resting = setTimeout(() => {
      commit();
      trigger("apply");
    }, REST_MS);
  }
}
document.addEventListener("visibilitychange", () => document.hidden || draw()); // is it still held?

// Numbers of another model's sliders, or of a stranger's link: what does not fit is left out.
function fitting(moved) {
  const fits = rows().flatMap((row) => {
    const [name, control] = [nameOf(row), controlOf(row)];
    const choice = [...(control.options ?? [])].findIndex((option) => option.text === moved[name]);
    const number = choice >= 0 ? choice : moved[name];
    if (name === undefined || typeof number !== "number" || !Number.isFinite(number)) return [];
    if (control.options) return control.options[number] ? [[name, number]] : [];
    return [[name, Math.min(Math.max(number, control.min), control.max)]];
  });
  return Object.fromEntries(fits);
}

function take(edit) {
  const detail = Number.isFinite(edit.detail) ? Math.min(Math.max(edit.detail, 0), 1) : DETAIL;
  assign({ now: { ...value.start, ...fitting(edit.moved ?? {}) }, detail });
}

function rest() {
  if (!value) return;
  const edit = current();
  if (rested && !same(rested, edit)) {
    past = [...past, rested].slice(-HISTORY);
    future = [];
  }
  settle(edit);
}

function settle(edit) {
  commit();
  rested = edit;
  paintAll();
  showInAddress(edit);
  announce();
}

function announce() {
  if (!rested) return;
  const { model } = section().dataset;
  document.dispatchEvent(new CustomEvent("fader:moved", { detail: { ...rested, model } }));
}
document.addEventListener("fader:hello", announce);

function travel(from, to) {
  if (!value || from.length === 0) return;
  to.push(rested);
  take(from.pop());
  settle(current());
}
const undo = () => travel(past, future);
const redo = () => travel(future, past);

document.addEventListener("fader:set", (event) => {
  if (!value) return;
  take(event.detail);
  rest();
});

// The address: a link opens the same edit on whatever photo is opened there.

let linked = inAddress(); // until a hand moves something

function inAddress() {
  const pairs = [...new URLSearchParams(location.hash.slice(1))];
  const numbers = pairs.map(([name, text]) => [name, text === "" ? NaN : Number(text)]);
  const { [DETAIL_KEY]: detail, ...moved } = Object.fromEntries(numbers);
  return pairs.length ? { moved, detail } : null;
}

function showInAddress(edit) {
  const parts = { ...edit.moved, ...(edit.detail === DETAIL ? {} : { [DETAIL_KEY]: edit.detail }) };
  const numbers = Object.entries(parts).map(([name, number]) => [name, Number(number.toFixed(4))]);
  const hash = new URLSearchParams(numbers).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

window.addEventListener("hashchange", () => {
  if (!value) return;
  take(inAddress() ?? { moved: {} });
  rest();
});

// Hands and keys

function move(row, number) {
  if (!value || !Number.isFinite(number)) return;
  linked = null;
  const control = controlOf(row);
  const start = startOf(row);
  if (control.type === "range") {
    number = rounded(row, Math.min(Math.max(number, control.min), control.max));
    if (number === rounded(row, start)) number = start; // moved back by hand: exactly back
  }
  if (nameOf(row) === undefined) assign({ detail: number }, [row]);
  else assign({ now: { ...value.now, [nameOf(row)]: number } }, [row]);
}

function reset(chosen) {
  linked = null;
  const named = chosen.filter((row) => nameOf(row) !== undefined);
  const starts = named.map((row) => [nameOf(row), startOf(row)]);
  const detail = named.length < chosen.length ? DETAIL : detailNow();
  assign({ now: { ...value.now, ...Object.fromEntries(starts) }, detail });
  rest();
}

// Some sliders, each moved well away from its start, but not beyond what is believable.
function surprise() {
  const sliders = rows().filter((row) => nameOf(row) !== undefined && controlOf(row).type === "range");
  const chosen = sliders.sort(() => Math.random() - 0.5).slice(0, Math.min(3, sliders.length));
  const moved = chosen.map((row) => {
    const [low, high, start] = [Number(row.dataset.low), Number(row.dataset.high), startOf(row)];
    const end = high - start > start - low ? high : low; // the farther one
    return [nameOf(row), rounded(row, start + (end - start) * (0.5 + Math.random() / 2))];
  });
  linked = null;
  take({ moved: Object.fromEntries(moved), detail: detailNow() });
  rest();
}

function search(words) {
  for (const row of rows()) {
    const label = row.querySelector("label").textContent.toLowerCase();
    row.hidden = !label.includes(words.trim().toLowerCase());
  }
  for (const group of element.querySelectorAll("fieldset"))
    group.hidden = [...group.querySelectorAll(".fader")].every((row) => row.hidden);
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".search")) search(event.target.value);
  // Half a number, while it is being typed, moves nothing.
  if (!event.target.matches(".control")) return;
  move(rowOf(event), Number(event.target.value));
});

element.addEventListener("change", (event) => {
  if (event.target.matches(".presets")) {
    const presets = JSON.parse(section().dataset.presets);
    const preset = presets[event.target.value];
    event.target.value = "";
    linked = null;
    if (preset) take({ moved: preset.values, detail: detailNow() });
  } else if (!rowOf(event)) {
    return;
  } else if (event.target.type === "number" && event.target.value !== "") {
    move(rowOf(event), Number(event.target.value));
  }
  rest();
});

element.addEventListener("keydown", (event) => {
  if (event.target.type !== "range") return;
  const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 }[event.key];
  if (!way) return;
  event.preventDefault();
  const row = rowOf(event);
  move(row, nowOf(row) + way * KEY_STEPS * Number(controlOf(row).step));
  rest();
});

const typesText = (target) => target.matches?.("input:not([type=range]), textarea, [contenteditable]");

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || typesText(event.target) || !"zy".includes(key)) return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) redo();
  else undo();
});

element.addEventListener("dblclick", (event) => {
  if (event.target.type === "range") reset([rowOf(event)]);
});

element.addEventListener("click", (event) => {
  if (event.target.closest(".reset")) reset([rowOf(event)]);
  if (event.target.closest(".reset-all")) reset(rows());
  if (event.target.closest(".undo")) undo();
  if (event.target.closest(".redo")) redo();
  if (event.target.closest(".surprise")) surprise();
});

// A new face: the detail stays as it is, and an edit that came by a link is made on it too. When it is
// one that was lost, nothing has changed for the visitor, who may be in the middle of a drag.
watch("value", () => {
  ({ value } = props);
  if (!value) return paintAll();
  if (lost) {
    lost = false;
    return take(standing);
  }
  if (linked) take(linked);
  else assign({ detail: standing.detail });
  settle(current());
  if (value.greeting && !linked) demonstrate();
});

// The first slider goes there and back by itself, once, to show what the page does. Whatever the
// visitor does ends it.
function demonstrate() {
  const row = rows().find((row) => controlOf(row).type === "range");
  if (!row || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const [low, high, start] = [Number(row.dataset.low), Number(row.dataset.high), startOf(row)];
  const end = high - start > start - low ? high : low;
  const [name, { face }, began] = [nameOf(row), value, performance.now()];
  const ends = ["pointerdown", "keydown", "input", "fader:set"];
  const timer = setInterval(() => {
    const part = (performance.now() - began) / DEMONSTRATION_MS;
    if (part >= 1 || value?.face !== face) return stop();
    const now = start + ((end - start) * (1 - Math.cos(2 * Math.PI * part))) / 2;
    assign({ now: { ...value.now, [name]: now } });
  }, 80);
  // At once, so that what the visitor does next is done to a face at its start. A control that has
  // just been moved says where to: it is not painted over.
  function stop(event) {
    clearInterval(timer);
    for (const end of ends) document.removeEventListener(end, stop, true);
    if (value?.face !== face) return;
    const told = event?.type === "input" && event.target === controlOf(row);
    assign({ now: { ...value.now, [name]: start } }, told ? [] : [row]);
  }
  for (const end of ends) document.addEventListener(end, stop, true);
}
watch("panel", () => paintAll());
paintAll();
