// What of the groups is shown, in which order; and the rule for many of them.
import { html } from "../html.js";
import { plain, textOf } from "../paths.js";
import { sayFault } from "../saying.js";
import { useState } from "../vendor/hooks.js";
import { counted } from "../words.js";

const ORDERS = {
  space: "most space first",
  kind: "kind",
  folders: "folder pair",
  score: "least alike first",
  date: "date",
};
const SCORES = { "": "any", 0.995: "below 99.5 %", 0.98: "below 98 %", 0.95: "below 95 %" };
const KINDS = { "": "all but shots", exact: "same bytes", copy: "copies", shot: "shots" };

function Choice({ label, value, values, set }) {
  return html`<label><span>${label}</span><select value=${value} onChange=${(event) => set(event.target.value)}>
    ${Object.entries(values).map(
      ([name, shown]) => html`<option value=${name} key=${name}
        selected=${name === value}>${shown}</option>`,
    )}
  </select></label>`;
}

function Day({ label, value, set }) {
  return html`<label><span>${label}</span><input type="date" value=${value}
      onChange=${(event) => set(event.target.value)} /></label>`;
}

const pairText = ({ folders, groups }) =>
  `${folders.map((folder) => plain(textOf(folder))).join("  ↔  ")} (${counted(groups, "group")})`;

function PairChoice({ pairs, filters, set }) {
  const [known, setKnown] = useState([]);
  // With a pair chosen the answer has that pair alone.
  if (!filters.folders && pairs.length && pairs !== known) setKnown(pairs);
  const name = (folders) => JSON.stringify(folders);
  const shown = filters.folders ? known : pairs;
  const values = { "": "any", ...Object.fromEntries(shown.map((pair) => [name(pair.folders), pairText(pair)])) };
  return html`<${Choice} label="Folders" value=${filters.folders ? name(filters.folders) : ""} values=${values}
    set=${(value) => set({ ...filters, folders: value ? JSON.parse(value) : null })} />`;
}

function foldersIn(pairs) {
  const found = new Set();
  for (const { folders } of pairs) for (const folder of folders) if (typeof folder === "string") found.add(folder);
  return [...found].sort();
}

function FolderForm({ label, button, search, submit, value = "" }) {
  const [text, setText] = useState(value);
  return html`<form onSubmit=${(event) => {
    event.preventDefault();
    submit(text.trim());
  }}>
    <label><span>${label}</span><input type="text" list="folders" value=${text} ref=${search} spellcheck="false"
        autocomplete="off"
      onInput=${(event) => setText(event.target.value)} onKeyDown=${(event) => {
        if (event.key === "Escape") event.target.blur();
      }} /></label>
    <button type="submit">${button}</button>
  </form>`;
}

export function Filters({ filters, set, groups, search, rule }) {
  const applied = (folder) => {
    if (folder) rule(folder).catch(sayFault);
  };
  return html`<section class="filters" aria-label="Filters and rules">
    <datalist id="folders">${foldersIn(groups.folderPairs).map(
      (folder) => html`<option value=${folder}
        key=${folder} />`,
    )}</datalist>
    <${Choice} label="Show" value=${filters.kind} values=${KINDS} set=${(kind) => set({ ...filters, kind })} />
    <${Choice} label="Sort by" value=${filters.order} values=${ORDERS} set=${(order) => set({ ...filters, order })} />
    <label class="check"><input type="checkbox" checked=${filters.reverse}
        onChange=${(event) => set({ ...filters, reverse: event.target.checked })} /> reversed</label>
    <${PairChoice} pairs=${groups.folderPairs} filters=${filters} set=${set} />
    <details>
      <summary>More filters, and a rule</summary>
      <${Choice} label="Least alike" value=${String(filters.max_score || "")} values=${SCORES}
          set=${(score) => set({ ...filters, max_score: Number(score) })} />
      <${Day} label="From" value=${filters.since} set=${(since) => set({ ...filters, since })} />
      <${Day} label="until" value=${filters.until} set=${(until) => set({ ...filters, until })} />
      <${FolderForm} label="Only groups below" button="Show" search=${search} value=${filters.album}
          submit=${(album) => set({ ...filters, album })} />
      <${FolderForm} label="Keep what lies below" button="Mark groups" submit=${applied} />
    </details>
  </section>`;
}
