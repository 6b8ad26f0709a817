// What the daemon is at: state and problems, alerts as they come, unreadable files, the model, decisions and resolves.
import { ask } from "../api.js";
import { html } from "../html.js";
import { Path, textOf } from "../paths.js";
import { sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { counted, duration, moment, number, percent } from "../words.js";
import { Alerts } from "./alerts.js";
import { Errors } from "./errors.js";
import { Model } from "./model.js";
import { Past } from "./past.js";

const POLL_MS = 2000;

function useStatus() {
  const [status, setStatus] = useState(null);
  const [isAway, setAway] = useState(false);
  useEffect(() => {
    const gone = new AbortController();
    let timer = 0;
    const look = async () => {
      try {
        setStatus(await ask("status", {}, gone.signal));
        setAway(false);
      } catch (error) {
        if (!gone.signal.aborted) {
          setAway(true);
          sayFault(error);
        }
      }
      if (!gone.signal.aborted) timer = setTimeout(look, POLL_MS);
    };
    look();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, []);
  return { status, isAway };
}

function Bar({ label, share, note }) {
  return html`<p class="bar"><span>${label}</span><progress max="1" value=${share}
      aria-label=${label}></progress><span class="notes">${note}</span></p>`;
}

function Progress({ status }) {
  const { progress, refit } = status;
  const rest = progress?.remaining_s;
  return html`
    ${
      progress &&
      html`<${Bar} label="Indexing" share=${progress.found ? progress.done / progress.found : 0}
      note=${`${number(progress.done)} of ${number(progress.found)}${rest ? `, ${duration(rest)} to go` : ""}`} />`
    }
    ${
      refit.progress &&
      html`<${Bar} label="Fitting the map" share=${refit.progress.fraction}
      note=${[refit.progress.stage, refit.progress.message].filter(Boolean).join(": ")} />`
    }
    ${
      status.duplicates_pending > 0 &&
      html`<p
        class="notes">${counted(status.duplicates_pending, "content")} still to be compared for duplicates</p>`
    }
    ${
      status.looks_pending > 0 &&
      html`<p
        class="notes">${counted(status.looks_pending, "content")} still to be described</p>`
    }`;
}

// A command stands between backticks.
function Advice({ text }) {
  return text.split("`").map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));
}

function Problems({ problems }) {
  if (!problems.length) return html`<p class="fine">Nothing is wrong.</p>`;
  return html`<ul class="problems">${problems.map(
    (problem) => html`<li
      key=${problem.what}><strong>${problem.what}</strong> <span class="notes"><${Advice} text=${problem.do} /></span></li>`,
  )}</ul>`;
}

function Albums({ albums }) {
  return html`<ul class="albums">${albums.map(
    (album) => html`<li key=${textOf(album.path)}><span class="state ${album.state}">${album.state}</span>
    <${Path} path=${album.path} /> <span
        class="notes">${counted(album.images, "image")}, ${counted(album.errors, "error")}</span></li>`,
  )}</ul>`;
}

function refitText({ changed_fraction: changed, threshold, waits_for: waits }) {
  if (changed === null) return "";
  return ` ${percent(changed)} changed since the fit; a new one is due above ${percent(threshold)}${waits ? `, and waits for ${waits}` : ""}.`;
}

function State({ status, isAway }) {
  return html`<section aria-labelledby="state-title"><h2
      id="state-title">${isAway ? "The daemon does not answer" : status.state}</h2>
    <p>${counted(status.images, "image")} of ${counted(status.contents, "content")}, ${counted(status.errors, "error")}, ${number(status.pending)} pending.
      ${refitText(status.refit)} cbir ${status.version}, running since ${moment(status.started_at)}.</p>
    <${Progress} status=${status} /><${Problems} problems=${status.problems} /><${Albums}
        albums=${status.albums} /></section>`;
}

export function See() {
  const { status, isAway } = useStatus();
  return html`<main class="see" id="content"><h1 class="unseen">State</h1>
    ${
      status
        ? html`<${State} status=${status} isAway=${isAway} />`
        : html`<p class="quiet"
        aria-busy="true">Asking the daemon…</p>`
    }
    <${Alerts} />
    ${status && html`<${Errors} count=${status.errors} />`}
    <${Model} fitted=${status?.model?.fitted_at} />
    <${Past} clock=${status?.clock} />
  </main>`;
}
