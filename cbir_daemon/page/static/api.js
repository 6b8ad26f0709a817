// Questions to the daemon, by way of the server of this page.
//
// The address brings the key behind its `#`; it moves to this tab's storage and travels as a header, so that neither the
// history nor another page sees it.
const KEY = "cbir-key";

export class ApiError extends Error {
  constructor({ code, message, hint }) {
    super(message);
    this.code = code;
    this.hint = hint ?? "";
  }

  get line() {
    return this.hint ? `${this.message}: ${this.hint}` : this.message;
  }
}

function takeKey() {
  const fragment = location.hash.slice(1);
  if (fragment && !fragment.startsWith("/")) {
    const slash = fragment.indexOf("/");
    sessionStorage.setItem(KEY, slash < 0 ? fragment : fragment.slice(0, slash));
    history.replaceState(null, "", `/#${slash < 0 ? "/" : fragment.slice(slash)}`);
  }
  return sessionStorage.getItem(KEY);
}

let key = takeKey();
let readKey = "";

export const hasKey = () => Boolean(key);

// A new address opened in the same tab changes the fragment and loads nothing.
export function takeNewKey() {
  const before = key;
  key = takeKey();
  return key !== before;
}

export async function openSession() {
  const session = await ask("session");
  readKey = session.read_key;
  return session;
}

// A preview of a content: the longer side has at most so many pixels.
export const pictureAddress = (digest, sizePx) => `/picture/${readKey}/${digest}/${sizePx}`;
// Its 64x64 grey numbers, which are there when its file is not.
export const greyAddress = (digest) => `/picture/${readKey}/grey/${digest}`;
// What is there of a file that could not be read, which has a path alone: its bytes, in base64 for addresses.
export function errorAddress(path, sizePx) {
  const b64 = typeof path === "string" ? btoa(String.fromCharCode(...new TextEncoder().encode(path))) : path.b64;
  const name = b64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `/picture/${readKey}/error/${name}/${sizePx}`;
}
export const tileAddress = (run, level, column, row, isDark) =>
  `/picture/${readKey}/tile/${run}/${level}/${column}/${row}${isDark ? "?dark=true" : ""}`;

async function post(method, body, type, signal) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": type };
  try {
    return await fetch(`/api/${method}`, { method: "POST", headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const hint = "start `cbir page` again, then open its address";
    throw new ApiError({ code: "unavailable", message: "the page's server does not answer", hint });
  }
}

function opened(line) {
  if (line.error) throw new ApiError(line.error);
  return line.ok;
}

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
    if (rest) yield JSON.parse(rest);
  } finally {
    reader.cancel().catch(() => {}); // A stream that broke is over already.
  }
}

// Each answer of a method that gives several.
export async function* stream(method, params = {}, signal = undefined) {
  const response = await post(method, JSON.stringify(params), "application/json", signal);
  for await (const line of linesOf(response)) yield opened(line);
}

// The answer of a method that gives one.
export async function ask(method, params = {}, signal = undefined) {
  const response = await post(method, JSON.stringify(params), "application/json", signal);
  return opened(await answerOf(response));
}

// A question with the bytes of an image.
export async function askWith(image, method, params = {}, signal = undefined) {
  const response = await post(`${method}?${new URLSearchParams(params)}`, image, "application/octet-stream", signal);
  return opened(await answerOf(response));
}

async function answerOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text.split("\n", 1)[0]);
  } catch {
    return { error: { code: "internal", message: `the page's server answers ${response.status} without JSON` } };
  }
}

// All entries of a list that comes in pages.
export async function listed(method, field, params = {}, signal = undefined) {
  const all = [];
  for await (const page of stream(method, params, signal)) all.push(...page[field]);
  return all;
}
