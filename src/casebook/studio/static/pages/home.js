// Home: projects, what runs, runs, and the two ways to begin.
import { html, useEffect, useRef, useState, useStore, navigate, Title, Action, Empty, JobState, Problem, Said, day } from "../lib/ui.js";
import { validated } from "../lib/runs.js";
import { get, post } from "../lib/api.js";

export function Page({ store }) {
  const home = useStore(store, (state) => state.home);
  const jobs = useStore(store, (state) => state.jobs);
  const [browsing, browse] = useState(false);
  const open = async (body, address = "/api/projects") => {
    const project = await post(address, body);
    await store.reload();
    navigate(`/p/${project.id}/gather`);
  };
  const active = [...jobs.values()].filter((job) => ["waiting", "running", "stopping"].includes(job.state));
  const idle = [...jobs.values()].filter((job) => job.can_resume && job.goes_on).slice(0, 5);
  return html`
    <${Title} lead="From pictures to a classifier that is honestly tested, on this machine. Nothing leaves it.">Casebook studio<//>
    ${home.warnings.map((text) => html`<p class="problem" role="alert">${text}</p>`)}
    <div class="buttons">
      <button type="button" class="main" onClick=${() => browse(true)}>Open a folder</button>
      <${Action} run=${() => open({ digits: true })}>Try it with digits<//>
    </div>
    ${browsing && html`<${Browser} root=${home.root} close=${() => browse(false)} open=${open} />`}
    ${active.length > 0 && html`<section aria-labelledby="running"><h2 id="running">Running</h2><${JobList} jobs=${active} home=${home} store=${store} /></section>`}
    ${idle.length > 0 && html`<section aria-labelledby="stopped"><h2 id="stopped">Stopped trainings</h2>
      <p class="said">Nothing of them is lost. A resumed training ends with the same weights as one that was never stopped.</p>
      <${JobList} jobs=${idle} home=${home} store=${store} /></section>`}
    <section aria-labelledby="projects"><h2 id="projects">Projects</h2>
      ${home.projects.length ? html`<ul class="cards">${home.projects.map((project) => html`<li key=${project.id}>
        <h3><a href=${`/p/${project.id}/gather`}>${project.name}</a></h3>
        <p class="said">${project.kind === "digits" ? "1,797 handwritten digits that come with Casebook" : project.folder === "." ? "this folder" : project.folder}</p></li>`)}</ul>`
      : html`<${Empty}><p>No project yet. Open a folder that has one folder of pictures for each class, or try the digits.</p><//>`}
    </section>
    <section aria-labelledby="runs"><h2 id="runs">Runs</h2>
      ${home.runs.length ? html`<${Runs} runs=${home.runs} />`
      : html`<${Empty}><p>No training yet. Open a project and go to Train.</p><//>`}
    </section>`;
}

const runAddress = (project, run) => `/p/${project}/run/${encodeURIComponent(run)}`;

function Runs({ runs }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="All runs"><table class="list">
    <thead><tr><th scope="col">Run</th><th scope="col">Network</th><th scope="col" class="number">Epochs</th><th scope="col" class="number">Validation</th><th scope="col" class="date">Written</th></tr></thead>
    <tbody>${runs.map((run) => html`<tr key=${run.name}>
      <td>${run.project ? html`<a href=${runAddress(run.project, run.name)}>${run.name}</a>` : run.name}${!run.complete && html`<small> not finished</small>`}</td>
      <td>${run.network}</td><td class="number">${run.epochs}</td><td class="number">${validated(run)}</td>
      <td class="date">${day(run.written)}</td></tr>`)}</tbody></table></div>`;
}

function JobList({ jobs, home, store }) {
  const progress = useStore(store, (state) => state.progress);
  return html`<ul class="cards">${jobs.map((job) => {
    const project = home.projects.find((one) => one.id === job.project);
    const now = progress.get(job.id);
    const href = job.project && job.task === "train" ? runAddress(job.project, job.run ?? job.id) : null;
    const name = `${job.title}${project ? ` of ${project.name}` : ""}`;
    return html`<li key=${job.id}>
      <h3>${href ? html`<a href=${href}>${name}</a>` : name}</h3>
      <p><${JobState} job=${job} /> ${job.message && html`<span class="said"><${Said} text=${job.message} /></span>`}</p>
      ${job.state === "running" && now?.event === "StepEnded" && html`
        <progress max=${now.epochs * now.batches} value=${(now.epoch - 1) * now.batches + now.batch} aria-label=${`Progress of ${name}`}></progress>
        <p class="said now">epoch ${now.epoch} of ${now.epochs}</p>`}
      ${job.can_resume && html`<div class="buttons"><${Action} run=${async () => store.keep(await post(`/api/jobs/${job.id}/resume`))}>Resume<//></div>`}
    </li>`;
  })}</ul>`;
}

// The folder browser: a dialog with the folders and lists below the studio's folder.
function Browser({ root, close, open }) {
  const dialog = useRef();
  const name = useRef();
  const chosen = useRef();
  const [path, go] = useState("");
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => { dialog.current.showModal(); chosen.current.focus(); }, []);
  useEffect(() => {
    let current = true;
    get(`/api/folders?path=${encodeURIComponent(path)}`).then(
      (answer) => { if (current) { setFound(answer); setError(null); } },
      (problem) => current && setError(problem),
    );
    return () => { current = false; };
  }, [path]);
  const choose = async (folder) => {
    try { await open({ folder }); } catch (problem) { setError(problem); }
  };
  const make = async () => {
    try { await open({ name: name.current.value }, "/api/folders/new"); } catch (problem) { setError(problem); }
  };
  const inside = (name) => (path ? `${path}/${name}` : name);
  const facts = (folder) => [
    folder.num_folders && `${folder.num_folders} folders`, folder.num_pictures && `${folder.num_pictures} pictures`,
  ].filter(Boolean).join(", ");
  return html`<dialog ref=${dialog} aria-labelledby="browse" onClose=${close}>
    <h2 id="browse">Open a folder</h2>
    <p class="said">Choose the folder that has one folder of pictures for each class, or a list (.csv). Here: <b>${path ? `${root}/${path}` : root}</b></p>
    ${error && html`<${Problem} error=${error} />`}
    <ul class="browser">
      ${found?.parent !== null && found && html`<li><button type="button" onClick=${() => go(found.parent)}>⬑ up</button></li>`}
      ${found?.folders.map((folder) => html`<li key=${folder.name}><button type="button" onClick=${() => go(inside(folder.name))}><span>${folder.name}/</span><small>${facts(folder)}</small></button></li>`)}
      ${found?.lists.map((name) => html`<li key=${name}><button type="button" onClick=${() => choose(inside(name))}><span>${name}</span><small>list</small></button></li>`)}
      ${found && !found.folders.length && !found.lists.length && html`<li><p class="said">${found.num_pictures ? `${found.num_pictures} pictures, no folders` : "nothing to open here"}</p></li>`}
    </ul>
    <form class="buttons" onSubmit=${(event) => { event.preventDefault(); make(); }}>
      <label>New folder <input type="text" ref=${name} size="16" maxlength="80" autocomplete="off" /></label><button type="submit">Make it and gather pictures</button>
    </form>
    <div class="buttons">
      <button type="button" class="main" ref=${chosen} onClick=${() => choose(path)}>Open ${path ? path.split("/").at(-1) : root}</button>
      <button type="button" onClick=${() => dialog.current.close()}>Cancel</button>
    </div>
  </dialog>`;
}
