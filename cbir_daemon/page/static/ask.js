// Ask about a picture: dropped, pasted, chosen, or one of the albums by its digest, which the address holds.
import { ask, askWith } from "./api.js";
import { html } from "./html.js";
import { useKeys } from "./keys.js";
import { OnMap } from "./map/link.js";
import { Path, fileOf, plain, textOf } from "./paths.js";
import { Preview } from "./pictures.js";
import { say, sayFault } from "./saying.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { bytes, counted, percent, pixels } from "./words.js";

const LIMIT = 60;
const KINDS = { exact: "same bytes", copy: "copy", shot: "another shot", similar: "similar" };
const WHY = {
  colour: "by colour",
  layout: "by layout",
  texture: "by texture",
  grey: "by its greys",
  meaning: "by what it shows",
};
const TURNS = { 90: "turned 90° left", 180: "turned upside down", 270: "turned 90° right" };

// What the picture that was asked about is of the stored one, in words, from the numbers of the answer.
function done(match) {
  if (match.done) return match.done;
  if (match.kind === "similar") return WHY[match.why] ?? "";
  const { transform, overlap, tone } = match;
  const words = [];
  if (match.kind === "exact") return "";
  if (overlap.match < 0.97)
    words.push(`${match.around === "nothing" ? "a crop" : "a part"} (${percent(overlap.match)} of this)`);
  if (overlap.query < 0.97 && match.around !== "nothing") words.push("with more around it");
  if (transform.flip) words.push("mirrored");
  if (transform.turn) words.push(TURNS[transform.turn]);
  if (Math.abs(transform.angle) >= 1) words.push(`tilted ${Math.round(Math.abs(transform.angle))}°`);
  if (transform.invert) words.push("negative");
  if (Math.abs(tone.shift) >= 10) words.push(tone.shift > 0 ? "brighter" : "darker");
  return words.length ? `the one above: ${words.join(", ")}` : "";
}

function Match({ match, isShown, show }) {
  const file = plain(fileOf(match.path));
  return html`<li class="match ${match.kind} ${isShown ? "shown" : ""}" onMouseEnter=${() => show(match)}
      onFocusIn=${() => show(match)}>
    <a class="thumb" href=${`#/ask/${match.digest}`} aria-label=${`What looks like ${file}`}><${Preview}
        digest=${match.digest} sizePx=${256} /></a>
    <p><span class="kind ${match.kind}">${KINDS[match.kind]}</span> <span
        class="score">${match.score.toFixed(3)}</span> <span class="words">${done(match)}</span></p>
    <p class="where"><${Path} path=${match.path} /></p>
    <p class="facts">${pixels(match)} · ${bytes(match.size)}${match.missing ? " · its album is away" : ""} <${OnMap}
        digest=${match.digest} words="on the map" /></p>
  </li>`;
}

// Where in the query the match lies; parts are shares of its sides.
function Part({ part }) {
  if (!part) return null;
  const share = (value) => `${(100 * value).toFixed(2)}%`;
  return html`<span class="part" role="img" aria-label="where the match lies"
      style=${{ left: share(part.left), top: share(part.top), width: share(part.right - part.left), height: share(part.bottom - part.top) }}></span>`;
}

function Asked({ asked, answer, shown }) {
  return html`<figure class="asked">
    <div class="frame">${
      asked.address
        ? html`<img src=${asked.address} alt="the picture that was asked about" />`
        : html`<${Preview} digest=${asked.digest} sizePx=${1024} alt="the picture that was asked about" />`
    }<${Part} part=${shown?.part} /></div>
    <figcaption>${answer && html`${pixels(answer.query)} · ${counted(answer.matches.length, "match", "matches")} in ${Math.round(answer.took_ms)} ms`}
      ${answer && html` · <a href=${`#/ask/${answer.query.digest}`}>link to this answer</a>`}
      ${answer?.query.position === "indexed" && html` · <${OnMap} digest=${answer.query.digest} words="on the map" />`}</figcaption>
  </figure>`;
}

function Wall({ matches, shown, show }) {
  if (!matches.length) return html`<p class="quiet">Nothing in the albums is, copies or resembles this picture.</p>`;
  const found = matches.filter((match) => match.kind !== "similar");
  const similar = matches.filter((match) => match.kind === "similar");
  const list = (of, name) =>
    of.length > 0 &&
    html`<ul class="matches ${name}" aria-label=${name}>
    ${of.map(
      (match) => html`<${Match} key=${textOf(match.path)} match=${match} isShown=${match === shown}
        show=${show} />`,
    )}</ul>`;
  return html`${list(found, "found")}${similar.length > 0 && html`<h2>Looks alike</h2>`}${list(similar, "similar")}`;
}

export function Ask({ rest }) {
  const [digest] = rest;
  const [asked, setAsked] = useState(null);
  const [answer, setAnswer] = useState(null);
  const [shown, show] = useState(null);
  const [isOver, setOver] = useState(false);
  const chooser = useRef(null);
  const running = useRef(new AbortController());

  function begin(what) {
    running.current.abort();
    running.current = new AbortController();
    setAsked((before) => {
      if (before?.address) URL.revokeObjectURL(before.address);
      return what;
    });
    setAnswer(null);
    show(null);
    return running.current.signal;
  }

  function take(promise) {
    promise.then(setAnswer, sayFault);
  }

  function takeImage(blob) {
    if (!blob) return;
    const signal = begin({ address: URL.createObjectURL(blob) });
    take(askWith(blob, "query", { limit: LIMIT }, signal));
  }

  useEffect(() => {
    // An answer to a dropped picture stays when its link is opened that has no picture in the albums.
    if (digest) take(ask("query", { digest, limit: LIMIT }, begin({ digest })));
    return () => running.current.abort();
  }, [digest]);

  useEffect(() => {
    const paste = (event) => {
      const file = [...event.clipboardData.files].find((candidate) => candidate.type.startsWith("image/"));
      if (file) takeImage(file);
      else if (!event.target.closest?.("input, textarea")) say("There is no picture in the clipboard.", "refused");
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, []);

  useKeys("Ask", [{ names: ["/", "o"], shown: "O", what: "choose a picture", act: () => chooser.current.click() }]);

  return html`<main class="ask ${isOver ? "over" : ""}" id="content"
      onDragOver=${(event) => {
        event.preventDefault();
        setOver(true);
      }} onDragLeave=${() => setOver(false)}
      onDrop=${(event) => {
        event.preventDefault();
        setOver(false);
        takeImage(event.dataTransfer.files[0]);
      }}>
    <h1 class="unseen">Ask about a picture</h1>
    <div class="drop"><p>Drop a picture here, paste one, or
      <label class="button">choose one<input type="file" accept="image/*" ref=${chooser} class="unseen"
          onChange=${(event) => takeImage(event.target.files[0])} /></label>
      It is compared on this machine and not kept.</p></div>
    ${asked && html`<${Asked} asked=${asked} answer=${answer} shown=${shown} />`}
    ${asked && !answer && html`<p class="quiet" aria-busy="true">Looking…</p>`}
    ${
      answer &&
      html`<section aria-label="Matches"><${Wall} matches=${answer.matches} shown=${shown}
        show=${show} /></section>`
    }
  </main>`;
}
