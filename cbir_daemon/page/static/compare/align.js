// How a copy lies on what is kept: the daemon's transform, made exact to the pixel by the two previews.
//
// A matrix is nine numbers, row by row, on (x, y, 1): x to the right and y down, from -1 to 1 over each picture.  It leads
// from a point of the copy to the point of the kept picture that shows the same.
export const IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1];

// Longer side of the pictures while the matrix is refined, and steps at most.
const STAGES = [
  [72, 14],
  [192, 8],
  [448, 5],
];
const LEAST_OVERLAP = 0.08; // Share of the kept picture; on less nothing is refined.

export function product(a, b) {
  const made = [];
  for (let row = 0; row < 3; row += 1) {
    for (let column = 0; column < 3; column += 1) {
      made.push(a[3 * row] * b[column] + a[3 * row + 1] * b[3 + column] + a[3 * row + 2] * b[6 + column]);
    }
  }
  return made;
}

export function applied(m, x, y) {
  const w = m[6] * x + m[7] * y + m[8];
  return [(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w];
}

export function inverse(m) {
  const [a, b, c, d, e, f, g, h, i] = m;
  const made = [
    e * i - f * h,
    c * h - b * i,
    b * f - c * e,
    f * g - d * i,
    a * i - c * g,
    c * d - a * f,
    d * h - e * g,
    b * g - a * h,
    a * e - b * d,
  ];
  const determinant = a * made[0] + b * made[3] + c * made[6];
  return determinant ? made.map((value) => value / determinant) : null;
}

// From -1 to 1 over a picture to its pixels.
export const toPixels = (width, height) => [width / 2, 0, width / 2, 0, height / 2, height / 2, 0, 0, 1];
const fromPixels = (width, height) => [2 / width, 0, -1, 0, 2 / height, -1, 0, 0, 1];

// A matrix between two pictures of these pixels.
export function inPixels(m, copy, kept) {
  return product(toPixels(kept.width, kept.height), product(m, fromPixels(copy.width, copy.height)));
}

export const css = (m) =>
  `matrix3d(${[m[0], m[3], 0, m[6], m[1], m[4], 0, m[7], 0, 0, 1, 0, m[2], m[5], 0, m[8]].map((value) => value.toFixed(9)).join(",")})`;

export const CORNERS = [
  [-1, -1],
  [1, -1],
  [1, 1],
  [-1, 1],
];

// Whether the copy shows all of the kept picture and nothing else, to a hundredth.
export const covers = (m) =>
  CORNERS.every(([x, y]) => applied(m, x, y).every((value) => Math.abs(Math.abs(value) - 1) < 0.01));

// Whether the copy shows the kept picture mirrored.
export const isMirrored = (m) => m[0] * m[4] - m[1] * m[3] < 0;

// -- refining ------------------------------------------------------------------------------------------------------------

function greyOf(picture, sidePx) {
  const scale = Math.min(1, sidePx / Math.max(picture.naturalWidth, picture.naturalHeight));
  const width = Math.max(8, Math.round(picture.naturalWidth * scale));
  const height = Math.max(8, Math.round(picture.naturalHeight * scale));
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, width, height);
  const { data } = pen.getImageData(0, 0, width, height);
  const grey = new Float32Array(width * height);
  for (let at = 0; at < grey.length; at += 1)
    grey[at] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
  return { width, height, grey };
}

// Solve a small system of equations by elimination with pivots; null when it has no answer.
function solved(matrix, right) {
  const size = right.length;
  const rows = matrix.map((row, at) => [...row, right[at]]);
  for (let at = 0; at < size; at += 1) {
    let pivot = at;
    for (let row = at + 1; row < size; row += 1) if (Math.abs(rows[row][at]) > Math.abs(rows[pivot][at])) pivot = row;
    if (Math.abs(rows[pivot][at]) < 1e-9) return null;
    [rows[at], rows[pivot]] = [rows[pivot], rows[at]];
    for (let row = 0; row < size; row += 1) {
      if (row === at) continue;
      const factor = rows[row][at] / rows[at][at];
      for (let column = at; column <= size; column += 1) rows[row][column] -= factor * rows[at][column];
    }
  }
  return rows.map((row, at) => row[size] / row[at]);
}

// Unknowns of a step: six of the matrix, gain and offset.
const UNKNOWNS = 8;

