// A value that tells who draws it when it changes.
import { useEffect, useState } from "./vendor/hooks.js";

export function cell(value) {
  const listeners = new Set();
  let held = value;
  return {
    get value() {
      return held;
    },
    set value(next) {
      if (Object.is(next, held)) return;
      held = next;
      for (const listener of [...listeners]) listener(held);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

// Draw the component again whenever the cell changes.
export function useCell(watched) {
  const [value, setValue] = useState(watched.value);
  useEffect(() => {
    setValue(watched.value);
    return watched.subscribe(setValue);
  }, [watched]);
  return value;
}
