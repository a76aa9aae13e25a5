// Check: what the data doctor finds, and labels that are probably wrong, with the pictures and what to do about them.
import { html, useMemo, useState, useStore, useLoaded, Title, Action, Empty, JobState, Loading, Problem, Said, percent, day } from "../lib/ui.js";
import { get, startJob } from "../lib/api.js";
import { usePictures, thumbnail, EXCLUDED } from "../lib/pictures.js";

const AT_ONCE = 12;

export function Page({ project, store }) {
  const held = usePictures(project);
  const jobs = useStore(store, (state) => state.jobs);
  const numbers = useMemo(() => new Map((held.pictures?.names ?? []).map((name, number) => [name, number])), [held.pictures?.names]);
  if (held.error && !held.pictures) return html`<${Title}>Check<//><${Problem} error=${held.error} />`;
  if (!held.pictures) return html`<${Title}>Check<//><${Loading} what="Reading the pictures" />`;
  if (!held.pictures.names.length) {
    return html`<${Title}>Check<//><${Empty}><p>This folder has no pictures yet.</p><p><a class="button main" href=${`/p/${project.id}/gather`}>Gather some</a></p><//>`;
  }
  const parts = { project, store, held, numbers };
  const checked = [...jobs.values()].some((job) => job.task === "check" && job.project === project.id && job.state === "done");
  return html`
    <${Title} lead="Looks for broken pictures, for copies that would leak into the test, and for labels that are probably wrong. Nothing is moved or deleted.">Check<//>
    <${Part} ...${parts} task="check" main title="Pictures and copies" start="Check the pictures" Result=${Findings}
      what="Every picture is read once. Copies are kept on one side of the split whatever you do here." />
    <${Part} ...${parts} task="suspects" title="Labels that are probably wrong" start="Look for wrong labels" Result=${Suspects}
      what="Every picture is judged by what the other pictures say. A suspect is a question to you, not a verdict." />
    <section aria-label="Next"><div class="buttons"><a class=${`button ${checked ? "main" : ""}`} href=${`/p/${project.id}/train`}>Train on these pictures</a><a class="button" href=${`/p/${project.id}/label`}>Look at all of them</a></div></section>`;
}

// One kind of search: its button, its progress, and the result of its newest job.
function Part({ project, store, held, numbers, task, main, title, start, what, Result }) {
  const jobs = useStore(store, (state) => state.jobs);
  const progress = useStore(store, (state) => state.progress);
  const own = [...jobs.values()].filter((job) => job.task === task && job.project === project.id).sort((a, b) => (a.id < b.id ? 1 : -1));
  const job = own[0] ?? null;
  const done = own.find((one) => one.state === "done") ?? null;
  const { value, error } = useLoaded(() => (done ? get(`/api/jobs/${done.id}`) : Promise.resolve(null)), [done?.id]);
  const busy = job && ["waiting", "running", "stopping"].includes(job.state);
  const now = job && progress.get(job.id);
  const begin = async () => store.keep(await startJob(task, {}, project.id));
  return html`<section aria-labelledby=${`part-${task}`}><h2 id=${`part-${task}`}>${title}</h2><p class="said">${what}</p>
    <div class="buttons"><${Action} main=${main && !done} disabled=${busy} run=${begin}>${done ? `${start} again` : start}<//>
      ${job && job.state !== "done" && html`<${JobState} job=${job} />`}</div>
    ${busy && now?.event === "Advanced" && html`<progress max=${now.total} value=${now.done} aria-label=${title}></progress>`}
    ${job && job.state === "failed" && html`<${Problem} error=${job} />`}
    ${error && html`<${Problem} error=${error} />`}
    ${value?.result && html`<p class="said">As of ${day(done.changed || done.made)}.</p><${Result} result=${value.result} project=${project} held=${held} numbers=${numbers} />`}
  </section>`;
}

