// One listener for all buttons: the template may draw them anew at any time.
element.addEventListener("click", (event) => {
  const buttons = [...element.querySelectorAll("button")];
  const index = buttons.indexOf(event.target.closest("button"));
  if (index >= 0) trigger("select", { index });
});
