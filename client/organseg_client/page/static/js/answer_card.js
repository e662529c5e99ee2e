// The card of one answer: verdict, reason, organs and how sure, explanation, files.

import { fill, find, make, swatch } from "./dom.js";
import { VERDICTS, about, count, percent, time } from "./words.js";

/** Shows an answer; `onExplain`, `onSlice(index)` and `onSave(file)` are what its buttons do. */
export function showAnswer(scan, answer, { onExplain, onSlice, onSave, canExplain }) {
  const verdict = VERDICTS[answer.verdict];
  const facts = [about(answer, scan)];
  if (answer.seconds !== undefined) facts.push(time(answer.seconds));
  const card = find("answer");
  card.dataset.number = answer.number;
  card.dataset.verdict = answer.verdict;
  fill(
    card,
    make(
      "div",
      { class: "answer-head" },
      make("span", { class: "badge", "data-verdict": answer.verdict }, `${verdict.mark} ${verdict.word}`),
      make("span", { class: "quiet" }, facts.join(" · ")),
    ),
    make("p", { class: "answer-question" }, `“${answer.question}”`),
    make("p", { class: "answer-reason" }, answer.reason),
    organList(scan, answer, onSlice),
    certainty(answer),
    make("p", { class: "explanation", id: "explanation", tabindex: 0, hidden: !answer.explanation }, answer.explanation),
    make("p", { class: "quiet", id: "explanation-note", hidden: !answer.explanation }, "Written by the language model: it may be wrong."),
    buttons(scan, answer, onExplain, onSave, canExplain),
  );
  card.hidden = false;
}

function organList(scan, answer, onSlice) {
  const rows = answer.organs.filter((organ) => organ.letter !== "N");
  if (!rows.length) return null;
  const list = make("ul", { class: "organs" });
  for (const organ of rows) list.append(organRow(scan, answer, organ, onSlice));
  return list;
}

function organRow(scan, answer, organ, onSlice) {
  const isFound = organ.verdict === "segmented";
  const sure = isFound ? organ.quality : answer.presence?.[organ.name];
  const row = make("li", { "data-organ": organ.name }, swatch(organ.colour_rgb), make("span", { class: "name" }, organ.name));
  if (sure !== undefined && sure !== null) {
    const words = isFound ? `${percent(sure)} sure of the outline` : `${percent(sure)} likely to be here`;
    row.append(make("span", { class: "sure" }, words));
    row.append(make("meter", { min: 0, max: 1, value: sure, "aria-label": `${organ.name}: ${words}` }));
  } else {
    row.append(make("span", { class: "sure" }, isFound ? "" : VERDICTS[organ.verdict].word));
  }
  if (isFound) row.append(make("span", { class: "facts" }, ...organFacts(scan, organ, onSlice)));
  return row;
}

function organFacts(scan, organ, onSlice) {
  if (organ.volume_ml !== undefined) {
    const [first, last] = organ.slice_range;
    const go = (index) =>
      make("button", { type: "button", class: "link", onclick: () => onSlice(index) }, `${index + 1}`);
    return [`${organ.volume_ml.toFixed(1)} mL · slices `, go(first), " to ", go(last)];
  }
  const box = organ.box_xyxy.map((edge) => Math.round(edge));
  const [, rows, columns] = scan.spacing_zyx_mm;
  const area =
    scan.kind === "picture"
      ? count(organ.area_pixels, "pixel")
      : `${((organ.area_pixels * rows * columns) / 100).toFixed(1)} cm²`;
  return [`${area} · box ${box[0]}, ${box[1]} to ${box[2]}, ${box[3]}`];
}

/** How the verdict came about: the question's nearest organs, and what the image shows. */
function certainty(answer) {
  if (!answer.similarity) return null;
  const bars = make("div", { class: "bars" });
  const rows = (title, values, show) => {
    bars.append(make("h3", {}, title));
    for (const [name, value] of values) {
      const label = name === "none" ? "none of the 13" : name;
      bars.append(
        make("span", {}, label),
        make("meter", { min: 0, max: 1, value: Math.max(0, value), "aria-label": `${label}: ${show(value)}` }),
        make("span", {}, show(value)),
      );
    }
  };
  const best = (values, length) => Object.entries(values).sort((a, b) => b[1] - a[1]).slice(0, length);
  rows("The question is closest to (cosine)", best(answer.similarity, 4), (value) => value.toFixed(2));
  rows("The image likely shows", best(answer.presence, 6), percent);
  return make("details", {}, make("summary", {}, "How it was decided"), bars);
}

function buttons(scan, answer, onExplain, onSave, canExplain) {
  const file = (name, words) =>
    make("button", { type: "button", class: "small", title: "Save this file", onclick: () => onSave(name) }, words);
  const row = make("div", { class: "row" });
  row.append(
    make(
      "button",
      { type: "button", id: "explain", onclick: onExplain, disabled: !canExplain, title: canExplain ? "Explain (E)" : "This server does not explain" },
      "Explain",
    ),
  );
  if (!answer.organs.some((organ) => organ.verdict === "segmented")) return row;
  if (answer.scope === "slice") row.append(file("mask.png", "Mask PNG"), file("overlay.png", "Picture"));
  if (scan.kind !== "picture") row.append(file("mask.nii.gz", "Mask NIfTI"));
  if (scan.kind === "dicom_series") row.append(file("seg.dcm", "DICOM-SEG"));
  return row;
}

/** The explanation as it grows. */
export function showExplanation(text, isRunning) {
  const place = find("explanation");
  if (!place) return;
  place.hidden = false;
  find("explanation-note").hidden = false;
  place.textContent = text;
  place.classList.toggle("running", isRunning);
  place.setAttribute("aria-busy", isRunning);
}

/** The list of questions; the shown answer is marked. */
export function showHistory(scan, answers, shown, onChoose) {
  find("history").hidden = !answers.length;
  find("history-list").replaceChildren(
    ...answers.map((answer) =>
      make(
        "li",
        {},
        make(
          "button",
          {
            type: "button",
            "aria-current": answer.number === shown?.number ? "true" : null,
            onclick: () => onChoose(answer),
          },
          make("span", { class: "mark", "data-verdict": answer.verdict, "aria-label": VERDICTS[answer.verdict].word }, VERDICTS[answer.verdict].mark),
          make("span", {}, answer.question),
          make("span", { class: "quiet" }, about(answer, scan)),
        ),
      ),
    ),
  );
}
