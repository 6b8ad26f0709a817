// The queue: walk through the groups, mark in passing, apply at the end.
import { isBelow, plain } from "../paths.js";
import { say, sayFault } from "../saying.js";
import { useCell } from "../cells.js";
import { html } from "../html.js";
import { useKeys } from "../keys.js";
import { goToMap } from "../map/link.js";
import { useEffect, useMemo, useReducer, useRef, useState } from "../vendor/hooks.js";
import { Windowed } from "../windowed.js";
import { bytes, counted, number } from "../words.js";
import { Compare } from "../compare/compare.js";
import { MODE_KEYS } from "../compare/keys.js";
import { Card } from "./card.js";
import { Filters } from "./filters.js";
import { Groups } from "./groups.js";
import * as plan from "./plan.js";
import { PlanBar } from "./planbar.js";
import { refusals, verdictKeys } from "./verdicts.js";

const START = {
  kind: "",
  order: "space",
  reverse: false,
  album: "",
  folders: null,
  max_score: 0,
  since: "",
  until: "",
};
const AHEAD = 40; // Groups that are fetched before they are reached.

function paramsOf(filters) {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value));
}

// The next group without a verdict, from `start` on; the last one when there is none.
async function nextOpen(groups, start) {
  for (let index = start; index < groups.total; index += 1) {
    const group = await groups.at(index);
    if (group && !plan.choiceOf(group).verdict) return index;
  }
  return null;
}

// Where the queue stands, and what a person can do there: one set of actions for keys, clicks and the comparison.
function useQueue(groups) {
  const [place, setPlace] = useState({ index: 0, picture: 0, reveal: 0 });
  const [compared, setCompared] = useState(null);
  const latest = useRef(place);
  latest.current = place;

  const moveTo = (index, picture = 0) => {
    if (index < 0 || index >= groups.total) return false;
    groups.want(index, Math.min(groups.total, index + AHEAD));
    latest.current = { index, picture, reveal: latest.current.reveal + 1 };
    setPlace(latest.current);
    return true;
  };
  const current = () => groups.get(latest.current.index);

  async function onward(from) {
    const next = await nextOpen(groups, from + 1);
    if (next === null) say("That was the last open group.");
    else {
      moveTo(next);
      setCompared((before) => before && { ...before, picture: 1 });
    }
  }

  // A verdict on a group, then on to the next open one.
  function decide(index, act) {
    const group = groups.get(index);
    if (!group) return;
    Promise.resolve(act(group)).catch(sayFault);
    onward(index).catch(sayFault);
  }

  async function undo() {
    const last = await plan.undo();
    if (!last) return;
    say(`Taken back: ${last.what}`);
    if (last.run) groups.reload();
    const at = last.group ? groups.indexOf(last.group) : -1;
    if (at >= 0) moveTo(at);
  }

  return {
    place,
    compared,
    setCompared,
    moveTo,
    current,
    undo,
    decide,
    compare: (picture = latest.current.picture, mode = "blink") => setCompared({ picture: picture || 1, mode }),
    reset: () => {
      latest.current = { ...latest.current, index: 0, picture: 0 };
      setPlace(latest.current);
    },
    pick: (picture) => {
      latest.current = { ...latest.current, picture };
      setPlace(latest.current);
    },
    enter: (index) => {
      if (index !== latest.current.index) setPlace({ ...latest.current, index, picture: 0 });
    },
  };
}

function step(queue, groups, by) {
  const index = queue.place.index + by;
  if (index < 0) return "This is the first group.";
  return index >= groups.total ? "This is the last group." : "";
}

function picked(queue, by) {
  const picture = queue.place.picture + by;
  const { images } = queue.current();
  if (picture < 0) return "This is the first picture.";
  return picture >= images.length ? "This is the last picture." : "";
}

function queueKeys(queue, groups, search) {
  const may = refusals(queue, groups);
  const byOf = (name) => (name === "ArrowUp" || name === "ArrowLeft" ? -1 : 1);
  const digest = () => queue.current().images[queue.place.picture].digest;
  return [
    {
      names: ["ArrowUp", "ArrowDown"],
      shown: "↑ ↓",
      what: "group before, next group",
      refusal: (name) => may.none() || step(queue, groups, byOf(name)),
      act: (name) => queue.moveTo(queue.place.index + byOf(name)),
    },
    {
      names: ["ArrowLeft", "ArrowRight"],
      shown: "← →",
      what: "picture before, next picture",
      refusal: (name) => may.none() || picked(queue, byOf(name)),
      act: (name) => queue.pick(queue.place.picture + byOf(name)),
    },
    ...verdictKeys(queue, groups),
    { names: ["c"], shown: "C", what: "compare in large", refusal: may.none, act: () => queue.compare() },
    {
      names: Object.keys(MODE_KEYS),
      shown: "B S D V",
      what: "compare at once: blink, side by side, difference, slider",
      refusal: may.none,
      act: (name) => queue.compare(undefined, MODE_KEYS[name]),
    },
    {
      names: ["l"],
      shown: "L",
      what: "what else looks like this",
      refusal: may.none,
      act: () => {
        location.hash = `#/ask/${digest()}`;
      },
    },
    {
      names: ["m"],
      shown: "M",
      what: "show it on the map",
      refusal: may.none,
      act: () => goToMap(digest()),
    },
    { names: ["/"], shown: "/", what: "search a folder", act: search },
  ];
}

