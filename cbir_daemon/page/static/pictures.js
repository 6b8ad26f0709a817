// Previews: fetched a few at a time, the latest asked for first, and kept while they are used.
//
// The server forbids caches to keep them, so the page holds their bytes itself, up to a limit.
import { greyAddress, pictureAddress } from "./api.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { html } from "./html.js";

const KEPT_BYTES = 96 * 2 ** 20;
const AT_ONCE = 4;

const kept = new Map(); // name -> {address, size}; the latest used last.
const waiting = new Map(); // name -> {promise, start, drop}
const asked = [];
let keptBytes = 0;
let running = 0;

const nameOf = (digest, sizePx) => `${digest}/${sizePx}`;

function keep(name, blob) {
  const entry = { address: URL.createObjectURL(blob), size: blob.size };
  kept.set(name, entry);
  keptBytes += entry.size;
  for (const [oldest, { address, size }] of kept) {
    if (keptBytes <= KEPT_BYTES || oldest === name) break;
    kept.delete(oldest);
    keptBytes -= size;
    URL.revokeObjectURL(address);
  }
  return entry.address;
}

function used(name) {
  const entry = kept.get(name);
  if (!entry) return null;
  kept.delete(name);
  kept.set(name, entry);
  return entry.address;
}

async function fetched(digest, sizePx, signal) {
  const response = await fetch(pictureAddress(digest, sizePx), { signal });
  if (response.ok) return response.blob();
  // The file is away or cannot be read: its grey numbers are still there.
  const grey = await fetch(greyAddress(digest), { signal });
  if (!grey.ok) throw new Error(`no preview of ${digest}`);
  return grey.blob();
}

function next() {
  while (running < AT_ONCE && asked.length) {
    const job = asked.pop();
    running += 1;
    job().finally(() => {
      running -= 1;
      next();
    });
  }
}

// The address of a preview, once it is here; `signal` gives up while it waits.
export function preview(digest, sizePx, signal) {
  const name = nameOf(digest, sizePx);
  const there = used(name);
  if (there) return Promise.resolve(there);
  if (waiting.has(name)) return waiting.get(name);
  const promise = new Promise((resolve, reject) => {
    asked.push(async () => {
      if (signal?.aborted) {
        waiting.delete(name);
        reject(new DOMException("not needed any more", "AbortError"));
        return;
      }
      try {
        resolve(keep(name, await fetched(digest, sizePx)));
      } catch (error) {
        reject(error);
      } finally {
        waiting.delete(name);
      }
    });
  });
  waiting.set(name, promise);
  next();
  return promise;
}

// What is here now, of this size or a smaller one.
export function previewNow(digest, sizePx) {
  for (let size = sizePx; size >= 256; size /= 2) {
    const there = used(nameOf(digest, size));
    if (there) return there;
  }
  return null;
}

// The address of a preview for a component: a smaller one first, null before there is any.
export function usePreview(digest, sizePx) {
  const [address, setAddress] = useState(() => previewNow(digest, sizePx));
  const shown = useRef("");
  useEffect(() => {
    const gone = new AbortController();
    if (shown.current !== digest) setAddress(previewNow(digest, sizePx));
    shown.current = digest;
    preview(digest, sizePx, gone.signal).then(
      (found) => {
        if (!gone.signal.aborted) setAddress(found);
      },
      (error) => {
        if (error.name !== "AbortError" && !gone.signal.aborted) setAddress("");
      },
    );
    return () => gone.abort();
  }, [digest, sizePx]);
  return address;
}

export function Preview({ digest, sizePx = 256, alt = "", className = "" }) {
  const address = usePreview(digest, sizePx);
  if (address === "")
    return html`<span class="nothing ${className}" role="img" aria-label="no preview">no preview</span>`;
  return html`<img class=${className} src=${address ?? undefined} alt=${alt} draggable="false" decoding="async" />`;
}
