// Alerts, the newest first, as they come.
import { ask, stream } from "../api.js";
import { html } from "../html.js";
import { OnMap } from "../map/link.js";
import { nameOfPath, Path } from "../paths.js";
import { Preview } from "../pictures.js";
import { sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { moment } from "../words.js";

const KEPT = 200;
const AGAIN_MS = 5000;

async function digestsOf(paths) {
  if (!paths.length) return new Map();
  const { images } = await ask("images", { paths });
  return new Map(images.map((image) => [nameOfPath(image.path), image.digest]));
}

// The last alerts, and each that comes; a stream that breaks is begun again where it ended.
function useAlerts() {
  const [alerts, setAlerts] = useState([]);
  const [digests, setDigests] = useState(new Map());
  useEffect(() => {
    const gone = new AbortController();
    let since = 0;
    let timer = 0;
    const follow = async () => {
      try {
        for await (const page of stream("alerts", { since, follow: true }, gone.signal)) {
          if (!page.alerts.length) continue;
          since = page.alerts.at(-1).id;
          setAlerts((before) => [...page.alerts].reverse().concat(before).slice(0, KEPT));
          const paths = page.alerts
            .slice(-KEPT)
            .flatMap((alert) => [alert.path, ...alert.matches.slice(0, 1).map((match) => match.path)]);
          const found = await digestsOf(paths);
          setDigests((before) => new Map([...before, ...found]));
        }
      } catch (error) {
        if (!gone.signal.aborted) sayFault(error);
      }
      if (!gone.signal.aborted) timer = setTimeout(follow, AGAIN_MS);
    };
    follow();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, []);
  return { alerts, digests };
}

function Alert({ alert, digests }) {
  const [match] = alert.matches;
  const own = digests.get(nameOfPath(alert.path));
  const other = match && digests.get(nameOfPath(match.path));
  return html`<li class="alert"><span class="pair">${
    own &&
    html`<${Preview} digest=${own}
      sizePx=${256} />`
  }${other && html`<${Preview} digest=${other} sizePx=${256} />`}</span>
    <div><p><span class="kind ${alert.kind}">${alert.kind}</span> <time
        datetime=${alert.time}>${moment(alert.time)}</time></p>
      <p class="where"><${Path} path=${alert.path} /></p>
      ${
        match
          ? html`<p class="where more">${match.done || "the same picture"}: <${Path}
          path=${match.path} /></p>`
          : html`<p class="notes">${alert.message}</p>`
      }
      ${
        alert.watched.length > 0 &&
        html`<p
          class="notes">contains your work ${alert.watched.map((work) => work.name).join(", ")}</p>`
      }
      ${
        own &&
        html`<p class="tools"><a href=${`#/ask/${own}`}>Like this</a> <${OnMap}
          digest=${own} /></p>`
      }</div></li>`;
}

export function Alerts() {
  const { alerts, digests } = useAlerts();
  return html`<section aria-labelledby="alerts-title"><h2 id="alerts-title">Alerts</h2>
    ${
      alerts.length
        ? html`<ul class="alerts" aria-live="polite">${alerts.map(
            (alert) => html`<${Alert} key=${alert.id}
            alert=${alert} digests=${digests} />`,
          )}</ul>`
        : html`<p class="notes">None yet. A new file that copies an old one appears here by itself.</p>`
    }</section>`;
}
