// What every page uses: html`...` templates, Preact's hooks, links, and small parts.
import { h, render, Fragment } from "../vendor/preact.module.js";
import { useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback } from "../vendor/hooks.module.js";
import htm from "../vendor/htm.module.js";
import { percent as shareText } from "../numbers.js";
import { spoken } from "./words.js";

export const html = htm.bind(h);
export { h, render, Fragment, useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback };

// Goes to an address of the studio without loading the document again.
export function navigate(href, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  dispatchEvent(new Event("casebook:navigate"));
}

// The current address with some query parameters changed; null takes one out.
export function withQuery(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  return url.pathname + url.search;
}

// A reactive view of the store: the component is drawn again when what `select` gives has changed.
export function useStore(store, select) {
  const [, draw] = useState(0);
  const last = useRef();
  last.current = select(store.state);
  useEffect(() => store.subscribe(() => {
    if (select(store.state) !== last.current) draw((count) => count + 1);
  }), [store]);
  return last.current;
}

// {value, error, busy, reload} of an asynchronous call that is made again when `keys` change.
export function useLoaded(load, keys) {
  const [state, set] = useState({ value: null, error: null, busy: true });
  const [again, setAgain] = useState(0);
  useEffect(() => {
    let current = true;
    set((before) => ({ ...before, busy: true }));
    load().then(
      (value) => current && set({ value, error: null, busy: false }),
      (error) => current && set({ value: null, error, busy: false }),
    );
    return () => { current = false; };
  }, [...keys, again]);
  return { ...state, reload: () => setAgain((count) => count + 1) };
}

// The page's one h1, which takes the focus after a navigation.
export function Title({ children, lead }) {
  return html`<h1 tabindex="-1" id="title">${children}</h1>${lead && html`<p class="lead">${lead}</p>`}`;
}

// A button that is off while its action runs, and shows the action's error below.
export function Action({ run, children, main = false, disabled = false, label }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const act = async () => {
    setBusy(true);
    setError(null);
    try { await run(); } catch (problem) { setError(problem); }
    setBusy(false);
  };
  return html`<span class="action">
    <button type="button" class=${main ? "main" : ""} disabled=${disabled || busy} aria-label=${label} onClick=${act}>${children}</button>
    ${error && html`<${Problem} error=${error} />`}
  </span>`;
}

// A sentence of the library; what it says about flags stands apart.
export function Said({ text }) {
  const { words, terminal } = spoken(text);
  return html`${words}${terminal && html` <small class="terminal">In a terminal: ${terminal}</small>`}`;
}

// Sentences as a list; nothing where there are none.
export function Notes({ notes }) {
  return notes.length > 0 && html`<div class="notes"><ul>${[...new Set(notes)].map((text) => html`<li key=${text}><${Said} text=${text} /></li>`)}</ul></div>`;
}

export function Problem({ error }) {
  return html`<p class="problem" role="alert"><${Said} text=${error.message ?? String(error)} /></p>`;
}

// What an empty page says: what is missing and what to do next.
export function Empty({ children }) {
  return html`<div class="empty">${children}</div>`;
}

export function Loading({ what = "Loading" }) {
  return html`<p class="said" role="status">${what} …</p>`;
}

// "–" stands for what is not known.
export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : shareText(share, digits));

export function clock(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function day(seconds) {
  const date = new Date(1000 * seconds);
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export const STATES = {
  waiting: "waiting", running: "running", stopping: "stopping", stopped: "stopped", failed: "failed", done: "done",
};

export function JobState({ job }) {
  const tone = { done: "yes", failed: "no", stopped: "open" }[job.state] ?? "open";
  return html`<span class=${`outcome ${tone}`}>${STATES[job.state]}</span>`;
}
