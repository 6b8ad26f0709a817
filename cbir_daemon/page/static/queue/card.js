// A group as a card: what kind it is, its images side by side, what becomes of each, and what can be said of it.
import { html } from "../html.js";
import { OnMap } from "../map/link.js";
import { commonEnds, fileOf, Path, plain, textOf } from "../paths.js";
import { Preview } from "../pictures.js";
import { bytes, counted, percent } from "../words.js";
import { common, differing } from "./facts.js";
import { ACCEPTED, canGo, choiceOf, DISMISSED, fateOf, KEPT } from "./plan.js";

export const KINDS = { exact: "same bytes", copy: "copy", shot: "shots of one scene" };
const VERDICTS = { [ACCEPTED]: "decided", [KEPT]: "all stay", [DISMISSED]: "no duplicates" };
const FATES = { keeps: "Keep", goes: "To the trash", stays: "Stays" };

// What an image is to the one that is kept, in words: "crop (82 %), mirrored".
export function relation(group, index) {
  const image = group.images[index];
  if (image.done) return image.done;
  return group.kind === "exact" && index > 0 ? "the same bytes" : "";
}

function Facts({ facts }) {
  if (!facts.length) return null;
  return html`<ul class="facts">${facts.map(
    (fact) => html`
    <li class=${fact.isBetter ? "better" : ""}>${fact.text}${
      fact.isBetter &&
      html`<span
        class="unseen"> (better)</span>`
    }</li>`,
  )}</ul>`;
}

function reasonOf(group, index, choice) {
  const image = group.images[index];
  if (choice.keeper === null || choice.keeper === 0) return image.why;
  return index === choice.keeper ? "your choice" : "";
}

function Tile({ group, index, choice, isChosen, ends, facts, actions }) {
  const image = group.images[index];
  const fate = fateOf(choice, index);
  const { verdict } = choice;
  const words = relation(group, index);
  const reason = reasonOf(group, index, choice);
  const file = plain(fileOf(image.path));
  const isOut = choice.out.includes(index);
  return html`<section class="tile ${fate} ${isChosen ? "chosen" : ""}" aria-label=${`Picture ${index + 1}: ${file}`}
      onClick=${() => actions.choose(index)}>
    <button type="button" class="thumb" aria-label=${`Compare ${file}`} onClick=${() => actions.compare(index)}>
      <${Preview} digest=${image.digest} sizePx=${512} />
    </button>
    <p class="fate"><kbd>${index + 1}</kbd> <strong>${FATES[fate]}</strong>${
      reason &&
      html`<span
        class="why">${reason}</span>`
    }</p>
    ${words && html`<p class="words">${words}</p>`}
    <p class="where"><${Path} path=${image.path} ends=${ends} /></p>
    ${
      image.names.length > 0 &&
      html`<p class="where more">also ${image.names.map(
        (path) => html`<${Path} path=${path}
        key=${textOf(path)} /> `,
      )}</p>`
    }
    <${Facts} facts=${facts} />
    <p class="tools">
      ${
        canGo(group) &&
        html`<button type="button" aria-keyshortcuts=${index < 9 ? String(index + 1) : undefined}
          aria-pressed=${verdict === ACCEPTED && fate === "keeps"}
              onClick=${() => actions.keep(index)}>Keep this</button>
        <button type="button" aria-pressed=${isOut} onClick=${() => actions.leaveOut(index)}>Leave out</button>`
      }
      <a href=${`#/ask/${image.digest}`}>Like this</a>
      <${OnMap} digest=${image.digest} />
    </p>
  </section>`;
}

function State({ choice }) {
  if (!choice.verdict) return null;
  return html`<span class="verdict ${choice.verdict}">${VERDICTS[choice.verdict]}</span>`;
}

function lowest(group) {
  const least = Math.min(...group.images.map((image) => image.score));
  return least < 1 ? `alike ${percent(least)}` : "";
}

const look = (group) => (group.look === "vectors" ? "told by small previews alone: `cbir resolve` leaves it" : "");

// actions: choose, compare, keep, leaveOut (index); accept, keepAll, dismiss, reopen ().
export function Card({ group, index, total, isCurrent, chosen, actions }) {
  const choice = choiceOf(group);
  const { images } = group;
  const { verdict } = choice;
  const paths = images.map((image) => textOf(image.path));
  const ends = commonEnds(paths);
  const facts = differing(images);
  const notes = [
    counted(images.length, "image"),
    canGo(group) && `frees ${bytes(group.saves)}`,
    lowest(group),
    ...common(images),
    look(group),
  ];
  return html`<article class="group ${isCurrent ? "current" : ""} ${verdict ?? ""}" data-index=${index} key=${group.id}
      tabindex="-1" aria-posinset=${index + 1} aria-setsize=${total} aria-current=${isCurrent ? "true" : undefined}
      aria-label=${`${KINDS[group.kind]}, ${counted(images.length, "image")}`} onFocusIn=${actions.enter}>
    <header>
      <span class="kind ${group.kind}">${KINDS[group.kind]}</span>
      <span class="notes">${notes.filter(Boolean).join(" · ")}</span>
      <${State} choice=${choice} />
    </header>
    <div class="tiles">
      ${images.map(
        (image, at) => html`<${Tile} key=${textOf(image.path)} group=${group} index=${at} choice=${choice} ends=${ends}
        isChosen=${isCurrent && at === chosen} facts=${facts[at]} actions=${actions} />`,
      )}
    </div>
    <footer>
      ${
        canGo(group) &&
        html`<button type="button" class="main" aria-keyshortcuts="Enter" onClick=${actions.accept}>Accept</button>
        <button type="button" aria-keyshortcuts="k" onClick=${actions.keepAll}>Keep all</button>`
      }
      <button type="button" aria-keyshortcuts="n" onClick=${actions.dismiss}>Not duplicates</button>
      <button type="button" aria-keyshortcuts="c" onClick=${() => actions.compare(chosen || 1)}>Compare</button>
      ${
        verdict &&
        verdict !== DISMISSED &&
        html`<button type="button"
          onClick=${actions.reopen}>Take mark away</button>`
      }
    </footer>
  </article>`;
}
