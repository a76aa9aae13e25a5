// The page: pictures from files, from the clipboard or from the camera go to the worker, its answers into the list.
// A folder's files are fetched; those of a single file stand in it as base64.

const MAX_SHOWN = 200;
const MAX_POSSIBLE = 8;
const find = (id) => document.getElementById(id);
const manifest = JSON.parse(find("manifest").textContent);
const waiting = new Map();  // number of a request -> its promise's functions
let worker;
let lastId = 0;

// Parts of the page: { name: bytes }

async function bytesOf(name) {
  const embedded = find(`file:${name}`);
  const bytes = embedded ? fromBase64(embedded.textContent) : await fetched(name);
  const isPacked = (embedded || name.endsWith(".gz")) && bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!isPacked) return bytes.buffer;  // some servers unpack a .gz by themselves
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} cannot be loaded: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

// The worker

async function start() {
  const embedded = find("file:worker.js") !== null;
  const [code, runtimeCode, runtimeWasm, network, kept] = await Promise.all([
    embedded ? bytesOf("worker.js") : null, embedded ? bytesOf("onnxruntime.mjs") : null, bytesOf("onnxruntime.wasm.gz"),
    bytesOf(manifest.files.network), manifest.files.kept ? bytesOf(manifest.files.kept) : null,
  ]);
  const runtimeUrl = new URL("onnxruntime.mjs", document.baseURI).href;
  worker = new Worker(embedded ? URL.createObjectURL(new Blob([code], { type: "text/javascript" })) : "worker.js");
  await new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "the worker cannot start"));
    worker.onmessage = ({ data }) => {
      if (data.id) settle(data);
      else if (data.error) reject(new Error(data.error));
      else resolve();
    };
    worker.postMessage(
      { start: { runtimeUrl, runtimeCode, runtimeWasm, network, kept, manifest } },
      [runtimeWasm, network],
    );
  });
}

function settle(answer) {
  const promise = waiting.get(answer.id);
  waiting.delete(answer.id);
  if (answer.error) promise.reject(new Error(answer.error));
  else promise.resolve(answer);
}

const started = start();

// What the classifier says of { file } or { bitmap }. Rejects with the reason for a picture that cannot be read.
async function classify(picture) {
  await started;
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...picture }, picture.bitmap ? [picture.bitmap] : []);
  });
}

// Answers on the page

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function percent(share) {
  const shown = (100 * share).toFixed(1);
  if (shown === "100.0" && share < 1) return "> 99.9 %";
  return shown === "0.0" && share > 0 ? "< 0.1 %" : `${shown} %`;
}

function headline(answer) {
  if (answer.labels) return answer.labels.join(", ") || "None of the classes";
  return answer.why ? "Unsure" : answer.classes[0][0];
}

// The prediction set, where there is one of several classes.
function possible(answer) {
  const shown = answer.possible.slice(0, MAX_POSSIBLE).join(", ");
  const more = answer.possible.length > MAX_POSSIBLE ? ` and ${answer.possible.length - MAX_POSSIBLE} more` : "";
  return `Possible: ${shown}${more} (the true class is among those named for ${percent(manifest.unsure.sets.coverage)} of pictures)`;
}

function showAnswer(card, answer) {
  card.classList.toggle("unsure", Boolean(answer.why));
  card.querySelector(".says").replaceChildren(element("strong", "", headline(answer)));
  if (answer.reason) card.querySelector(".says").append(element("span", "reason", answer.reason));
  if (answer.possible.length > 1) card.querySelector(".says").append(element("span", "reason", possible(answer)));
  const rows = answer.classes.map(([name, share]) => {
    const row = element("li");
    const bar = element("span", "bar");
    bar.style.setProperty("--share", share);
    row.append(element("span", "class", name), bar, element("span", "share", percent(share)));
    return row;
  });
  card.querySelector(".classes").replaceChildren(...rows);
  const { decode, resize, network } = answer.milliseconds;
  card.querySelector(".took").textContent = `${Math.round(decode + resize + network)} ms`;
}

function newCard(name) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.querySelector(".file").textContent = name;
  return card;
}

async function showPicture(file) {
  const card = newCard(file.name);
  find("answers").prepend(card);
  while (find("answers").children.length > MAX_SHOWN) find("answers").lastElementChild.remove();
  find("clear").hidden = false;
  try {
    const answer = await classify({ file, wantsThumbnail: true });
    drawThumbnail(card.querySelector("canvas"), answer.thumbnail);
    showAnswer(card, answer);
    return `${file.name}: ${headline(answer)}`;
  } catch (error) {
    card.classList.add("failed");
    card.querySelector("canvas").hidden = true;
    card.querySelector(".says").textContent = error.message;
    return `${file.name}: ${error.message}`;
  }
}

