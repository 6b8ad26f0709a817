// The map: walk over the collection, look at an image, draw a line around many.
import { ask, listed, stream } from "../api.js";
import { html } from "../html.js";
import { useKeys } from "../keys.js";
import { fileOf, nameOfPath, Path, plain } from "../paths.js";
import { Preview } from "../pictures.js";
import { acceptWithin } from "../queue/plan.js";
import { say, sayFault } from "../saying.js";
import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { bytes, counted, moment, pixels } from "../words.js";
import { Drawing } from "./drawing.js";
import { Found, SearchForm } from "./search.js";
import { Tiles } from "./tiles.js";

const STEP = 1.5;
const PAN_PX = 120;
const CLICK_PX = 5;
const SHOWN = 200;
const WHEEL_PX = 400;

const IMAGE = "image";

// The grid of a medium's map, or why there is none; neither while it is asked for.
function useGrid(medium) {
  const [found, setFound] = useState({});
  useEffect(() => {
    if (!medium) return;
    const gone = new AbortController();
    ask("map_grid", { medium }, gone.signal).then(
      (grid) => setFound({ medium, grid }),
      (fault) => {
        if (!gone.signal.aborted) setFound({ medium, fault });
      },
    );
    return () => gone.abort();
  }, [medium]);
  return found.medium === medium ? found : {};
}

// The names of the media that have a map.
function useMedia() {
  const [media, setMedia] = useState([IMAGE]);
  useEffect(() => {
    const gone = new AbortController();
    ask("status", {}, gone.signal).then((status) => setMedia(status.media.map((held) => held.medium)), sayFault);
    return () => gone.abort();
  }, []);
  return media;
}

// The medium whose map is shown: as chosen, by default that of a content in the address, or images.
function useMedium(digest) {
  const [medium, setMedium] = useState(digest ? "" : IMAGE);
  useEffect(() => {
    if (!digest) return;
    ask("map_place", { digest }).then(
      (place) => setMedium(place.medium),
      (error) => {
        setMedium((before) => before || IMAGE);
        sayFault(error);
      },
    );
  }, [digest]);
  return [medium, setMedium];
}

function Media({ media, medium, choose }) {
  return html`<label class="medium"><span class="unseen">Map of</span><select value=${medium} disabled=${!medium}
      onChange=${(event) => choose(event.target.value)}>${media.map(
        (name) => html`<option key=${name} value=${name} selected=${name === medium}>${name}</option>`,
      )}</select></label>`;
}

// The images in a polygon of cells.
async function inside(grid, polygon, signal) {
  return listed("map_inside", "images", { run: grid.run, polygon }, signal);
}

const cellAround = ([x, y]) => {
  const column = Math.floor(x);
  const row = Math.floor(y);
  return [
    [column, row],
    [column + 1, row],
    [column + 1, row + 1],
    [column, row + 1],
  ];
};

// Drag pans, or draws the lasso; wheel and pinch zoom; a click looks at an image.
function useHands(drawing, isLasso, picked, drawn) {
  const held = useRef(new Map());
  const travelled = useRef(0);
  const middle = () => {
    const points = [...held.current.values()];
    const [one, two = one] = points;
    return { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, spread: Math.hypot(one.x - two.x, one.y - two.y) };
  };
  const place = (event) => ({ x: event.offsetX, y: event.offsetY });
  return {
    onPointerDown(event) {
      event.currentTarget.setPointerCapture(event.pointerId);
      if (!held.current.size) travelled.current = 0;
      held.current.set(event.pointerId, place(event));
      if (isLasso) drawing.current.lasso = [drawing.current.at(event.offsetX, event.offsetY)];
    },
    onPointerMove(event) {
      if (!held.current.has(event.pointerId)) return;
      const before = middle();
      held.current.set(event.pointerId, place(event));
      const now = middle();
      travelled.current += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (isLasso) {
        drawing.current.lasso.push(drawing.current.at(event.offsetX, event.offsetY));
        drawing.current.redraw();
        return;
      }
      drawing.current.pan(now.x - before.x, now.y - before.y);
      if (before.spread) drawing.current.zoom(now.spread / before.spread, now.x, now.y);
    },
    onPointerUp(event) {
      if (!held.current.delete(event.pointerId) || held.current.size) return;
      if (isLasso && drawing.current.lasso.length > 2) drawn(drawing.current.lasso);
      else if (travelled.current < CLICK_PX) picked(drawing.current.at(event.offsetX, event.offsetY));
    },
    onPointerCancel(event) {
      held.current.delete(event.pointerId);
    },
    onWheel(event) {
      event.preventDefault();
      drawing.current.zoom(Math.exp(-event.deltaY / WHEEL_PX), event.offsetX, event.offsetY);
    },
  };
}

