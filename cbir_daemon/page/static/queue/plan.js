// What was decided: a choice for each group, the plan that follows, and the way back.
//
// Nothing here touches a file.  A choice is a draft until it has a verdict; only groups with the verdict "accepted" are
// in the plan.
import { ask, stream } from "../api.js";
import { cell } from "../cells.js";
import { nameOfPath } from "../paths.js";
import { counted } from "../words.js";

export const ACCEPTED = "accepted";
export const KEPT = "kept"; // All stay, until the page is loaded again.
export const DISMISSED = "dismissed"; // No duplicates: remembered for good.

const DRAFT = { keeper: null, out: [], verdict: null };
const KEPT_STEPS = 500;
const STORED = "cbir-marks";
const SAVED_AFTER_MS = 500;

export const changes = cell(0);
const choices = restored(); // id of a group -> {group, keeper, out, verdict}
const steps = []; // {what, undo}; the latest last.

// Marks outlive a reload of the tab, not the tab.
function restored() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(STORED) ?? "[]"));
  } catch {
    return new Map(); // Written by another release.
  }
}

let saving = 0;

function save() {
  saving = 0;
  try {
    sessionStorage.setItem(STORED, JSON.stringify([...choices]));
  } catch {
    sessionStorage.removeItem(STORED); // More than a tab may store: these marks live until a reload.
  }
}

changes.subscribe(() => {
  clearTimeout(saving);
  saving = setTimeout(save, SAVED_AFTER_MS);
});
addEventListener("pagehide", () => {
  if (saving) save();
});

export const choiceOf = (group) => choices.get(group.id) ?? { group, ...DRAFT };

const FATES = { [ACCEPTED]: null, [KEPT]: "stays", [DISMISSED]: "stays" };

// What becomes of an image: "keeps" (the one or ones to keep), "goes" or "stays".
export function fateOf(choice, index) {
  const always = choice.verdict && FATES[choice.verdict];
  if (always) return always;
  if (!canGo(choice.group)) return "stays";
  const { images } = choice.group;
  if (choice.out.includes(index)) return "stays";
  if (choice.keeper === null) return images[index].keep ? "keeps" : "goes";
  // Beside the first, the daemon keeps what is protected or shows more, whatever is chosen.
  return index === choice.keeper || (index > 0 && images[index].keep) ? "keeps" : "goes";
}

export const canGo = (group) => group.kind !== "shot";

function put(group, changed) {
  const before = choices.get(group.id);
  choices.set(group.id, { ...choiceOf(group), ...changed });
  changes.value += 1;
  return () => {
    if (before) choices.set(group.id, before);
    else choices.delete(group.id);
    changes.value += 1;
  };
}

// A step that Ctrl+Z takes back; `back` may take a while.
function step(what, group, back) {
  steps.push({ what, group, undo: back });
  steps.splice(0, steps.length - KEPT_STEPS);
  changes.value += 1;
}

export function chooseKeeper(group, index) {
  const out = choiceOf(group).out.filter((at) => at !== index);
  step(`kept ${index + 1}`, group, put(group, { keeper: index, out, verdict: ACCEPTED }));
}

export function toggleOut(group, index) {
  const { out } = choiceOf(group);
  const has = out.includes(index);
  step("left one out", group, put(group, { out: has ? out.filter((at) => at !== index) : [...out, index] }));
}

export function accept(group) {
  step("accepted", group, put(group, { verdict: ACCEPTED }));
}

export function keepAll(group) {
  step("kept all", group, put(group, { verdict: KEPT }));
}

export function reopen(group) {
  step("took the mark away", group, put(group, DRAFT));
}

function pairsOf(group) {
  const digests = [...new Set(group.images.map((image) => image.digest))];
  // Files of the same bytes: the content with itself.
  if (digests.length === 1) return [[digests[0], digests[0]]];
  return digests.flatMap((digest, at) => digests.slice(at + 1).map((other) => [digest, other]));
}

// Say for good that the images of a group are no duplicates; the daemon remembers it at once.
export const dismiss = (group) => dismissed(group, pairsOf(group), { verdict: DISMISSED });

// Say for good that one image is no duplicate of the others of its group; it stays.
export function dismissOne(group, index) {
  const { digest } = group.images[index];
  const { out } = choiceOf(group);
  const pairs = pairsOf(group).filter((pair) => pair.includes(digest));
  return dismissed(group, pairs, { out: [...new Set([...out, index])] });
}

async function dismissed(group, pairs, choice) {
  const back = put(group, choice);
  step("no duplicates", group, async () => {
    await ask("dismiss_all", { pairs, undo: true });
    back();
  });
  const own = steps.at(-1);
  try {
    await ask("dismiss_all", { pairs });
  } catch (error) {
    steps.splice(steps.indexOf(own), 1);
    back();
    throw error;
  }
}

