// What a training would do: the network and why, what would learn and why, and the time on this machine.
import { html, useEffect, useState, useStore, Action, Notes, Problem, Said } from "./ui.js";
import { get, startJob } from "./api.js";

const ACTIVE = ["waiting", "running", "stopping"];
const LEARNS = { none: "everything, from random weights", head: "the head alone", full: "the head, then everything" };

export function Preview({ project, store, settings }) {
  const [asked, ask] = useState(null);
  const job = useStore(store, (state) => (asked ? state.jobs.get(asked.id) : undefined)) ?? null;
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const wanted = JSON.stringify(settings);
  const isOld = asked !== null && asked.wanted !== wanted;
  useEffect(() => {
    let current = true;
    if (job?.state !== "done") return undefined;
    get(`/api/jobs/${job.id}`).then((found) => current && setResult(found.result), (problem) => current && setError(problem));
    return () => { current = false; };
  }, [job?.id, job?.state]);
  const start = async () => {
    setError(null);
    setResult(null);
    const made = await startJob("preview", settings, project.id);
    store.keep(made);
    ask({ id: made.id, wanted });
  };
  const isBusy = job && ACTIVE.includes(job.state);
  return html`<section aria-labelledby="ahead"><h2 id="ahead">What it will do</h2>
    <p class="said">Looks at the pictures once and times some steps of the network. Nothing is trained yet.</p>
    <div class="buttons"><${Action} disabled=${isBusy} run=${start}>${result || isOld ? "Look again" : "Look ahead"}<//></div>
    <div role="status">
      ${isBusy && html`<p class="said">${job.state === "waiting" ? "It waits for its turn …" : "Looking …"}</p>`}
      ${isOld && result && html`<p class="said">The settings have changed since; look again.</p>`}
      ${result && html`<${Found} found=${result} />`}
    </div>
    ${job?.state === "failed" && html`<${Problem} error=${job} />`}
    ${error && html`<${Problem} error=${error} />`}</section>`;
}

const duration = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} seconds` : seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`);

function Found({ found }) {
  const learns = found.strategy.startsWith("last:") ? `the head and the last ${found.strategy.slice(5)} stages` : LEARNS[found.strategy];
  return html`<dl class="words">
    <dt>Time</dt><dd>about ${duration(found.seconds)} on this machine while nothing else runs; reading the pictures comes on top where it is slower</dd>
    <dt>Network</dt><dd>${found.model}, ${found.input_size} × ${found.input_size} pixels, from ${found.weights ? `the weights ${found.weights}` : "random weights"}</dd>
    <dt>Learns</dt><dd>${learns}: <${Said} text=${found.strategy_reason} /></dd>
    <dt>Pictures</dt><dd>${found.num_classes} classes; ${found.num_train} pictures to train on, ${found.num_val} to validate, ${found.num_test} locked away for the test</dd>
  </dl>
  <${Notes} notes=${[...found.reasons, ...found.notes]} />`;
}
