// The map on a canvas: tiles of the level that fits, coarser ones until they are here.
const MAX_CELL = 160; // CSS pixels of a cell at most.

export class Drawing {
  constructor(canvas, grid, tiles) {
    Object.assign(this, { canvas, grid, tiles, asked: false, mark: null, lasso: [] });
    this.pen = canvas.getContext("2d", { alpha: false });
    // The point in the middle, in cells; CSS pixels of a cell.
    this.view = { x: grid.columns / 2, y: grid.rows / 2, cell: 1 };
    this.resize();
    this.showAll();
  }

  resize() {
    this.dots = Math.min(devicePixelRatio || 1, 2);
    this.wide = this.canvas.clientWidth;
    this.high = this.canvas.clientHeight;
    this.canvas.width = Math.max(1, Math.round(this.wide * this.dots));
    this.canvas.height = Math.max(1, Math.round(this.high * this.dots));
    this.redraw();
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
    const { pen, dots, wide, high, view, tiles } = this;
    const style = getComputedStyle(this.canvas);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.fillStyle = style.backgroundColor;
    pen.fillRect(0, 0, wide, high);
    const level = tiles.levelFor(view.cell * dots);
    const side = (this.grid.tile_px / tiles.cellPx(level)) * view.cell;
    const left = wide / 2 - view.x * view.cell;
    const top = high / 2 - view.y * view.cell;
    tiles.begin();
    pen.imageSmoothingQuality = "medium";
    const tilesAlong = (cells) => Math.ceil((cells * tiles.cellPx(level)) / this.grid.tile_px) - 1;
    const lastColumn = Math.min(tilesAlong(this.grid.columns), Math.floor((wide - left) / side));
    const lastRow = Math.min(tilesAlong(this.grid.rows), Math.floor((high - top) / side));
    for (let row = Math.max(0, Math.floor(-top / side)); row <= lastRow; row += 1) {
      for (let column = Math.max(0, Math.floor(-left / side)); column <= lastColumn; column += 1) {
        this.drawTile(level, column, row, left + column * side, top + row * side, side);
      }
    }
    tiles.fetchWanted();
    this.drawMark(style.getPropertyValue("--mark"));
  }

  drawTile(level, column, row, x, y, side) {
    const picture = this.tiles.get(level, column, row);
    if (picture) this.pen.drawImage(picture, x, y, side, side);
    if (picture !== undefined) return;
    for (let up = 1; up <= level; up += 1) {
      const coarse = this.tiles.peek(level - up, column >> up, row >> up);
      if (!coarse) continue;
      const part = this.grid.tile_px / 2 ** up;
      const mask = 2 ** up - 1;
      this.pen.drawImage(coarse, (column & mask) * part, (row & mask) * part, part, part, x, y, side, side);
      return;
    }
  }

  drawMark(colour) {
    const { pen, view } = this;
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
