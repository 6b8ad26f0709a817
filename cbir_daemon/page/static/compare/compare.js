// Two images of a group in large: flipped in place, side by side, their difference, a slider; the copy laid upon what is
// kept by the transform that is known.
import { ask } from "../api.js";
import { html } from "../html.js";
import { useKeys } from "../keys.js";
import { commonEnds, fileOf, Path, plain, textOf } from "../paths.js";
import { preview } from "../pictures.js";
import { differing } from "../queue/facts.js";
import { KINDS, relation } from "../queue/card.js";
import { canGo, choiceOf, fateOf, accept, chooseKeeper, dismiss, dismissOne, keepAll } from "../queue/plan.js";
import { verdictKeys } from "../queue/verdicts.js";
import { say, sayFault } from "../saying.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/hooks.js";
import { applied, CORNERS, covers, IDENTITY, inPixels, isMirrored, product, refined, toPixels } from "./align.js";
import { Layer, Outline, ToneFilter } from "./layers.js";
import { FIT, panned, pixelZoom, viewMatrix, zoomed } from "./view.js";

// Keys that open the comparison in a mode, and change it.
export const MODE_KEYS = { b: "blink", s: "side", d: "difference", v: "slider" };
const MODES = { blink: "Blink", side: "Side by side", difference: "Difference", slider: "Slider" };
const STEP = 1.4;

