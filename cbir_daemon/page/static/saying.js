// A line at the foot of the page, which screen readers read out.
import { cell, useCell } from "./cells.js";
import { html } from "./html.js";

const said = cell({ text: "", tone: "", number: 0 });
const SHOWN_MS = 6000;
let timer = 0;

// tone: "" for what was done, "refused" for what was not, "failed" for what went wrong.
export function say(text, tone = "") {
  said.value = { text, tone, number: said.value.number + 1 };
  clearTimeout(timer);
  // What went wrong stays until something else is said.
  if (tone !== "failed")
    timer = setTimeout(() => {
      said.value = { ...said.value, text: "" };
    }, SHOWN_MS);
}

// Say what went wrong; what was broken off on purpose is no fault.
export function sayFault(error) {
  if (error.name === "AbortError") return;
  say(error.line ?? String(error), "failed");
  if (!error.code) throw error;
}

export function Saying() {
  const { text, tone, number } = useCell(said);
  return html`<div class="saying ${tone}" role="status" aria-live="polite" data-number=${number}>${text}</div>`;
}