// Keep what lies below a folder, in groups that have such images and others and no verdict yet.
//
// Returns how many groups were marked; all are one step.
export async function keepBelow(groups, isBelow) {
  const backs = [];
  for await (const group of groups) {
    if (!canGo(group) || choiceOf(group).verdict) continue;
    const below = group.images.flatMap((image, index) => (isBelow(image) ? [index] : []));
    if (!below.length || below.length === group.images.length) continue;
    const [keeper, ...others] = below;
    backs.push(put(group, { keeper, out: others, verdict: ACCEPTED }));
  }
  if (backs.length) stepBack(backs, "by a rule");
  return backs.length;
}

// Accept the groups that have an image among these contents and no verdict yet; all are one step.
export async function acceptWithin(groups, digests) {
  const backs = [];
  for await (const group of groups) {
    const isHere = group.images.some((image) => digests.has(image.digest));
    if (isHere && canGo(group) && !choiceOf(group).verdict) backs.push(put(group, { verdict: ACCEPTED }));
  }
  if (backs.length) stepBack(backs, "from the map");
  return backs.length;
}

function stepBack(backs, where) {
  step(`marked ${counted(backs.length, "group")} ${where}`, null, () => {
    for (const back of backs.reverse()) back();
  });
}

export const lastStep = () => steps.at(-1) ?? null;

// Take the last step back; return it, or null without any.
export async function undo() {
  const last = steps.pop();
  if (!last) return null;
  try {
    await last.undo();
  } catch (error) {
    steps.push(last);
    throw error;
  }
  changes.value += 1;
  return last;
}

// -- the plan ----------------------------------------------------------------------------------------------------------

// Groups that share a file are one decision: a plan names each file once.
function decisions() {
  const roots = new Map();
  const byPath = new Map();
  const rootOf = (id) => {
    let root = id;
    while (roots.get(root) !== root) root = roots.get(root);
    return root;
  };
  const accepted = [...choices.values()].filter((choice) => choice.verdict === ACCEPTED && canGo(choice.group));
  for (const { group } of accepted) {
    roots.set(group.id, group.id);
    for (const image of group.images) {
      const name = nameOfPath(image.path);
      if (byPath.has(name)) roots.set(rootOf(byPath.get(name)), rootOf(group.id));
      byPath.set(name, group.id);
    }
  }
  const merged = new Map();
  for (const choice of accepted) {
    const root = rootOf(choice.group.id);
    if (!merged.has(root)) merged.set(root, { keep: new Map(), go: new Map(), stay: new Set() });
    sort(choice, merged.get(root));
  }
  return [...merged.values()]
    .map(({ keep, go, stay }) => {
      for (const name of [...keep.keys(), ...stay]) go.delete(name);
      return { keep: [...keep.values()], trash: [...go.values()] };
    })
    .filter(({ keep, trash }) => keep.length && trash.length);
}

function sort(choice, { keep, go, stay }) {
  choice.group.images.forEach((image, index) => {
    const name = nameOfPath(image.path);
    const fate = fateOf(choice, index);
    if (fate === "keeps") keep.set(name, image);
    else if (fate === "goes") go.set(name, image);
    else stay.add(name);
  });
}

// {groups, files, saves}: what the plan holds.
export function totals() {
  let files = 0;
  let saves = 0;
  for (const { trash } of decisions()) {
    files += trash.length;
    for (const image of trash) saves += image.size;
  }
  let groups = 0;
  for (const choice of choices.values()) groups += choice.verdict === ACCEPTED ? 1 : 0;
  return { groups, files, saves };
}

// The plan as the server sees it: its tasks, those that it would skip with the reason.
export async function looked() {
  const paths = (images) => images.map((image) => image.path);
  const body = decisions().map(({ keep, trash }) => ({ keep: paths(keep), trash: paths(trash) }));
  const plan = { tasks: [] };
  for await (const page of stream("plan", { decisions: body })) {
    Object.assign(plan, page, { tasks: [...plan.tasks, ...page.tasks] });
  }
  return plan;
}

// Move what the plan says to the trash.  `progress(done)` is called after each file.  Returns the end of the run.
export async function apply(progress) {
  const plan = await looked();
  let end = null;
  let done = 0;
  const reasons = [];
  for await (const line of stream("apply", { plan: plan.plan })) {
    if (line.task) {
      done += 1;
      if (line.task.state === "skipped") reasons.push(line.task);
      progress?.(done, plan.files);
    } else {
      end = line;
    }
  }
  const marked = [...choices];
  for (const [id, choice] of marked) if (choice.verdict === ACCEPTED) choices.delete(id);
  steps.length = 0;
  step(`moved ${counted(end.done, "file")} to the trash`, null, async () => {
    await undoRun(end.run);
    for (const [id, choice] of marked) choices.set(id, choice);
  });
  steps.at(-1).run = end.run;
  return { ...end, reasons };
}

// Take a run back: its files come from the trash.  Returns the end of it.
export async function undoRun(run, tasks = undefined) {
  let end = null;
  for await (const line of stream("undo", { run, tasks })) if (!line.task) end = line;
  return end;
}
