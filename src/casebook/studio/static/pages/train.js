// Train: a network, weights to start from, how much learns; the equal command; one button.
import { html, useEffect, useState, useStore, useLoaded, navigate, Title, Action, Loading, Problem } from "../lib/ui.js";
import { get, startJob } from "../lib/api.js";
import { fileAddress } from "../lib/jobs.js";
import { Preview } from "../lib/preview.js";

const TRANSFER = [
  ["auto", "Let Casebook measure it", "the head first, then everything, if the validation pictures say that it helps within the time"],
  ["head", "The head only", "few pictures, much like those that the weights have seen; seconds"],
  ["last:1", "The last stage", "more pictures, or pictures that differ"],
  ["full", "Everything", "many pictures, or pictures unlike those that the weights have seen; minutes to hours"],
];

export function Page({ project, store }) {
  const { value, error } = useLoaded(() => get(`/api/projects/${project.id}/choices`), [project.id]);
  if (error) return html`<${Title}>Train<//><${Problem} error=${error} />`;
  if (!value) return html`<${Title}>Train<//><${Loading} />`;
  return html`<${Title} lead=${`A classifier of the pictures of ${project.name}. Some pictures are set aside to choose by, and some are locked away for one honest test.`}>Train<//>
    <${Form} project=${project} store=${store} choices=${value} />`;
}

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// The command that does the same in a terminal, in the studio's folder.
export function commandOf(data, settings) {
  const parts = ["casebook", "train", data];
  const flags = { model: "--model", weights: "--weights", transfer: "--transfer", epochs: "--epochs", time_budget_minutes: "--time-budget", seed: "--seed" };
  for (const [name, flag] of Object.entries(flags)) {
    if (settings[name] === undefined) continue;
    const said = String(settings[name]).replace(/^run:/, "runs/").replace(/^file:/, "");
    parts.push(flag, name === "time_budget_minutes" ? `${said}m` : said);
  }
  if (settings.name) parts.push("--out", `runs/${settings.name}`);
  return parts.map(quote).join(" ");
}

function Form({ project, store, choices }) {
  const [model, setModel] = useState("");
  const [weights, setWeights] = useState("");
  const [transfer, setTransfer] = useState("auto");
  const [epochs, setEpochs] = useState("");
  const [minutes, setMinutes] = useState("");
  const [name, setName] = useState("");
  const network = choices.networks.find((one) => one.name === model);
  const from = weightsFor(network, choices);
  const settings = {};
  if (model) settings.model = model;
  if (model && weights) settings.weights = weights;
  if (model && weights && transfer !== "auto") settings.transfer = transfer;
  if (epochs) settings.epochs = Number(epochs);
  if (minutes) settings.time_budget_minutes = Number(minutes);
  if (name) settings.name = name;
  const start = async () => {
    const job = await startJob("train", settings, project.id);
    store.keep(job);
    await store.reload();
    navigate(`/p/${project.id}/run/${encodeURIComponent(job.id)}`);
  };
  const others = useStore(store, (state) => state.jobs);
  const running = [...others.values()].find((job) => job.task === "train" && ["running", "stopping"].includes(job.state));
  return html`${running && html`<p class="caveat">A training is running: <a href=${`/p/${running.project}/run/${encodeURIComponent(running.run ?? running.id)}`}>look at it</a>. Another one waits until it has ended.</p>`}
  <form class="form" onSubmit=${(event) => { event.preventDefault(); }}>
    <div class="field"><label for="model">Network</label>
      <select id="model" value=${model} onChange=${(event) => { setModel(event.target.value); setWeights(""); }}>
        <option value="">Let Casebook choose</option>
        ${families(choices.networks).map(([family, members]) => html`<optgroup key=${family} label=${family}>${members.map((one) => html`<option key=${one.name} value=${one.name}>${one.name}</option>`)}</optgroup>`)}
      </select>
      ${network ? html`<p class="said">${network.title}, ${network.year}. ${count(network.parameters)} weights, ${count(network.multiply_adds)} multiply-adds for a picture of ${network.input_size} pixels.</p>`
        : html`<p class="said">It takes the simplest network that suits the pictures and the weights at hand, and says why.</p>`}
    </div>
    ${network && html`<${Strip} key=${network.name} network=${network.name} store=${store} />`}
    ${network && html`<div class="field"><label for="weights">Starts from</label>
      <select id="weights" value=${weights} onChange=${(event) => setWeights(event.target.value)}>
        <option value="">random weights</option>
        ${from.map(([id, text]) => html`<option key=${id} value=${id}>${text}</option>`)}
      </select></div>`}
    ${network && weights && html`<fieldset class="field"><legend>What learns</legend>
      ${TRANSFER.map(([id, text, why]) => html`<div key=${id}><label><input type="radio" name="transfer" value=${id} checked=${transfer === id} onChange=${() => setTransfer(id)} /> ${text}</label> <span class="said">${why}</span></div>`)}
    </fieldset>`}
    <details><summary>More settings</summary>
      <div class="field"><label for="epochs">Epochs</label> <input id="epochs" type="number" min="1" max="100000" value=${epochs} onInput=${(event) => setEpochs(event.target.value)} aria-describedby="epochs-said" /> <span class="said" id="epochs-said">empty: as the recipe says</span></div>
      <div class="field"><label for="minutes">Minutes at most for fine-tuning</label> <input id="minutes" type="number" min="0.1" step="any" value=${minutes} onInput=${(event) => setMinutes(event.target.value)} aria-describedby="minutes-said" /> <span class="said" id="minutes-said">empty: 10</span></div>
      <div class="field"><label for="name">Name of the run</label> <input id="name" type="text" pattern="[A-Za-z0-9][A-Za-z0-9_.\\-]*" maxlength="100" value=${name} onInput=${(event) => setName(event.target.value)} aria-describedby="name-said" /> <span class="said" id="name-said">letters, digits, dots and dashes; empty: a number is added to the data's name</span></div>
    </details>
    <div class="buttons"><${Action} main run=${start}>Train<//></div>
    <${Preview} project=${project} store=${store} settings=${settings} />
    <${Command} text=${commandOf(choices.data, settings)} />
  </form>`;
}

