// Try and export: new pictures, and the file that leaves the lab.
import { html, useState, Title, Action, percent } from "../lib/ui.js";
import { WithRun } from "../lib/runs.js";
import { Drop } from "../lib/drop.js";
import { fileAddress, useJob, JobStatus } from "../lib/jobs.js";

export function Page({ project, store, route }) {
  return html`<${Title} lead="Show it pictures that it has never seen. Then take it with you.">Try and export<//>
    <${WithRun} project=${project} store=${store} route=${route}>${(run) => html`
      <${Try} key=${`try ${run.name}`} project=${project} store=${store} route=${route} run=${run} />
      <${Export} key=${`export ${run.name}`} project=${project} store=${store} route=${route} run=${run} />`}<//>`;
}

function Try({ project, store, route, run }) {
  const asked = useJob(store, project, "predict", route);
  const [dropped, setDropped] = useState([]);
  const give = (sent) => { setDropped(sent); asked.start({ run: run.name, uploads: sent.map(({ id }) => id) }); };
  return html`<section aria-labelledby="try"><h2 id="try">Try it</h2>
    <${Drop} give=${give} multiple />
    <${JobStatus} ...${asked} store=${store} what="Asking the network" />
    ${asked.result && html`<ul class="pictures large">${asked.result.answers.map((answer, place) => html`<li key=${place}><figure>
      ${dropped[place] ? html`<img src=${dropped[place].url} alt=${dropped[place].name} />` : html`<div class="missing">picture ${place + 1}</div>`}
      <figcaption>${answer.error ? answer.error : html`<b>${answer.unsure ? `unsure, ${answer.unsure}` : answer.predictions[0].class}</b><br />${answer.predictions.slice(0, 3).map((one) => html`${one.class} ${percent(one.probability)}<br />`)}`}</figcaption>
    </figure></li>`)}</ul>`}
  </section>`;
}

function Export({ project, store, route, run }) {
  const made = useJob(store, project, "export", route);
  const [web, setWeb] = useState(false);
  const [unsure, setUnsure] = useState("");
  const start = () => made.start({ run: run.name, web, ...(unsure ? { unsure: Number(unsure) / 100 } : {}) });
  const { result } = made;
  return html`<section aria-labelledby="export"><h2 id="export">Export</h2>
    <p>One file that answers without torch and Casebook, and proves that it gives the same answers: <code>python ${run.name}.casebook predict PICTURES</code>.</p>
    <p><label><input type="checkbox" checked=${web} onChange=${(event) => setWeb(event.target.checked)} /> Also a page that classifies in a browser, offline</label></p>
    <div class="field"><label for="unsure">Of its answers at most this share is wrong, in percent</label> <input id="unsure" type="number" min="0.01" max="50" step="any" value=${unsure} onInput=${(event) => setUnsure(event.target.value)} aria-describedby="unsure-said" /> <span class="said" id="unsure-said">empty: it always answers; otherwise it says "unsure" where needed</span></div>
    <div class="buttons"><${Action} main run=${start}>Export<//></div>
    <${JobStatus} ...${made} store=${store} what="Exporting, and comparing its answers" />
    ${result && html`<ul class="cards">${result.exported.map((name) => html`<li key=${name}><h3>${name}</h3><p class="said">in ${result.folder}/</p>
      <div class="buttons"><a class="button" href=${fileAddress(made.job.id, name)} download=${name}>Download</a></div></li>`)}</ul>
      <p>${(result.bytes / 2 ** 20).toFixed(1)} MiB, checked on ${result.golden} golden pictures; ${Object.keys(result.networks).includes("int8") ? "an 8-bit network is inside" : result.int8?.reason ?? "float32 only"}.</p>`}
  </section>`;
}
