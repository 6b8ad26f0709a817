// How a copy lies on what is kept: asked of the daemon, made exact by the previews, and remembered.
import { ask } from "../api.js";
import { preview } from "../pictures.js";
import { sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { IDENTITY, refined } from "./align.js";

const KEPT = 200;
const LEAST_GAIN = 0.05; // Below, the greys of a copy tell nothing of those of the original.
const AHEAD_PX = 1024;

const known = new Map();

// How the copy lies on what is kept: {state: "asked" | "known" | "unknown", matrix, tone}.
export function useAlignment(kept, copy) {
  const [alignment, setAlignment] = useState({ state: "asked", name: "" });
  const name = `${kept.digest} ${copy.digest}`;
  useEffect(() => {
    const gone = new AbortController();
    setAlignment({ state: "asked", name });
    alignmentOf(kept, copy, gone.signal).then(
      (found) => {
        if (!gone.signal.aborted) setAlignment({ ...found, name });
      },
      (error) => {
        if (!gone.signal.aborted) {
          setAlignment({ state: "unknown", name });
          sayFault(error);
        }
      },
    );
    return () => gone.abort();
  }, [name]);
  return alignment.name === name ? alignment : { state: "asked", name };
}

const isPicture = (image) => image.width && !image.isDrawn;

async function alignmentOf(kept, copy, signal) {
  const name = `${kept.digest} ${copy.digest}`;
  if (kept.digest === copy.digest) return { state: "known", matrix: IDENTITY, tone: { gain: 1, offset: 0 } };
  if (known.has(name)) return known.get(name);
  // Pictures alone lie on each other; sounds and texts are drawn beside each other.
  if (!isPicture(kept) || !isPicture(copy)) return { state: "unknown" };
  const found = await ask("align", { keep: kept.digest, copy: copy.digest }, signal);
  const alignment = found.matrix ? await exact(kept, copy, found) : { state: "unknown" };
  known.set(name, alignment);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return alignment;
}

async function picture(digest) {
  const image = new Image();
  image.src = await preview(digest, 512);
  await image.decode();
  return image;
}

async function exact(kept, copy, { matrix, gain, offset, invert }) {
  const pictures = await Promise.all([picture(kept.digest), picture(copy.digest)]);
  // The daemon says how the copy's greys follow; here the kept picture's are wanted: of its negative when inverted.
  const sign = invert ? -1 : 1;
  const shift = invert ? 255 : 0;
  const tone =
    gain > LEAST_GAIN ? { gain: sign / gain, offset: shift - sign * (offset / gain) } : { gain: sign, offset: shift };
  return { state: "known", ...refined(...pictures, matrix, tone) };
}

// Fetch what the next group will show, so that a verdict finds it here.
export function useAhead(next, isReady) {
  useEffect(() => {
    if (!isReady || !next) return;
    const gone = new AbortController();
    const [kept, copy] = next.images;
    // What fails here is asked for again, and told, when it is shown.
    const later = () => {};
    for (const image of [kept, copy]) preview(image.digest, AHEAD_PX, gone.signal).catch(later);
    alignmentOf(kept, copy, gone.signal).catch(later);
    return () => gone.abort();
  }, [next?.id, isReady]);
}
