// The way from an image to its place on the map: a link, and what a key does.
import { html } from "../html.js";

const addressOf = (digest) => `#/map/${digest}`;

export function OnMap({ digest, words = "On the map" }) {
  return html`<a href=${addressOf(digest)}>${words}</a>`;
}

export function goToMap(digest) {
  location.hash = addressOf(digest);
}
