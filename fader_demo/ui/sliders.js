// props.value holds the numbers; the controls only show them, rounded to their step. So a slider
// that nobody touched keeps its exact start, which the editor takes for "no edit".

const KEY_STEPS = 5; // an arrow key moves this many of the finest steps

const rows = [...element.querySelectorAll(".fader")];
const controlOf = (row) => row.querySelector(".control");
const nameOf = (row) => row.dataset.name;

function rounded(row, number) {
  const step = Number(controlOf(row).step) || 1;
  return Number((Math.round(number / step) * step).toFixed(6));
}

function paint(row) {
  const control = controlOf(row);
  const open = Boolean(props.value);
  for (const part of row.querySelectorAll("input, select, button")) part.disabled = !open;
  if (!open) return;
  const start = props.value.start[nameOf(row)];
  const now = props.value.now[nameOf(row)];
  control.value = now;
  row.classList.toggle("moved", now !== start);
  row.querySelector(".reset").disabled = now === start;
  if (control.tagName === "SELECT") {
    row.querySelector(".start").textContent = `started at ${control.options[start].text}`;
    return;
  }
  const unit = row.dataset.unit && ` ${row.dataset.unit}`;
  row.querySelector(".start").textContent = `started at ${rounded(row, start)}${unit}`;
  row.querySelector(".number").value = rounded(row, now);
  const part = (number) => (number - control.min) / (control.max - control.min);
  row.style.setProperty("--start", part(start));
  row.style.setProperty("--from", part(Math.min(start, now)));
  row.style.setProperty("--to", part(Math.max(start, now)));
}

function paintAll() {
  rows.forEach(paint);
  const untouched = !rows.some((row) => row.classList.contains("moved"));
  element.querySelector(".reset-all").disabled = !props.value || untouched;
}

function move(row, number) {
  if (!props.value || !Number.isFinite(number)) return;
  const control = controlOf(row);
  const start = props.value.start[nameOf(row)];
  if (control.type === "range") {
    number = rounded(row, Math.min(Math.max(number, control.min), control.max));
    if (number === rounded(row, start)) number = start; // moved back by hand: exactly back
  }
  props.value = { ...props.value, now: { ...props.value.now, [nameOf(row)]: number } };
  paintAll();
}

function reset(chosen) {
  const starts = chosen.map((row) => [nameOf(row), props.value.start[nameOf(row)]]);
  props.value = { ...props.value, now: { ...props.value.now, ...Object.fromEntries(starts) } };
  paintAll();
  trigger("release");
}

const rowOf = (event) => event.target.closest(".fader");

element.addEventListener("input", (event) => {
  // Half a number, while it is being typed, moves nothing.
  if (event.target.type === "number") return;
  move(rowOf(event), Number(event.target.value));
});

element.addEventListener("change", (event) => {
  if (event.target.type === "number" && event.target.value !== "")
    move(rowOf(event), Number(event.target.value));
  paintAll();
  trigger("release");
});

element.addEventListener("keydown", (event) => {
  if (event.target.type !== "range") return;
  const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!way) return;
  event.preventDefault();
  const row = rowOf(event);
  const step = KEY_STEPS * Number(controlOf(row).step);
  move(row, props.value.now[nameOf(row)] + way * step);
  trigger("release");
});

element.addEventListener("dblclick", (event) => {
  if (event.target.type === "range") reset([rowOf(event)]);
});

element.addEventListener("click", (event) => {
  if (event.target.closest(".reset")) reset([rowOf(event)]);
  if (event.target.closest(".reset-all")) reset(rows);
});

watch("value", () => {
  paintAll();
  trigger("release");
});
paintAll();
