// Evaluate: validation first; the locked test when somebody opens it.
import { html, useLoaded, Title, Action, Loading, Notes, Problem, percent, day } from "../lib/ui.js";
import { get, post } from "../lib/api.js";
import { WithRun } from "../lib/runs.js";
import { fileAddress, useJob, JobStatus, Sheet } from "../lib/jobs.js";

export function Page({ project, store, route }) {
  return html`<${Title} lead="How good a classifier is, with the uncertainty that the number of pictures leaves.">Evaluate<//>
    <${WithRun} project=${project} store=${store} route=${route}>${(run) => html`<${OfRun} key=${run.name} project=${project} store=${store} route=${route} name=${run.name} />`}<//>`;
}

function OfRun({ project, store, route, name }) {
  const address = `/api/projects/${project.id}/runs/${encodeURIComponent(name)}`;
  const { value: run, error, reload } = useLoaded(() => get(address), [name]);
  const validation = useJob(store, project, "evaluate", route);
  if (error) return html`<${Problem} error=${error} />`;
  if (!run) return html`<${Loading} />`;
  const open = async () => { await post(`${address}/open-test`); await store.reload(); reload(); };
  return html`
    <section aria-labelledby="validation"><h2 id="validation">Validation</h2>
      <dl class="headline"><div class="main"><dt>${run.several_labels ? "Mean average precision on validation pictures" : "Right on validation pictures"}</dt><dd class="value">${percent(run.several_labels ? run.validation?.map : run.validation?.top1)}</dd><dd class="range">of ${run.pictures?.val ?? "?"} pictures; the weights were chosen by them, which flatters</dd></div></dl>
      ${!validation.job && html`<div class="buttons"><${Action} run=${() => validation.start({ run: name })}>${run.several_labels ? "Look at each class" : "Look at mistakes and confusion"}<//></div>`}
      <${JobStatus} ...${validation} store=${store} what="Asking the network about the validation pictures" />
      ${validation.result && html`<${Sheet} src=${fileAddress(validation.job.id, "validation.html")} title=${`Validation of ${name}`} />`}
      ${run.notes.length > 0 && html`<details><summary>What was decided in the training</summary><${Notes} notes=${run.notes} /></details>`}
    </section>
    <section aria-labelledby="test"><h2 id="test">Locked test</h2>
      ${run.relabelled > 0 && html`<p class="problem">${run.relabelled} of its test pictures have been relabelled or left out since: the figures are of the old labels. Train again for new ones.</p>`}
      ${run.test ? html`<${Opened} run=${run} address=${address} again=${open} />` : html`
        <p>${run.pictures?.test ?? "Some"} pictures were locked away before the training. They say how good the classifier is on pictures that nothing was chosen by, as long as nothing is chosen by them. Open them when you have decided on a run.</p>
        <div class="buttons"><${Action} main run=${open}>Open the test<//></div>`}
    </section>
    <section aria-label="Next"><div class="buttons"><a class=${`button ${run.test ? "main" : ""}`} href=${`/p/${project.id}/try?run=${encodeURIComponent(name)}`}>Try and export</a>
      <a class="button" href=${`/p/${project.id}/explain?run=${encodeURIComponent(name)}`}>Explain</a></div></section>`;
}

function Opened({ run, address, again }) {
  const { test, openings } = run;
  const ends = run.several_labels ? test.map_interval : test.top1_interval;
  const range = ends ? `95 % interval ${percent(ends[0])} to ${percent(ends[1])}, ` : "";
  return html`<dl class="headline"><div class="main"><dt>${run.several_labels ? "Mean average precision on test pictures" : "Right on test pictures"}</dt><dd class="value">${percent(run.several_labels ? test.map : test.top1)}</dd><dd class="range">${range}${test.n} pictures</dd></div>
      ${run.several_labels && html`<div><dt>Every label right</dt><dd class="value">${percent(test.subset_accuracy)}</dd></div>`}
      ${test.macro_f1 !== undefined && test.macro_f1 !== null && html`<div><dt>F1, mean of the classes</dt><dd class="value">${test.macro_f1.toFixed(3)}</dd></div>`}</dl>
    <p class="said">Opened ${openings.length === 1 ? "once" : `${openings.length} times`}, last on ${day(openings.at(-1))}. ${openings.length > 1 ? "Each look, followed by another choice, makes the figure a little too good." : ""}</p>
    <div class="buttons"><a class="button" href=${`${address}/report`} target="_blank" rel="noopener">The whole report in a tab of its own</a></div>
    <${Sheet} src=${`${address}/report`} title=${`Report of ${run.name}`} />`;
}
