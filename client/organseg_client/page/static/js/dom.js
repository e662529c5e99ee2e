// Short words for making and finding elements. Text is always set as text, never as markup.

export const find = (id) => document.getElementById(id);

/** `make("p", {class: "quiet"}, "text", child, …)`; a null child is left out. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter(isThere));
  return made;
}

/** Puts children in the place of all that an element has; a null child is left out. */
export const fill = (place, ...children) => place.replaceChildren(...children.filter(isThere));

const isThere = (child) => child !== null && child !== undefined;

/** A square in an organ's colour. */
export function swatch(colour) {
  const made = make("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = `rgb(${colour.join(" ")})`;
  return made;
}

/** Tells people who listen instead of look. */
export function announce(words) {
  const live = find("live");
  live.textContent = "";
  requestAnimationFrame(() => {
    live.textContent = words;
  });
}
