// Run: a training while it goes on, and after. The address names the run, or the job before there is a run.
import { html, useEffect, useRef, useState, useStore, useLoaded, navigate, Title, Action, Empty, JobState, Loading, Notes, Problem, Said, percent, clock } from "../lib/ui.js";
import { get, post } from "../lib/api.js";
import { LineChart } from "../lib/chart.js";

export function Page({ route, project, store }) {
  const jobs = useStore(store, (state) => state.jobs);
  const own = [...jobs.values()].filter((job) => job.task === "train" && (job.run === route.name || job.id === route.name));
  const job = own.sort((a, b) => (a.id < b.id ? 1 : -1))[0] ?? null;
  useEffect(() => {
    if (job?.run && route.name === job.id) navigate(`/p/${project.id}/run/${encodeURIComponent(job.run)}`, { replace: true });
  }, [job?.run]);
  if (job) return html`<${OfJob} key=${job.id} job=${job} project=${project} store=${store} />`;
  return html`<${OfFolder} name=${route.name} project=${project} />`;
}

// What the events of a job add up to. The events of epochs count on over the phases of one training; those of steps
// begin again with each phase.
export function summary(events) {
  const found = { started: null, epochs: new Map(), steps: [], now: null, notes: [], scoring: false, task: null, total: 1 };
  const begins = new Map();
  const number = (phase, epoch) => (begins.get(phase) ?? 0) + epoch;
  for (const event of events) {
    if (event.event === "TrainingStarted") Object.assign(found, { started: event, scoring: false, task: null });
    if (event.event === "ScoringStarted") Object.assign(found, { scoring: true, now: null });
    if (event.event === "Advanced") found.task = event.done < event.total ? event : null;
    if (event.event === "Remark") found.notes.push(event.text);
    if (event.event === "StepEnded" || event.event === "EpochEnded") {
      if (!begins.has(event.phase)) begins.set(event.phase, Math.max(0, ...[...found.epochs.keys()]));
      found.task = null;
    }
    if (event.event === "StepEnded") {
      found.now = event;
      found.total = number(event.phase, event.epochs);
      found.steps.push([number(event.phase, event.epoch - 1 + event.batch / event.batches), event.loss]);
    }
    if (event.event === "EpochEnded") found.epochs.set(event.epoch, event);
  }
  return found;
}

function useEvents(job, store) {
  const [events, set] = useState(null);
  const [error, setError] = useState(null);
  const lines = useRef(new Map());
  useEffect(() => {
    let timer = null;
    let loaded = false;
    const draw = () => {
      timer ??= setTimeout(() => {
        timer = null;
        set([...lines.current].sort(([a], [b]) => a - b).map(([, event]) => event));
      }, 100);
    };
    const stop = store.onEvent(job.id, (record) => {
      if (record.line === null) return;
      lines.current.set(record.line, record.event);
      if (loaded) draw();
    });
    get(`/api/jobs/${job.id}`).then((found) => {
      for (const record of found.events) lines.current.set(record.line, record.event);
      loaded = true;
      draw();
    }, setError);
    return () => { stop(); clearTimeout(timer); };
  }, [job.id]);
  return [events, error];
}

function OfJob({ job, project, store }) {
  const [events, error] = useEvents(job, store);
  const found = summary(events ?? []);
  const rows = [...found.epochs.entries()].map(([number, row]) => ({ ...row, number }));
  return html`
    <${Title} lead=${html`A training of ${project.name}. <${JobState} job=${job} />`}>${job.run ?? "Training"}<//>
    ${error && html`<${Problem} error=${error} />`}
    <${Now} job=${job} found=${found} />
    <${Controls} job=${job} store=${store} />
    ${job.state === "done" && html`<${Next} project=${project} run=${job.run} />`}
    ${events === null && !error && html`<${Loading} />`}
    ${(rows.length > 0 || found.steps.length > 0) && html`<${Curves} rows=${rows} steps=${found.steps} notes=${found.notes} isDone=${job.state === "done"} epochs=${found.total} />`}
    ${found.started && html`<${Decided} started=${found.started} notes=${found.notes} />`}
    <${Log} job=${job} />`;
}

const PHASES = { head: "Head", tune: "Fine-tuning" };

