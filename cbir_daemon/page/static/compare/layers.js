// Pictures on top of each other, each under a matrix.
import { usePreview } from "../pictures.js";
import { useEffect, useRef } from "../vendor/hooks.js";
import { html } from "../html.js";
import { css } from "./align.js";

const GREY_PX = 256; // A preview that is smaller than its picture is scaled up to it.

// A picture of `image` whose pixels lead to the pane by `matrix`.  `ready` is told when it is drawn for the first time.
export function Layer({ image, sizePx, matrix, isHidden = false, filter = "", alt, ready }) {
  const address = usePreview(image.digest, sizePx);
  const element = useRef(null);
  const width = image.width || GREY_PX;
  const height = image.height || GREY_PX;
  useEffect(() => {
    if (!address || !ready) return;
    let here = true;
    element.current.decode().then(
      () => {
        if (here) ready(element.current);
      },
      () => {},
    ); // Another address came first.
    return () => {
      here = false;
    };
  }, [address]);
  return html`<img ref=${element} class="layer ${isHidden ? "hidden" : ""}" src=${address || undefined}
      alt=${isHidden ? "" : alt}
    aria-hidden=${isHidden ? "true" : undefined} draggable="false"
    style=${{ width: `${width}px`, height: `${height}px`, transform: css(matrix), filter }} />`;
}

// The frame of the copy, drawn where it lies: points in pixels of the pane.
export function Outline({ points, pane }) {
  const text = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  return html`<svg class="outline" width=${pane.width} height=${pane.height} aria-hidden="true">
    <polygon points=${text} class="rim" /><polygon points=${text} class="dashes" /></svg>`;
}

// The filter that gives the copy the greys of what is kept.
export function ToneFilter({ id, tone }) {
  const linear = { type: "linear", slope: tone.gain.toFixed(4), intercept: (tone.offset / 255).toFixed(4) };
  return html`<svg class="unseen" aria-hidden="true"><filter id=${id}
      color-interpolation-filters="sRGB"><feComponentTransfer>
    <feFuncR ...${linear} /><feFuncG ...${linear} /><feFuncB ...${linear} /></feComponentTransfer></filter></svg>`;
}
