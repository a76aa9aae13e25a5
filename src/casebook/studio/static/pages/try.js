// Try and export: new pictures, and the files that leave the lab.
import { html, useState, useStore, Title, Action, Said, percent, day } from "../lib/ui.js";
import { WithRun } from "../lib/runs.js";
import { Drop, uploadAddress } from "../lib/drop.js";
import { fileAddress, useJob, JobStatus } from "../lib/jobs.js";

export function Page({ project, store, route }) {
  return html`<${Title} lead="Show it pictures that it has never seen. Then take it with you.">Try and export<//>
    <${WithRun} project=${project} store=${store} route=${route}>${(run) => html`
      <${Try} key=${`try ${run.name}`} project=${project} store=${store} route=${route} run=${run} />
      <${Export} key=${`export ${run.name}`} project=${project} store=${store} route=${route} run=${run} />`}<//>`;
}

function Try({ project, store, route, run }) {
  const asked = useJob(store, project, "predict", route);
  const uploads = asked.job?.settings.uploads ?? [];
  return html`<section aria-labelledby="try"><h2 id="try">Try it</h2>
    <${Drop} give=${(ids) => asked.start({ run: run.name, uploads: ids })} multiple />
    <${JobStatus} ...${asked} store=${store} what="Asking the network" />
    ${asked.result && html`<ul class="pictures large">${asked.result.answers.map((answer, place) => html`<li key=${place}><figure>
      <${Given} key=${uploads[place]} id=${uploads[place]} name=${`picture ${place + 1}`} />
      <figcaption>${answer.error ? answer.error : html`<b>${answer.unsure ? `unsure, ${answer.unsure}` : answer.labels ? answer.labels.join(", ") || "none of the classes" : answer.predictions[0].class}</b><br />${answer.predictions.slice(0, 3).map((one) => html`${one.class} ${percent(one.probability)}<br />`)}`}</figcaption>
    </figure></li>`)}</ul>`}
  </section>`;
}

// A picture that was sent; of old ones the studio keeps the newest 200.
function Given({ id, name }) {
  const [gone, setGone] = useState(!id);
  return gone ? html`<div class="missing">${name}</div>` : html`<img src=${uploadAddress(id)} alt=${name} onError=${() => setGone(true)} />`;
}

const FILES = {
  casebook: "answers without torch and Casebook, and proves that it gives the same answers",
  html: "a page that classifies in a browser, offline",
  keras: "pixels to probabilities in Keras 3, compared with this network",
  json: "the labels and the preprocessing, for the Keras file",
};

function Export({ project, store, route, run }) {
  const made = useJob(store, project, "export", route, "export", (job) => job.settings.run === run.name);
  const hasKeras = useStore(store, (state) => state.home.has_keras);
  const [web, setWeb] = useState(false);
  const [keras, setKeras] = useState(false);
  const [unsure, setUnsure] = useState("");
  const start = () => made.start({ run: run.name, web, keras, ...(unsure ? { unsure: Number(unsure) / 100 } : {}) });
  const { result } = made;
  return html`<section aria-labelledby="export"><h2 id="export">Export</h2>
    <p>One file that answers without torch and Casebook, and proves that it gives the same answers.</p>
    <dl class="words"><dt>Where it runs</dt><dd><code>pip install numpy pillow onnxruntime</code>, once</dd>
      <dt>How</dt><dd><code>python ${run.name}.casebook predict PICTURES</code></dd></dl>
    <fieldset class="field"><legend>Beside it</legend>
      <div><label><input type="checkbox" checked=${web} onChange=${(event) => setWeb(event.target.checked)} /> A page that classifies in a browser, offline</label></div>
      <div><label><input type="checkbox" checked=${keras} disabled=${!hasKeras} onChange=${(event) => setKeras(event.target.checked)} /> A Keras file</label> <span class="said">${hasKeras ? "opens in Keras 3 on any backend" : html`needs Keras on this machine: <code>pip install 'casebook[keras]'</code>`}</span></div>
    </fieldset>
    ${run.several_labels ? html`<p class="said">It names the labels that reach their thresholds. With several labels a picture there is no one answer to be unsure of.</p>` : html`<div class="field"><label for="unsure">Say "unsure" rather than be wrong in more than this many percent of the answers</label> <input id="unsure" type="number" min="0.01" max="50" step="any" value=${unsure} onInput=${(event) => setUnsure(event.target.value)} aria-describedby="unsure-said" /> <span class="said" id="unsure-said">empty: it always answers. A small share takes many validation pictures: 1 % about 300</span></div>`}
    <div class="buttons"><${Action} main run=${start}>Export<//></div>
    <${JobStatus} ...${made} store=${store} what="Exporting, and comparing its answers" />
    ${result && html`<ul class="cards">${result.exported.map((name) => html`<li key=${name}><h3>${name}</h3><p class="said">${FILES[name.split(".").at(-1)]}; in ${result.folder}/</p>
      <div class="buttons"><a class="button" href=${fileAddress(made.job.id, name)} download=${name}>Download</a></div></li>`)}</ul>
      <p>Written on ${day(made.job.changed)}, ${(result.bytes / 2 ** 20).toFixed(1)} MiB. On ${result.golden} pictures of all kinds it answers like the network here.</p>
      <details><summary>${Object.keys(result.networks).includes("int8") ? "A faster 8-bit network is inside" : "There is no 8-bit network inside"}</summary><p class="said"><${Said} text=${result.int8?.reason ?? "It was not asked for."} /></p></details>`}
  </section>`;
}
