// The pill that says which server answers, with which weights; asks again now and then.

import { serverFacts } from "./api.js";
import { announce, find } from "./dom.js";

const CALM_MS = 60000;
const ANXIOUS_MS = 4000;

let timer = 0;

/** What the server can do, and whether it answered, as last heard; null before that. */
export const server = { capabilities: null, isGood: null };

/** Asks now; `onChange` is called after each answer. */
export async function watchServer(onChange) {
  clearTimeout(timer);
  let facts;
  try {
    facts = await serverFacts();
  } catch (problem) {
    facts = { servers: [], capabilities: null, problem };
  }
  const sick = facts.health?.servers.find((each) => each.state !== "healthy");
  const isGood = !facts.problem && !sick;
  if (facts.capabilities) server.capabilities = facts.capabilities;
  show(facts, isGood, sick);
  if (server.isGood === false && isGood) announce("The server answers again.");
  server.isGood = isGood;
  onChange(isGood);
  timer = setTimeout(() => (document.hidden ? watchLater(onChange) : watchServer(onChange)), isGood ? CALM_MS : ANXIOUS_MS);
}

function watchLater(onChange) {
  document.addEventListener("visibilitychange", () => watchServer(onChange), { once: true });
}

function show(facts, isGood, sick) {
  find("server").querySelector(".dot").dataset.state = isGood ? "good" : "bad";
  const where = facts.servers.join(", ");
  const told = facts.capabilities ?? server.capabilities;
  const release = told?.release ?? {};
  const weights = release.trained === false ? "untrained weights" : release.made ? `made ${release.made.slice(0, 10)}` : "";
  const preset = told && told.preset !== "not stated by the server" ? told.preset : "";
  const words = isGood ? [preset, weights, where] : ["no answer from", where || "the page’s server"];
  find("server-text").textContent = words.filter(Boolean).join(isGood ? " · " : " ");
  const details = [facts.problem?.words ?? sick?.words];
  if (told) {
    details.push(`Preset ${told.preset}, contract ${told.contract_version}, Triton ${told.server_version}.`);
    if (release.made) details.push(`Weights made ${release.made}${release.source ? ` from ${release.source}` : ""}.`);
    details.push(`Licence: ${told.licence}.`, `Intended use: ${told.intended_use}.`);
  }
  const text = details.filter(Boolean).join("\n");
  find("server").title = text;
  find("server-words").textContent = text;
}
