// Keys that say what becomes of a group, in the queue and in the comparison; and why they may do nothing.
import { sayFault } from "../saying.js";
import * as plan from "./plan.js";

export function refusals(queue, groups) {
  const none = () => {
    if (queue.current()) return "";
    return groups.total === 0 ? "There is no group here." : "The group is not here yet.";
  };
  const goes = () =>
    none() || (plan.canGo(queue.current()) ? "" : "Shots are different pictures: none is proposed for the trash.");
  const decided = () =>
    none() ||
    (plan.choiceOf(queue.current()).verdict === plan.DISMISSED
      ? "It is marked as no duplicates: Ctrl+Z takes that back."
      : "");
  return {
    none,
    goes: () => goes() || decided(),
    decided,
    numbered: (name) =>
      goes() || decided() || (Number(name) > queue.current().images.length ? `There is no picture ${name} here.` : ""),
    undone: () => (plan.lastStep() ? "" : "There is nothing to take back."),
  };
}

const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

export function verdictKeys(queue, groups) {
  const may = refusals(queue, groups);
  const at = () => queue.place.index;
  return [
    {
      names: DIGITS,
      shown: "1 – 9",
      what: "keep this picture, the rest goes",
      refusal: may.numbered,
      act: (name) => queue.decide(at(), (group) => plan.chooseKeeper(group, Number(name) - 1)),
    },
    {
      names: ["Enter"],
      shown: "Enter",
      what: "accept what is proposed",
      refusal: may.goes,
      act: () => queue.decide(at(), plan.accept),
    },
    {
      names: ["x"],
      shown: "X",
      what: "leave the chosen picture out: it stays",
      refusal: may.goes,
      act: () => plan.toggleOut(queue.current(), queue.place.picture),
    },
    {
      names: ["k"],
      shown: "K",
      what: "keep all of the group",
      refusal: may.goes,
      act: () => queue.decide(at(), plan.keepAll),
    },
    {
      names: ["n"],
      shown: "N",
      what: "not duplicates: remember that for good",
      refusal: may.decided,
      act: () => queue.decide(at(), plan.dismiss),
    },
    {
      names: ["Ctrl+z"],
      shown: "Ctrl Z",
      what: "take the last step back, also a whole batch",
      refusal: may.undone,
      act: () => queue.undo().catch(sayFault),
    },
  ];
}
