// The page: opens scans, asks, shows answers; ties the other modules together.

import { showAnswer, showExplanation, showHistory } from "./answer_card.js";
import * as api from "./api.js";
import { ask, cancel, explain, isRunning, run } from "./asking.js";
import { boxesOnSlice, drawBoxes } from "./boxes.js";
import { chooseView, showControls, showSlice, wireControls } from "./controls.js";
import { announce, find, make } from "./dom.js";
import { filesOfDrop, usable } from "./files.js";
import { showHelp, wireHelp } from "./help.js";
import { listenForKeys } from "./keys.js";
import { hideProblem, showProblem } from "./notice.js";
import { server, watchServer } from "./server_status.js";
import { Viewer } from "./viewer.js";
import { VERDICTS, scanFacts } from "./words.js";

const EXAMPLES = [
  "Which organ stores bile?",
  "Segment the liver.",
  "Show me both kidneys.",
  "Where is the spleen?",
  "Which organ is responsible for breathing?",
];

const state = { scan: null, answers: [], shown: null, labels: null, files: null, slice: 0, turn: 0 };
const viewer = new Viewer(find("canvas"), moved);

start().catch((error) => {
  const words = error instanceof api.Problem ? error : {
    kind: "no_viewer",
    title: "The image viewer cannot start",
    words: `It needs a browser with WebGL 2 (${error.message}).`,
  };
  showProblem(words, () => location.reload(), "Reload");
});

async function start() {
  for (const question of EXAMPLES) {
    find("examples").append(make("button", { type: "button", onclick: () => example(question) }, question));
  }
  wireOpening();
  find("ask").addEventListener("submit", submit);
  find("cancel").addEventListener("click", cancel);
  find("theme").addEventListener("click", window.organsegTurnTheme);
  find("server").addEventListener("click", () => watchServer(serverChanged));
  find("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      find("ask").requestSubmit();
    }
  });
  const facts = await api.pageFacts();
  wireHelp(facts);
  await viewer.start(facts.organs);
  viewer.onDraw = drawShownBoxes;
  new ResizeObserver(() => requestAnimationFrame(drawShownBoxes)).observe(find("stage"));
  wireControls(viewer, drawShownBoxes);
  wireKeys();
  watchServer(serverChanged);
  document.documentElement.dataset.ready = "true";
  const known = location.hash.slice(1) || facts.first_scan;
  if (known) await openKnown(known);
}

// Opening

function wireOpening() {
  for (const button of document.querySelectorAll("[data-open]")) {
    button.addEventListener("click", () => pick(button.dataset.open));
  }
  for (const picker of [find("pick-files"), find("pick-folder")]) {
    picker.addEventListener("change", () => {
      const files = usable([...picker.files]);
      picker.value = "";
      if (files.length) openFiles(files);
    });
  }
  const stage = find("stage");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("dragging");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    stage.classList.remove("dragging");
    const files = usable(await filesOfDrop(event.dataTransfer));
    if (files.length) openFiles(files);
  });
}

const pick = (what) => find(`pick-${what}`).click();

function openFiles(files) {
  return run(async (signal) => {
    const megabytes = files.reduce((sum, file) => sum + file.size, 0) / 1e6;
    busy(`reading ${files.length > 1 ? `${files.length} files` : files[0].name} (${megabytes.toFixed(0)} MB)…`);
    try {
      const before = state.scan;
      const scan = await api.openFiles(files, signal);
      if (before) api.closeScan(before.id).catch(() => {});
      state.files = files;
      await showScan(scan);
    } finally {
      busy(null);
    }
  });
}

/** A scan that the server has open already: the command line's, or this tab's before a reload. */
async function openKnown(identity) {
  busy("loading…");
  try {
    await showScan(await api.scanFacts(identity));
  } catch (error) {
    history.replaceState(null, "", location.pathname);
    if (error.kind !== "scan_closed") throw error;
  } finally {
    busy(null);
  }
}

async function showScan(scan) {
  const bytes = await api.imageBytes(scan.id);
  Object.assign(state, { scan, answers: scan.answers, shown: null, labels: null });
  // First the slider's range: the viewer tells at once which slice it shows.
  showControls(scan);
  await viewer.show(scan, bytes);
  history.replaceState(null, "", `#${scan.id}`);
  document.title = `${scan.name} – Organ-Seg`;
  find("scan-name").textContent = scan.name;
  find("scan-facts").textContent = scanFacts(scan);
  find("empty").hidden = true;
  find("answer").hidden = true;
  find("question").disabled = false;
  find("submit").disabled = isRunning();
  const whole = document.querySelector("input[name=scope][value=volume]");
  find("scope").hidden = scan.slices === 1;
  whole.disabled = scan.slices === 1;
  document.querySelector("input[name=scope][value=slice]").checked = true;
  showHistory(scan, state.answers, null, choose);
  find("question").focus();
  announce(`${scan.name} is open, ${scanFacts(scan)}.`);
  if (state.answers.length) await show(state.answers.at(-1));
}

function busy(words) {
  find("busy").hidden = !words;
  find("busy-text").textContent = words ?? "";
}

// Asking

function example(question) {
  find("question").value = question;
  if (state.scan) find("ask").requestSubmit();
}

function submit(event) {
  event.preventDefault();
  const words = find("question").value.trim();
  if (!state.scan || !words || isRunning()) return;
  const question = {
    question: words,
    scope: document.querySelector("input[name=scope]:checked").value,
    slice_index: state.slice,
  };
  run(async (signal) => {
    const answer = await ask(state.scan, question, signal).catch((problem) => {
      if (problem.kind === "server_unreachable") watchServer(serverChanged);
      throw problem;
    });
    state.answers.push(answer);
    find("question").select();
    await show(answer);
    // To ask how the server is costs it a question; an answer says so already.
    if (server.isGood) serverChanged(true);
    else watchServer(serverChanged);
  }, reopen());
}

