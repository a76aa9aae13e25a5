// Explain: what in a picture decided the answer, and whether the explanation can be trusted.
import { html, useState, Title, Action } from "../lib/ui.js";
import { WithRun } from "../lib/runs.js";
import { Drop, uploadAddress } from "../lib/drop.js";
import { fileAddress, useJob, JobStatus } from "../lib/jobs.js";

const METHODS = [
  ["grad-cam", "Grad-CAM", "where in the picture the class was seen", true],
  ["occlusion", "Occlusion", "how the probability falls when a square is covered; slow and honest", true],
  ["guided", "Guided backpropagation", "fine detail; not very faithful to the network", true],
  ["deconvnet", "Deconvnet", "what the strongest units of a layer saw", true],
  ["filters", "First filters", "the weights of the first layer, as pictures", false],
  ["top9", "Top nine", "the validation pictures that excite each channel most", false],
];
const RANDOMISED = new Set(["grad-cam", "occlusion", "guided", "deconvnet"]);

export function Page({ project, store, route }) {
  return html`<${Title} lead="An explanation shows what the network used. It can look convincing and be wrong: the sanity check says so.">Explain<//>
    <${WithRun} project=${project} store=${store} route=${route}>${(run) => html`<${OfRun} key=${run.name} project=${project} store=${store} route=${route} run=${run} />`}<//>`;
}

function OfRun({ project, store, route, run }) {
  const explained = useJob(store, project, "explain", route);
  const asked = explained.job?.settings ?? {}; // after a reload the form says what was asked
  const [method, setMethod] = useState(asked.method ?? "grad-cam");
  const [sanity, setSanity] = useState(asked.sanity ?? false);
  const [number, setNumber] = useState(String(route.query.picture ?? asked.pictures?.[0] ?? "0"));
  const [dropped, setDropped] = useState(asked.uploads ?? []);
  const needsPicture = METHODS.find(([id]) => id === method)[3];
  const start = () => explained.start({
    run: run.name, method,
    ...(needsPicture ? (dropped.length ? { uploads: dropped } : { pictures: [Number(number)] }) : {}),
    ...(sanity && RANDOMISED.has(method) ? { sanity: true } : {}),
  });
  return html`
    <fieldset class="field"><legend>Method</legend>${METHODS.map(([id, text, why]) => html`<div key=${id}><label><input type="radio" name="method" checked=${method === id} onChange=${() => setMethod(id)} /> ${text}</label> <span class="said">${why}</span></div>`)}</fieldset>
    ${needsPicture && html`<div class="field"><label for="number">Picture of the project</label> <input id="number" type="number" min="0" value=${number} disabled=${dropped.length > 0} onInput=${(event) => setNumber(event.target.value)} aria-describedby="number-said" /> <span class="said" id="number-said">its number, from 0 on, in the order of Label</span>
      ${!dropped.length && /^\d+$/.test(number) && html`<div class="chosen-picture"><img key=${number} src=${`/api/projects/${project.id}/thumbnails/${number}?side=128`} alt=${`Picture ${number}`} />
        <button type="button" disabled=${number === "0"} onClick=${() => setNumber(String(Number(number) - 1))}>The one before</button><button type="button" onClick=${() => setNumber(String(Number(number) + 1))}>The next one</button></div>`}</div>
      <${Drop} give=${setDropped} />
      ${dropped.length > 0 && html`<figure class="dropped">${dropped.map((id) => html`<img key=${id} src=${uploadAddress(id)} alt="The picture that you gave" />`)}<button type="button" onClick=${() => setDropped([])}>Take the picture of the project instead</button></figure>`}`}
    ${RANDOMISED.has(method) && html`<p><label><input type="checkbox" checked=${sanity} onChange=${(event) => setSanity(event.target.checked)} /> Sanity check: does the picture change when the weights are replaced by random ones?</label></p>`}
    <div class="buttons"><${Action} main run=${start}>Explain<//></div>
    <${JobStatus} ...${explained} store=${store} what="Looking into the network" />
    ${explained.result && html`<section aria-labelledby="sheets"><h2 id="sheets">What it shows</h2>
      ${explained.result.files.map((name) => html`<figure class="explained" key=${name}><img src=${fileAddress(explained.job.id, name)} alt=${name.replace(/\.png$/, "")} /><figcaption>${name}</figcaption></figure>`)}
      ${explained.result.sanity.flat().length > 0 && html`<p>${sanityWords(explained.result.sanity.flat())}</p>`}
    </section>`}`;
}

// The correlation with the real explanation after all weights were replaced.
function sanityWords(steps) {
  const last = steps.at(-1).correlation;
  if (last === null || last === undefined) return "The sanity check gave no number: one of the maps is flat.";
  return `With random weights everywhere, the explanation still agrees with the real one by a rank correlation of ${last.toFixed(2)}. ${
    Math.abs(last) < 0.3 ? "So it depends on what the network learned." : "So much of it does not depend on what the network learned: do not trust it here."}`;
}
