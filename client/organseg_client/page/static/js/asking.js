// Questions to the server: one slice, a whole volume with its progress, explanations; cancellable.

import * as api from "./api.js";
import { announce, find } from "./dom.js";
import { hideProblem, showProblem } from "./notice.js";
import { count } from "./words.js";

let running = null;

/** Whether something is under way. */
export const isRunning = () => running !== null;

/** Stops what is under way; the page's server cancels it too. */
export function cancel() {
  running?.abort();
}

/**
 * Runs `work(signal)` with the form locked; a problem is shown with a way to run it again.
 * `reopen`, where given, is offered for a scan that was closed.
 */
export async function run(work, reopen) {
  if (running) return;
  running = new AbortController();
  lock(true);
  hideProblem();
  try {
    await work(running.signal);
  } catch (error) {
    if (error.name === "AbortError") announce("Cancelled.");
    else if (!(error instanceof api.Problem)) throw error;
    else if (error.kind === "scan_closed" && reopen) showProblem(error, reopen, "Open it again");
    else showProblem(error, error.can_retry ? () => run(work, reopen) : null);
  } finally {
    running = null;
    lock(false);
    find("progress").hidden = true;
  }
}

/** The answer to a question; a volume's progress is shown as it goes. */
export async function ask(scan, question, signal) {
  showProgress(question.scope === "volume" ? "reading the volume…" : "asking…");
  if (question.scope === "slice") return api.ask(scan.id, question, signal);
  const bar = find("progress-bar");
  const started = performance.now();
  for await (const event of api.askVolume(scan.id, question, signal)) {
    if (event.kind === "answer") return event.answer;
    bar.max = event.total;
    bar.value = event.done;
    const left = ((performance.now() - started) / 1000) * (event.total / Math.max(event.done, 1) - 1);
    const rest = event.done > 3 && left > 1 ? ` · ${Math.ceil(left)} s left` : "";
    find("progress-text").textContent = `${event.done} of ${count(event.total, "slice")}${rest}`;
  }
  throw new api.Problem({ kind: "cut", title: "The answer was cut off", words: "Ask again.", can_retry: true });
}

/** Reads an explanation as it comes; `onText(whole, isRunning)` is told of every piece. */
export async function explain(scan, answer, signal, onText) {
  let text = "";
  onText(text, true);
  try {
    for await (const event of api.explain(scan.id, answer.number, signal)) {
      text = event.kind === "text" ? text + event.text : event.text;
      onText(text, event.kind === "text");
    }
  } finally {
    onText(text, false);
  }
  return text;
}

function showProgress(words) {
  const bar = find("progress-bar");
  bar.removeAttribute("value");
  find("progress-text").textContent = words;
  find("progress").hidden = false;
}

function lock(isLocked) {
  find("submit").disabled = isLocked || find("question").disabled;
  find("cancel").hidden = !isLocked;
  find("ask").setAttribute("aria-busy", isLocked);
}
