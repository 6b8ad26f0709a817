// Files that could not be read: why, and what can be seen of them.
import { errorAddress, listed } from "../api.js";
import { html } from "../html.js";
import { Path, textOf } from "../paths.js";
import { sayFault } from "../saying.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { counted, number } from "../words.js";

const SHOWN = 500;
const SIZE_PX = 256;

// Whether an element is, or was, in sight: to draw what is damaged may take long.
function useSeen(element) {
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      setSeen(true);
      observer.disconnect();
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return isSeen;
}

// What is there of a file; words where nothing can be drawn.
function Remains({ error }) {
  const place = useRef(null);
  const isSeen = useSeen(place);
  const [isRefused, refuse] = useState(false);
  const isDrawn = error.drawable && !isRefused;
  return html`<span class="remains" ref=${place}>${
    isDrawn
      ? html`<img src=${isSeen ? errorAddress(error.path, SIZE_PX) : undefined} alt="what is there of it"
        onError=${() => refuse(true)} />`
      : html`<span class="nothing">nothing to see</span>`
  }</span>`;
}

function Unreadable({ error }) {
  return html`<li><${Remains} error=${error} /><div><p><span class="state missing">${error.code}</span>
        <span class="why">${error.message}</span></p><p><${Path} path=${error.path} /></p></div></li>`;
}

export function Errors({ count }) {
  const [errors, setErrors] = useState(null);
  useEffect(() => {
    const gone = new AbortController();
    listed("errors", "errors", {}, gone.signal).then(setErrors, sayFault);
    return () => gone.abort();
  }, [count]);
  if (!errors?.length) return null;
  return html`<section aria-labelledby="errors-title"><h2 id="errors-title">${counted(errors.length, "unreadable file")}</h2>
    <ul class="errors" tabindex="0" aria-labelledby="errors-title">${errors
      .slice(0, SHOWN)
      .map((error) => html`<${Unreadable} key=${textOf(error.path)} error=${error} />`)}</ul>
    ${
      errors.length > SHOWN &&
      html`<p class="notes">and ${number(errors.length - SHOWN)} more: <code>cbir errors</code> lists all</p>`
    }</section>`;
}
