// The tiles in sight, and some around them, on one canvas.  A tile is painted once, when it has arrived: while the map
// is moved or zoomed the browser moves and scales the canvas, and only what comes into reach is painted.
const MARGIN_PX = 256; // CSS pixels beyond each side of what is in sight.
const LEAST_SCALE = 0.75; // At a smaller one the margins would come into sight.
const MOST_SCALE = 1.5; // At a larger one squares would be blurred.
const SETTLED_MS = 120;

export class Sheet {
  // grid: as of `map_grid`; `settled` is called when a zoom has rested and the tiles are to be painted at its scale.
  constructor(canvas, grid, tiles, settled) {
    Object.assign(this, { canvas, grid, tiles, settled, painted: null, timer: 0 });
    this.pen = canvas.getContext("2d", { alpha: false });
  }

  // wide, high: CSS pixels in sight; dots: device pixels of one.
  resize(wide, high, dots) {
    Object.assign(this, { wide, high, dots, painted: null });
    this.margin = Math.round(MARGIN_PX * dots);
    this.canvas.width = Math.round(wide * dots) + 2 * this.margin;
    this.canvas.height = Math.round(high * dots) + 2 * this.margin;
    this.canvas.style.width = `${this.canvas.width / dots}px`;
    this.canvas.style.height = `${this.canvas.height / dots}px`;
    this.ground = getComputedStyle(this.canvas).backgroundColor;
  }

  // view: {x, y, cell}: the cells in the middle, CSS pixels of a cell.
  show(view) {
    const scale = this.painted ? view.cell / this.painted.cell : 0;
    if (scale < LEAST_SCALE || scale > MOST_SCALE) this.paintAll(view);
    else if (scale === 1) this.follow(view);
    else this.paintLater(view);
    this.put(view);
    this.want(view);
  }

  // A tile is here, or it is known that nothing lies there.
  arrived(level, column, row) {
    if (level === this.painted?.level) this.paintTile(column, row);
  }

  leave() {
    clearTimeout(this.timer);
  }

  // -- what is painted ------------------------------------------------------------------------------------------------

  // Device pixels of a tile's side at the painted scale.
  get sidePx() {
    return this.sideAt(this.painted.level, this.painted.cell);
  }

  sideAt(level, cell) {
    return (this.grid.tile_px / this.tiles.cellPx(level)) * cell * this.dots;
  }

  // The left and upper edge of what is in sight, in device pixels of the whole map.
  corner({ x, y, cell }) {
    const edge = (middle, side) => Math.round((middle * cell - side / 2) * this.dots);
    return [edge(x, this.wide), edge(y, this.high)];
  }

  paintAll(view) {
    clearTimeout(this.timer);
    const [left, top] = this.corner(view);
    const level = this.tiles.levelFor(view.cell * this.dots);
    this.painted = { level, cell: view.cell, left: left - this.margin, top: top - this.margin };
    this.paint(0, 0, this.canvas.width, this.canvas.height);
  }

  paintLater(view) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.paintAll(view);
      this.settled();
    }, SETTLED_MS);
  }

  // Moves what is painted when the view has come to its edge, and paints the strips that are new.
  follow(view) {
    const [left, top] = this.corner(view);
    const beyond = (edge) => (edge < 0 || edge > 2 * this.margin ? edge - this.margin : 0);
    const [across, down] = [beyond(left - this.painted.left), beyond(top - this.painted.top)];
    if (!across && !down) return;
    const { width, height } = this.canvas;
    if (Math.abs(across) >= width || Math.abs(down) >= height) {
      this.paintAll(view);
      return;
    }
    this.painted.left += across;
    this.painted.top += down;
    this.pen.globalCompositeOperation = "copy";
    this.pen.drawImage(this.canvas, -across, -down);
    this.pen.globalCompositeOperation = "source-over";
    if (across) this.paint(across > 0 ? width - across : 0, 0, Math.abs(across), height);
    if (down) this.paint(0, down > 0 ? height - down : 0, width, Math.abs(down));
  }

  paint(x, y, wide, high) {
    const { pen, painted } = this;
    pen.save();
    pen.beginPath();
    pen.rect(x, y, wide, high);
    pen.clip();
    pen.fillStyle = this.ground;
    pen.fillRect(x, y, wide, high);
    pen.imageSmoothingQuality = "medium";
    const [left, top] = [painted.left + x, painted.top + y];
    for (const [column, row] of this.range(painted.level, this.sidePx, left, top, wide, high))
      this.paintTile(column, row);
    pen.restore();
  }

  // On whole pixels, so that no seam is seen.
  paintTile(column, row) {
    const { level, left, top } = this.painted;
    const edge = (number, start) => Math.round(number * this.sidePx) - start;
    const [x, y] = [edge(column, left), edge(row, top)];
    const [wide, high] = [edge(column + 1, left) - x, edge(row + 1, top) - y];
    const picture = this.tiles.peek(level, column, row);
    if (picture) this.pen.drawImage(picture, x, y, wide, high);
    else if (picture === null) {
      this.pen.fillStyle = this.ground;
      this.pen.fillRect(x, y, wide, high);
    } else this.paintCoarser(level, column, row, x, y, wide, high);
  }

  paintCoarser(level, column, row, ...place) {
    for (let up = 1; up <= level; up += 1) {
      const coarse = this.tiles.peek(level - up, column >> up, row >> up);
      if (!coarse) continue;
      const part = this.grid.tile_px / 2 ** up;
      const mask = 2 ** up - 1;
      this.pen.drawImage(coarse, (column & mask) * part, (row & mask) * part, part, part, ...place);
      return;
    }
  }

  // -- where it is put, and what it needs -----------------------------------------------------------------------------

  put(view) {
    const { painted, dots } = this;
    const scale = view.cell / painted.cell;
    const [left, top] = this.corner(view);
    const away = (edge, start) => (start * scale - edge) / dots;
    const [x, y] = [away(left, painted.left), away(top, painted.top)];
    this.canvas.style.transform = `translate(${x}px, ${y}px)${scale === 1 ? "" : ` scale(${scale})`}`;
  }

  // Asks for the tiles in sight first, then for those of the margin.
  want(view) {
    const level = this.tiles.levelFor(view.cell * this.dots);
    const side = this.sideAt(level, view.cell);
    const [left, top] = this.corner(view);
    const [wide, high] = [this.wide * this.dots, this.high * this.dots];
    this.tiles.begin();
    for (const place of this.range(level, side, left, top, wide, high)) this.tiles.want(level, ...place);
    const around = [left - this.margin, top - this.margin, wide + 2 * this.margin, high + 2 * this.margin];
    for (const place of this.range(level, side, ...around)) this.tiles.want(level, ...place);
    this.tiles.fetchWanted();
  }

  // The columns and rows of tiles that a rectangle of the map touches.
  *range(level, side, left, top, wide, high) {
    const last = (cells, end) =>
      Math.min(Math.ceil((cells * this.tiles.cellPx(level)) / this.grid.tile_px) - 1, Math.floor(end / side));
    const [lastColumn, lastRow] = [last(this.grid.columns, left + wide), last(this.grid.rows, top + high)];
    for (let row = Math.max(0, Math.floor(top / side)); row <= lastRow; row += 1)
      for (let column = Math.max(0, Math.floor(left / side)); column <= lastColumn; column += 1) yield [column, row];
  }
}
