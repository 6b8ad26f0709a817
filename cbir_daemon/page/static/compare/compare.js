// Two images of a group in large: flipped in place, side by side, their difference, a slider; the copy laid upon what is
// kept by the transform that is known.
import { html } from "../html.js";
import { useKeys } from "../keys.js";
import { OnMap } from "../map/link.js";
import { commonEnds, Path, textOf } from "../paths.js";
import { KINDS, relation } from "../queue/card.js";
import { differing } from "../queue/facts.js";
import { accept, canGo, chooseKeeper, choiceOf, dismiss, dismissOne, fateOf, keepAll } from "../queue/plan.js";
import { sayFault } from "../saying.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { isMirrored } from "./align.js";
import { useAhead, useAlignment } from "./alignment.js";
import { compareKeys, STEP } from "./keys.js";
import { Stage } from "./stage.js";
import { FIT, pixelZoom, zoomed } from "./view.js";

const DRAWN_PX = 256;
const MODES = { blink: "Blink", side: "Side by side", difference: "Difference", slider: "Slider" };

function Side({ group, index, ends, facts, title }) {
  const image = group.images[index];
  const fate = fateOf(choiceOf(group), index);
  return html`<div class="about ${fate}">
    <p><kbd>${index + 1}</kbd> <strong>${title}</strong> <span class="words">${relation(group, index) || image.why}</span></p>
    <p class="where"><${Path} path=${image.path} ends=${ends} /> <${OnMap} digest=${image.digest} /></p>
    <ul class="facts">${facts.map((fact) => html`<li key=${fact.name} class=${fact.isBetter ? "better" : ""}>${fact.text}</li>`)}</ul>
  </div>`;
}

function Abouts({ group, index }) {
  const pair = [group.images[0], group.images[index]];
  const ends = commonEnds(pair.map((image) => textOf(image.path)));
  const facts = differing(pair);
  const copies = group.images.length - 1;
  return html`<div class="abouts">
    <${Side} group=${group} index=${0} ends=${ends} facts=${facts[0]} title="Kept" />
    <${Side} group=${group} index=${index} ends=${ends} facts=${facts[1]} title=${copies > 1 ? `Copy ${index} of ${copies}` : "Copy"} />
  </div>`;
}

// What is no image is drawn as a square by its numbers.
const sized = (image) => (image.width ? image : { ...image, width: DRAWN_PX, height: DRAWN_PX, isDrawn: true });

function stateOf(alignment, isAligned) {
  if (alignment.state === "asked") return "looking how they lie on each other…";
  if (alignment.state === "unknown") return "how they lie on each other is not known";
  if (!isAligned) return "not aligned";
  return isMirrored(alignment.matrix) ? "aligned, mirrored" : "aligned";
}

function Modes({ mode, setMode, flip, alignment, isAligned, isToned, toggleAligned, toggleToned, zoom }) {
  const choose = (name) => () => (name === "blink" && mode === "blink" ? flip() : setMode(name));
  return html`<div class="modes" role="group" aria-label="How to compare">
    ${Object.entries(MODES).map(
      ([name, title]) =>
        html`<button type="button" key=${name} aria-pressed=${mode === name} onClick=${choose(name)}>${title}</button>`,
    )}
    <button type="button" aria-pressed=${isAligned} disabled=${alignment.state !== "known"} onClick=${toggleAligned}>Aligned</button>
    <button type="button" aria-pressed=${isAligned && isToned} disabled=${!isAligned} onClick=${toggleToned}>Same tones</button>
    <button type="button" aria-label="Zoom out" onClick=${() => zoom(1 / STEP)}>−</button>
    <button type="button" aria-label="Zoom in" onClick=${() => zoom(STEP)}>+</button>
  </div>`;
}

function Verdicts({ group, index, queue, show }) {
  const last = group.images.length - 1;
  const decide = (act) => () => queue.decide(queue.place.index, act);
  const copies = html`<button type="button" disabled=${index === 1} onClick=${() => show(-1)}>‹ Copy</button>
    <button type="button" disabled=${index === last} onClick=${() => show(1)}>Copy ›</button>`;
  const removing = html`<button type="button" class="main" onClick=${decide(accept)}>Accept</button>
    <button type="button" onClick=${decide((decided) => chooseKeeper(decided, index))}>Keep the copy</button>
    <button type="button" onClick=${decide(keepAll)}>Keep all</button>`;
  const notThis = () => dismissOne(group, index).catch(sayFault);
  return html`<div class="verdicts" role="group" aria-label="Verdict">
    ${last > 1 && copies}
    ${canGo(group) && removing}
    ${last > 1 && html`<button type="button" onClick=${notThis}>Not this one</button>`}
    <button type="button" onClick=${decide(dismiss)}>Not duplicates</button>
  </div>`;
}

// The view on the two pictures, and how they are compared.
function useComparison(group, at, queue, element) {
  const index = Math.min(Math.max(1, at.picture), group.images.length - 1);
  const { mode } = at;
  const [kept, copy] = [sized(group.images[0]), sized(group.images[index])];
  const alignment = useAlignment(kept, copy);
  const [isFlipped, setFlipped] = useState(false);
  const [view, setView] = useState(FIT);
  const [asksAligned, setAligned] = useState(true);
  const [isToned, setToned] = useState(true);
  useEffect(() => {
    setView(FIT);
    setFlipped(false);
  }, [group.id, index]);
  const pane = () => {
    const { clientWidth: width, clientHeight: height } = element.current.querySelector(".stage .pane");
    return { width, height };
  };
  return {
    index,
    mode,
    kept,
    copy,
    alignment,
    isFlipped,
    view,
    setView,
    isToned,
    isAligned: asksAligned && alignment.state === "known",
    flip: () => mode === "blink" && setFlipped((before) => !before),
    setMode: (name) => queue.setCompared({ picture: index, mode: name }),
    show: (by) => queue.setCompared({ picture: index + by, mode }),
    toggleAligned: () => setAligned((before) => !before),
    toggleToned: () => setToned((before) => !before),
    zoom: (factor) => setView((before) => zoomed(before, factor, pane(), kept)),
    fit: () => setView(FIT),
    pixelForPixel: () => setView((before) => pixelZoom(before, pane(), kept)),
  };
}

export function Compare({ group, at, queue, groups, close }) {
  const element = useRef(null);
  const comparison = { group, queue, groups, close, ...useComparison(group, at, queue, element) };
  const { alignment, isAligned, flip } = comparison;
  useAhead(groups.get(queue.place.index + 1), alignment.state !== "asked");
  useKeys("Compare", compareKeys(comparison), { modal: true });
  useEffect(() => {
    element.current.showModal();
    // Not the first button, which Enter would press.
    element.current.focus();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  // After a click, keys are the comparison's again, not those of the button.
  const clicked = (event) => event.detail && element.current.focus();
  return html`<dialog class="compare" ref=${element} aria-label="Compare" tabindex="-1" onClick=${clicked} onCancel=${cancel}>
    <header>
      <span class="kind ${group.kind}">${KINDS[group.kind]}</span>
      <span class="notes">group ${queue.place.index + 1} of ${groups.total} · ${stateOf(alignment, isAligned)}</span>
      <button type="button" class="close" aria-label="Back to the queue" onClick=${close}>×</button>
    </header>
    <${Stage} ...${comparison} tap=${flip} />
    <${Abouts} group=${group} index=${comparison.index} />
    <footer><${Modes} ...${comparison} /><${Verdicts} ...${comparison} /></footer>
  </dialog>`;
}
