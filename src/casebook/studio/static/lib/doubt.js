// What a trained run says about every picture of the project: its doubt, its own answer, and what to label next.
import { html, useEffect, useMemo, useState, useStore, navigate, withQuery, Action, JobState, Problem } from "./ui.js";
import { get, startJob } from "./api.js";

export const ORDERS = { doubt: "the most doubtful first", next: "label next: what teaches it most" };

const BUSY = ["waiting", "running", "stopping"];

// {runs, run, job, answers, error, ask}: answers is null until a run was asked; `of` gives {doubt, guess} of a number.
export function useDoubt(project, store, query) {
  const home = useStore(store, (state) => state.home);
  const jobs = useStore(store, (state) => state.jobs);
  const progress = useStore(store, (state) => state.progress);
  const runs = home.runs.filter((run) => run.project === project.id && run.complete).map((run) => run.name);
  const run = runs.includes(query.run) ? query.run : runs[0] ?? null;
  const own = [...jobs.values()].filter((job) => job.task === "doubt" && job.project === project.id && job.settings.run === run)
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  const job = own[0] ?? null;
  const done = own.find((one) => one.state === "done") ?? null;
  const [found, set] = useState({ id: null, result: null });
  const [error, setError] = useState(null);
  useEffect(() => {
    let current = true;
    setError(null);
    if (!done) set({ id: null, result: null });
    else get(`/api/jobs/${done.id}`).then(({ result }) => current && set({ id: done.id, result }), (problem) => current && setError(problem));
    return () => { current = false; };
  }, [done?.id]);
  const answers = useMemo(() => {
    if (!found.result) return null;
    const { numbers, doubts, guesses, classes, next, locked, unreadable } = found.result;
    const of = new Map(numbers.map((number, place) => [number, { doubt: doubts[place], guess: classes[guesses[place]] }]));
    return { id: found.id, of, next, locked, unreadable };
  }, [found]);
  const ask = async () => store.keep(await startJob("doubt", { run }, project.id));
  return { runs, run, job, answers, error, ask, busy: Boolean(job && BUSY.includes(job.state)), now: job ? progress.get(job.id) : null };
}

// The numbers that the query asks for, in its order. `label(number)` is the class that a picture has now.
export function ordered(numbers, answers, query, label) {
  if (!answers) return numbers;
  let found = numbers;
  if (query.answer === "other") found = found.filter((number) => answers.of.has(number) && answers.of.get(number).guess !== label(number));
  if (query.order === "next") {
    const shown = new Set(found);
    found = answers.next.filter((number) => shown.has(number));
  } else if (query.order === "doubt") {
    found = found.filter((number) => answers.of.has(number));
    found.sort((first, second) => answers.of.get(second).doubt - answers.of.get(first).doubt);
  }
  return found;
}

export function Doubt({ doubt, query }) {
  const { runs, run, job, answers, error, ask, busy, now } = doubt;
  if (!runs.length) return null;
  const to = (name) => (event) => navigate(withQuery({ [name]: event.target.value || null, at: null }), { replace: true });
  return html`<div class="buttons filters" role="group" aria-label="What a trained network says">
    <label>Network <select value=${run} onChange=${to("run")}>${runs.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
    <${Action} disabled=${busy} run=${ask}>${answers ? "Ask it again" : "Ask it about these pictures"}<//>
    ${job && job.state !== "done" && html`<${JobState} job=${job} />`}
    ${busy && now?.event === "Advanced" && html`<progress max=${now.total} value=${now.done} aria-label="Asking the network"></progress>`}
    ${answers && html`<label>Order <select value=${query.order ?? ""} onChange=${to("order")}><option value="">as in the folder</option>
      ${Object.entries(ORDERS).map(([key, text]) => html`<option key=${key} value=${key}>${text}</option>`)}</select></label>
      <label>Its answer <select value=${query.answer ?? ""} onChange=${to("answer")}><option value="">any</option><option value="other">not the label</option></select></label>`}
    ${job?.state === "failed" && html`<${Problem} error=${job} />`}${error && html`<${Problem} error=${error} />`}
    ${answers && (answers.locked > 0 || answers.unreadable > 0) && html`<p class="said">${[
      answers.locked > 0 && `${answers.locked} pictures of its locked test were not asked about`,
      answers.unreadable > 0 && `${answers.unreadable} cannot be read`,
    ].filter(Boolean).join("; ")}. It is surer of pictures that it learned from.</p>`}
  </div>`;
}
