// The foot of the queue: what the plan holds, and the one button that applies it.
import { useCell } from "../cells.js";
import { Dialog } from "../dialog.js";
import { html } from "../html.js";
import { Path, textOf } from "../paths.js";
import { say, sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { bytes, counted } from "../words.js";
import * as plan from "./plan.js";

const SHOWN_TASKS = 500;

function Tasks({ tasks }) {
  return html`<ul class="tasks">${tasks.slice(0, SHOWN_TASKS).map(
    (task) => html`
    <li key=${textOf(task.path)} class=${task.state}><${Path} path=${task.path} />
      <span class="why">${task.reason || bytes(task.size)}</span></li>`,
  )}
    ${
      tasks.length > SHOWN_TASKS &&
      html`<li
        class="why">and ${counted(tasks.length - SHOWN_TASKS, "more file")}</li>`
    }</ul>`;
}

function PlanDialog({ close }) {
  const [seen, setSeen] = useState(null);
  useEffect(() => {
    plan.looked().then(setSeen, (error) => {
      close();
      sayFault(error);
    });
  }, []);
  const skipped = seen?.tasks.filter((task) => task.state === "skipped") ?? [];
  const planned = seen?.tasks.filter((task) => task.state !== "skipped") ?? [];
  return html`<${Dialog} title="The plan" close=${close}>
    ${
      seen
        ? html`<p>${counted(planned.length, "file")} would go to the trash, which frees ${bytes(seen.saves)}. Nothing is done yet.</p>
      ${skipped.length > 0 && html`<h3>Left alone</h3><${Tasks} tasks=${skipped} />`}
      ${planned.length > 0 && html`<h3>To the trash</h3><${Tasks} tasks=${planned} />`}`
        : html`<p aria-busy="true">Looking at the plan…</p>`
    }
  </${Dialog}>`;
}

function result(end) {
  const moved = `${counted(end.done, "file")} moved to the trash, ${bytes(end.saves)}.`;
  const skipped = end.skipped
    ? ` ${counted(end.skipped, "file")} left alone: ${end.reasons[0]?.reason ?? "see the plan"}.`
    : "";
  return `${moved}${skipped} Ctrl+Z brings all back.`;
}

export function PlanBar({ undo, reload, note }) {
  useCell(plan.changes);
  const [isOpen, setOpen] = useState(false);
  const [done, setDone] = useState(null);
  const { groups, files, saves } = plan.totals();
  const last = plan.lastStep();
  const apply = async () => {
    setDone(0);
    try {
      say(result(await plan.apply(setDone)));
      reload();
    } finally {
      setDone(null);
    }
  };
  return html`<footer class="planbar">
    <span class="note">${note}</span>
    <span class="note marked">${groups ? `${counted(groups, "group")} marked` : "nothing marked"}</span>
    <button type="button" disabled=${!last} aria-keyshortcuts="Control+z" title=${last ? `take back: ${last.what}` : ""}
      onClick=${() => undo().catch(sayFault)}>Undo</button>
    <button type="button" disabled=${!files} onClick=${() => setOpen(true)}>Look at the plan</button>
    <button type="button" class="main apply" disabled=${!files || done !== null}
        onClick=${() => apply().catch(sayFault)}>
      ${done === null ? `Move ${counted(files, "file")} to the trash · ${bytes(saves)}` : `${done} of ${counted(files, "file")}…`}</button>
    ${isOpen && html`<${PlanDialog} close=${() => setOpen(false)} />`}
  </footer>`;
}