// How long the training has been at it, every second anew.
function Elapsed({ since }) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="said now">Running for ${clock(now / 1000 - since)}.</p>`;
}

const STEPS = {
  scan: "Checking the pictures", features: "Computing features", prepare: "Preparing pictures", evaluate: "Evaluating",
  download: "Downloading (MiB)", profile: "Measuring this machine",
};

function Now({ job, found }) {
  const { now, task, started } = found;
  if (job.state === "waiting") {
    return html`<p>This training waits for its turn: one training runs at a time. You can close the page.</p>`;
  }
  if (job.state === "stopped" || job.state === "failed") {
    return html`<p class=${job.state === "failed" ? "problem" : ""}><${Said} text=${job.message || "The training was stopped."} /></p>
      ${now && html`<p class="said">It got to epoch ${now.epoch} of ${now.epochs}.</p>`}`;
  }
  if (job.state === "done") return null;
  if (job.state === "stopping") return html`<p>The training ends after this step and writes its checkpoint.</p>`;
  const elapsed = html`<${Elapsed} since=${job.changed} />`;
  if (task) return html`<${Bar} text=${STEPS[task.task] ?? task.task} done=${task.done} total=${task.total} />${elapsed}`;
  if (found.scoring) return html`<p>Scoring the best weights on the locked test pictures, and writing the report.</p>${elapsed}`;
  if (!now) {
    return html`<p>The training is getting ready: it looks at the pictures, times the network and tries what suits them.</p>${elapsed}
      ${found.notes.length > 0 && html`<p class="said"><${Said} text=${found.notes.at(-1)} /></p>`}`;
  }
  if (now.epoch === now.epochs && now.batch === now.batches) {
    return html`<p>All epochs are done; what they brought is compared.</p>${elapsed}`;
  }
  const phase = PHASES[now.phase];
  const last = [...found.epochs.values()].at(-1);
  const batches = now.batches - now.batch + now.batches * (now.epochs - now.epoch);
  const seconds = (batches * (started?.batch_size ?? 1)) / now.images_per_second + (now.epochs - now.epoch + 1) * (last?.validation_seconds ?? 0);
  return html`<${Bar} text=${phase ? `${phase}, epoch ${now.epoch} of ${now.epochs}` : `Epoch ${now.epoch} of ${now.epochs}`} done=${(now.epoch - 1) * now.batches + now.batch} total=${now.epochs * now.batches} />
    <dl class="headline now">
      <div><dt>Time left</dt><dd class="value">${clock(seconds)}</dd></div>
      <div><dt>Loss</dt><dd class="value">${now.loss === null ? "–" : now.loss.toFixed(3)}</dd></div>
      <div><dt>Validation ${last?.val_map ? "mAP" : "accuracy"}</dt><dd class="value">${percent(last?.val_map ?? last?.val_top1)}</dd></div>
      <div><dt>Pictures a second</dt><dd class="value">${Math.round(now.images_per_second)}</dd></div>
    </dl>${elapsed}`;
}

function Bar({ text, done, total }) {
  return html`<div class="now"><label>${text}<progress max=${total} value=${done}></progress></label></div>`;
}

function Controls({ job, store }) {
  const tell = (what) => async () => store.keep(await post(`/api/jobs/${job.id}/${what}`));
  if (job.state === "waiting") return html`<div class="buttons"><${Action} run=${tell("stop")}>Take it out of the queue<//></div>`;
  if (job.state === "running") return html`<div class="buttons"><${Action} run=${tell("stop")}>Stop and keep a checkpoint<//></div>`;
  if (job.state === "stopping") return html`<div class="buttons"><${Action} run=${tell("stop")}>Kill it now<//></div>`;
  if (job.can_resume) {
    return html`<div class="buttons"><${Action} main run=${tell("resume")}>Resume<//></div>
      <p class="said">It goes on from its last checkpoint, and ends with the same weights as if it had never stopped.</p>`;
  }
  return null;
}

function Next({ project, run }) {
  const to = (page) => `/p/${project.id}/${page}?run=${encodeURIComponent(run)}`;
  return html`<p>The training is done. Evaluate shows how it does on the validation pictures, and opens the locked test when you ask for it.</p>
    <div class="buttons"><a class="button main" href=${to("evaluate")}>Evaluate</a>
      <a class="button" href=${to("explain")}>Explain</a><a class="button" href=${to("try")}>Try and export</a></div>`;
}

// As many decimals as tell two ticks apart.
const loss = (value, apart = 0.001) => value.toFixed(Math.min(6, Math.max(0, Math.ceil(-Math.log10(apart)))));

// The epoch whose weights are kept; after fine-tuning that was not worth it, one of the head.
export function kept(rows, notes) {
  const isHead = notes.some((note) => note.startsWith("the head alone was kept"));
  return rows.findLast((row) => row.is_best && (!isHead || row.phase === rows[0].phase)) ?? null;
}

// Rows of one phase after another: the head alone, then fine-tuning.
function phasesOf(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.phase, [...(found.get(row.phase) ?? []), row]);
  return [...found.values()];
}

