// The facts in which the images of a group differ, and which is the better one.
import { bytes, changed, moment, pixels } from "../words.js";

const FORMATS = [
  ["DNG", "CR2", "NEF", "ARW", "RAW"],
  ["HEIF", "HEIC"],
  ["JPEG", "TIFF", "PNG", "JXL"],
  ["WEBP", "AVIF", "GIF", "BMP"],
];

function rankOf(format) {
  const rank = FORMATS.findIndex((names) => names.includes(format.toUpperCase()));
  return rank < 0 ? FORMATS.length : rank;
}

const best = (values, better) => values.reduce((most, value) => (better(value, most) ? value : most));

// name; value: what is compared; shown: how it is written; better: whether a value is better than another, or nothing
// where neither is.
const FACTS = [
  {
    name: "size",
    value: (image) => image.width * image.height,
    same: pixels,
    shown: pixels,
    better: (one, most) => one > most,
  },
  {
    name: "bytes",
    value: (image) => image.size,
    shown: (image) => bytes(image.size),
    better: (one, most) => one > most,
  },
  {
    name: "format",
    value: (image) => rankOf(image.format),
    same: (image) => image.format,
    shown: (image) => image.format,
    better: (one, most) => one < most,
  },
  {
    name: "taken",
    value: (image) => (image.taken ? 1 : 0),
    same: (image) => image.taken ?? "",
    shown: (image) => (image.taken ? `taken ${moment(image.taken)}` : "no camera time"),
    better: (one, most) => one > most,
  },
  {
    name: "file",
    value: (image) => -image.mtime_ns,
    shown: (image) => `file of ${changed(image.mtime_ns)}`,
    better: (one, most) => one > most,
  },
];

// For each image its facts that differ within the group: [{name, text, isBetter}].
export function differing(images) {
  const rows = images.map(() => []);
  for (const fact of FACTS) {
    const shown = images.map(fact.shown);
    if (new Set(images.map(fact.same ?? fact.value)).size < 2 || new Set(shown).size < 2) continue;
    const values = images.map(fact.value);
    const most = best(values, fact.better);
    const isTold = values.some((value) => value !== most);
    images.forEach((_, at) => {
      rows[at].push({ name: fact.name, text: shown[at], isBetter: isTold && values[at] === most });
    });
  }
  return rows;
}

// What all have in common and is worth saying.
export function common(images) {
  const [first] = images;
  const told = FACTS.filter(({ name }) => name !== "file" && (name !== "taken" || first.taken));
  return told.filter((fact) => new Set(images.map(fact.shown)).size === 1).map((fact) => fact.shown(first));
}
