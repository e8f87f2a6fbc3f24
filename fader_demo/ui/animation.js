const [what, from, to, suffix] = ["what", "from", "to", "suffix"].map((name) => element.querySelector(`.${name}`));
const BETWEEN = "between"; // no index of a slider
let edit; // where the sliders rest
let pins = [];

const sliders = () => {
  const rows = [...document.querySelectorAll("#sliders .fader")];
  return rows.filter((row) => row.dataset.name !== undefined && row.querySelector("input[type=range]"));
};
const places = () => [
  { name: "the photo as it was", moved: {} },
  { name: "the sliders now", moved: edit?.moved ?? {} },
  ...pins,
];

function offer(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}

function refresh() {
  const labels = sliders().map((row, i) => [i, row.querySelector("label").textContent]);
  offer(what, [...labels, [BETWEEN, "from one edit to another"]]);
  const edits = places().map((place, i) => [i, place.name]);
  const fresh = to.options.length === 0;
  offer(from, edits);
  offer(to, edits);
  if (fresh) to.value = 1;
  for (const end of element.querySelectorAll(".ends")) end.hidden = what.value !== BETWEEN;
  element.querySelector(".make").disabled = !edit;
}

document.addEventListener("fader:moved", (event) => {
  edit = event.detail;
  refresh();
});
document.addEventListener("fader:pins", (event) => {
  pins = event.detail;
  refresh();
});
what.addEventListener("change", refresh);

element.querySelector(".make").addEventListener("click", () => {
  const common = { suffix: suffix.value, detail: edit.detail };
  if (what.value === BETWEEN) {
    const end = (select) => ({ moved: places()[select.value].moved });
    trigger("make", { ...common, from: end(from), to: end(to) });
    return;
  }
  const row = sliders()[what.value];
  const { min, max } = row.querySelector(".control");
  const at = (number) => ({ moved: { ...edit.moved, [row.dataset.name]: Number(number) } });
  trigger("make", { ...common, from: at(min), to: at(max) });
});

watch("value", () => {
  if (!props.value) return;
  const { url, orig_name } = props.value;
  const film = orig_name.endsWith(".mp4");
  const [video, image, link] = ["video", "img", ".clip a"].map((name) => element.querySelector(name));
  video.hidden = !film;
  image.hidden = film;
  if (film) video.src = url;
  else image.src = url;
  Object.assign(link, { href: url, download: orig_name });
  element.querySelector(".clip").hidden = false;
});

document.dispatchEvent(new CustomEvent("fader:hello"));
