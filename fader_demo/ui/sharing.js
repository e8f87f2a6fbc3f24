const [link, save] = element.querySelectorAll("button");
const file_input = element.querySelector("input[type=file]");
const say = (text) => (element.querySelector(".done").textContent = text);
let edit; // where the sliders rest

document.addEventListener("fader:moved", (event) => {
  edit = event.detail;
  link.disabled = save.disabled = false;
  say("");
});

link.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is in the clipboard.");
  } catch {
    trigger("warning", "The browser does not let this page copy. The link is in the address bar.");
  }
});

save.addEventListener("click", () => {
  const settings = { fader: 1, model: edit.model, values: edit.moved, detail: edit.detail };
  const blob = new Blob([JSON.stringify(settings, null, 1) + "\n"], { type: "application/json" });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = "fader-settings.json";
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
});

file_input.addEventListener("change", async () => {
  const [file] = file_input.files;
  file_input.value = "";
  if (!file) return;
  try {
    if (file.size > 1e6) throw new Error("too large");
    const settings = JSON.parse(await file.text());
    const { values, detail } = settings;
    if (settings.fader !== 1 || typeof values !== "object" || values === null) throw new Error("other");
    const known = [...document.querySelectorAll("#sliders .fader")].map((row) => row.dataset.name);
    document.dispatchEvent(new CustomEvent("fader:set", { detail: { moved: values, detail } }));
    const unknown = Object.keys(values).filter((name) => !known.includes(name));
    const left = unknown.length ? ` This model does not know ${unknown.join(", ")}.` : "";
    say(`The sliders stand where the file says.${left}`);
  } catch {
    trigger("warning", "This is no file of settings from this editor. Choose one that it saved.");
  }
});

document.dispatchEvent(new CustomEvent("fader:hello"));
