// Numbers and times as people read them.
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit && value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

const numerals = new Intl.NumberFormat("en");
export const number = (value) => numerals.format(value);

export const counted = (count, noun, plural = `${noun}s`) => `${number(count)} ${count === 1 ? noun : plural}`;

// How large an image is; of what is no image, what its medium says: pages, a length.
export const pixels = (image) => image.summary || `${image.width} × ${image.height}`;

export const percent = (share) => `${Math.round(share * 100)} %`;

// 2019-07-15T09:10:11 -> 2019-07-15 09:10:11
export const moment = (time) => time.replace("T", " ").replace(/(\.\d+)?\+00:00$/, "");

// When the file changed, in the time of this machine.
export function changed(mtimeNs) {
  const at = new Date(mtimeNs / 1e6);
  const two = (value) => String(value).padStart(2, "0");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
