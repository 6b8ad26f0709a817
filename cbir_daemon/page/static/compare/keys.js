// The keys of the comparison.
import { goToMap } from "../map/link.js";
import { dismissOne } from "../queue/plan.js";
import { verdictKeys } from "../queue/verdicts.js";
import { say, sayFault } from "../saying.js";

// Keys that open the comparison in a mode, and change it.
export const MODE_KEYS = { b: "blink", s: "side", d: "difference", v: "slider" };

export const STEP = 1.4; // Of a zoom by keys and buttons.

function viewKeys({ view, zoom, fit, pixelForPixel }) {
  return [
    { names: ["+", "="], shown: "+", what: "zoom in", act: () => zoom(STEP) },
    {
      names: ["-"],
      shown: "−",
      what: "zoom out",
      act: () => zoom(1 / STEP),
      refusal: () => (view.zoom > 1 ? "" : "All of it is in sight."),
    },
    { names: ["0"], shown: "0", what: "all of it", act: fit },
    { names: ["p"], shown: "P", what: "pixel for pixel, or all of it", act: pixelForPixel },
  ];
}

function modeKeys({ mode, flip, setMode, alignment, isAligned, toggleAligned, toggleToned }) {
  return [
    {
      names: ["b"],
      shown: "B",
      what: "blink: flip in place",
      act: () => (mode === "blink" ? flip() : setMode("blink")),
    },
    { names: ["s"], shown: "S", what: "side by side", act: () => setMode("side") },
    { names: ["d"], shown: "D", what: "difference", act: () => setMode("difference") },
    { names: ["v"], shown: "V", what: "slider", act: () => setMode("slider") },
    {
      names: ["a"],
      shown: "A",
      what: "lay the copy upon the kept picture, or not",
      act: toggleAligned,
      refusal: () => (alignment.state === "known" ? "" : "How they lie on each other is not known."),
    },
    {
      names: ["t"],
      shown: "T",
      what: "give the copy the tones of the kept picture, or not",
      act: toggleToned,
      refusal: () => (isAligned ? "" : "The pictures are not aligned."),
    },
  ];
}

function walkKeys({ group, index, show, queue, mode }) {
  const last = group.images.length - 1;
  const byOf = (name) => (name === "ArrowUp" || name === "ArrowLeft" ? -1 : 1);
  const end = (name) => {
    if (byOf(name) < 0) return index === 1 ? "This is the first copy." : "";
    return index === last ? "This is the last copy." : "";
  };
  return [
    {
      names: ["ArrowLeft", "ArrowRight"],
      shown: "← →",
      what: "copy before, next copy",
      refusal: end,
      act: (name) => show(byOf(name)),
    },
    {
      names: ["ArrowUp", "ArrowDown"],
      shown: "↑ ↓",
      what: "group before, next group",
      act: (name) => {
        if (queue.moveTo(queue.place.index + byOf(name))) queue.setCompared({ picture: 1, mode });
        else say("There is no further group.", "refused");
      },
    },
    {
      names: ["m"],
      shown: "M",
      what: "show the copy on the map",
      act: () => goToMap(group.images[index].digest),
    },
    {
      names: ["u"],
      shown: "U",
      what: "this one is no duplicate of the others: remember that for good",
      refusal: () => (last > 1 ? "" : "There are only two: N says so of both."),
      act: () => dismissOne(group, index).catch(sayFault),
    },
  ];
}

// comparison: what `Compare` shows, and its actions.
export function compareKeys(comparison) {
  const { queue, groups, index, close } = comparison;
  return [
    ...modeKeys(comparison),
    ...viewKeys(comparison),
    ...walkKeys(comparison),
    ...verdictKeys({ ...queue, place: { ...queue.place, picture: index } }, groups),
    { names: ["Escape", "c"], shown: "Esc", what: "back to the queue", act: close },
  ];
}
