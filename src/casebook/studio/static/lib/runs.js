// The runs of a project, and a chooser whose choice is ?run= in the address.
import { html, useLoaded, useStore, navigate, withQuery, Empty, Loading, Problem, percent } from "./ui.js";
import { get } from "./api.js";

export function useRuns(project, store) {
  const known = useStore(store, (state) => state.home.runs);
  const { value, error, busy, reload } = useLoaded(() => get(`/api/projects/${project.id}/runs`), [project.id, known]);
  return { runs: value?.runs ?? null, error, busy, reload };
}

// What the validation says of a run or an epoch: the share of right answers, or of several labels the mean average precision.
export const validated = (one) => (one?.val_map === null || one?.val_map === undefined ? percent(one?.val_top1) : `mAP ${percent(one.val_map)}`);

// Calls children(run) with the chosen run that has finished; says what to do where there is none.
export function WithRun({ project, store, route, children }) {
  const { runs, error } = useRuns(project, store);
  if (error) return html`<${Problem} error=${error} />`;
  if (!runs) return html`<${Loading} />`;
  const finished = runs.filter((run) => run.complete);
  if (!finished.length) {
    return html`<${Empty}><p>${runs.length ? "No training of this project has finished yet." : "This project has no run yet."}</p>
      <p><a class="button main" href=${`/p/${project.id}/train`}>Train a classifier</a></p><//>`;
  }
  const run = finished.find((one) => one.name === route.query.run) ?? finished[0];
  return html`<p><label for="run">Run</label> <select id="run" value=${run.name} onChange=${(event) => navigate(withQuery({ run: event.target.value, job: null, export: null }))}>
      ${finished.map((one) => html`<option key=${one.name} value=${one.name}>${one.name} (${one.network}, validation ${validated(one)})</option>`)}
    </select></p>${children(run)}`;
}
