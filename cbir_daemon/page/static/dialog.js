// A dialog over the page: the browser keeps the focus inside and gives it back.
import { html } from "./html.js";
import { useKeys } from "./keys.js";
import { useEffect, useId, useRef } from "./vendor/hooks.js";

export function Dialog({ title, close, children, className = "" }) {
  const element = useRef(null);
  const name = useId();
  useKeys("", [{ names: ["Escape"], shown: "Esc", what: "close", act: close }], { modal: true });
  useEffect(() => {
    element.current.showModal();
  }, []);
  return html`<dialog ref=${element} class=${`sheet ${className}`} aria-labelledby=${name} onCancel=${(event) => {
    event.preventDefault();
    close();
  }}>
    <header><h2 id=${name}>${title}</h2><button type="button" class="close" aria-label="Close"
        onClick=${close}>×</button></header>
    <div class="body" tabindex="0">${children}</div>
  </dialog>`;
}