function Curves({ rows, steps, notes = [], isDone, epochs }) {
  const best = kept(rows, notes);
  const several = rows.some((row) => row.val_map !== null && row.val_map !== undefined);
  const phases = phasesOf(rows);
  // One line for each phase: fine-tuning does not go on where the head ended.
  const lines = (name, kind, key) => phases.map((members, place) => ({
    name: place ? `${name}, fine-tuning` : name, kind, points: members.map((row) => [row.number, row[key]]),
    best: best && kind === "validation" && members.includes(best) ? [best.number, best[key]] : null,
  }));
  const extent = isDone ? 1 : epochs;
  return html`<section aria-labelledby="curves"><h2 id="curves">Curves</h2>
    <p class="key"><span><i></i>training</span><span><i class="validation"></i>validation</span>${best && html`<span>○ ${isDone ? "the weights that are kept" : "the best so far"}: epoch ${best.number}</span>`}</p>
    ${phases.length > 1 && html`<p class="said">${phases[0].length === 1 ? "Epoch 1 is" : `Epochs 1 to ${phases[0].length} are`} a new head on the network as it was; from epoch ${phases[1][0].number} on, the network is fine-tuned with a head that starts anew.</p>`}
    <div class="curves">
      <${LineChart} title="Loss" format=${loss} floor=${0} extent=${extent} empty="The first point comes with the first steps." series=${[
        { name: "steps", kind: "steps", points: steps }, ...lines("training", "training", "train_loss"), ...lines("validation", "validation", "val_loss")]} />
      <${LineChart} title=${several ? "Validation mAP" : "Validation accuracy"} format=${(y) => `${(100 * y).toFixed(0)} %`} floor=${0} ceiling=${1} extent=${extent} empty="The first point comes with the first epoch." series=${lines("validation", "validation", several ? "val_map" : "val_top1")} />
    </div>
    ${rows.length > 0 && html`<details><summary>Every epoch as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Every epoch"><table class="list">
      <thead><tr><th scope="col" class="number">Epoch</th><th scope="col" class="number">Training loss</th><th scope="col" class="number">Validation loss</th><th scope="col" class="number">${several ? "mAP" : "Accuracy"}</th><th scope="col" class="number">Learning rate</th><th scope="col" class="number">Seconds</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.number}><td class="number">${row.number}${row.is_best ? " ○" : ""}</td><td class="number">${row.train_loss?.toFixed(4)}</td><td class="number">${row.val_loss?.toFixed(4)}</td>
        <td class="number">${percent(row.val_map ?? row.val_top1)}</td><td class="number">${row.learning_rate?.toExponential(2)}</td><td class="number">${row.seconds?.toFixed(1)}</td></tr>`)}</tbody></table></div></details>`}
  </section>`;
}

function Decided({ started, notes }) {
  return html`<section aria-labelledby="decided"><h2 id="decided">What was decided</h2>
    <dl class="words">
      <dt>Learns</dt><dd>${started.strategy}: <${Said} text=${started.reason} /></dd>
      <dt>Pictures</dt><dd>${started.num_train} to train on, ${started.num_val} to validate, ${started.num_test} locked away for the test</dd>
      <dt>Batches</dt><dd>of ${started.batch_size}, ${started.precision} on ${started.device}</dd>
    </dl>
    <${Notes} notes=${[...started.notes, ...notes]} />
  </section>`;
}

function Log({ job }) {
  const [open, setOpen] = useState(false);
  const { value, error, reload } = useLoaded(() => (open ? get(`/api/jobs/${job.id}/log`) : Promise.resolve(null)), [open, job.state]);
  return html`<details class="log-part" onToggle=${(event) => setOpen(event.target.open)}><summary>Log</summary>
    ${error && html`<${Problem} error=${error} />`}
    ${value && html`<pre class="log" tabindex="0" aria-label="Log">${value.log || "The worker printed nothing."}</pre>
      <button type="button" onClick=${reload}>Read it again</button>`}
  </details>`;
}

// A run that another program made, such as the command line.
function OfFolder({ name, project }) {
  const { value, error, busy } = useLoaded(() => get(`/api/projects/${project.id}/runs/${encodeURIComponent(name)}/history`), [name]);
  if (error) return html`<${Title}>${name}<//><${Empty}><p>${error.message}</p><p><a href="/">Home</a></p><//>`;
  if (busy || !value) return html`<${Title}>${name}<//><${Loading} />`;
  const rows = value.rows.map((row, place) => ({ ...row, number: place + 1 }));
  return html`<${Title} lead=${`${value.network}, ${value.complete ? "finished" : "not finished"}`}>${name}<//>
    ${value.complete && html`<${Next} project=${project} run=${name} />`}
    ${!value.complete && html`<p>The studio did not start this training; go on with it by <code>casebook train --resume runs/${name}</code>.</p>`}
    ${rows.length ? html`<${Curves} rows=${rows} steps=${[]} isDone=${value.complete} epochs=${value.epochs ?? 1} />` : html`<${Empty}><p>No epoch has ended yet.</p><//>`}`;
}
