// Keys of a page: useKeys({"j": ..., "ArrowLeft": ..., "Ctrl+z": ...}). Not while a text is typed.
import { useEffect } from "./ui.js";

const TYPING = "input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable]";

export function nameOf(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && event.key.length > 1) parts.push("Shift");
  return [...parts, event.key].join("+");
}

export function useKeys(keys, active = true) {
  useEffect(() => {
    if (!active) return undefined;
    const press = (event) => {
      if (event.defaultPrevented || event.target.closest?.(TYPING)) return;
      const action = keys[nameOf(event)];
      if (!action) return;
      event.preventDefault();
      action(event);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
}
