// What went wrong, what is kept, and the way on.

import { fill, find, make } from "./dom.js";

/** Shows a problem; `retry` is asked again with the button, `again` is its words. */
export function showProblem(problem, retry, again = "Retry") {
  const notice = find("notice");
  const row = make("div", { class: "row" });
  if (retry) {
    row.append(
      make("button", { type: "button", class: "primary", id: "retry", onclick: () => (hideProblem(), retry()) }, again),
    );
  }
  row.append(make("button", { type: "button", onclick: hideProblem }, "Close"));
  notice.dataset.kind = problem.kind;
  fill(
    notice,
    make("h2", {}, problem.title),
    make("p", {}, problem.words),
    problem.command ? make("p", {}, make("code", {}, problem.command)) : null,
    problem.hint ? make("p", { class: "quiet" }, problem.hint) : null,
    row,
  );
  notice.hidden = false;
}

export function hideProblem() {
  const notice = find("notice");
  notice.hidden = true;
  notice.replaceChildren();
}
