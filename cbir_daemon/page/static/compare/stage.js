// The two pictures: over each other or beside each other, under one view.
import { html } from "../html.js";
import { fileOf, plain } from "../paths.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/hooks.js";
import { applied, CORNERS, covers, inPixels, product, toPixels } from "./align.js";
import { useHands } from "./hands.js";
import { Layer, Outline, ToneFilter } from "./layers.js";
import { viewMatrix } from "./view.js";

function useSize() {
  const element = useRef(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const measure = () => setSize({ width: element.current.clientWidth, height: element.current.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element.current);
    measure();
    return () => observer.disconnect();
  }, []);
  return [element, size];
}

// The size of preview that a pane needs.
function sizeFor(pane, view) {
  const needed = Math.max(pane.width, pane.height) * Math.min(devicePixelRatio || 1, 2) * view.zoom;
  return [512, 1024].find((size) => size >= needed * 0.9) ?? 2048;
}

// The matrix of the copy in a pane: by its alignment, or simply into the same box.
function copyMatrix(kept, copy, alignment, isAligned, view) {
  if (isAligned) return product(view, inPixels(alignment.matrix, copy, kept));
  const scale = Math.min(kept.width / copy.width, kept.height / copy.height);
  const left = (kept.width - scale * copy.width) / 2;
  const top = (kept.height - scale * copy.height) / 2;
  return product(view, [scale, 0, left, 0, scale, top, 0, 0, 1]);
}

// The pane that each picture has: all of the stage, or half of it along its longer side.
function paneOf(size, isSide) {
  if (!isSide) return size;
  const isTall = size.height > size.width;
  return { width: isTall ? size.width : size.width / 2, height: isTall ? size.height / 2 : size.height };
}

const polygon = (points) => `polygon(${points.map(([x, y]) => `${x.toFixed(1)}px ${y.toFixed(1)}px`).join(",")})`;

// Keep the page still under a wheel: the framework listens passively, which cannot.
function useStillPage(element) {
  useEffect(() => {
    const own = element.current;
    const still = (event) => event.preventDefault();
    own.addEventListener("wheel", still, { passive: false });
    return () => own.removeEventListener("wheel", still);
  }, []);
}

function Cut({ cut, setCut }) {
  return html`<input type="range" class="cut" min="0" max="100" step="0.5" value=${cut} aria-label="Where the copy begins"
      onInput=${(event) => setCut(Number(event.target.value))} />
    <span class="line" style=${{ left: `${cut}%` }}></span>`;
}

function Beside({ kept, copy, outline }) {
  return html`<div class="pane" key="left">${kept(false)}${outline}<span class="tag">kept</span></div>
    <div class="pane" key="right">${copy(false)}${outline}<span class="tag">copy</span></div>`;
}

function Over({ kept, copy, outline, mode, isFlipped, corners }) {
  const [cut, setCut] = useState(50);
  const isBlink = mode === "blink";
  // Beside the copy there is no difference to be seen.
  const shared = mode === "difference" && corners ? polygon(corners) : "none";
  const right = mode === "slider" ? `inset(0 0 0 ${cut}%)` : "none";
  return html`<div class="pane" key="left">
    <div class="under" key="under" style=${{ clipPath: shared }}>${kept(isBlink && isFlipped)}</div>
    <div class="over" key="over" style=${{ clipPath: right }}>${copy(isBlink && !isFlipped)}</div>
    ${outline}
    ${isBlink && html`<span class="tag" role="status">${isFlipped ? "copy" : "kept"}</span>`}
    ${mode === "slider" && html`<${Cut} cut=${cut} setCut=${setCut} />`}
  </div>`;
}

export function Stage({ kept, copy, alignment, isAligned, isToned, mode, isFlipped, view, setView, tap }) {
  const [element, size] = useSize();
  const isSide = mode === "side";
  const pane = paneOf(size, isSide);
  const hands = useHands(pane, kept, setView, tap);
  useStillPage(element);
  const sizePx = sizeFor(pane, view);
  const ofKept = viewMatrix(view, pane, kept);
  const ofCopy = copyMatrix(kept, copy, alignment, isAligned, ofKept);
  const filter = isAligned && isToned ? "url(#tone)" : "";
  const inPane = product(ofCopy, toPixels(copy.width, copy.height));
  const corners = isAligned && CORNERS.map(([x, y]) => applied(inPane, x, y));
  const keptLayer = (isHidden) =>
    html`<${Layer} key="kept" image=${kept} sizePx=${sizePx} matrix=${ofKept} isHidden=${isHidden}
      alt=${`kept: ${plain(fileOf(kept.path))}`} />`;
  const copyLayer = (isHidden) =>
    html`<${Layer} key="copy" image=${copy} sizePx=${sizePx} matrix=${ofCopy} filter=${filter} isHidden=${isHidden}
      alt=${`copy: ${plain(fileOf(copy.path))}`} />`;
  const outline = corners && !covers(alignment.matrix) && html`<${Outline} points=${corners} pane=${pane} />`;
  const Shown = isSide ? Beside : Over;
  return html`<div class="stage ${mode} ${size.height > size.width ? "tall" : ""}" ref=${element} ...${hands}>
    ${isAligned && html`<${ToneFilter} id="tone" tone=${alignment.tone} />`}
    <${Shown} kept=${keptLayer} copy=${copyLayer} outline=${outline} mode=${mode} isFlipped=${isFlipped} corners=${corners} />
  </div>`;
}
