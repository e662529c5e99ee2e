// The help: organs that may be asked for, and the keys.

import { find, make, swatch } from "./dom.js";
import { KEYS } from "./keys.js";

export const showHelp = () => find("help-dialog").showModal();

export function wireHelp(facts) {
  find("help").addEventListener("click", showHelp);
  find("organ-list").append(
    ...facts.organs.map((organ) => make("li", {}, swatch(organ.colour_rgb), organ.name)),
  );
  find("key-list").append(
    ...KEYS.flatMap(([, shown, words]) => [make("dt", {}, make("kbd", {}, shown)), make("dd", {}, words)]),
  );
  find("about").textContent = `Organ-Seg ${facts.version}. The viewer is NiiVue (BSD-2-Clause).`;
  const box = find("use-keys");
  box.checked = localStorage.getItem("organseg-keys") !== "off";
  box.addEventListener("change", () => localStorage.setItem("organseg-keys", box.checked ? "on" : "off"));
}
