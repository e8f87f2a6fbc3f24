// One listener for all buttons: the template may draw them anew at any time.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const chosen = [...element.querySelectorAll("button")].indexOf(button);
  props.value = { ...props.value, chosen };
  trigger("select");
});
