// What was decided and resolved, each with its way back.
import { ask, listed } from "../api.js";
import { html } from "../html.js";
import { OnMap } from "../map/link.js";
import { nameOfPath, Path } from "../paths.js";
import { Preview } from "../pictures.js";
import { undoRun } from "../queue/plan.js";
import { say, sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { counted, moment, number } from "../words.js";

const SHOWN = 200;

// A list that is asked for again when the daemon's clock has moved, or by hand.
function useList(method, field, clock) {
  const [entries, setEntries] = useState(null);
  const [asked, again] = useState(0);
  useEffect(() => {
    const gone = new AbortController();
    listed(method, field, {}, gone.signal).then(setEntries, sayFault);
    return () => gone.abort();
  }, [clock, asked]);
  return [entries, () => again((count) => count + 1)];
}

function Files({ digest, paths }) {
  return html`<span class="of"><${Preview} digest=${digest}
      sizePx=${256} /><span>${
        paths.length
          ? paths.map(
              (path) => html`<${Path} key=${nameOfPath(path)}
          path=${path} /> `,
            )
          : html`<em class="notes">no file has these bytes now</em>`
      } ${paths.length > 0 && html`<${OnMap} digest=${digest} />`}</span></span>`;
}

function Decisions({ clock }) {
  const [decisions, again] = useList("decisions", "decisions", clock);
  const takeBack = async (decision) => {
    await ask("dismiss_all", { pairs: [[decision.digest, decision.other_digest]], undo: true });
    say("Taken back: the two may be duplicates again.");
    again();
  };
  if (!decisions?.length) return html`<p class="notes">Nothing was marked as no duplicates.</p>`;
  const newest = [...decisions].reverse();
  return html`<ul class="decisions">${newest.slice(0, SHOWN).map(
    (decision) => html`<li key=${`${decision.digest} ${decision.other_digest}`}>
      <time datetime=${decision.decided_at}>${moment(decision.decided_at)}</time>
      <${Files} digest=${decision.digest} paths=${decision.paths} /><span
          class="notes">${decision.digest === decision.other_digest ? "all are wanted" : "is no duplicate of"}</span>
      ${
        decision.digest !== decision.other_digest &&
        html`<${Files} digest=${decision.other_digest}
          paths=${decision.other_paths} />`
      }
      <button type="button" onClick=${() => takeBack(decision).catch(sayFault)}>Take back</button></li>`,
  )}</ul>
    ${newest.length > SHOWN && html`<p class="notes">and ${number(newest.length - SHOWN)} older</p>`}`;
}

function counts(run) {
  return ["done", "skipped", "undone", "planned", "begun"]
    .filter((state) => run[state])
    .map((state) => `${number(run[state])} ${state}`)
    .join(", ");
}

// Where what a task is about lies on the map: the image that was kept while the file is away, else the file itself.
function PlaceOf({ task }) {
  if (task.state !== "done" && task.state !== "begun") return html`<${OnMap} digest=${task.digest} />`;
  return task.keep_digest && html`<${OnMap} digest=${task.keep_digest} words="The kept image on the map" />`;
}

// The files of a run, each with its way back.
function Tasks({ run, clock }) {
  const [tasks, setTasks] = useState(null);
  const [asked, again] = useState(0);
  useEffect(() => {
    const gone = new AbortController();
    listed("resolve_tasks", "tasks", { run }, gone.signal).then(setTasks, sayFault);
    return () => gone.abort();
  }, [run, clock, asked]);
  const takeBack = async (task) => {
    const end = await undoRun(run, [task.task]);
    say(
      end.undone ? "It came back." : "It could not come back: something lies in its place, or the trash was emptied.",
    );
    again(asked + 1);
  };
  return html`<ul class="tasks">${tasks?.slice(0, SHOWN).map(
    (
      task,
    ) => html`<li key=${task.task}><${Path} path=${task.path} /><span class="why">${task.reason || task.state}</span>
    <${PlaceOf} task=${task} />
    ${
      task.state === "done" &&
      html`<button type="button"
        onClick=${() => takeBack(task).catch(sayFault)}>Bring back</button>`
    }</li>`,
  )}</ul>`;
}

function Run({ run, clock, busy, takeBack }) {
  const [isOpen, setOpen] = useState(false);
  return html`<li><time
      datetime=${run.started_at}>${moment(run.started_at)}</time> <span>run ${run.run}: ${counts(run)}${run.open ? ", broken off" : ""}</span>
    <button type="button" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>Files</button>
    ${
      run.done + run.begun > 0 &&
      html`<button type="button" disabled=${busy !== null}
        onClick=${() => takeBack(run).catch(sayFault)}>${busy === run.run ? "Bringing back…" : "Bring all back"}</button>`
    }
    ${isOpen && html`<${Tasks} run=${run.run} clock=${clock} />`}</li>`;
}

function Resolves({ clock }) {
  const [runs, again] = useList("resolve_runs", "runs", clock);
  const [busy, setBusy] = useState(null);
  const takeBack = async (run) => {
    setBusy(run.run);
    try {
      const end = await undoRun(run.run);
      say(`${counted(end.undone, "file")} came back${end.left ? `; ${counted(end.left, "file")} could not` : ""}.`);
    } finally {
      setBusy(null);
      again();
    }
  };
  if (!runs?.length) return html`<p class="notes">Nothing was moved to the trash by cbir.</p>`;
  return html`<ul class="runs">${runs.slice(0, SHOWN).map(
    (run) => html`<${Run} key=${run.run} run=${run}
      clock=${clock} busy=${busy} takeBack=${takeBack} />`,
  )}</ul>`;
}

export function Past({ clock }) {
  return html`<section aria-labelledby="decisions-title"><h2 id="decisions-title">Not duplicates</h2><${Decisions}
      clock=${clock} /></section>
    <section aria-labelledby="runs-title"><h2 id="runs-title">Moved to the trash</h2><${Resolves}
        clock=${clock} /></section>`;
}
