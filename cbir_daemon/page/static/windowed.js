// A long list of which only what is in sight, and a little more, is in the document.
//
// Items may have any height: what was seen is measured, the rest is estimated.  The browser's own anchoring keeps the
// view still when an estimate was wrong.
import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import { html } from "./html.js";

const MARGIN_PX = 900;
const GAP_PX = 12; // Below each item, as in the style.

class Heights {
  constructor() {
    this.measured = new Map();
    this.sum = 0;
  }

  put(index, px) {
    const before = this.measured.get(index);
    if (before === px) return false;
    this.sum += px - (before ?? 0);
    this.measured.set(index, px);
    return true;
  }

  get estimate() {
    return this.measured.size ? this.sum / this.measured.size : 340;
  }

  of(index) {
    return this.measured.get(index) ?? this.estimate;
  }

  // Distance from the top of the list to an item, from what is measured and the mean for the rest.
  to(index) {
    let px = index * this.estimate;
    for (const [at, height] of this.measured) if (at < index) px += height - this.estimate;
    return px;
  }

  at(px) {
    let low = 0;
    let high = 1;
    while (this.to(high) <= px) high *= 2;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.to(middle) <= px) low = middle;
      else high = middle;
    }
    return low;
  }
}

// count: items in all; item(index): its element; current: the index that must stay in the document; reveal: changes when
// `current` is to come into sight; seen(first, last): what is in sight now.
export function Windowed({ count, item, current, reveal, seen, label, version }) {
  const scroller = useRef(null);
  const heights = useRef(null);
  const [range, setRange] = useState([0, 6]);
  heights.current ??= new Heights();

  function look() {
    if (!scroller.current) return; // An observer may speak once more after the list has gone.
    const { scrollTop, clientHeight } = scroller.current;
    const first = heights.current.at(Math.max(0, scrollTop - MARGIN_PX));
    const last = Math.min(count, heights.current.at(scrollTop + clientHeight + MARGIN_PX) + 1);
    setRange((before) => (before[0] === first && before[1] === last ? before : [first, last]));
    seen?.(first, last);
  }

  useLayoutEffect(() => {
    const observer = new ResizeObserver((entries) => {
      let moved = false;
      for (const { target } of entries) {
        // What is being removed has no height any more.
        if (target.isConnected)
          moved = heights.current.put(Number(target.dataset.index), target.offsetHeight + GAP_PX) || moved;
      }
      if (moved) look();
    });
    for (const element of scroller.current.querySelectorAll(":scope > [data-index]")) observer.observe(element);
    return () => observer.disconnect();
  }, [range, count, version]);

  useEffect(() => {
    const observer = new ResizeObserver(() => look());
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, [count]);

  useLayoutEffect(() => {
    look();
  }, [count]);

  useLayoutEffect(() => {
    if (!count) return;
    const box = scroller.current;
    let element = box.querySelector(`:scope > [data-index="${current}"]`);
    if (!element) {
      box.scrollTop = heights.current.to(current);
      look();
      return;
    }
    element.scrollIntoView({ block: "nearest" });
    element = box.querySelector(`:scope > [data-index="${current}"]`);
    if (box.contains(document.activeElement) || document.activeElement === document.body)
      element.focus({ preventScroll: true });
  }, [reveal]);

  const [first, last] = [Math.min(range[0], Math.max(0, count - 1)), Math.min(range[1], count)];
  const items = [];
  for (let index = first; index < last; index += 1) items.push(item(index));
  const above = heights.current.to(first);
  const below = Math.max(0, heights.current.to(count) - heights.current.to(last));
  return html`<div class="windowed" role="feed" aria-label=${label} tabindex="-1" ref=${scroller} onScroll=${look}>
    <div class="spacer" style=${{ height: `${above}px` }}></div>
    ${items}
    <div class="spacer" style=${{ height: `${below}px` }}></div>
  </div>`;
}
