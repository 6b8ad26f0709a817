// The map: where one looks, the tiles of the level that fits there, and what is marked on them.
import { Sheet } from "./sheet.js";

const MAX_CELL = 160; // CSS pixels of a cell at most.

export class Drawing {
  // plane: an element that holds two canvases, of the tiles and of the marks.
  constructor(plane, grid, tiles) {
    const [sheet, marks] = plane.children;
    Object.assign(this, { plane, grid, marks, asked: false, mark: null, lasso: [] });
    this.sheet = new Sheet(sheet, grid, tiles, () => this.redraw());
    this.pen = marks.getContext("2d");
    // The point in the middle, in cells; CSS pixels of a cell.
    this.view = { x: grid.columns / 2, y: grid.rows / 2, cell: 1 };
    this.resize();
    this.showAll();
  }

  resize() {
    this.dots = Math.min(devicePixelRatio || 1, 2);
    this.wide = Math.max(1, this.plane.clientWidth);
    this.high = Math.max(1, this.plane.clientHeight);
    this.marks.width = Math.round(this.wide * this.dots);
    this.marks.height = Math.round(this.high * this.dots);
    this.sheet.resize(this.wide, this.high, this.dots);
    this.redraw();
  }

  // A tile is here.
  arrived(level, column, row) {
    this.sheet.arrived(level, column, row);
    this.redraw();
  }

  leave() {
    this.sheet.leave();
  }

  get fitting() {
    return Math.min(MAX_CELL, 0.96 * Math.min(this.wide / this.grid.columns, this.high / this.grid.rows) || 1);
  }

  showAll() {
    this.view = { x: this.grid.columns / 2, y: this.grid.rows / 2, cell: this.fitting };
    this.redraw();
  }

  show(column, row) {
    this.mark = [column, row];
    this.view = { x: column + 0.5, y: row + 0.5, cell: Math.max(64, this.fitting) };
    this.redraw();
  }

  pan(dx, dy) {
    this.view.x = Math.max(0, Math.min(this.grid.columns, this.view.x - dx / this.view.cell));
    this.view.y = Math.max(0, Math.min(this.grid.rows, this.view.y - dy / this.view.cell));
    this.redraw();
  }

  zoom(factor, x = this.wide / 2, y = this.high / 2) {
    const cell = Math.max(this.fitting / 2, Math.min(MAX_CELL, this.view.cell * factor));
    this.view.x += (x - this.wide / 2) * (1 / this.view.cell - 1 / cell);
    this.view.y += (y - this.high / 2) * (1 / this.view.cell - 1 / cell);
    this.view.cell = cell;
    this.pan(0, 0);
  }

  // A point of the canvas, in cells.
  at(x, y) {
    return [(x - this.wide / 2) / this.view.cell + this.view.x, (y - this.high / 2) / this.view.cell + this.view.y];
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  draw() {
    this.sheet.show(this.view);
    this.marks.hidden = !this.mark && this.lasso.length < 2;
    if (!this.marks.hidden) this.drawMarks(getComputedStyle(this.plane).getPropertyValue("--mark"));
  }

  drawMarks(colour) {
    const { pen, view, dots } = this;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, this.wide, this.high);
    const toX = (x) => (x - view.x) * view.cell + this.wide / 2;
    const toY = (y) => (y - view.y) * view.cell + this.high / 2;
    pen.strokeStyle = colour;
    pen.lineWidth = 3;
    if (this.mark) {
      const size = Math.max(view.cell, 14);
      const [column, row] = this.mark;
      pen.strokeRect(toX(column + 0.5) - size / 2, toY(row + 0.5) - size / 2, size, size);
    }
    if (this.lasso.length < 2) return;
    pen.beginPath();
    for (const [x, y] of this.lasso) pen.lineTo(toX(x), toY(y));
    pen.closePath();
    pen.globalAlpha = 0.16;
    pen.fillStyle = colour;
    pen.fill();
    pen.globalAlpha = 1;
    pen.stroke();
  }
}
