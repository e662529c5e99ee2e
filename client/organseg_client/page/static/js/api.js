// Talks to the page's own server: JSON, bytes, and lines of JSON that come as they happen.

/** What the server says went wrong, or that it could not be reached. */
export class Problem extends Error {
  constructor(facts) {
    super(facts.words);
    Object.assign(this, { hint: "", command: "", can_retry: false, ...facts });
  }
}

const PAGE_SERVER_GONE = {
  status: 0,
  kind: "page_gone",
  title: "The page’s own server has stopped",
  words: "Start it again with the command below, then press Retry.",
  hint: "Your questions are kept while this tab stays open.",
  command: "organseg-client ui",
  can_retry: true,
};

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(PAGE_SERVER_GONE);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  throw new Problem(
    body?.error ?? {
      status: answer.status,
      kind: "fault",
      title: "The page’s own server failed",
      words: `It answered with status ${answer.status}.`,
      can_retry: true,
    },
  );
}

const json = async (path, options) => (await request(path, options)).json();
const post = (body, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const pageFacts = () => json("/api/page");
export const serverFacts = () => json("/api/server");
export const scanFacts = (scan) => json(`/api/scans/${scan}`);
export const imageBytes = async (scan) => (await request(`/api/scans/${scan}/image.nii`)).arrayBuffer();
export const closeScan = (scan) => request(`/api/scans/${scan}`, { method: "DELETE" });
export const ask = (scan, question, signal) => json(`/api/scans/${scan}/answers`, post(question, signal));

/** A file of an answer: its content and the name to save it under. */
export async function answerFile(scan, number, file, signal) {
  const answer = await request(`/api/scans/${scan}/answers/${number}/files/${file}`, { signal });
  const name = /filename\*=UTF-8''(.*)$/.exec(answer.headers.get("content-disposition") ?? "");
  return { content: await answer.blob(), name: name ? decodeURIComponent(name[1]) : file };
}

/** Sends files; `names` may hold their folder. */
export function openFiles(files, signal) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.webkitRelativePath || file.path || file.name);
  return json("/api/scans", { method: "POST", body: form, signal });
}

export async function labelBytes(scan, number) {
  const answer = await request(`/api/scans/${scan}/answers/${number}/labels`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Events of a question about a whole volume. */
export const askVolume = (scan, question, signal) =>
  lines(`/api/scans/${scan}/answers`, post(question, signal));

/** Events of an explanation. */
export const explain = (scan, number, signal) =>
  lines(`/api/scans/${scan}/answers/${number}/explanation`, post({}, signal));

async function* lines(path, options) {
  const answer = await request(path, options);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(PAGE_SERVER_GONE);
    }
    rest += piece.value ?? "";
    const whole = rest.split("\n");
    rest = whole.pop();
    for (const line of whole) {
      const event = JSON.parse(line);
      if (event.kind === "error") throw new Problem(event.error);
      yield event;
    }
    if (piece.done) return;
  }
}