function drawThumbnail(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

async function takePictures(files) {
  const said = [];
  for (const file of files) {  // one after the other, so that a thousand pictures do not fill the memory
    find("status").textContent = said.length ? `${said.length} of ${files.length} pictures done` : "Looking ...";
    said.push(await showPicture(file));
  }
  if (said.length) find("status").textContent = said.length === 1 ? said[0] : `${said.length} pictures done`;
}

let line = Promise.resolve();
const take = (files) => (line = line.then(() => takePictures([...files])));

find("choose").onclick = () => find("files").click();
find("files").onchange = () => take(find("files").files).then(() => (find("files").value = ""));
find("clear").onclick = () => {
  find("answers").replaceChildren();
  find("clear").hidden = true;
  find("choose").focus();
};
document.addEventListener("paste", (event) => take(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});

// The camera

let stream = null;
find("camera").hidden = !navigator.mediaDevices?.getUserMedia;
find("camera").onclick = () => (stream ? stopCamera() : startCamera());

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    find("status").textContent = `The camera cannot be used: ${error.message}`;
    return;
  }
  const video = find("video");
  video.srcObject = stream;
  find("live").hidden = false;
  find("camera").textContent = "Stop the camera";
  await video.play();
  const card = newCard("Camera");
  card.querySelector("canvas").remove();
  find("live-answer").replaceChildren(card);
  while (stream) {
    if (video.videoWidth && !document.hidden) {
      try {
        showAnswer(card, await classify({ bitmap: await createImageBitmap(video) }));
      } catch (error) {
        card.querySelector(".says").textContent = error.message;
      }
    }
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  find("live").hidden = true;
  find("camera").textContent = "Use the camera";
}

// The check: does this browser answer as Python did?

const CLOSE_ENOUGH = 1e-3;
const CLOSE_ENOUGH_REDUCED = 1e-2;  // Python reduces a large JPEG while it decodes, which browsers cannot

async function check() {
  find("check").disabled = true;
  const rows = [];
  const all = JSON.parse(new TextDecoder().decode(await bytesOf("golden.json")));
  for (const golden of all) {
    const file = new File([await bytesOf(golden.file)], golden.name);
    find("check-result").textContent = `${rows.length} of ${all.length} pictures ...`;
    rows.push(await checked(golden, file));
  }
  const agreeing = rows.filter((row) => row.agrees).length;
  const worst = rows.reduce((largest, row) => Math.max(largest, row.difference), 0);
  const times = rows.map((row) => row.milliseconds).sort((a, b) => a - b);
  find("check-result").textContent =
    `${agreeing} of ${rows.length} pictures get the same answer as in Python. The largest difference of a probability ` +
    `is ${worst.toExponential(1)}. ${times[times.length >> 1].toFixed(0)} ms a picture.`;
  find("check-rows").replaceChildren(...rows.map(checkRow));
  find("check-table").hidden = false;
  find("check").disabled = false;
}

async function checked(golden, file) {
  try {
    const answer = await classify({ file, wantsAll: true });
    const difference = golden.probabilities.reduce(
      (largest, share, k) => Math.max(largest, Math.abs(share - answer.probabilities[k])), 0);
    const { decode, resize, network } = answer.milliseconds;
    const samePixels = (await sha256(answer.pixels)) === golden.pixels_sha256;
    const agrees = difference <= (answer.isReduced ? CLOSE_ENOUGH_REDUCED : CLOSE_ENOUGH);
    return { golden, difference, agrees, samePixels, milliseconds: decode + resize + network };
  } catch (error) {
    return { golden, difference: Infinity, agrees: false, samePixels: false, milliseconds: 0, error: error.message };
  }
}

async function sha256(bytes) {
  const digest = await crypto.subtle?.digest("SHA-256", bytes);  // browsers have none over plain http
  return digest && Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function checkRow({ golden, difference, agrees, samePixels, milliseconds, error }) {
  const row = element("tr");
  const said = error ?? (agrees ? "same" : "differs");
  const cells = [golden.name, said, error ? "" : difference.toExponential(1), samePixels ? "equal" : "differ"];
  row.append(...cells.map((text) => element("td", "", text)), element("td", "number", milliseconds.toFixed(0)));
  return row;
}

if (find("check")) find("check").onclick = check;

find("show-notices").onclick = async () => {
  find("notices").textContent = new TextDecoder().decode(await bytesOf("notices.txt.gz"));
  find("notices").hidden = false;
  find("show-notices").hidden = true;
  find("notices").focus();
};

started.then(
  () => {
    document.body.dataset.ready = "";
    find("status").textContent = "Ready.";
  },
  (error) => {
    document.body.dataset.failed = "";
    const local = location.protocol === "file:" && !find("file:worker.js");
    find("status").textContent = local
      ? "A browser loads this folder only from a web server; 'casebook export --web FILE.html' makes a page that opens as a file."
      : `The classifier cannot start: ${error.message}`;
  },
);
if ("serviceWorker" in navigator && location.protocol.startsWith("http")) navigator.serviceWorker.register("sw.js");