function Picked({ image, close }) {
  return html`<aside class="card" aria-label="The image"><button type="button" class="close" aria-label="Close"
      onClick=${close}>×</button>
    <${Preview} digest=${image.digest} sizePx=${512} alt=${plain(fileOf(image.path))} />
    <p class="where"><${Path} path=${image.path} /></p>
    <p class="notes">${pixels(image)} · ${bytes(image.size)}${image.taken ? ` · taken ${moment(image.taken)}` : ""}${image.group === null ? "" : " · has duplicates"}</p>
    <p class="tools"><a href=${`#/ask/${image.digest}`}>Like this</a></p></aside>`;
}

function Listed({ images, mark, close }) {
  const doubled = images.filter((image) => image.group !== null).length;
  return html`<aside class="card list" aria-label="Images in the line"><button type="button" class="close"
      aria-label="Close" onClick=${close}>×</button>
    <h2>${counted(images.length, "image")}</h2>
    <p class="notes">${counted(doubled, "image")} in groups of duplicates</p>
    <p class="tools"><button type="button" disabled=${!doubled}
        onClick=${mark}>Mark their duplicates for the plan</button></p>
    <ul>${images.slice(0, SHOWN).map(
      (image) => html`<li key=${nameOfPath(image.path)}><a href=${`#/ask/${image.digest}`}
          aria-label=${`Like ${plain(fileOf(image.path))}`}><${Preview} digest=${image.digest} sizePx=${256} /></a>
      <span><${Path} path=${image.path} /></span></li>`,
    )}</ul>
    ${images.length > SHOWN && html`<p class="notes">and ${counted(images.length - SHOWN, "more image")}</p>`}</aside>`;
}

async function* allGroups() {
  for await (const page of stream("duplicates")) yield* page.groups;
}

function useDark() {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [isDark, setDark] = useState(query.matches);
  useEffect(() => {
    const turned = () => setDark(query.matches);
    query.addEventListener("change", turned);
    return () => query.removeEventListener("change", turned);
  }, []);
  return isDark;
}