/** Opening the same files again, where this tab has them. */
const reopen = () => (state.files ? () => openFiles(state.files) : null);

async function show(answer) {
  const { scan } = state;
  const turn = (state.turn += 1);
  const labels = await api.labelBytes(scan.id, answer.number);
  // Another answer, or another scan, was chosen meanwhile.
  if (turn !== state.turn || scan !== state.scan) return;
  Object.assign(state, { shown: answer, labels });
  viewer.setVisible(true);
  viewer.paint(labels, answer.slice_index);
  if (answer.scope === "slice" && viewer.slice !== answer.slice_index) viewer.goTo(answer.slice_index);
  card();
  showHistory(scan, state.answers, answer, choose);
  drawShownBoxes();
  describeCanvas();
  announce(`${VERDICTS[answer.verdict].word}. ${answer.reason}`);
}

/** Shows an answer of the list, also while a question is under way; what goes wrong is told. */
function choose(answer) {
  show(answer).catch((error) => {
    if (!(error instanceof api.Problem)) throw error;
    if (error.kind === "scan_closed" && reopen()) showProblem(error, reopen(), "Open it again");
    else showProblem(error, error.can_retry ? () => choose(answer) : null);
  });
}

function card() {
  if (!state.shown) return;
  const canExplain = server.capabilities?.can_explain ?? false;
  const onSlice = (index) => viewer.goTo(index);
  showAnswer(state.scan, state.shown, { onExplain: explainShown, onSlice, onSave: save, canExplain });
}

function save(file) {
  const { scan, shown } = state;
  run(async (signal) => {
    const { content, name } = await api.answerFile(scan.id, shown.number, file, signal);
    const address = URL.createObjectURL(content);
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    announce(`${name} is saved.`);
  }, reopen());
}

function explainShown() {
  const answer = state.shown;
  if (!answer || !server.capabilities?.can_explain) return;
  run(async (signal) => {
    const text = await explain(state.scan, answer, signal, (words, isGoing) => {
      if (state.shown === answer) showExplanation(words, isGoing);
    });
    answer.explanation = text;
    announce(text);
  }, reopen());
}

function serverChanged(isGood) {
  const notice = find("notice");
  if (isGood && notice.dataset.kind === "server_unreachable" && !notice.hidden) {
    // The way on is the Retry button's: the question is the user's to repeat.
    notice.querySelector("h2").textContent = "The server answers again";
  }
  const button = find("explain");
  if (button && state.shown) button.disabled = !(server.capabilities?.can_explain ?? false);
}

// Showing

function moved({ x, y, z, value }) {
  state.slice = z;
  showSlice(z, state.scan.slices);
  const readout = find("readout");
  readout.hidden = false;
  const shown = value === undefined ? "" : ` · ${Number.isInteger(value) ? value : value.toFixed(1)}`;
  readout.textContent = `x ${x}  y ${y}${state.scan.slices > 1 ? `  slice ${z + 1}` : ""}${shown}${state.scan.modality === "CT" && state.scan.kind !== "picture" ? " HU" : ""}`;
  describeCanvas();
}

function shownOrgans() {
  const { shown, labels, scan, slice } = state;
  if (!shown || !viewer.visible || !find("show-boxes").checked) return [];
  const found = shown.organs.filter((organ) => organ.verdict === "segmented");
  if (shown.scope === "slice") return shown.slice_index === slice ? found : [];
  return boxesOnSlice(labels, viewer.size, slice, scan.step, found);
}

function drawShownBoxes() {
  if (state.scan) drawBoxes(find("boxes"), shownOrgans(), viewer.placeOnCanvas());
}

function describeCanvas() {
  const { scan, slice, shown } = state;
  const where = scan.slices > 1 ? `Slice ${slice + 1} of ${scan.slices}` : "Image";
  const names = shown?.organs.filter((organ) => organ.verdict === "segmented").map((organ) => organ.name) ?? [];
  find("canvas").setAttribute("aria-label", `${where} of ${scan.name}${names.length ? `; coloured: ${names.join(", ")}` : ""}`);
}

function wireKeys() {
  const turn = (step) => () => state.scan && viewer.goTo(state.slice + step);
  const neighbour = (step) => () => {
    const next = state.answers[state.answers.indexOf(state.shown) + step];
    if (next) choose(next);
  };
  const withScan = (act) => () => state.scan && act();
  listenForKeys(
    {
      open: () => pick("files"),
      question: () => find("question").focus(),
      up: turn(1),
      down: turn(-1),
      upTen: turn(10),
      downTen: turn(-10),
      first: withScan(() => viewer.goTo(0)),
      last: withScan(() => viewer.goTo(state.scan.slices - 1)),
      hide: withScan(() => viewer.setVisible(!viewer.visible)),
      boxes: withScan(() => find("show-boxes").click()),
      axial: withScan(() => chooseView("axial")),
      planes: withScan(() => chooseView("planes")),
      solid: withScan(() => chooseView("solid")),
      zoomIn: withScan(() => viewer.zoom(1.25)),
      zoomOut: withScan(() => viewer.zoom(0.8)),
      fit: withScan(() => viewer.fit()),
      before: neighbour(-1),
      after: neighbour(1),
      explain: explainShown,
      theme: window.organsegTurnTheme,
      help: showHelp,
      cancel: () => (isRunning() ? cancel() : hideProblem()),
    },
    () => find("use-keys").checked,
  );
}