// How the copy lies on what is kept: {state: "asked" | "known" | "unknown", matrix, tone, invert}.
function useAlignment(kept, copy) {
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

const known = new Map();
const KEPT_ALIGNMENTS = 200;

async function alignmentOf(kept, copy, signal) {
  const name = `${kept.digest} ${copy.digest}`;
  if (kept.digest === copy.digest)
    return { state: "known", matrix: IDENTITY, tone: { gain: 1, offset: 0 }, invert: false };
  if (known.has(name)) return known.get(name);
  const found = await ask("align", { keep: kept.digest, copy: copy.digest }, signal);
  const alignment = found.matrix ? await exact(kept, copy, found) : { state: "unknown" };
  known.set(name, alignment);
  if (known.size > KEPT_ALIGNMENTS) known.delete(known.keys().next().value);
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
    gain > 0.05 ? { gain: sign / gain, offset: shift - sign * (offset / gain) } : { gain: sign, offset: shift };
  return { state: "known", ...refined(...pictures, matrix, tone) };
}

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

// Fetch what the next group will show, so that a verdict finds it here.
function useAhead(queue, groups, kept, copy, isReady) {
  useEffect(() => {
    if (!isReady) return;
    const gone = new AbortController();
    const next = groups.get(queue.place.index + 1);
    for (const image of next?.images.slice(0, 2) ?? []) preview(image.digest, 1024, gone.signal).catch(() => {}); // Asked for again when shown.
    if (next?.images.length > 1) alignmentOf(next.images[0], next.images[1], gone.signal).catch(() => {});
    return () => gone.abort();
  }, [kept.digest, copy.digest, isReady]);
}

// Drag and pinch pan and zoom; a tap flips.
function useHands(pane, kept, setView, tap) {
  const held = useRef(new Map());
  const travelled = useRef(0);
  const middle = () => {
    const points = [...held.current.values()];
    const x = points.reduce((sum, point) => sum + point.x, 0) / points.length;
    const y = points.reduce((sum, point) => sum + point.y, 0) / points.length;
    const spread = points.length < 2 ? 0 : Math.hypot(points[0].x - points[1].x, points[0].y - points[1].y);
    return { x, y, spread };
  };
  const fromMiddle = (event, x, y) => {
    const box = event.currentTarget.getBoundingClientRect();
    return [
      x - box.left - (pane.width ? (Math.floor((x - box.left) / pane.width) + 0.5) * pane.width : 0),
      y - box.top - pane.height / 2,
    ];
  };
  return {
    onPointerDown(event) {
      if (event.target.closest("button, input")) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      if (!held.current.size) travelled.current = 0;
      held.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
    },
    onPointerMove(event) {
      if (!held.current.has(event.pointerId)) return;
      const before = middle();
      held.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
      const now = middle();
      const dx = now.x - before.x;
      const dy = now.y - before.y;
      travelled.current += Math.abs(dx) + Math.abs(dy);
      const factor = before.spread ? now.spread / before.spread : 1;
      const at = fromMiddle(event, now.x, now.y);
      setView((view) => zoomed(panned(view, dx, dy, pane, kept), factor, pane, kept, ...at));
    },
    onPointerUp(event) {
      if (held.current.delete(event.pointerId) && !held.current.size && travelled.current < 6) tap();
    },
    onPointerCancel(event) {
      held.current.delete(event.pointerId);
    },
    onWheel(event) {
      event.preventDefault();
      const at = fromMiddle(event, event.clientX, event.clientY);
      setView((view) => zoomed(view, Math.exp(-event.deltaY / 400), pane, kept, ...at));
    },
  };
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
  const box = [
    scale,
    0,
    (kept.width - scale * copy.width) / 2,
    0,
    scale,
    (kept.height - scale * copy.height) / 2,
    0,
    0,
    1,
  ];
  return product(view, box);
}

function Stage({ kept, copy, alignment, isAligned, isToned, mode, isFlipped, view, setView, tap }) {
  const [element, size] = useSize();
  const isSide = mode === "side";
  const [cut, setCut] = useState(50);
  const isTall = size.height > size.width;
  const pane = isSide
    ? { width: isTall ? size.width : size.width / 2, height: isTall ? size.height / 2 : size.height }
    : size;
  const hands = useHands(pane, kept, setView, tap);
  const sizePx = sizeFor(pane, view);
  const toPane = viewMatrix(view, pane, kept);
  const ofCopy = copyMatrix(kept, copy, alignment, isAligned, toPane);
  const filter = isAligned && isToned ? "url(#tone)" : "";
  const corners =
    isAligned && CORNERS.map(([x, y]) => applied(product(ofCopy, toPixels(copy.width, copy.height)), x, y));
  const isWhole = isAligned && covers(alignment.matrix);
  // Beside the copy there is no difference to be seen.
  const shared =
    mode === "difference" && corners
      ? `polygon(${corners.map(([x, y]) => `${x.toFixed(1)}px ${y.toFixed(1)}px`).join(",")})`
      : "none";
  const keptLayer = (isHidden) =>
    html`<${Layer} key="kept" image=${kept} sizePx=${sizePx} matrix=${toPane} isHidden=${isHidden} alt=${`kept: ${plain(fileOf(kept.path))}`} />`;
  const copyLayer = (isHidden) =>
    html`<${Layer} key="copy" image=${copy} sizePx=${sizePx} matrix=${ofCopy} filter=${filter} isHidden=${isHidden} alt=${`copy: ${plain(fileOf(copy.path))}`} />`;
  const outline = corners && !isWhole && html`<${Outline} points=${corners} pane=${pane} />`;
  useEffect(() => {
    // Preact listens passively to wheels, which could not keep the page still.
    const own = element.current;
    const turn = (event) => event.preventDefault();
    own.addEventListener("wheel", turn, { passive: false });
    return () => own.removeEventListener("wheel", turn);
  }, []);
  return html`<div class="stage ${mode} ${isTall ? "tall" : ""}" ref=${element} ...${hands}>
    ${isAligned && html`<${ToneFilter} id="tone" tone=${alignment.tone} />`}
    ${
      isSide
        ? html`<div class="pane" key="left">${keptLayer(false)}${outline}<span class="tag">kept</span></div>
        <div class="pane" key="right">${copyLayer(false)}${outline}<span class="tag">copy</span></div>`
        : html`<div class="pane" key="left">
        <div class="under" key="under" style=${{ clipPath: shared }}>${keptLayer(mode === "blink" && isFlipped)}</div>
        <div class="over" key="over" style=${{ clipPath: mode === "slider" ? `inset(0 0 0 ${cut}%)` : "none" }}>${copyLayer(mode === "blink" && !isFlipped)}</div>
        ${outline}
        ${mode === "blink" && html`<span class="tag" role="status">${isFlipped ? "copy" : "kept"}</span>`}
        ${
          mode === "slider" &&
          html`<input type="range" class="cut" min="0" max="100" step="0.5" value=${cut} aria-label="Where the copy begins"
          onInput=${(event) => setCut(Number(event.target.value))} /><span class="line" style=${{ left: `${cut}%` }}></span>`
        }
      </div>`
    }
  </div>`;
}

function Side({ group, index, ends, facts, title }) {
  const image = group.images[index];
  const fate = fateOf(choiceOf(group), index);
  const words = relation(group, index);
  return html`<div class="about ${fate}"><p><kbd>${index + 1}</kbd> <strong>${title}</strong> <span class="words">${words || image.why}</span></p>
    <p class="where"><${Path} path=${image.path} ends=${ends} /></p>
    <ul class="facts">${facts.map((fact) => html`<li class=${fact.isBetter ? "better" : ""}>${fact.text}</li>`)}</ul></div>`;
}

function stateOf(alignment, isAligned) {
  if (alignment.state === "asked") return "looking how they lie on each other…";
  if (alignment.state === "unknown") return "how they lie on each other is not known";
  if (!isAligned) return "not aligned";
  return isMirrored(alignment.matrix) ? "aligned, mirrored" : "aligned";
}

export function Compare({ group, at, queue, groups, close }) {
  const index = Math.min(Math.max(1, at.picture), group.images.length - 1);
  const { mode } = at;
  const kept = group.images[0];
  const copy = group.images[index];
  const alignment = useAlignment(kept, copy);
  useAhead(queue, groups, kept, copy, alignment.state !== "asked");
  const [isFlipped, setFlipped] = useState(false);
  const [view, setView] = useState(FIT);
  const [wantsAligned, setAligned] = useState(true);
  const [isToned, setToned] = useState(true);
  const element = useRef(null);
  const isAligned = wantsAligned && alignment.state === "known";
  useEffect(() => {
    element.current.showModal();
    // Not the first button, which Enter would press.
    element.current.focus();
  }, []);
  useEffect(() => {
    setView(FIT);
    setFlipped(false);
  }, [group.id, index]);

  const shown = () => {
    const stage = element.current.querySelector(".stage .pane");
    return { width: stage.clientWidth, height: stage.clientHeight };
  };
  const flip = () => {
    if (mode === "blink") setFlipped((before) => !before);
  };
  const show = (by) => queue.setCompared({ picture: index + by, mode });
  const setMode = (name) => queue.setCompared({ picture: index, mode: name });
  const zoom = (factor) => setView((before) => zoomed(before, factor, shown(), kept));
  const images = group.images.length;
  useKeys(
    "Compare",
    [
      {
        names: ["b"],
        shown: "B",
        what: "blink: flip in place",
        act: () => (mode === "blink" ? flip() : setMode("blink")),
      },
      { names: ["s"], shown: "S", what: "side by side", act: () => setMode("side") },
      { names: ["d"], shown: "D", what: "difference", act: () => setMode("difference") },
      { names: ["v"], shown: "V", what: "slider", act: () => setMode("slider") },
      {
        names: ["a"],
        shown: "A",
        what: "lay the copy upon the kept picture, or not",
        refusal: () => (alignment.state === "known" ? "" : "How they lie on each other is not known."),
        act: () => setAligned(!wantsAligned),
      },
      {
        names: ["t"],
        shown: "T",
        what: "give the copy the tones of the kept picture, or not",
        refusal: () => (isAligned ? "" : "The pictures are not aligned."),
        act: () => setToned(!isToned),
      },
      { names: ["+", "="], shown: "+", what: "zoom in", act: () => zoom(STEP) },
      {
        names: ["-"],
        shown: "−",
        what: "zoom out",
        refusal: () => (view.zoom > 1 ? "" : "All of it is in sight."),
        act: () => zoom(1 / STEP),
      },
      { names: ["0"], shown: "0", what: "all of it", act: () => setView(FIT) },
      {
        names: ["p"],
        shown: "P",
        what: "pixel for pixel, or all of it",
        act: () => setView((before) => pixelZoom(before, shown(), kept)),
      },
      {
        names: ["ArrowLeft", "ArrowRight"],
        shown: "← →",
        what: "picture before, next picture",
        refusal: (name) =>
          name === "ArrowLeft"
            ? index === 1 && "This is the first copy."
            : index === images - 1 && "This is the last copy.",
        act: (name) => show(name === "ArrowLeft" ? -1 : 1),
      },
      {
        names: ["ArrowUp", "ArrowDown"],
        shown: "↑ ↓",
        what: "group before, next group",
        act: (name) => {
          if (queue.moveTo(queue.place.index + (name === "ArrowUp" ? -1 : 1))) queue.setCompared({ picture: 1, mode });
          else say("There is no further group.");
        },
      },
      ...verdictKeys({ ...queue, place: { ...queue.place, picture: index } }, groups),
      {
        names: ["u"],
        shown: "U",
        what: "this one is no duplicate of the others: remember that for good",
        refusal: () => (images > 2 ? "" : "There are only two: N says so of both."),
        act: () => dismissOne(group, index).catch(sayFault),
      },
      { names: ["Escape", "c"], shown: "Esc", what: "back to the queue", act: close },
    ],
    { modal: true },
  );

  const paths = [kept, copy].map((image) => textOf(image.path));
  const ends = commonEnds(paths);
  const facts = differing([kept, copy]);
  const decide = (act) => () => queue.decide(queue.place.index, act);
  return html`<dialog class="compare" ref=${element} aria-label="Compare" tabindex="-1"
      onClick=${(event) => {
        if (event.detail) element.current.focus();
      }} onCancel=${(event) => {
        event.preventDefault();
        close();
      }}>
    <header>
      <span class="kind ${group.kind}">${KINDS[group.kind]}</span>
      <span class="notes">group ${queue.place.index + 1} of ${groups.total} · ${stateOf(alignment, isAligned)}</span>
      <button type="button" class="close" aria-label="Back to the queue" onClick=${close}>×</button>
    </header>
    <${Stage} kept=${kept} copy=${copy} alignment=${alignment} isAligned=${isAligned} isToned=${isToned} mode=${mode} isFlipped=${isFlipped}
      view=${view} setView=${setView} tap=${flip} />
    <div class="abouts">
      <${Side} group=${group} index=${0} ends=${ends} facts=${facts[0]} title="Kept" />
      <${Side} group=${group} index=${index} ends=${ends} facts=${facts[1]} title=${images > 2 ? `Copy ${index} of ${images - 1}` : "Copy"} />
    </div>
    <footer>
      <div class="modes" role="group" aria-label="How to compare">
        ${Object.entries(MODES).map(
          ([name, title]) => html`<button type="button" key=${name} aria-pressed=${mode === name}
          onClick=${() => {
            if (name === "blink" && mode === "blink") flip();
            else setMode(name);
          }}>${title}</button>`,
        )}
        <button type="button" aria-pressed=${isAligned} disabled=${alignment.state !== "known"} onClick=${() => setAligned(!wantsAligned)}>Aligned</button>
        <button type="button" aria-pressed=${isAligned && isToned} disabled=${!isAligned} onClick=${() => setToned(!isToned)}>Same tones</button>
        <button type="button" aria-label="Zoom out" onClick=${() => zoom(1 / STEP)}>−</button>
        <button type="button" aria-label="Zoom in" onClick=${() => zoom(STEP)}>+</button>
      </div>
      <div class="verdicts" role="group" aria-label="Verdict">
        ${
          images > 2 &&
          html`<button type="button" disabled=${index === 1} onClick=${() => show(-1)}>‹ Picture</button>
          <button type="button" disabled=${index === images - 1} onClick=${() => show(1)}>Picture ›</button>`
        }
        ${
          canGo(group) &&
          html`<button type="button" class="main" onClick=${decide(accept)}>Accept</button>
          <button type="button" onClick=${decide((of) => chooseKeeper(of, index))}>Keep the copy</button>
          <button type="button" onClick=${decide(keepAll)}>Keep all</button>`
        }
        ${images > 2 && html`<button type="button" onClick=${() => dismissOne(group, index).catch(sayFault)}>Not this one</button>`}
        <button type="button" onClick=${decide(dismiss)}>Not duplicates</button>
      </div>
    </footer>
  </dialog>`;
}