// For each pixel of the kept picture that the copy shows: its derivatives by the unknowns, and what is unexplained.
//
// `back` leads from pixels of the kept picture to pixels of the copy.
function compared(kept, copy, back, tone) {
  const rows = new Float64Array(UNKNOWNS * kept.grey.length);
  const rests = new Float64Array(kept.grey.length);
  let count = 0;
  for (let y = 1; y < kept.height - 1; y += 1) {
    for (let x = 1; x < kept.width - 1; x += 1) {
      // A pixel lies half a pixel from its edges.
      const px = x + 0.5;
      const py = y + 0.5;
      const w = back[6] * px + back[7] * py + 1;
      const atX = (back[0] * px + back[1] * py + back[2]) / w - 0.5;
      const atY = (back[3] * px + back[4] * py + back[5]) / w - 0.5;
      const left = Math.floor(atX);
      const top = Math.floor(atY);
      if (left < 0 || top < 0 || left >= copy.width - 1 || top >= copy.height - 1) continue;
      const at = top * copy.width + left;
      const u = atX - left;
      const v = atY - top;
      const a = copy.grey[at];
      const b = copy.grey[at + 1];
      const c = copy.grey[at + copy.width];
      const d = copy.grey[at + copy.width + 1];
      const upper = a + (b - a) * u;
      const lower = c + (d - c) * u;
      const value = upper + (lower - upper) * v;
      const gx = tone.gain * ((b - a) * (1 - v) + (d - c) * v);
      const gy = tone.gain * (lower - upper);
      rows.set([gx * px, gx * py, gx, gy * px, gy * py, gy, value, 1], UNKNOWNS * count);
      rests[count] = kept.grey[y * kept.width + x] - tone.gain * value - tone.offset;
      count += 1;
    }
  }
  return { rows: rows.subarray(0, UNKNOWNS * count), rests: rests.subarray(0, count), count };
}

// One step of Gauss and Newton on kept = gain * copy(matrix) + offset.  Differences beyond twice the median count less:
// letters and stickers lie on one of the two.
function improved(kept, copy, back, tone) {
  const { rows, rests, count } = compared(kept, copy, back, tone);
  if (count < LEAST_OVERLAP * kept.grey.length) return null;
  const sizes = rests.map(Math.abs).sort();
  const limit = 2 * sizes[count >> 1] + 1;
  const sums = new Float64Array(UNKNOWNS * UNKNOWNS);
  const right = new Array(UNKNOWNS).fill(0);
  let cost = 0;
  for (let at = 0; at < count; at += 1) {
    const size = Math.abs(rests[at]);
    const weight = size > limit ? limit / size : 1;
    const first = UNKNOWNS * at;
    cost += Math.min(size, limit);
    for (let i = 0; i < UNKNOWNS; i += 1) {
      const weighted = weight * rows[first + i];
      right[i] += weighted * rests[at];
      for (let j = i; j < UNKNOWNS; j += 1) sums[UNKNOWNS * i + j] += weighted * rows[first + j];
    }
  }
  const value = (i, j) => sums[UNKNOWNS * Math.min(i, j) + Math.max(i, j)] * (i === j ? 1.0001 : 1);
  const normal = right.map((_, i) => right.map((__, j) => value(i, j)));
  const move = solved(normal, right);
  return move && { move, cost: cost / count };
}

const moved = (back, move) => back.map((value, at) => value + (at < 6 ? move[at] : 0));

function refinedAt([sidePx, steps], keptPicture, copyPicture, matrix, tone) {
  const kept = greyOf(keptPicture, sidePx);
  const copy = greyOf(copyPicture, sidePx);
  let back = inverse(inPixels(matrix, copy, kept));
  let held = { ...tone };
  let best = null;
  if (!back) return null;
  back = back.map((value) => value / back[8]);
  for (let count = 0; count < steps; count += 1) {
    const step = improved(kept, copy, back, held);
    if (!step) break;
    if (!best || step.cost < best.cost) best = { back, tone: { ...held }, cost: step.cost };
    back = moved(back, step.move);
    held = { gain: held.gain + step.move[6], offset: held.offset + step.move[7] };
  }
  if (!best) return null;
  const forth = inverse(best.back);
  return (
    forth && {
      ...best,
      matrix: product(fromPixels(kept.width, kept.height), product(forth, toPixels(copy.width, copy.height))),
    }
  );
}

// The matrix and the tone at which two loaded pictures agree best, near those of the daemon.
//
// tone: kept grey = gain * copy grey + offset.  Where nothing better is found, what was given comes back.
export function refined(keptPicture, copyPicture, matrix, tone) {
  let found = { matrix, tone };
  for (const stage of STAGES) {
    const better = refinedAt(stage, keptPicture, copyPicture, found.matrix, found.tone);
    if (better && better.tone.gain * tone.gain > 0) found = { matrix: better.matrix, tone: better.tone };
  }
  return found;
}
