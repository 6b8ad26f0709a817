
// The map of a collection: places on a grid, drawn by a canvas.
//
// Far away the whole map is one picture, made once from the small atlas.  Near by only the cells in sight are drawn,
// from atlases of 64 pixels a square, which are decoded when they come into sight; a few are kept.
"use strict";
(() => {
  const COLUMN = 0, ROW = 1, FOLDER = 2, NAME = 3, WIDTH = 4, HEIGHT = 5, SIZE = 6, TAKEN = 7, GROUP = 8, NAMES = 9;
  const OVERVIEW_SIDE = 4096;      // Pixels of the overview's longer side at most: 64 MiB in memory.
  const OVERVIEW_CELL = 20;        // Pixels of its cells at most; beyond, single squares are drawn.
  const KEPT_ATLASES = 8;          // Of 16 MiB each, once decoded.
  const SHARE = 0.92;              // Of a cell that its picture fills.
  const MAX_CELL = 320;            // Pixels of a cell at most.
  const FAINT = 0.16;              // Opacity of what was not found.
  const CLICK_PX = 5;              // Farther is a drag.
  const CARD_PX = 330;             // Width of the card with its margins.
  const FLIGHT_MS = 350;

  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const places = data.places;
  const canvas = byId("map"), pen = canvas.getContext("2d", { alpha: false });
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const cells = new Int32Array(data.grid_columns * data.grid_rows).fill(-1);
  places.forEach((place, index) => { cells[place[ROW] * data.grid_columns + place[COLUMN]] = index; });
  const members = new Map();
  places.forEach((place, index) => {
    if (place[GROUP] !== null) {
      if (!members.has(place[GROUP])) members.set(place[GROUP], []);
      members.get(place[GROUP]).push(index);
    }
  });
  const pathOf = (index) => `${data.folders[places[index][FOLDER]]}/${places[index][NAME]}`;
  const searched = places.map((place, index) => [pathOf(index), ...place[NAMES]].join("\n").toLowerCase());

  // -- pictures ------------------------------------------------------------------------------------------------------

  const small = data.atlases.length - 1;   // The last atlas has all places, 16 pixels a square.
  const atlases = data.atlases.map(([first, count, side, columns], number) =>
    ({ number, first, count, side, columns, picture: null, asked: false, used: 0 }));
  let frameNumber = 0, decoding = 0;

  function bytesIn(atlas) {
    const text = atob(byId(`atlas-${atlas.number}`).textContent), bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
    return bytes;
  }

  function decode(atlas) {
    if (atlas.asked) return atlas.ready;
    atlas.asked = true;
    decoding += 1;
    atlas.ready = createImageBitmap(new Blob([bytesIn(atlas)], { type: "image/webp" })).then((picture) => {
      decoding -= 1;
      atlas.picture = picture;
      forgetOldest();
      redraw();
    });
    return atlas.ready;
  }

  function forgetOldest() {
    const kept = atlases.filter((atlas) => atlas.picture && atlas.number !== small);
    kept.sort((one, other) => other.used - one.used);
    for (const atlas of kept.slice(KEPT_ATLASES)) {
      if (atlas.used === frameNumber) continue;
      atlas.picture.close();
      atlas.picture = null;
      atlas.asked = false;
    }
  }

  const largeOf = (index) => atlases[Math.min(small - 1, Math.floor(index / atlases[0].count))];

  function drawSquare(to, index, atlas, left, top, width, height) {
    const at = index - atlas.first;
    const x = (at % atlas.columns) * atlas.side, y = Math.floor(at / atlas.columns) * atlas.side;
    to.drawImage(atlas.picture, x, y, atlas.side, atlas.side, left, top, width, height);
  }

  // The picture of a place in its cell, in the shape of the image: left, top, width and height.
  function boxOf(place, left, top, cell) {
    const most = cell * SHARE * (place[GROUP] === null ? 1 : 0.92), longer = Math.max(place[WIDTH], place[HEIGHT], 1);
    const width = Math.max(1, most * place[WIDTH] / longer), height = Math.max(1, most * place[HEIGHT] / longer);
    return [left + (cell - width) / 2, top + (cell - height) / 2, width, height];
  }

  const colourOf = (group) => `hsl(${(group * 222.492) % 360} 85% ${dark.matches ? 62 : 46}%)`;

  const overviewCell = Math.max(2, Math.min(OVERVIEW_CELL,
    Math.floor(OVERVIEW_SIDE / Math.max(data.grid_columns, data.grid_rows))));
  let overview = null, foundOverview = null;
  let found = [], isFound = null, foundAt = -1;

  // A picture of some places, those that were found or all; of what lies beneath, it is a faint one.
  function overviewOf(indices, beneath) {
    const made = document.createElement("canvas"), to = made.getContext("2d");
    made.width = data.grid_columns * overviewCell;
    made.height = data.grid_rows * overviewCell;
    if (beneath) {
      to.globalAlpha = FAINT;
      to.drawImage(beneath, 0, 0);
      to.globalAlpha = 1;
    }
    for (const index of indices) {
      const place = places[index];
      const box = boxOf(place, place[COLUMN] * overviewCell, place[ROW] * overviewCell, overviewCell);
      drawSquare(to, index, atlases[small], ...box);
      if (place[GROUP] !== null) frame(to, box, colourOf(place[GROUP]), Math.max(1, overviewCell / 8));
    }
    return made;
  }

  function makeOverviews() {
    if (!atlases[small].picture) return;
    overview = overviewOf(places.keys());
    makeFoundOverview();
  }

  function makeFoundOverview() {
    foundOverview = overview && isFound && found.length < places.length ? overviewOf(found, overview) : null;
  }

  function frame(to, [left, top, width, height], colour, thickness) {
    to.strokeStyle = colour;
    to.lineWidth = thickness;
    to.strokeRect(left - thickness / 2, top - thickness / 2, width + thickness, height + thickness);
  }

  // -- view ----------------------------------------------------------------------------------------------------------

  // The place in the middle of the canvas, in cells, and CSS pixels of a cell.
  const view = { x: data.grid_columns / 2, y: data.grid_rows / 2, cell: 10 };
  let dots = 1, wide = 1, high = 1, paper = "#fff", ink = "#000", mark = "#00f";
  let chosen = -1, hovered = -1, pointedAt = 0, flight = null, asked = false;

  function redraw() {
    if (!asked) { asked = true; requestAnimationFrame(draw); }
  }

  function resize() {
    dots = window.devicePixelRatio || 1;
    wide = canvas.clientWidth; high = canvas.clientHeight;
    canvas.width = Math.round(wide * dots); canvas.height = Math.round(high * dots);
    redraw();
  }

  function takeColours() {
    const style = getComputedStyle(document.documentElement);
    [paper, ink, mark] = ["--paper", "--ink", "--mark"].map((name) => style.getPropertyValue(name).trim());
    makeOverviews();
    redraw();
  }

  const fitting = () => Math.min(MAX_CELL, 0.94 * Math.min(wide / data.grid_columns, high / data.grid_rows));
  const least = () => Math.min(fitting(), 4) / 2;
  const leftOf = (column) => (column - view.x) * view.cell + wide / 2;
  const topOf = (row) => (row - view.y) * view.cell + high / 2;

  function placeAt(x, y) {
    const column = Math.floor((x - wide / 2) / view.cell + view.x);
    const row = Math.floor((y - high / 2) / view.cell + view.y);
    if (column < 0 || row < 0 || column >= data.grid_columns || row >= data.grid_rows) return -1;
    return cells[row * data.grid_columns + column];
  }

  function keepInside() {
    view.cell = Math.max(least(), Math.min(MAX_CELL, view.cell));
    view.x = Math.max(0, Math.min(data.grid_columns, view.x));
    view.y = Math.max(0, Math.min(data.grid_rows, view.y));
  }

  function zoom(factor, x = wide / 2, y = high / 2) {
    flight = null;
    const cell = Math.max(least(), Math.min(MAX_CELL, view.cell * factor));
    // What is under the pointer stays there.
    view.x += (x - wide / 2) * (1 / view.cell - 1 / cell);
    view.y += (y - high / 2) * (1 / view.cell - 1 / cell);
    view.cell = cell;
    keepInside();
    redraw();
  }

  function fly(x, y, cell) {
    if (still.matches) {
      Object.assign(view, { x, y, cell });
    } else {
      flight = { from: { ...view }, to: { x, y, cell }, began: performance.now() };
    }
    redraw();
  }

  const flyToAll = () => fly(data.grid_columns / 2, data.grid_rows / 2, fitting());
  const flyTo = (index) => fly(places[index][COLUMN] + 0.5, places[index][ROW] + 0.5, Math.max(view.cell, 64));

  function step(now) {
    if (!flight) return;
    const share = Math.min(1, (now - flight.began) / FLIGHT_MS), eased = 1 - (1 - share) ** 3;
    for (const name of ["x", "y"]) view[name] = flight.from[name] + (flight.to[name] - flight.from[name]) * eased;
    view.cell = flight.from.cell * (flight.to.cell / flight.from.cell) ** eased;
    if (share === 1) flight = null; else redraw();
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  function draw(now) {
    asked = false;
    frameNumber += 1;
    step(now);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.globalAlpha = 1;
    pen.fillStyle = paper;
    pen.fillRect(0, 0, wide, high);
    if (!atlases[small].picture) return;
    if (view.cell * dots <= overviewCell * 1.15) drawFar(); else drawNear();
    drawMarks();
  }

  function drawFar() {
    pen.imageSmoothingQuality = "medium";
    const width = data.grid_columns * view.cell, height = data.grid_rows * view.cell;
    pen.drawImage(foundOverview || overview, leftOf(0), topOf(0), width, height);
  }

  function drawNear() {
    pen.imageSmoothingQuality = "low";
    const firstColumn = Math.max(0, Math.floor(view.x - wide / 2 / view.cell));
    const lastColumn = Math.min(data.grid_columns - 1, Math.floor(view.x + wide / 2 / view.cell));
    const firstRow = Math.max(0, Math.floor(view.y - high / 2 / view.cell));
    const lastRow = Math.min(data.grid_rows - 1, Math.floor(view.y + high / 2 / view.cell));
    for (let row = firstRow; row <= lastRow; row += 1) {
      for (let column = firstColumn; column <= lastColumn; column += 1) {
        const index = cells[row * data.grid_columns + column];
        if (index >= 0) drawPlace(index, largeOf(index));
      }
    }
  }

  function drawPlace(index, atlas) {
    const place = places[index], box = boxOf(place, leftOf(place[COLUMN]), topOf(place[ROW]), view.cell);
    atlas.used = frameNumber;
    // One after the other: each that is ready draws again, and its frame asks for the next.
    if (!atlas.picture && !decoding) decode(atlas);
    pen.globalAlpha = isFound && !isFound[index] ? FAINT : 1;
    drawSquare(pen, index, atlas.picture ? atlas : atlases[small], ...box);
    if (place[GROUP] !== null) frame(pen, box, colourOf(place[GROUP]), Math.max(1, Math.min(4, view.cell / 16)));
  }

  function drawMarks() {
    pen.globalAlpha = 1;
    const shown = hovered >= 0 ? hovered : chosen;
    if (shown >= 0 && places[shown][GROUP] !== null) drawGroup(members.get(places[shown][GROUP]), shown);
    if (chosen >= 0) outline(chosen, mark, 3);
    if (hovered >= 0 && hovered !== chosen) outline(hovered, ink, 2);
    if (foundAt >= 0) outline(found[foundAt], mark, 3);
  }

  function drawGroup(group, from) {
    const middle = (index) => [leftOf(places[index][COLUMN] + 0.5), topOf(places[index][ROW] + 0.5)];
    const colour = colourOf(places[from][GROUP]);
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    group.forEach((index) => { pen.moveTo(...middle(from)); pen.lineTo(...middle(index)); });
    pen.stroke();
    pen.setLineDash([]);
    group.forEach((index) => { outline(index, colour, 3); });
  }

  function outline(index, colour, thickness) {
    const size = Math.max(view.cell, 12), middle = view.cell / 2;
    const left = leftOf(places[index][COLUMN]) + middle - size / 2, top = topOf(places[index][ROW]) + middle - size / 2;
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.strokeRect(left, top, size, size);
  }

  // -- the card ------------------------------------------------------------------------------------------------------

  function bytesOf(size) {
    const units = ["B", "KiB", "MiB", "GiB"];
    let value = size, at = 0;
    while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
    return `${value.toFixed(at ? 1 : 0)} ${units[at]}`;
  }

  function factsOf(place) {
    const taken = place[TAKEN] ? `taken ${place[TAKEN].replace("T", " ")}` : "";
    return [`${place[WIDTH]} × ${place[HEIGHT]}`, bytesOf(place[SIZE]), taken].filter(Boolean).join(" · ");
  }

  function element(name, text) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function showCard() {
    const index = hovered >= 0 ? hovered : chosen;
    const card = byId("card");
    card.hidden = index < 0;
    // Passing by, it must not come between pointer and map, nor lie on what is pointed at.
    card.classList.toggle("passing", hovered >= 0 && chosen < 0);
    card.classList.toggle("left", hovered >= 0 && pointedAt > wide - CARD_PX && wide > 2 * CARD_PX);
    if (index < 0) return;
    const place = places[index];
    byId("name").textContent = place[NAME];
    byId("folder").textContent = data.folders[place[FOLDER]] || "/";
    byId("facts").textContent = factsOf(place);
    showLink(pathOf(index));
    byId("others").replaceChildren(...sameBytes(place), ...sameGroup(index, place));
    showPreview(index, place);
  }

  function sameBytes(place) {
    if (!place[NAMES].length) return [];
    const list = element("ul");
    place[NAMES].forEach((path) => { list.append(element("li", path)); });
    return [element("h2", "The same bytes"), list];
  }

  function sameGroup(index, place) {
    const others = place[GROUP] === null ? [] : members.get(place[GROUP]).filter((other) => other !== index);
    if (!others.length) return [];
    const list = element("ul");
    others.forEach((other) => {
      const button = element("button", `${pathOf(other)} (${factsOf(places[other])})`);
      button.type = "button";
      button.addEventListener("click", () => { choose(other); flyTo(other); });
      const item = element("li");
      item.append(button);
      list.append(item);
    });
    return [element("h2", "Copies"), list];
  }

  // A page that lies on a disk may lead to its files; a path with a byte that is no text (\\xNN) has no address here.
  function showLink(path) {
    const link = byId("open");
    link.hidden = location.protocol !== "file:" || path.includes("\\");
    link.href = `file://${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  function showPreview(index, place) {
    const preview = byId("preview"), atlas = largeOf(index), longer = Math.max(place[WIDTH], place[HEIGHT], 1);
    const width = Math.max(1, Math.round(256 * place[WIDTH] / longer));
    const height = Math.max(1, Math.round(256 * place[HEIGHT] / longer));
    preview.width = width;
    preview.height = height;
    atlas.used = frameNumber;
    decode(atlas).then(() => {
      if (atlas.picture && index === (hovered >= 0 ? hovered : chosen)) {
        const to = preview.getContext("2d");
        to.imageSmoothingQuality = "high";
        drawSquare(to, index, atlas, 0, 0, width, height);
      }
    });
  }

  function say(index) {
    const copies = places[index][GROUP] === null ? 0 : members.get(places[index][GROUP]).length - 1;
    byId("spoken").textContent = `${pathOf(index)}, ${factsOf(places[index])}${copies ? `, ${copies} copies` : ""}`;
  }

  function choose(index) {
    chosen = index;
    hovered = -1;
    if (index >= 0) say(index);
    showCard();
    redraw();
  }

  function hover(index) {
    canvas.classList.toggle("over", index >= 0);
    if (index === hovered) return;
    hovered = index;
    showCard();
    redraw();
  }

  // -- pointers ------------------------------------------------------------------------------------------------------

  const held = new Map();
  let moved = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (held.size === 1) moved = 0;
    flight = null;
    canvas.classList.add("held");
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId), now = [event.offsetX, event.offsetY];
    if (!before) {
      pointedAt = now[0];
      if (event.pointerType === "mouse") hover(placeAt(...now));
      return;
    }
    const other = [...held].find(([id]) => id !== event.pointerId);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    const share = other ? 0.5 : 1;
    view.x -= share * (now[0] - before[0]) / view.cell;
    view.y -= share * (now[1] - before[1]) / view.cell;
    held.set(event.pointerId, now);
    if (other) pinch(before, now, other[1]);
    keepInside();
    redraw();
  });

  function pinch(before, now, other) {
    const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  function release(event) {
    if (!held.delete(event.pointerId) || held.size) return;
    canvas.classList.remove("held");
    if (event.type === "pointerup" && moved < CLICK_PX) choose(placeAt(event.offsetX, event.offsetY));
  }
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!held.size) hover(-1); });
  canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX, event.offsetY));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, high][event.deltaMode];
    zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0018)), event.offsetX, event.offsetY);
  }, { passive: false });

  // -- keys and buttons ----------------------------------------------------------------------------------------------

  const by = (x, y) => () => {
    flight = null;
    view.x += x * wide / 8 / view.cell;
    view.y += y * high / 8 / view.cell;
    keepInside();
    redraw();
  };
  // Choose the image that is nearest in one direction, and keep it in sight.
  function walk(right, down) {
    const from = places[chosen >= 0 ? chosen : nearest()];
    let best = -1, shortest = Infinity;
    places.forEach((place, index) => {
      const x = place[COLUMN] - from[COLUMN], y = place[ROW] - from[ROW];
      const along = x * right + y * down, aside = Math.abs(x * down) + Math.abs(y * right);
      if (along > 0 && along + 2 * aside < shortest) { best = index; shortest = along + 2 * aside; }
    });
    if (best < 0) return;
    choose(best);
    flyTo(best);
  }

  const walks = {
    ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
  };
  const keys = {
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "_": () => zoom(1 / 1.4), "0": flyToAll,
    ArrowLeft: by(-1, 0), ArrowRight: by(1, 0), ArrowUp: by(0, -1), ArrowDown: by(0, 1),
    Enter: () => choose(nearest()), "/": () => byId("words").focus(),
  };

  // The place nearest to the middle of the canvas.
  function nearest() {
    let best = -1, shortest = Infinity;
    places.forEach((place, index) => {
      const far = Math.hypot(place[COLUMN] + 0.5 - view.x, place[ROW] + 0.5 - view.y);
      if (far < shortest) { best = index; shortest = far; }
    });
    return best;
  }

  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") { choose(-1); canvas.focus(); return; }
    const action = (event.shiftKey && walks[event.key]) || keys[event.key];
    if (event.target.closest("input, button, a") || !action) return;
    event.preventDefault();
    action();
  });
  byId("in").addEventListener("click", () => zoom(1.6));
  byId("out").addEventListener("click", () => zoom(1 / 1.6));
  byId("all").addEventListener("click", flyToAll);
  byId("close").addEventListener("click", () => { choose(-1); canvas.focus(); });

  // -- search --------------------------------------------------------------------------------------------------------

  function search() {
    const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    isFound = null;
    found = [];
    foundAt = -1;
    if (words.length) {
      isFound = searched.map((path) => words.every((word) => path.includes(word)));
      found = places.map((_, index) => index).filter((index) => isFound[index]);
    }
    makeFoundOverview();
    tellFound();
    redraw();
  }

  function tellFound() {
    const at = foundAt >= 0 ? `${foundAt + 1} of ${found.length}` : `${found.length} found`;
    byId("found").textContent = isFound ? at : "";
    byId("before").hidden = byId("after").hidden = found.length === 0;
  }

  function go(offset) {
    if (!found.length) return;
    if (foundAt < 0) foundAt = offset > 0 ? 0 : found.length - 1;
    else foundAt = (foundAt + offset + found.length) % found.length;
    tellFound();
    choose(found[foundAt]);
    flyTo(found[foundAt]);
  }

  byId("words").addEventListener("input", search);
  byId("search").addEventListener("submit", (event) => { event.preventDefault(); go(1); });
  byId("after").addEventListener("click", () => go(1));
  byId("before").addEventListener("click", () => go(-1));

  // -- start ---------------------------------------------------------------------------------------------------------

  const formatted = (value) => value.toLocaleString("en").replaceAll(",", " ");
  const part = data.shown < data.images ? `${formatted(data.shown)} of ${formatted(data.images)} images, evenly chosen` :
    `${formatted(data.images)} images`;
  byId("counts").textContent = `${part} · ${formatted(data.groups)} group${data.groups === 1 ? "" : "s"} of duplicates`;
  new ResizeObserver(resize).observe(canvas);
  dark.addEventListener("change", takeColours);
  resize();
  Object.assign(view, { x: data.grid_columns / 2, y: data.grid_rows / 2, cell: fitting() });
  takeColours();
  decode(atlases[small]).then(takeColours);
})();