function useGroups(filters) {
  const [loaded, load] = useReducer((count) => count + 1, 0);
  const groups = useMemo(() => new Groups(paramsOf(filters)), [filters, loaded]);
  groups.reload = load;
  groups.outdated = load;
  useEffect(() => {
    groups.at(0).catch(sayFault);
    return () => groups.leave();
  }, [groups]);
  useCell(groups.changes);
  return groups;
}

function Empty({ groups }) {
  if (groups.total === null) return html`<p class="quiet" aria-busy="true">Asking for groups…</p>`;
  return html`<p class="quiet">No duplicates here. The daemon looks at every new file.</p>`;
}

function Waiting({ index }) {
  return html`<article class="group waiting" data-index=${index} key=${`waiting-${index}`} aria-busy="true"></article>`;
}

export function Queue() {
  const [filters, setFilters] = useState(START);
  const groups = useGroups(filters);
  const queue = useQueue(groups);
  const search = useRef(null);
  const changed = useCell(plan.changes);
  // Other filters begin at the top; the same groups, asked for again, where one was.
  useEffect(() => {
    if (groups.total) queue.moveTo(Math.min(queue.place.index, groups.total - 1));
  }, [groups, groups.total]);
  useKeys(
    "Duplicates",
    queueKeys(queue, groups, () => {
      search.current.closest("details").open = true;
      search.current.focus();
    }),
  );

  const actionsOf = (index) => ({
    enter: () => queue.enter(index),
    choose: (picture) => {
      queue.enter(index);
      queue.pick(picture);
    },
    compare: (picture) => {
      queue.moveTo(index, picture);
      queue.compare(picture);
    },
    keep: (picture) => queue.decide(index, (group) => plan.chooseKeeper(group, picture)),
    leaveOut: (picture) => plan.toggleOut(groups.get(index), picture),
    accept: () => queue.decide(index, plan.accept),
    keepAll: () => queue.decide(index, plan.keepAll),
    dismiss: () => queue.decide(index, plan.dismiss),
    reopen: () => plan.reopen(groups.get(index)),
  });
  const item = (index) => {
    const group = groups.get(index);
    if (!group) return html`<${Waiting} index=${index} key=${`waiting-${index}`} />`;
    return html`<${Card} key=${group.id} group=${group} index=${index} total=${groups.total}
        isCurrent=${index === queue.place.index}
      chosen=${queue.place.picture} actions=${actionsOf(index)} version=${changed} />`;
  };
  const rule = async (folder) => {
    const count = await plan.keepBelow(groups.all(), (image) => isBelow(image.path, folder));
    say(
      count
        ? `${counted(count, "group")} marked: what lies below ${plain(folder)} is kept.`
        : "No open group has images below and beside that folder.",
    );
  };
  return html`<main class="queue" id="content">
    <h1 class="unseen">Duplicates</h1>
    <${Filters} filters=${filters} set=${(next) => {
      queue.reset();
      setFilters(next);
    }} groups=${groups} search=${search} rule=${rule} />
    ${
      groups.total
        ? html`<${Windowed} key=${groups} count=${groups.total} item=${item} current=${queue.place.index}
            reveal=${queue.place.reveal}
        seen=${(first, last) => groups.want(first, last)} label="Groups of duplicates"
            version=${groups.changes.value} />`
        : html`<${Empty} groups=${groups} />`
    }
    <${PlanBar} undo=${queue.undo} reload=${groups.reload}
        note=${groups.total ? `${number(queue.place.index + 1)} of ${counted(groups.total, "group")}, ${bytes(groups.saves)} to win` : ""} />
    ${
      queue.compared !== null &&
      queue.current() &&
      html`<${Compare} group=${queue.current()} at=${queue.compared} queue=${queue} groups=${groups}
      close=${() => {
        queue.setCompared(null);
        queue.moveTo(queue.place.index, queue.place.picture);
      }} />`
    }
  </main>`;
}
