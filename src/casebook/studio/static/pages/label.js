// Label: all pictures in a grid; classes are given by keys, and every change can be taken back.
import { html, useEffect, useMemo, useRef, useState, navigate, withQuery, Title, Action, Empty, Loading, Problem } from "../lib/ui.js";
import { Grid } from "../lib/grid.js";
import { Doubt, ordered, useDoubt } from "../lib/doubt.js";
import { usePictures, thumbnail, EXCLUDED, RELABELLED, GATHERED, MISSING, PARTS } from "../lib/pictures.js";

const FLAGS = { left: [EXCLUDED, "left out"], relabelled: [RELABELLED, "relabelled"], gathered: [GATHERED, "gathered"] };
const KEYS = [
  ["Arrows, Page up, Page down, Home, End", "move"], ["Shift with them", "select a range"], ["Space, Ctrl and click", "select one more"],
  ["Ctrl A", "select all that are shown"], ["1 to 9", "give the class of that number"], ["C", "type the name of a class, then Enter"],
  ["X", "leave out, or take back in"], ["U", "undo the last change"], ["Enter", "enlarge"], ["Escape", "select nothing"], ["?", "show these keys"],
];

export function Page({ route, project, store }) {
  const held = usePictures(project);
  const { pictures, error } = held;
  if (error && !pictures) return html`<${Title}>Label<//><${Problem} error=${error} />`;
  if (!pictures) return html`<${Title}>Label<//><${Loading} what="Reading the pictures" />`;
  if (!pictures.names.length) {
    return html`<${Title}>Label<//><${Empty}><p>This folder has no pictures yet.</p>
      <p><a class="button main" href=${`/p/${project.id}/gather`}>Gather some</a></p><//>`;
  }
  return html`<${Labelling} route=${route} project=${project} store=${store} held=${held} pictures=${pictures} />`;
}

function shown(pictures, query) {
  const label = query.class === undefined ? -1 : pictures.classes.indexOf(query.class);
  const part = query.part === undefined ? -1 : Number(query.part);
  const flag = FLAGS[query.flag]?.[0] ?? 0;
  const text = (query.name ?? "").toLowerCase();
  const only = query.numbers ? new Set(query.numbers.split(",").map(Number)) : null;
  const found = [];
  for (let number = 0; number < pictures.names.length; number += 1) {
    const flags = pictures.flags[number];
    if (flags & MISSING) continue;
    if (query.class !== undefined && pictures.labels[number] !== label) continue;
    if (part >= 0 && pictures.parts[number] !== part) continue;
    if (flag && !(flags & flag)) continue;
    if (text && !pictures.names[number].toLowerCase().includes(text)) continue;
    if (only && !only.has(number)) continue;
    found.push(number);
  }
  return found;
}

