// Keys: who takes which, and the list that `?` shows.
//
// A room registers its keys while it is on the page; the last registered goes first.  A key that may not act now says
// why.  No key acts in a text field, and a held key acts once.
import { useEffect, useRef } from "./vendor/hooks.js";
import { say } from "./saying.js";

const rooms = [];
const TYPED =
  "input:not([type=checkbox], [type=radio], [type=button], [type=range]), textarea, select, [contenteditable=true]";
const PRESSED = "button, a[href], summary, input[type=checkbox], input[type=radio]";

// Arrows move what has its own use for them.
const OWN = { "input[type=range]": ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] };

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return event.ctrlKey || event.metaKey ? `Ctrl+${key}` : key;
}

function isLeftAlone(event, name) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return true;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.closest(TYPED)) return true;
  if ((name === "Enter" || name === " ") && target.closest(PRESSED)) return true;
  return Object.entries(OWN).some(([what, names]) => names.includes(name) && target.closest(what));
}

function entryFor(name) {
  let isHidden = false;
  for (let at = rooms.length - 1; at >= 0; at -= 1) {
    const entry = rooms[at].keys.find((candidate) => candidate.names.includes(name));
    if (entry && (!isHidden || rooms[at].everywhere)) return entry;
    isHidden ||= rooms[at].modal;
  }
  return null;
}

function pressed(event) {
  const name = nameOf(event);
  const entry = isLeftAlone(event, name) ? null : entryFor(name);
  if (entry) {
    event.preventDefault();
    if (event.repeat) return;
    const refusal = entry.refusal?.(name);
    if (refusal) say(refusal, "refused");
    else entry.act(name);
  } else if (event.repeat && (name === "Enter" || name === " ")) {
    // A held Enter on a button would press it again and again.
    const target = event.target instanceof Element ? event.target.closest(PRESSED) : null;
    if (target) event.preventDefault();
  }
}

export function listen() {
  document.addEventListener("keydown", pressed);
}

// All keys that work now, those of the last room first.
export function known() {
  const shown = [];
  let isHidden = false;
  for (let at = rooms.length - 1; at >= 0; at -= 1) {
    if (rooms[at].title && (!isHidden || rooms[at].everywhere)) shown.push(rooms[at]);
    isHidden ||= rooms[at].modal;
  }
  return shown;
}

// Register keys while the component is on the page.
//
// keys: [{names, shown, what, act, refusal}]: names as in KeyboardEvent.key, letters small; shown: how the list writes
// them; refusal returns why the key does nothing now, or nothing.  A modal room hides the keys of those before it, but not
// of those that are everywhere.
export function useKeys(title, keys, { modal = false, everywhere = false } = {}) {
  const room = useRef(null);
  room.current ??= { title, keys, modal, everywhere };
  room.current.keys = keys;
  useEffect(() => {
    rooms.push(room.current);
    return () => rooms.splice(rooms.indexOf(room.current), 1);
  }, []);
}
