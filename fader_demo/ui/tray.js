// One listener for all buttons: the template draws them anew at every move.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const index = [...element.querySelectorAll("li")].indexOf(button.closest("li"));
  if (button.classList.contains("remove")) trigger("remove", { index });
  else trigger("select", { index });
});
