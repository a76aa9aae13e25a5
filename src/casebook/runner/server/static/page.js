"use strict";
// Sends pictures to /v1/classify and shows what comes back. Texts of the server only ever become text nodes.
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar(share) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("width", String(100 * share));
  rect.setAttribute("height", "10");
  svg.append(rect);
  return svg;
}

function percent(share) {
  if (share < 1 && share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function headers() {
  const token = byId("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function show(file, picture) {
  const item = element("li");
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
  const text = element("div");
  text.append(element("p", "name", file.name || "pasted picture"));
  if (picture.error) text.append(element("p", "error", picture.error.message));
  if (picture.unsure) text.append(element("p", "unsure", `Unsure: ${picture.reason}`));
  if (picture.labels) text.append(element("p", "labels", picture.labels.join(", ") || "None of the classes"));
  for (const { class: name, probability } of picture.classes || []) {
    const row = element("div", "row");
    row.append(element("span", "", name), bar(probability), element("span", "", percent(probability)));
    text.append(row);
  }
  if (picture.set && picture.set.length > 1) text.append(element("p", "", `Possible: ${picture.set.join(", ")}`));
  item.append(image, text);
  byId("answers").prepend(item);
}

async function ask(file) {
  const query = new URLSearchParams();
  const [name, version] = JSON.parse(byId("model").value || "[]");
  if (name !== undefined) { query.set("model", name); query.set("version", version); }
  const response = await fetch(`/v1/classify?${query}`, {
    method: "POST", body: file, headers: { ...headers(), "Content-Type": file.type || "application/octet-stream" },
  });
  const answer = await response.json();
  if (response.status === 401) byId("token-row").hidden = false;
  return response.ok ? answer.pictures[0] : { error: answer.error };
}

async function classify(files) {
  if (!byId("model").options.length) await listModels();
  let done = 0;
  for (const file of files) {
    byId("status").textContent = `Reading picture ${++done} of ${files.length} …`;
    let picture;
    try { picture = await ask(file); } catch { picture = { error: { message: "The server does not answer." } }; }
    show(file, picture);
  }
  byId("status").textContent = files.length === 1 ? "1 picture answered." : `${files.length} pictures answered.`;
}

async function listModels() {
  const response = await fetch("/v1/models", { headers: headers() }).catch(() => null);
  byId("token-row").hidden = !(response && response.status === 401) && !byId("token").value;
  const answer = response && await response.json();  // read in any case, or the browser keeps the request open
  if (!response || !response.ok) return;
  const { models } = answer;
  byId("model").replaceChildren(...models.map((model) => {
    const option = element("option", "", `${model.name} (version ${model.version}, ${model.classes.length} classes)`);
    option.value = JSON.stringify([model.name, model.version]);
    return option;
  }));
  byId("model-row").hidden = models.length < 2;
}

const drop = byId("drop");
byId("form").addEventListener("submit", (event) => event.preventDefault());
byId("files").addEventListener("change", (event) => {
  classify([...event.target.files]);
  event.target.value = "";
});
byId("token").addEventListener("change", listModels);
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  classify([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => classify([...event.clipboardData.files]));
listModels();
