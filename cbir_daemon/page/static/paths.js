// Paths as text that cannot deceive: what would reorder or hide letters is shown by name.
//
// A path travels as text, or as {b64} where its bytes are not UTF-8.
import { html } from "./html.js";

const NAMED = {
  "\u200b": "ZWSP",
  "\u200c": "ZWNJ",
  "\u200d": "ZWJ",
  "\u200e": "LRM",
  "\u200f": "RLM",
  "\u061c": "ALM",
  "\u202a": "LRE",
  "\u202b": "RLE",
  "\u202c": "PDF",
  "\u202d": "LRO",
  "\u202e": "RLO",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
  "\ufeff": "BOM",
  "\u00ad": "SHY",
};
// Controls, what has no width, and bytes that are no UTF-8 (as lone surrogates).
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const PARTS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;

function nameOf(letter) {
  const code = letter.codePointAt(0);
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16).toUpperCase()}`;
  return NAMED[letter] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

function fromBytes(b64) {
  const raw = Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  for (let at = 0; at < raw.length; ) {
    const length = lengthOfLetter(raw, at, decoder);
    text += length ? decoder.decode(raw.subarray(at, at + length)) : String.fromCharCode(0xdc00 + raw[at]);
    at += length || 1;
  }
  return text;
}

function lengthOfLetter(raw, at, decoder) {
  for (const length of [1, 2, 3, 4]) {
    try {
      if (decoder.decode(raw.subarray(at, at + length))) return length;
    } catch {
      // No letter of this length begins here.
    }
  }
  return 0;
}

// A byte that is no UTF-8 becomes a lone surrogate, as in Python.
export const textOf = (path) => (typeof path === "string" ? path : fromBytes(path.b64));

// The same path has the same name.
export const nameOfPath = (path) => (typeof path === "string" ? path : `b64:${path.b64}`);

export function fileOf(path) {
  const text = textOf(path);
  return text.slice(text.lastIndexOf("/") + 1);
}

export function folderOf(path) {
  const text = textOf(path);
  return text.slice(0, Math.max(1, text.lastIndexOf("/")));
}

export const isBelow = (path, folder) => textOf(path).startsWith(folder.endsWith("/") ? folder : `${folder}/`);

// A line for places that take no elements, such as a label.
export const plain = (text) => text.replace(PARTS, (part) => (HIDDEN.test(part) ? `[${nameOf(part)}]` : part));

// A long path may break after a slash.
const broken = (text) => text.split(/(?<=\/)/).flatMap((part, at) => (at ? [html`<wbr />`, part] : [part]));

// Text with what is hidden in it shown.
export function Shown({ text }) {
  const parts = text.match(PARTS) ?? [];
  return parts.map((part) =>
    HIDDEN.test(part)
      ? html`<span class="control" title="a character that hides or reorders others">${nameOf(part)}</span>`
      : broken(part),
  );
}

// Where texts begin to differ and where they end to: lengths of what all begin with, up to a slash, and end with.
export function commonEnds(texts) {
  if (texts.length < 2) return { before: 0, after: 0 };
  const least = Math.min(...texts.map((text) => text.length));
  const same = (at) => texts.every((text) => text.at(at) === texts[0].at(at));
  let before = 0;
  let after = 0;
  while (before < least && same(before)) before += 1;
  before = texts[0].lastIndexOf("/", before) + 1;
  while (after < least - before && same(-1 - after)) after += 1;
  // The end begins with a mark such as a dot, never inside a word.
  while (after && /[\p{L}\p{N}]/u.test(texts[0].at(-after))) after -= 1;
  return { before, after };
}

// The whole path; what differs from its neighbours stands out.
export function Path({ path, ends = { before: 0, after: 0 } }) {
  const text = textOf(path);
  const until = text.length - ends.after;
  if (!ends.before && !ends.after) return html`<bdi class="path" dir="ltr"><${Shown} text=${text} /></bdi>`;
  return html`<bdi class="path" dir="ltr"><span class="same"><${Shown}
      text=${text.slice(0, ends.before)} /></span><b><${Shown} text=${text.slice(ends.before, until)} /></b><span
          class="same"><${Shown} text=${text.slice(until)} /></span></bdi>`;
}
