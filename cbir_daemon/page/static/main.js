// The page: a room for each part of the address behind `#`, keys, and what is said at its foot.
import { hasKey, openSession, takeNewKey } from "./api.js";
import { Ask } from "./ask.js";
import { Dialog } from "./dialog.js";
import { html } from "./html.js";
import { known, listen, useKeys } from "./keys.js";
import { MapRoom } from "./map/map.js";
import { Queue } from "./queue/queue.js";
import { Saying } from "./saying.js";
import { See } from "./see/see.js";
import { useEffect, useState } from "./vendor/hooks.js";
import { h, render } from "./vendor/preact.js";

const ROOMS = { duplicates: ["Duplicates", Queue], ask: ["Ask", Ask], map: ["Map", MapRoom], state: ["State", See] };

function route() {
  const [room, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { room: room in ROOMS ? room : "duplicates", rest: rest.map(decodeURIComponent) };
}

function KeyList({ rooms, close }) {
  return html`<${Dialog} title="Keys" close=${close}>
    ${rooms.map(
      ({ title, keys }) => html`<section key=${title}><h3>${title}</h3><dl class="keys">
      ${keys
        .filter((key) => key.shown)
        .map(
          (key) => html`<div
          key=${key.shown}><dt><kbd>${key.shown}</kbd></dt><dd>${key.what}</dd></div>`,
        )}
    </dl></section>`,
    )}
  </${Dialog}>`;
}

function Locked({ fault }) {
  return html`<main class="locked"
      id="content"><h1>${fault ? "The page cannot be opened" : "This address has no key"}</h1>
    <p>${fault ? (fault.line ?? String(fault)) : "The page shows pictures to who has its whole address."}</p>
    <p><code>cbir page --url</code> prints it.</p></main>`;
}

function Head({ room, showKeys }) {
  return html`<header class="top">
    <a class="skip" href="#content" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("content")?.querySelector("button, a, input, select")?.focus();
    }}>Skip to the content</a>
    <nav aria-label="Rooms">${Object.entries(ROOMS).map(
      ([name, [title]]) => html`
      <a key=${name} href=${`#/${name}`} aria-current=${name === room ? "page" : undefined}>${title}</a>`,
    )}</nav>
    <button type="button" class="help" aria-keyshortcuts="?" onClick=${showKeys}>Keys <kbd>?</kbd></button>
  </header>`;
}

function Page() {
  const [at, setAt] = useState(route);
  const [listed, setListed] = useState(null);
  useEffect(() => {
    const moved = () => (takeNewKey() ? location.reload() : setAt(route()));
    addEventListener("hashchange", moved);
    // The address may have changed between the first drawing and this.
    moved();
    return () => removeEventListener("hashchange", moved);
  }, []);
  useEffect(() => {
    document.title = `${ROOMS[at.room][0]} – cbir`;
  }, [at.room]);
  useKeys(
    "Everywhere",
    [
      { names: ["?"], shown: "?", what: "show these keys", act: () => setListed(known()) },
      {
        names: ["g"],
        shown: "G",
        what: "next room",
        act: () => {
          const names = Object.keys(ROOMS);
          location.hash = `#/${names[(names.indexOf(at.room) + 1) % names.length]}`;
        },
      },
    ],
    { everywhere: true },
  );
  return html`<${Head} room=${at.room} showKeys=${() => setListed(known())} />
    <${ROOMS[at.room][1]} rest=${at.rest} />
    <${Saying} />
    ${listed && html`<${KeyList} rooms=${listed} close=${() => setListed(null)} />`}`;
}

async function open() {
  const root = document.getElementById("page");
  listen();
  if (!hasKey()) {
    render(h(Locked), root);
    addEventListener("hashchange", () => {
      if (takeNewKey()) location.reload();
    });
    return;
  }
  try {
    await openSession();
    render(h(Page), root);
  } catch (fault) {
    render(h(Locked, { fault }), root);
  }
}

open();
