// Keys: one table, which acts and which the help shows.

/** [keys, shown, words, action]; `actions` has a function of each name. */
export const KEYS = [
  [["o", "O"], "O", "open files", "open"],
  [["/", "q", "Q"], "/", "write a question", "question"],
  [["ArrowUp"], "↑", "next slice, to the head", "up"],
  [["ArrowDown"], "↓", "slice before, to the feet", "down"],
  [["PageUp"], "Page ↑", "ten slices up", "upTen"],
  [["PageDown"], "Page ↓", "ten slices down", "downTen"],
  [["Home"], "Home", "first slice (feet)", "first"],
  [["End"], "End", "last slice (head)", "last"],
  [["h", "H"], "H", "hide or show colours", "hide"],
  [["b", "B"], "B", "hide or show boxes", "boxes"],
  [["1"], "1", "axial", "axial"],
  [["2"], "2", "three planes", "planes"],
  [["3"], "3", "3-D", "solid"],
  [["+", "="], "+", "zoom in", "zoomIn"],
  [["-"], "−", "zoom out", "zoomOut"],
  [["0"], "0", "fit", "fit"],
  [["["], "[", "answer before", "before"],
  [["]"], "]", "next answer", "after"],
  [["e", "E"], "E", "explain this answer", "explain"],
  [["t", "T"], "T", "light or dark", "theme"],
  [["?"], "?", "this help", "help"],
  [["Escape"], "Esc", "cancel what is running", "cancel"],
];

const TYPING = new Set(["TEXTAREA", "SELECT"]);
const OWN_ARROWS = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"]);

/** Listens on the document; single characters act only while `areOn()` says so. */
export function listenForKeys(actions, areOn) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const at = event.target;
    const isTyping = TYPING.has(at.tagName);
    if (isTyping && event.key === "Escape") at.blur();
    if (isTyping && event.key !== "Escape") return;
    // Sliders and radio buttons know what arrows mean.
    if (at.tagName === "INPUT" && OWN_ARROWS.has(event.key)) return;
    if (event.key.length === 1 && !areOn()) return;
    const row = KEYS.find(([keys]) => keys.includes(event.key));
    if (!row) return;
    event.preventDefault();
    actions[row[3]]();
  });
}
