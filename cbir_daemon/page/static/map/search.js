// Find images by words of their paths, to look at them on the map.
import { listed } from "../api.js";
import { html } from "../html.js";
import { fileOf, nameOfPath, Path, plain } from "../paths.js";
import { Preview } from "../pictures.js";
import { say, sayFault } from "../saying.js";
import { useState } from "../vendor/hooks.js";
import { counted } from "../words.js";

const MOST = 200; // The daemon finds no more.

export function SearchForm({ field, found }) {
  const [text, setText] = useState("");
  const search = async () => {
    const named = text.trim();
    if (!named) return;
    const images = await listed("images", "images", { named });
    if (images.length) found({ named, images });
    else say(`No image has ${plain(named)} in its path.`, "refused");
  };
  return html`<form class="search" role="search" onSubmit=${(event) => {
    event.preventDefault();
    search().catch(sayFault);
  }}><input type="search" ref=${field} value=${text} placeholder="Search names" aria-label="Search images by name"
      spellcheck="false" autocomplete="off" onInput=${(event) => setText(event.target.value)}
      onKeyDown=${(event) => {
        if (event.key === "Escape") event.target.blur();
      }} /><button type="submit">Search</button></form>`;
}

export function Found({ search, close }) {
  const { named, images } = search;
  const count = images.length < MOST ? counted(images.length, "image") : `The first ${counted(MOST, "image")}`;
  return html`<aside class="card list" aria-label="Images that were found"><button type="button" class="close"
      aria-label="Close" onClick=${close}>×</button>
    <h2>${count} named “${plain(named)}”</h2>
    <ul>${images.map(
      (image) => html`<li key=${nameOfPath(image.path)}><a href=${`#/map/${image.digest}`}
          aria-label=${`Show ${plain(fileOf(image.path))} on the map`}><${Preview} digest=${image.digest}
          sizePx=${256} /></a>
      <span><${Path} path=${image.path} /></span></li>`,
    )}</ul></aside>`;
}
