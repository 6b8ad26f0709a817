// What of a picture is in sight: a zoom, and the point in the middle, shared by both panes.
//
// zoom 1 fits the kept picture into the pane; x and y are shares of its width and height.
export const FIT = { zoom: 1, x: 0.5, y: 0.5 };
const MAX_ZOOM = 64;

const within = (value, least, most) => Math.max(least, Math.min(most, value));

export function scaleOf(pane, kept) {
  return Math.min(pane.width / kept.width, pane.height / kept.height);
}

// From pixels of the kept picture to those of the pane.
export function viewMatrix(view, pane, kept) {
  const scale = scaleOf(pane, kept) * view.zoom;
  return [
    scale,
    0,
    pane.width / 2 - view.x * kept.width * scale,
    0,
    scale,
    pane.height / 2 - view.y * kept.height * scale,
    0,
    0,
    1,
  ];
}

// Zoom by a factor; what is at (x, y) of the pane, from its middle, stays there.
export function zoomed(view, factor, pane, kept, x = 0, y = 0) {
  const zoom = within(view.zoom * factor, 1, MAX_ZOOM);
  const scale = scaleOf(pane, kept);
  const shift = 1 / (scale * view.zoom) - 1 / (scale * zoom);
  return inside({ zoom, x: view.x + (x * shift) / kept.width, y: view.y + (y * shift) / kept.height });
}

export function panned(view, dx, dy, pane, kept) {
  const scale = scaleOf(pane, kept) * view.zoom;
  return inside({ ...view, x: view.x - dx / (scale * kept.width), y: view.y - dy / (scale * kept.height) });
}

// One pixel of the kept picture is one of the screen; or all of it, when that is so already.
export function pixelZoom(view, pane, kept) {
  const zoom = 1 / scaleOf(pane, kept);
  return Math.abs(view.zoom - zoom) < 0.01 ? FIT : inside({ ...view, zoom: within(zoom, 1, MAX_ZOOM) });
}

function inside(view) {
  if (view.zoom <= 1) return { ...view, x: 0.5, y: 0.5 };
  const half = 0.5 / view.zoom;
  return {
    ...view,
    x: within(view.x, Math.min(half, 0.5), Math.max(1 - half, 0.5)),
    y: within(view.y, Math.min(half, 0.5), Math.max(1 - half, 0.5)),
  };
}
