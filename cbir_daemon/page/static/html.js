// Elements by template: html`<p>${text}</p>`.  Values become text nodes and attributes, never markup.
import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export const html = htm.bind(h);
