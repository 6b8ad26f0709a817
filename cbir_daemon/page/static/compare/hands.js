// Drag and pinch pan and zoom both panes; a tap flips.
import { useRef } from "../vendor/hooks.js";
import { panned, zoomed } from "./view.js";

const TAP_PX = 6; // Farther is a drag.
const WHEEL_PX = 400; // Of the wheel, for a zoom by e.

function middleOf(points) {
  const [one, two = one] = points;
  return { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, spread: Math.hypot(one.x - two.x, one.y - two.y) };
}

// A point of the screen, from the middle of the pane that it lies in.
function fromMiddle(event, pane, { x, y }) {
  const box = event.currentTarget.getBoundingClientRect();
  const within = (from, side) => ((from % side) + side) % side;
  return [within(x - box.left, pane.width) - pane.width / 2, within(y - box.top, pane.height) - pane.height / 2];
}

const pointOf = (event) => ({ x: event.clientX, y: event.clientY });

export function useHands(pane, kept, setView, tap) {
  const held = useRef(new Map());
  const travelled = useRef(0);
  const middle = () => middleOf([...held.current.values()]);
  return {
    onPointerDown(event) {
      if (event.target.closest("button, input")) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      if (!held.current.size) travelled.current = 0;
      held.current.set(event.pointerId, pointOf(event));
    },
    onPointerMove(event) {
      if (!held.current.has(event.pointerId)) return;
      const before = middle();
      held.current.set(event.pointerId, pointOf(event));
      const now = middle();
      const dx = now.x - before.x;
      const dy = now.y - before.y;
      travelled.current += Math.abs(dx) + Math.abs(dy);
      const factor = before.spread ? now.spread / before.spread : 1;
      const at = fromMiddle(event, pane, now);
      setView((view) => zoomed(panned(view, dx, dy, pane, kept), factor, pane, kept, ...at));
    },
    onPointerUp(event) {
      if (held.current.delete(event.pointerId) && !held.current.size && travelled.current < TAP_PX) tap();
    },
    onPointerCancel(event) {
      held.current.delete(event.pointerId);
    },
    onWheel(event) {
      const at = fromMiddle(event, pane, pointOf(event));
      setView((view) => zoomed(view, Math.exp(-event.deltaY / WHEEL_PX), pane, kept, ...at));
    },
  };
}
