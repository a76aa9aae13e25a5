// Gather: classes, and pictures for them by dropping files or folders, or with the camera.
import { html, useRef, useState, Title, Empty, Loading, Problem } from "../lib/ui.js";
import { post, upload } from "../lib/api.js";
import { Camera } from "../lib/camera.js";
import { usePictures, thumbnail, EXCLUDED, MISSING } from "../lib/pictures.js";

const ENOUGH = 20; // pictures a class; with fewer the test says little
const PICTURE = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;

export function Page({ project }) {
  const held = usePictures(project);
  if (held.error && !held.pictures) return html`<${Title}>Gather<//><${Problem} error=${held.error} />`;
  if (!held.pictures) return html`<${Title}>Gather<//><${Loading} what="Reading the pictures" />`;
  return html`<${Gathering} project=${project} held=${held} pictures=${held.pictures} />`;
}

function Gathering({ project, held, pictures }) {
  const [made, setMade] = useState([]); // classes without a picture yet
  const [chosen, choose] = useState(null);
  const [said, say] = useState("");
  const [problems, setProblems] = useState([]);
  const [busy, setBusy] = useState(0);
  const name = useRef();
  const classes = [...pictures.classes, ...made.filter((label) => !pictures.classes.includes(label))];
  const label = chosen ?? classes[0] ?? null;
  const fixed = project.kind !== "folder" ? "This project is not a folder, so no pictures are gathered into it."
    : pictures.parts.some((part) => part > 0) ? "This data set has a split of its own, so no pictures are gathered into it." : null;
  const of = (place) => pictures.labels.flatMap((one, number) => (one === place && !(pictures.flags[number] & (MISSING | EXCLUDED)) ? [number] : []));
  const ready = classes.length >= 2 && classes.every((_, place) => of(place).length >= ENOUGH);
  const send = (blob, into, burst, file = "") => upload(`/api/projects/${project.id}/gather`, blob, {
    "X-Casebook-Class": encodeURIComponent(into), "X-Casebook-Burst": burst, "X-Casebook-Name": encodeURIComponent(file),
  });
  const end = async () => { await post(`/api/projects/${project.id}/gather/end`); await held.reload(); };
  const add = () => {
    const label = name.current.value.trim();
    if (!label) return;
    setMade([...made, label]);
    choose(label);
    name.current.value = "";
  };
  const take = async (files) => {
    const wanted = files.filter(({ file }) => PICTURE.test(file.name));
    const refused = [];
    let [taken, known] = [0, 0];
    setProblems([]);
    setBusy(wanted.length);
    for (const { file, folder } of wanted) {
      try {
        const found = await send(file, folder || label, "", file.name);
        if (found.known) known += 1; else taken += 1;
      } catch (problem) { refused.push(problem.message); if (problem.status === 0) break; }
      setBusy((left) => left - 1);
    }
    setBusy(0);
    setProblems(refused);
    say(`${taken} pictures taken${known ? `, ${known} were there already` : ""}${files.length > wanted.length ? `, ${files.length - wanted.length} other files passed over` : ""}`);
    try { await end(); } catch (problem) { setProblems([...refused, problem.message]); }
  };
  return html`
    <${Title} lead="Give each class its pictures. Files that you add are copied; your originals stay where they are.">Gather<//>
    ${fixed && html`<p class="caveat">${fixed}</p>`}
    ${classes.length ? html`<ul class="cards classes">${classes.map((one, place) => {
      const numbers = of(place);
      return html`<li key=${one} class=${one === label ? "current" : ""}>
        <h2>${fixed ? one : html`<label><input type="radio" name="class" checked=${one === label} onChange=${() => choose(one)} /> ${one}</label>`}</h2>
        <p class="said">${numbers.length} pictures${numbers.length < ENOUGH ? `; ${ENOUGH} or more make a test that says something` : ""}</p>
        <div class="few">${numbers.slice(-6).map((number) => html`<${Small} key=${number} src=${thumbnail(project, number, 64)} name=${pictures.names[number]} />`)}</div></li>`;
    })}</ul>` : html`<${Empty}><p>No class yet. Name the first thing that the classifier should know, then the second.</p><//>`}
    ${!fixed && html`
      <form class="buttons" onSubmit=${(event) => { event.preventDefault(); add(); }}>
        <label>New class <input type="text" ref=${name} maxlength="100" size="16" autocomplete="off" /></label><button type="submit">Add</button></form>
      ${label && html`<section aria-labelledby="into"><h2 id="into">Pictures for ${label}</h2>
        <${Files} take=${take} busy=${busy} label=${label} />
        <${Camera} what=${label} give=${(blob, burst) => send(blob, label, burst)}
          ended=${async (count) => { say(`a burst of ${count} pictures for ${label}; the split keeps it together`); try { await end(); } catch (problem) { setProblems([problem.message]); } }} />
      </section>`}`}
    <p class="said" role="status" aria-live="polite">${busy ? `${busy} pictures to go` : said}</p>
    ${problems.length > 0 && html`<div class="problem" role="alert"><p>${problems.length} not taken:</p><ul>${problems.slice(0, 20).map((text) => html`<li key=${text}>${text}</li>`)}</ul></div>`}
    <div class="buttons"><a class=${`button ${ready || fixed ? "main" : ""}`} href=${`/p/${project.id}/check`}>Next: check them</a>
      <a class="button" href=${`/p/${project.id}/label`}>Look at all of them</a></div>`;
}

// A picture as small as a stamp; one that cannot be read says so.
function Small({ src, name }) {
  const [broken, setBroken] = useState(false);
  return broken ? html`<span class="unreadable" title=${`${name} cannot be read`}>unreadable</span>`
    : html`<img src=${src} alt="" width="48" height="48" loading="lazy" onError=${() => setBroken(true)} />`;
}

function Files({ take, busy, label }) {
  const [over, setOver] = useState(false);
  const files = useRef();
  const folder = useRef();
  const listed = (list) => [...list].map((file) => {
    const parts = file.webkitRelativePath.split("/");
    return { file, folder: parts.length > 2 ? parts.at(-2) : "" };
  });
  const dropped = async (event) => {
    event.preventDefault();
    setOver(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = entries.length ? (await Promise.all(entries.map((entry) => below(entry, [])))).flat()
      : [...event.dataTransfer.files].map((file) => ({ file, folder: "" }));
    take(found);
  };
  return html`<div class=${`drop ${over ? "over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${dropped}>
    <p>Drop pictures here for ${label}; or a folder, whose inner folders are the classes.</p>
    <input ref=${files} type="file" id="gather-files" class="unseen" accept="image/*" multiple tabindex="-1" aria-hidden="true" onChange=${(event) => { take(listed(event.target.files)); event.target.value = ""; }} />
    <input ref=${folder} type="file" id="gather-folder" class="unseen" webkitdirectory tabindex="-1" aria-hidden="true" onChange=${(event) => { take(listed(event.target.files)); event.target.value = ""; }} />
    <div class="buttons"><button type="button" disabled=${busy > 0} onClick=${() => files.current.click()}>Choose files</button>
      <button type="button" disabled=${busy > 0} onClick=${() => folder.current.click()}>Choose a folder</button></div></div>`;
}

// The files of a dropped entry; a file two folders deep belongs to the class of its folder.
async function below(entry, folders) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => { entry.file(done, failed); });
    return [{ file, folder: folders.length > 1 ? folders.at(-1) : "" }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!entries.length) break;
    for (const inner of entries) found.push(...await below(inner, [...folders, entry.name]));
  }
  return found;
}
