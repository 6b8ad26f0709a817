// Tiles of the map: fetched for what is in sight, the latest first, and kept up to a limit.
import { tileAddress } from "../api.js";

const KEPT = 220; // Of 256 KiB each, once decoded.
const AT_ONCE = 4;
const AGAIN_MS = 5000;

export class Tiles {
  // grid: {run, columns, rows, levels, tile_px, cell_px}; `isDark`: on a dark ground; `arrived` is called with level, column
  // and row of each tile that has come.
  constructor(grid, isDark, arrived) {
    this.grid = grid;
    this.isDark = isDark;
    this.arrived = arrived;
    this.held = new Map(); // name -> {picture | null, frame}; null where there is nothing.
    this.running = new Set();
    this.frame = 0;
    this.wanted = [];
    this.left = new AbortController();
  }

  // Pixels of a cell in tiles of a level.
  cellPx(level) {
    return this.grid.cell_px / 2 ** (this.grid.levels - 1 - level);
  }

  // The level whose squares are at least as fine as the screen.
  levelFor(cellPx) {
    for (let level = 0; level < this.grid.levels; level += 1) if (this.cellPx(level) >= cellPx * 0.8) return level;
    return this.grid.levels - 1;
  }

  begin() {
    this.frame += 1;
    this.wanted = [];
  }

  // Keeps a tile that is here, and asks for one that is not.
  want(level, column, row) {
    const name = `${level}/${column}/${row}`;
    const entry = this.held.get(name);
    if (entry) entry.frame = this.frame;
    else this.wanted.push([name, level, column, row]);
  }

  // The picture of a tile, null where there is nothing, undefined until it is here.
  peek(level, column, row) {
    return this.held.get(`${level}/${column}/${row}`)?.picture;
  }

  fetchWanted() {
    for (const [name, ...place] of this.wanted) {
      if (this.running.size >= AT_ONCE) return;
      if (!this.running.has(name)) this.fetch(name, place);
    }
  }

  async fetch(name, place) {
    this.running.add(name);
    try {
      const response = await fetch(tileAddress(this.grid.run, ...place, this.isDark), {
        signal: this.left.signal,
      });
      const picture = response.ok ? await createImageBitmap(await response.blob()) : null;
      this.held.set(name, { picture, frame: this.frame });
      // What cannot be drawn now is asked for again after a while, not with each frame.
      if (!response.ok && response.status !== 404) setTimeout(() => this.held.delete(name), AGAIN_MS);
      this.forget();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      this.running.delete(name);
      if (!this.left.signal.aborted) this.arrived(...place);
    }
  }

  forget() {
    if (this.held.size <= KEPT) return;
    const oldest = [...this.held].sort(([, one], [, two]) => one.frame - two.frame);
    for (const [name, { picture, frame }] of oldest.slice(0, this.held.size - KEPT)) {
      if (frame === this.frame) return;
      picture?.close();
      this.held.delete(name);
    }
  }

  leave() {
    this.left.abort();
    for (const { picture } of this.held.values()) picture?.close();
    this.held.clear();
  }
}