function Command({ text }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => setCopied(false), [text]);
  const copy = async () => { await navigator.clipboard.writeText(text); setCopied(true); };
  return html`<section aria-labelledby="command"><h2 id="command">The same in a terminal</h2>
    <p class="said">In the studio's folder:</p>
    <pre class="log" tabindex="0" aria-label="Command">${text}</pre>
    <button type="button" onClick=${copy}>${copied ? "Copied" : "Copy"}</button></section>`;
}

// The network's strip, drawn by a job when it is asked for.
function Strip({ network, store }) {
  const [job, setJob] = useState(null);
  const [state, setState] = useState(null);
  useEffect(() => {
    if (!job) return undefined;
    return store.onEvent(job, ({ event }) => { if (event.event === "JobState") setState(event); });
  }, [job]);
  const draw = async () => {
    const made = await startJob("draw", { network });
    store.keep(made);
    setJob(made.id);
  };
  if (!job) return html`<div class="buttons"><${Action} run=${draw}>Draw ${network}<//></div>`;
  if (state?.state === "failed") return html`<${Problem} error=${state} />`;
  if (state?.state !== "done") return html`<p class="said" role="status">Drawing ${network} …</p>`;
  return html`<figure class="strip"><div class="scroll" tabindex="0" role="region" aria-label=${`Strip of ${network}`}><img src=${fileAddress(job, "drawing.svg")} alt=${`${network} as a strip of its layers`} /></div></figure>`;
}

function families(networks) {
  const found = new Map();
  for (const network of networks) found.set(network.family, [...(found.get(network.family) ?? []), network]);
  return [...found.entries()];
}

function weightsFor(network, choices) {
  if (!network) return [];
  return [
    ...network.weights.map((name) => [name, network.packaged.includes(name) ? `${name}, which comes with Casebook` : `${name}, downloaded where it is not on this machine`]),
    ...choices.files.map((path) => [`file:${path}`, path]),
    ...choices.runs.filter((run) => run.network === network.name).map((run) => [`run:${run.name}`, `run ${run.name}`]),
  ];
}

export const count = (number) => (number >= 1e9 ? `${(number / 1e9).toFixed(2)} G` : number >= 1e6 ? `${(number / 1e6).toFixed(1)} M` : `${Math.round(number / 1e3)} k`);
