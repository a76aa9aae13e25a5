// Jobs of a page: one is started, its id stays in the address, and its result comes back after a reload.
import { html, useEffect, useState, useStore, navigate, withQuery, Action, JobState, Problem, Said } from "./ui.js";
import { get, post, startJob } from "./api.js";

export const fileAddress = (job, name) => `/api/jobs/${job}/files/${encodeURIComponent(name)}`;

// {job, result, error, start(settings)}: the job that the address names, if it does `task`; ?job=, or another key where
// a page has two of them. Where it names none, the newest finished one for which `fits(job)` holds.
export function useJob(store, project, task, route, key = "job", fits = null) {
  const newest = useStore(store, (state) => {
    if (!fits) return null;
    const own = [...state.jobs.values()].filter((job) => job.task === task && job.project === project?.id && job.state === "done" && fits(job));
    return own.sort((a, b) => (a.id < b.id ? 1 : -1))[0]?.id ?? null;
  });
  const id = route.query[key] ?? newest;
  const job = useStore(store, (state) => (id ? state.jobs.get(id) : undefined)) ?? null;
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    let current = true;
    setResult(null);
    setError(null);
    if (job?.state === "done" && job.task === task) {
      get(`/api/jobs/${id}`).then((found) => current && setResult(found.result), (problem) => current && setError(problem));
    }
    return () => { current = false; };
  }, [id, job?.state]);
  const start = async (settings) => {
    const made = await startJob(task, settings, project?.id ?? null);
    store.keep(made);
    navigate(withQuery({ [key]: made.id }), { replace: true });
  };
  return { job: job?.task === task ? job : null, result, error, start };
}

// Where a job stands, until its result is there.
export function JobStatus({ job, error, store, what }) {
  const progress = useStore(store, (state) => (job ? state.progress.get(job.id) : undefined));
  if (error) return html`<${Problem} error=${error} />`;
  if (!job || job.state === "done") return null;
  if (job.state === "failed") return html`<${Problem} error=${job} />`;
  const waits = job.state === "waiting" ? "It waits for its turn." : `${what} …`;
  return html`<div class="now"><p><${JobState} job=${job} /> ${job.state === "stopped" ? html`<${Said} text=${job.message} />` : waits}</p>
    ${job.state === "running" && progress?.event === "Advanced" && html`<progress max=${progress.total} value=${progress.done} aria-label=${what}></progress>`}
    ${["waiting", "running"].includes(job.state) && html`<div class="buttons"><${Action} run=${async () => store.keep(await post(`/api/jobs/${job.id}/stop`))}>Stop<//></div>`}
  </div>`;
}

// A page that a job or a run brought, as a document that reaches nothing of the studio.
export function Sheet({ src, title }) {
  return html`<iframe class="sheet" src=${src} title=${title} sandbox="allow-scripts"></iframe>`;
}
