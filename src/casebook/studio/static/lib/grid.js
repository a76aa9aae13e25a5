// A grid of pictures that draws only the rows in sight: as smooth with 50,000 pictures as with 50.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";

const CELL = 128; // the least width of a cell in pixels
const ROW = 152; // the height of a row
const SPARE = 1; // rows above and below those in sight

const REST_MS = 40; // that a picture must be in sight before it is asked for

// Pictures that are scrolled past are not asked for, and a request for one that is gone ends: those in sight come first.
function Thumbnail({ src, alt }) {
  const image = useRef();
  useEffect(() => {
    const own = image.current;
    const timer = setTimeout(() => { own.src = src; }, REST_MS);
    return () => { clearTimeout(timer); own.removeAttribute("src"); };
  }, [src]);
  return html`<img ref=${image} alt=${alt} width="112" height="112" decoding="async" />`;
}

// items: numbers of pictures in their order. cursor: a place in items. onCursor(place, {range, toggle}).
// draw(number): what is below the picture. keys: further keys, name -> action.
export function Grid({ items, cursor, selected, thumbnail, name, draw, flagsOf, label, onCursor, onEnter, keys = {} }) {
  const box = useRef();
  const [view, setView] = useState({ top: 0, height: 600, width: 800 });
  useLayoutEffect(() => {
    const look = () => setView({ top: box.current.scrollTop, height: box.current.clientHeight, width: box.current.clientWidth });
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    look();
    return () => observer.disconnect();
  }, []);
  const columns = Math.max(1, Math.floor(view.width / CELL));
  const rows = Math.ceil(items.length / columns);
  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
  const last = Math.min(rows, Math.ceil((view.top + view.height) / ROW) + SPARE);
  const page = Math.max(1, Math.floor(view.height / ROW));
  const show = (place) => {
    const top = Math.floor(place / columns) * ROW;
    const { scrollTop, clientHeight } = box.current;
    if (top < scrollTop) box.current.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) box.current.scrollTop = top + ROW - clientHeight;
  };
  useEffect(() => { if (cursor < items.length) show(cursor); }, [cursor, columns, items.length]);
  const press = (event) => {
    const to = {
      ArrowLeft: cursor - 1, ArrowRight: cursor + 1, ArrowUp: cursor - columns, ArrowDown: cursor + columns,
      PageUp: cursor - page * columns, PageDown: cursor + page * columns, Home: 0, End: items.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      const beyond = event.key === "ArrowLeft" || event.key === "ArrowRight" || event.key === "ArrowUp" || event.key === "ArrowDown";
      if (beyond && (to < 0 || to >= items.length)) return;
      onCursor(Math.max(0, Math.min(items.length - 1, to)), { range: event.shiftKey, toggle: event.ctrlKey || event.metaKey });
    } else if (event.key === " ") {
      event.preventDefault();
      onCursor(cursor, { toggle: true, flip: true });
    } else if (event.key === "Enter") {
      event.preventDefault();
      onEnter?.(cursor);
    } else {
      const modified = (event.ctrlKey || event.metaKey ? "ctrl+" : "") + event.key.toLowerCase();
      if (!keys[modified] || event.altKey) return;
      event.preventDefault();
      keys[modified]();
    }
  };
  const cells = [];
  for (let place = first * columns; place < Math.min(items.length, last * columns); place += 1) {
    const number = items[place];
    const chosen = selected.has(number);
    cells.push(html`<div key=${number} id=${`picture-${number}`} role="option" aria-selected=${chosen} aria-setsize=${items.length} aria-posinset=${place + 1}
      class=${`cell-picture${place === cursor ? " at" : ""}${chosen ? " chosen" : ""} ${flagsOf(number)}`}
      style=${{ top: `${Math.floor(place / columns) * ROW}px`, left: `${(place % columns) * (100 / columns)}%`, width: `${100 / columns}%` }}
      onClick=${(event) => { box.current.focus({ preventScroll: true }); onCursor(place, { range: event.shiftKey, toggle: event.ctrlKey || event.metaKey, flip: event.ctrlKey || event.metaKey }); }}
      onDblClick=${() => onEnter?.(place)}>
      <${Thumbnail} src=${thumbnail(number)} alt=${name(number)} />${draw(number)}</div>`);
  }
  return html`<div class="grid" ref=${box} role="listbox" aria-multiselectable="true" aria-label=${label} tabindex="0"
    aria-activedescendant=${items.length && cursor >= first * columns && cursor < last * columns ? `picture-${items[cursor]}` : undefined}
    onScroll=${() => setView({ top: box.current.scrollTop, height: box.current.clientHeight, width: box.current.clientWidth })} onKeyDown=${press}>
    <div class="grid-space" role="presentation" style=${{ height: `${rows * ROW}px` }}>${cells}</div>
  </div>`;
}
