// The tools under the image: slice, view, window, colour, zoom.

import { find, make } from "./dom.js";

const CT_WINDOWS = [
  ["Soft tissue", -160, 240],
  ["Liver", -20, 180],
  ["Bone", -450, 1050],
  ["Lung", -1350, 150],
];

/** Lets the tools act on a viewer; gives `sync()` for what changed elsewhere. */
export function wireControls(viewer, onBoxes) {
  const slice = find("slice");
  slice.addEventListener("input", () => viewer.goTo(Number(slice.value) - 1));
  find("opacity").addEventListener("input", (event) => {
    viewer.setVisible(true);
    viewer.setOpacity(Number(event.target.value) / 100);
  });
  find("show-boxes").addEventListener("change", onBoxes);
  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => viewer.setView(radio.value));
  }
  find("window").addEventListener("change", (event) => {
    const [low, high] = event.target.value.split(" ").map(Number);
    viewer.setWindow(low, high);
  });
  find("zoom-in").addEventListener("click", () => viewer.zoom(1.25));
  find("zoom-out").addEventListener("click", () => viewer.zoom(0.8));
  find("zoom-fit").addEventListener("click", () => viewer.fit());
}

/** Sets the tools up for a scan that was opened. */
export function showControls(scan) {
  const isVolume = scan.slices > 1;
  find("tools").hidden = false;
  find("zoom").hidden = false;
  find("slice-tool").hidden = !isVolume;
  find("view-tool").hidden = !isVolume;
  find("slice").max = scan.slices;
  document.querySelector("input[name=view][value=axial]").checked = true;
  const windows = [["Default", ...scan.window]];
  if (scan.kind !== "picture") {
    const isHounsfield = scan.modality === "CT" || (scan.modality === "unknown" && scan.range[0] < -160);
    if (isHounsfield) windows.push(...CT_WINDOWS);
    windows.push(["Full range", ...scan.range]);
  }
  find("window-tool").hidden = windows.length === 1;
  find("window").replaceChildren(
    ...windows.map(([name, low, high]) => make("option", { value: `${low} ${high}` }, name)),
  );
}

/** The slice that is shown, on slider and text. */
export function showSlice(slice, slices) {
  find("slice").value = slice + 1;
  find("slice").setAttribute("aria-valuetext", `slice ${slice + 1} of ${slices}, counted from the feet`);
  find("slice-text").textContent = `${slice + 1} / ${slices}`;
}

export function chooseView(view) {
  const radio = document.querySelector(`input[name=view][value=${view}]`);
  if (find("view-tool").hidden || radio.checked) return;
  radio.checked = true;
  radio.dispatchEvent(new Event("change"));
}
