// A pin is {name, model, source, moved, detail}: an edit (see sliders.js) with its picture.
// "fader:pins" tells the other panels what is pinned.

const list = element.querySelector("ol");
let pins = [];
let model = "";
let count = 0;

document.addEventListener("fader:moved", (event) => (model = event.detail.model));

document.addEventListener("fader:pin", (event) => {
  if (pins.length >= props.most) {
    trigger("warning", `${props.most} edits can be pinned. Remove one of them first.`);
    return;
  }
  count += 1;
  pins.push({ ...event.detail, name: `Pin ${count}`, model });
  draw();
});

const labelOf = (name) => {
  const rows = [...document.querySelectorAll("#sliders .fader")];
  return rows.find((row) => row.dataset.name === name)?.querySelector("label").textContent ?? name;
};

function words(pin) {
  const moved = Object.entries(pin.moved).map(([name, number]) => `${labelOf(name)} ${Number(number.toFixed(2))}`);
  if (pin.detail !== props.usual_detail) moved.push(`Detail ${pin.detail}`);
  return moved.join(", ") || "no edit";
}

const make = (tag, attributes = {}, ...inside) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...inside);
  return made;
};

function card(pin) {
  const back = make("button", { type: "button", className: "return", title: "Return to this edit" });
  back.append(make("img", { src: pin.source, alt: `Return to ${pin.name}: ${words(pin)}` }));
  back.addEventListener("click", () => {
    document.dispatchEvent(new CustomEvent("fader:set", { detail: { moved: pin.moved, detail: pin.detail } }));
  });
  const name = make("input", { value: pin.name, ariaLabel: "Name of the pin", maxLength: 40 });
  name.addEventListener("change", () => {
    pin.name = name.value.trim() || pin.name;
    draw();
  });
  const remove = make("button", { type: "button", className: "remove", ariaLabel: `Remove ${pin.name}` }, "×");
  remove.addEventListener("click", () => {
    pins = pins.filter((other) => other !== pin);
    draw();
  });
  const values = make("p", {}, words(pin));
  const from = pin.model === model ? [] : [make("p", { className: "model" }, `made with ${pin.model}`)];
  return make("li", {}, back, name, remove, values, ...from);
}

function draw() {
  list.replaceChildren(...pins.map(card));
  element.querySelector("section").hidden = pins.length === 0;
  announce();
}

const announce = () => document.dispatchEvent(new CustomEvent("fader:pins", { detail: pins }));
document.addEventListener("fader:hello", announce);
document.addEventListener("fader:moved", () => {
  if (pins.some((pin) => pin.model !== model)) draw();
});