function Labelling({ route, project, store, held, pictures }) {
  const { query } = route;
  const doubt = useDoubt(project, store, query);
  const { answers } = doubt;
  const filters = [query.class, query.part, query.flag, query.name, query.numbers, query.order, query.answer].join("\n");
  const labelOf = (number) => pictures.classes[pictures.labels[number]];
  // A picture that was just relabelled stays where it is until the filter changes.
  const items = useMemo(() => ordered(shown(pictures, query), answers, query, labelOf), [filters, pictures.names, answers]);
  const [cursor, setCursor] = useState(() => Math.max(0, items.indexOf(Number(query.at))));
  const [selected, select] = useState(new Set());
  const [anchor, setAnchor] = useState(0);
  const [said, say] = useState("");
  const [problem, setProblem] = useState(null);
  const [large, enlarge] = useState(null);
  const [help, setHelp] = useState(false);
  const box = useRef();
  const at = Math.min(cursor, Math.max(0, items.length - 1));
  useEffect(() => { setCursor((place) => Math.min(place, Math.max(0, items.length - 1))); select(new Set()); }, [items]);
  useEffect(() => {
    const timer = setTimeout(() => navigate(withQuery({ at: items[at] ?? null }), { replace: true }), 400);
    return () => clearTimeout(timer);
  }, [at, items]);
  const chosen = selected.size ? [...selected] : items.length ? [items[at]] : [];
  const doing = (work, text) => async () => {
    setProblem(null);
    try { say(text((await work()).length)); } catch (trouble) { setProblem(trouble); }
  };
  const many = (count) => (count === 1 ? "1 picture" : `${count} pictures`);
  const relabel = (label) => doing(() => held.change([{ numbers: chosen, label }]), (count) => `${many(count)}: ${label}`)();
  const out = !chosen.every((number) => pictures.flags[number] & EXCLUDED);
  const exclude = doing(() => held.change([{ numbers: chosen, excluded: out }]), (count) => `${many(count)} ${out ? "left out" : "taken back in"}`);
  const undo = doing(() => held.undo(), (count) => (count ? `undone: ${many(count)}` : "nothing to undo"));
  const move = (place, { range = false, toggle = false, flip = false } = {}) => {
    if (range) select(new Set(items.slice(Math.min(anchor, place), Math.max(anchor, place) + 1)));
    else if (toggle) {
      if (flip) select((before) => { const next = new Set(before); if (!next.delete(items[place])) next.add(items[place]); return next; });
      setAnchor(place);
    } else { select(new Set()); setAnchor(place); }
    setCursor(place);
  };
  const keys = {
    x: exclude, u: undo, "ctrl+z": undo, "ctrl+a": () => select(new Set(items)), c: () => box.current?.focus(), escape: () => select(new Set()), "?": () => setHelp(true),
  };
  pictures.classes.slice(0, 9).forEach((label, place) => { keys[String(place + 1)] = () => relabel(label); });
  const flagsOf = (number) => {
    const flags = pictures.flags[number];
    return `${flags & EXCLUDED ? "out " : ""}${flags & RELABELLED ? "changed" : ""}`;
  };
  return html`
    <${Title} lead=${`${pictures.names.length} pictures in ${pictures.classes.length} classes. Files are never moved or renamed; what you change becomes a list beside the data.`}>Label<//>
    <${Filters} pictures=${pictures} query=${query} />
    <${Doubt} doubt=${doubt} query=${query} />
    ${pictures.edited && html`<p class="caveat">${pictures.edited}.</p>`}
    ${!pictures.can_label && html`<p class="said">The built-in digits have no files, so their labels stay as they are.</p>`}
    <div class="buttons tools">
      <form onSubmit=${(event) => { event.preventDefault(); if (box.current.value.trim()) { relabel(box.current.value); box.current.value = ""; document.querySelector(".grid")?.focus(); } }}>
        <label>Class <input type="text" ref=${box} list="classes" autocomplete="off" maxlength="100" size="14" disabled=${!pictures.can_label} /></label>
        <datalist id="classes">${pictures.classes.map((label) => html`<option key=${label} value=${label} />`)}</datalist>
        <button type="submit" disabled=${!pictures.can_label || !chosen.length}>Give it to ${chosen.length === 1 ? "this picture" : `${chosen.length} pictures`}</button>
      </form>
      <button type="button" disabled=${!pictures.can_label || !chosen.length} onClick=${exclude}>${out ? "Leave out" : "Take back in"}</button>
      <button type="button" disabled=${!pictures.can_undo} onClick=${undo}>Undo</button>
      <button type="button" onClick=${() => setHelp(true)}>Keys</button>
    </div>
    <p class="said" role="status" aria-live="polite">${said || `${items.length} shown${selected.size ? `, ${selected.size} selected` : ""}`}</p>
    ${problem && html`<${Problem} error=${problem} />`}
    ${items.length ? html`<${Grid} items=${items} cursor=${at} selected=${selected} label="Pictures" keys=${keys}
      thumbnail=${(number) => thumbnail(project, number)} name=${(number) => pictures.names[number]} flagsOf=${flagsOf}
      draw=${(number) => html`<span class="cell-label">${pictures.flags[number] & EXCLUDED ? "left out" : labelOf(number)}${answers?.of.has(number) && answers.of.get(number).guess !== labelOf(number) ? html` <span class="other">${answers.of.get(number).guess}?</span>` : ""}</span>`}
      onCursor=${move} onEnter=${(place) => enlarge(items[place])} />`
    : html`<${Empty}><p>No picture is like that. <a href=${`/p/${project.id}/label`}>Show all</a></p><//>`}
    <p class="key">${pictures.classes.slice(0, 9).map((label, place) => html`<span key=${label}><kbd>${place + 1}</kbd> ${label}</span>`)}</p>
    <div class="buttons"><a class="button main" href=${`/p/${project.id}/train`}>Train on these pictures</a></div>
    ${large !== null && html`<${Large} project=${project} pictures=${pictures} number=${large} answer=${answers?.of.get(large)} close=${() => { enlarge(null); document.querySelector(".grid")?.focus(); }} />`}
    ${help && html`<${Help} close=${() => { setHelp(false); document.querySelector(".grid")?.focus(); }} />`}`;
}

function Filters({ pictures, query }) {
  const counts = new Array(pictures.classes.length).fill(0);
  pictures.labels.forEach((label, number) => { if (!(pictures.flags[number] & (MISSING | EXCLUDED))) counts[label] += 1; });
  const hasParts = pictures.parts.some((part) => part > 0);
  const to = (name) => (event) => navigate(withQuery({ [name]: event.target.value || null, at: null }), { replace: true });
  return html`<div class="buttons filters" role="group" aria-label="Which pictures are shown">
    <label>Class <select value=${query.class ?? ""} onChange=${to("class")}><option value="">all</option>
      ${pictures.classes.map((label, place) => html`<option key=${label} value=${label}>${label} (${counts[place]})</option>`)}</select></label>
    ${hasParts && html`<label>Part <select value=${query.part ?? ""} onChange=${to("part")}><option value="">all</option>
      ${PARTS.slice(1).map((part, place) => html`<option key=${part} value=${place + 1}>${part}</option>`)}</select></label>`}
    <label>Mark <select value=${query.flag ?? ""} onChange=${to("flag")}><option value="">any</option>
      ${Object.entries(FLAGS).map(([key, [, text]]) => html`<option key=${key} value=${key}>${text}</option>`)}</select></label>
    <label>File name <input type="search" value=${query.name ?? ""} size="14" onChange=${to("name")} /></label>
    ${query.numbers && html`<a class="button" href=${withQuery({ numbers: null, at: null })}>Show all pictures</a>`}
  </div>`;
}

function Large({ project, pictures, number, answer, close }) {
  const dialog = useRef();
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog class="large" ref=${dialog} onClose=${close} aria-labelledby="large-name">
    <h2 id="large-name">${pictures.names[number]}</h2>
    <img src=${`/api/projects/${project.id}/picture/${number}`} alt=${pictures.names[number]} />
    <p class="said">${pictures.classes[pictures.labels[number]]}${pictures.parts[number] ? `, ${PARTS[pictures.parts[number]]}` : ""}${answer ? `; the network says ${answer.guess}, with a doubt of ${Math.round(100 * answer.doubt)} %` : ""}</p>
    <button type="button" onClick=${() => dialog.current.close()}>Close</button>
  </dialog>`;
}

function Help({ close }) {
  const dialog = useRef();
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="keys"><h2 id="keys">Keys</h2>
    <dl class="words">${KEYS.map(([key, text]) => html`<dt key=${key}>${key}</dt><dd>${text}</dd>`)}</dl>
    <button type="button" onClick=${() => dialog.current.close()}>Close</button></dialog>`;
}