function Walk({ grid, digest }) {
  const isDark = useDark();
  const plane = useRef(null);
  const drawing = useRef(null);
  const [isLasso, setLasso] = useState(false);
  const [image, setImage] = useState(null);
  const [images, setImages] = useState(null);
  const [search, setSearch] = useState(null);
  const field = useRef(null);

  useEffect(() => {
    const tiles = new Tiles(grid, isDark, (...place) => drawing.current?.arrived(...place));
    const before = drawing.current?.view;
    drawing.current = new Drawing(plane.current, grid, tiles);
    if (before) drawing.current.view = before;
    const observer = new ResizeObserver(() => drawing.current.resize());
    observer.observe(plane.current);
    const own = plane.current;
    const still = (event) => event.preventDefault();
    own.addEventListener("wheel", still, { passive: false });
    return () => {
      observer.disconnect();
      own.removeEventListener("wheel", still);
      drawing.current.leave();
      tiles.leave();
    };
  }, [grid, isDark]);

  useEffect(() => {
    if (!digest) return;
    ask("map_place", { digest }).then(({ run, column, row }) => {
      if (run !== grid.run) return;
      drawing.current.show(column, row);
      pick([column + 0.5, row + 0.5]);
    }, sayFault);
  }, [digest, grid]);

  async function pick(point) {
    const [found] = await inside(grid, cellAround(point));
    setImages(null);
    setImage(found ?? null);
    drawing.current.lasso = [];
    drawing.current.mark = found ? [found.column, found.row] : null;
    drawing.current.redraw();
  }

  async function drawn(polygon) {
    setLasso(false);
    setImage(null);
    setSearch(null);
    setImages(await inside(grid, polygon));
  }

  async function mark() {
    const count = await acceptWithin(allGroups(), new Set(images.map((held) => held.digest)));
    say(
      count
        ? `${counted(count, "group")} marked: the queue has the plan.`
        : "No open group of these has anything for the trash.",
    );
  }

  const hands = useHands(
    drawing,
    isLasso,
    (point) => pick(point).catch(sayFault),
    (polygon) => drawn(polygon).catch(sayFault),
  );
  const pan = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const close = () => {
    setImage(null);
    setImages(null);
    setSearch(null);
    Object.assign(drawing.current, { lasso: [], mark: null });
    drawing.current.redraw();
  };
  useKeys("Map", [
    {
      names: Object.keys(pan),
      shown: "← ↑ ↓ →",
      what: "move",
      act: (name) => drawing.current.pan(...pan[name].map((way) => way * PAN_PX)),
    },
    { names: ["+", "="], shown: "+", what: "zoom in", act: () => drawing.current.zoom(STEP) },
    { names: ["-"], shown: "−", what: "zoom out", act: () => drawing.current.zoom(1 / STEP) },
    { names: ["0"], shown: "0", what: "all of it", act: () => drawing.current.showAll() },
    {
      names: ["Enter"],
      shown: "Enter",
      what: "look at the image in the middle",
      act: () => pick([drawing.current.view.x, drawing.current.view.y]).catch(sayFault),
    },
    { names: ["/"], shown: "/", what: "search images by name", act: () => field.current.focus() },
    { names: ["l"], shown: "L", what: "draw a line around images", act: () => setLasso(!isLasso) },
    {
      names: ["Escape"],
      shown: "Esc",
      what: "close what is shown",
      refusal: () => (image || images || search ? "" : "Nothing is open."),
      act: close,
    },
  ]);
  return html`<div ref=${plane} class=${isLasso ? "plane lasso" : "plane"} tabindex="0" role="img"
      aria-label=${`Map of ${counted(grid.images, "image")}: what looks alike lies together. Arrows move, + and - zoom, Enter looks at the image in the middle.`} ...${hands}><canvas></canvas><canvas hidden></canvas></div>
    <div class="controls" role="group" aria-label="Map"><button type="button" aria-pressed=${isLasso}
        onClick=${() => setLasso(!isLasso)}>Lasso</button>
      <button type="button" aria-label="Zoom in" onClick=${() => drawing.current.zoom(STEP)}>+</button><button
          type="button" aria-label="Zoom out" onClick=${() => drawing.current.zoom(1 / STEP)}>−</button>
      <button type="button" onClick=${() => drawing.current.showAll()}>All</button></div>
    <${SearchForm} field=${field} found=${(next) => {
      close();
      setSearch(next);
    }} />
    ${search && !image && html`<${Found} search=${search} close=${close} />`}
    ${image && html`<${Picked} image=${image} close=${search ? () => setImage(null) : close} />`}
    ${images && html`<${Listed} images=${images} mark=${() => mark().catch(sayFault)} close=${close} />`}`;
}

export function MapRoom({ rest }) {
  const [digest] = rest;
  const media = useMedia();
  const [medium, setMedium] = useMedium(digest);
  const { grid, fault } = useGrid(medium);
  return html`<main class="map" id="content"><h1 class="unseen">Map</h1>
    ${fault && html`<p class="quiet">${fault.line ?? String(fault)}</p>`}
    ${!grid && !fault && html`<p class="quiet" aria-busy="true">Asking for the map…</p>`}
    ${grid && html`<${Walk} key=${medium} grid=${grid} digest=${digest} />`}
    ${media.length > 1 && html`<${Media} media=${media} medium=${medium} choose=${setMedium} />`}</main>`;
}
