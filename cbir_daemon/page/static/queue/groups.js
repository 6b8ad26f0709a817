// The groups of duplicates, fetched in windows as they come into sight.
import { ask, stream } from "../api.js";
import { cell } from "../cells.js";
import { sayFault } from "../saying.js";

const WINDOW = 100;

export class Groups {
  // params: kind, order, reverse, folders ... of `duplicates`.
  constructor(params) {
    this.params = params;
    this.changes = cell(0);
    this.total = null;
    this.saves = 0;
    this.files = 0;
    this.folderPairs = [];
    this.clock = undefined;
    this.windows = new Map();
    this.asked = new Map();
    this.left = new AbortController();
  }

  get(index) {
    return this.windows.get(Math.floor(index / WINDOW))?.[index % WINDOW];
  }

  indexOf(group) {
    for (const [window, held] of this.windows) {
      const at = held.findIndex((candidate) => candidate.id === group.id);
      if (at >= 0) return window * WINDOW + at;
    }
    return -1;
  }

  // Fetch what is missing of a range.
  want(first, last) {
    for (let at = Math.floor(first / WINDOW); at * WINDOW < last; at += 1) this.fetch(at).catch(sayFault);
  }

  // The group at an index, once it is here.
  async at(index) {
    await this.fetch(Math.floor(index / WINDOW));
    return this.get(index);
  }

  fetch(window) {
    if (this.windows.has(window)) return Promise.resolve();
    if (!this.asked.has(window)) {
      const request = this.load(window).finally(() => this.asked.delete(window));
      this.asked.set(window, request);
    }
    return this.asked.get(window);
  }

  async load(window) {
    const params = { ...this.params, offset: window * WINDOW, limit: WINDOW, at: this.clock };
    const answer = await ask("duplicates", params, this.left.signal);
    if (window === 0) Object.assign(this, { folderPairs: answer.folder_pairs ?? [], clock: answer.clock });
    // The daemon no longer has the list of the first answer: these windows would not fit those before.
    if (answer.clock !== this.clock) this.outdated?.();
    Object.assign(this, { total: answer.total, saves: answer.saves, files: answer.files });
    this.windows.set(window, answer.groups);
    this.changes.value += 1;
  }

  // Every group that passes the filters, also those that were never in sight.
  async *all() {
    for await (const page of stream("duplicates", { ...this.params, at: this.clock }, this.left.signal))
      yield* page.groups;
  }

  leave() {
    this.left.abort();
  }
}