function Findings({ result, project, held, numbers }) {
  const sets = result.groups.map((names) => names.map((name) => numbers.get(name)).filter((number) => number !== undefined)).filter((set) => set.length > 1);
  const [more, setMore] = useState(AT_ONCE);
  return html`
    ${result.findings.length ? html`<ul class="cards">${result.findings.map((finding) => html`<li key=${finding.kind}><h3>${finding.kind}: ${finding.count}</h3>
      <p><${Said} text=${finding.action} /></p>
      <details><summary>Which</summary><ul>${finding.examples.slice(0, 50).map((example) => html`<li key=${example}>${example}</li>`)}</ul></details></li>`)}</ul>`
    : html`<p><b>No broken pictures, no copies, no leaks.</b></p>`}
    ${result.split && html`<p>A training would split ${result.split.train + result.split.val + result.split.test} of the ${result.pictures} pictures into ${result.split.train} to train on, ${result.split.val} to validate and ${result.split.test} locked away for the test.</p>`}
    ${sets.length > 0 && html`<h3>Copies side by side</h3>
      <ul class="sets">${sets.slice(0, more).map((set) => html`<${CopySet} key=${set.join()} set=${set} project=${project} held=${held} />`)}</ul>
      ${sets.length > more && html`<button type="button" onClick=${() => setMore(more + AT_ONCE)}>Show more of ${sets.length} sets</button>`}`}`;
}

const isOut = (held, number) => Boolean(held.pictures.flags[number] & EXCLUDED);
const labelOf = (held, number) => held.pictures.classes[held.pictures.labels[number]];

function Picture({ number, project, held }) {
  return html`<figure class=${isOut(held, number) ? "out" : ""}><img src=${thumbnail(project, number)} alt="" width="112" height="112" loading="lazy" />
    <figcaption>${held.pictures.names[number]}<br />${isOut(held, number) ? "left out" : labelOf(held, number)}</figcaption></figure>`;
}

function CopySet({ set, project, held }) {
  const rest = set.slice(1);
  const out = rest.every((number) => isOut(held, number));
  const labels = new Set(set.filter((number) => !isOut(held, number)).map((number) => labelOf(held, number)));
  return html`<li><div class="set">${set.slice(0, 8).map((number) => html`<${Picture} key=${number} number=${number} project=${project} held=${held} />`)}
      ${set.length > 8 && html`<p class="said">and ${set.length - 8} more</p>`}</div>
    ${labels.size > 1 && html`<p class="problem">The same picture has different classes.</p>`}
    ${held.pictures.can_label && html`<div class="buttons">
      <${Action} run=${() => held.change([{ numbers: rest, excluded: !out }])}>${out ? "Take them back in" : "Keep the first only"}<//>
      ${labels.size > 1 && [...labels].map((label) => html`<${Action} key=${label} run=${() => held.change([{ numbers: set, label }])}>All are ${label}<//>`)}</div>`}</li>`;
}

function Suspects({ result, project, held, numbers }) {
  const [kept, keep] = useState(new Set());
  const [more, setMore] = useState(AT_ONCE);
  const open = result.suspects.filter((one) => numbers.has(one.name) && !kept.has(one.name));
  if (!open.length) return html`<p><b>${result.suspects.length ? "You have looked at every suspect." : "No label is suspect."}</b></p>`;
  const all = open.map((one) => numbers.get(one.name));
  return html`<p>${percent(result.accuracy)} of ${result.pictures} labels agree with what the other pictures say. ${result.suspects.length} are suspect; about ${result.estimated_wrong} are wrong by chance (95 % interval ${result.estimated_wrong_interval.join(" to ")}). Seen with ${result.network}.</p>
    <p><a href=${`/p/${project.id}/label?numbers=${all.slice(0, 200).join(",")}`}>Show them in the grid</a></p>
    <ul class="cards suspects">${open.slice(0, more).map((one) => {
      const number = numbers.get(one.name);
      const settled = isOut(held, number) || labelOf(held, number) !== one.label;
      return html`<li key=${one.name}><${Picture} number=${number} project=${project} held=${held} />
        <p>Labelled <b>${one.label}</b> (${percent(one.probability, 0)}), looks like <b>${one.suggested}</b> (${percent(one.suggested_probability, 0)}).</p>
        <p class="said">${one.reasons.join("; ")}</p>
        ${held.pictures.can_label && html`<div class="buttons">
          <${Action} disabled=${settled} run=${() => held.change([{ numbers: [number], label: one.suggested }])}>It is ${one.suggested}<//>
          <${Action} disabled=${settled} run=${() => held.change([{ numbers: [number], excluded: true }])}>Leave out<//>
          <button type="button" onClick=${() => keep(new Set([...kept, one.name]))}>${settled ? "Next" : "Keep"}</button></div>`}</li>`;
    })}</ul>
    ${held.pictures.can_undo && html`<div class="buttons"><${Action} run=${() => held.undo()}>Undo the last change<//></div>`}
    ${open.length > more && html`<button type="button" onClick=${() => setMore(more + AT_ONCE)}>Show more of ${open.length}</button>`}`;
}
