// The map in use: its curve of tuning, and the fits before it.
import { ask, listed } from "../api.js";
import { html } from "../html.js";
import { sayFault } from "../saying.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { duration, moment, number } from "../words.js";

const WIDTH = 560;
const HEIGHT = 220;
const LEFT = 52;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 34;
const SERIES = { trustworthiness: "trustworthiness", neighbor_recall: "neighbour recall" };

function scaled(values, from, to) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const span = most - least || 1;
  return (value) => from + ((value - least) / span) * (to - from);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// One small chart for each score: mean over what was tried at each n_neighbors.
function Chart({ name, curve, chosen }) {
  const byNeighbors = new Map();
  for (const trial of curve)
    byNeighbors.set(trial.n_neighbors, [...(byNeighbors.get(trial.n_neighbors) ?? []), trial[name]]);
  const points = [...byNeighbors].map(([x, tried]) => [x, mean(tried)]).sort((a, b) => a[0] - b[0]);
  const atX = scaled(
    points.map(([x]) => Math.log(x)),
    LEFT,
    WIDTH - RIGHT,
  );
  const scores = [...points.map(([, y]) => y), ...curve.map((trial) => trial[name])];
  const atY = scaled(scores, HEIGHT - BOTTOM, TOP);
  const place = ([x, y]) => `${atX(Math.log(x)).toFixed(1)},${atY(y).toFixed(1)}`;
  const label = `${SERIES[name]} against n_neighbors: ${points.map(([x, y]) => `${x}: ${y.toFixed(3)}`).join(", ")}`;
  return html`<figure class="chart"><figcaption>${SERIES[name]}</figcaption><svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
      role="img" aria-label=${label}>
    <line x1=${LEFT} y1=${HEIGHT - BOTTOM} x2=${WIDTH - RIGHT} y2=${HEIGHT - BOTTOM} class="axis" />
    <polyline points=${points.map(place).join(" ")} class="curve" />
    ${curve.map(
      (trial, at) => html`<circle key=${at} cx=${atX(Math.log(trial.n_neighbors))} cy=${atY(trial[name])}
        r="3" class="trial" />`,
    )}
    <circle cx=${atX(Math.log(chosen.n_neighbors))} cy=${atY(chosen[name])} r="7" class="chosen" />
    ${points.map(([x]) => html`<text key=${x} x=${atX(Math.log(x))} y=${HEIGHT - 12} text-anchor="middle">${x}</text>`)}
    ${[Math.min(...scores), Math.max(...scores)].map(
      (y) => html`<text key=${y} x=${LEFT - 8} y=${atY(y) + 4}
        text-anchor="end">${y.toFixed(3)}</text>`,
    )}
  </svg></figure>`;
}

function History({ runs }) {
  return html`<div class="scrolled" tabindex="0" role="region" aria-label="Fits"><table><thead><tr>
    ${["fit", "outcome", "kind", "ended", "images", "n_neighbors", "trustworthiness", "took", "reason"].map((title) => html`<th key=${title} scope="col">${title}</th>`)}</tr></thead>
    <tbody>${runs.map(
      (run) => html`<tr
          key=${run.id}><td>${run.id}</td><td>${run.outcome}</td><td>${run.kind}</td><td>${run.fitted_at ? moment(run.fitted_at) : ""}</td>
      <td>${run.fitted_images === null ? "" : number(run.fitted_images)}</td><td>${run.n_neighbors}</td><td>${run.trustworthiness?.toFixed(4)}</td>
      <td>${run.duration_s === null ? "" : duration(run.duration_s)}</td><td>${run.reason}${run.message && ` – ${run.message}`}</td></tr>`,
    )}</tbody></table></div>`;
}

// fitted: when the map in use was fitted; the model is asked for again when that changes.
export function Model({ fitted }) {
  const [model, setModel] = useState(null);
  const [runs, setRuns] = useState([]);
  useEffect(() => {
    const gone = new AbortController();
    if (fitted) ask("model_show", {}, gone.signal).then(setModel, sayFault);
    listed("model_history", "runs", {}, gone.signal).then(setRuns, sayFault);
    return () => gone.abort();
  }, [fitted]);
  return html`<section aria-labelledby="model-title"><h2 id="model-title">The map's model</h2>
    ${
      model
        ? html`<p>n_neighbors ${model.n_neighbors}, ${model.n_components} dimensions; fitted on ${number(model.fitted_images)} images, ${number(model.projected_images)} placed since.</p>
      ${
        model.curve.length > 1 &&
        html`<div class="charts">${Object.keys(SERIES).map(
          (name) => html`<${Chart}
          key=${name} name=${name} curve=${model.curve} chosen=${model} />`,
        )}</div>`
      }`
        : html`<p class="notes">There is no map yet.</p>`
    }
    ${runs.length > 0 && html`<${History} runs=${runs} />`}</section>`;
}
