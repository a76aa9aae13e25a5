// Pictures to look at: dropped, chosen as files, or taken with the camera. They go to the server as bytes.
import { html, useEffect, useRef, useState, Problem } from "./ui.js";
import { upload } from "./api.js";

// Where a picture that was sent can be seen, also after a reload.
export const uploadAddress = (id) => `/api/uploads/${id}`;

// Calls give(ids) once the pictures are on the server.
export function Drop({ give, multiple = false }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const input = useRef();
  const take = async (files) => {
    const chosen = [...files].slice(0, multiple ? 64 : 1);
    if (!chosen.length) return;
    setBusy(true);
    setError(null);
    try {
      const sent = [];
      for (const file of chosen) {
        sent.push((await upload("/api/uploads", file)).id);
      }
      give(sent);
    } catch (problem) { setError(problem); }
    setBusy(false);
  };
  const dropped = (event) => { event.preventDefault(); setOver(false); take(event.dataTransfer.files); };
  return html`<div class=${`drop ${over ? "over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${dropped}>
      <p>Drop ${multiple ? "pictures" : "a picture"} here, or</p>
      <input ref=${input} type="file" id="files" class="unseen" accept="image/*" multiple=${multiple} tabindex="-1" aria-hidden="true" onChange=${(event) => { take(event.target.files); event.target.value = ""; }} />
      <div class="buttons"><button type="button" disabled=${busy} onClick=${() => input.current.click()}>${busy ? "Sending …" : "Choose files"}</button><${Camera} take=${take} /></div>
      ${error && html`<${Problem} error=${error} />`}
    </div>`;
}

function Camera({ take }) {
  const [stream, setStream] = useState(null);
  const [error, setError] = useState(null);
  const video = useRef();
  useEffect(() => {
    if (!stream) return undefined;
    video.current.srcObject = stream;
    return () => stream.getTracks().forEach((track) => track.stop());
  }, [stream]);
  const start = async () => {
    setError(null);
    try { setStream(await navigator.mediaDevices.getUserMedia({ video: true })); } catch (problem) {
      setError(new Error(problem.name === "NotFoundError" ? "This machine has no camera that the browser can find." : `The browser gives no picture of the camera: ${problem.message}`));
    }
  };
  const shoot = async () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.current.videoWidth;
    canvas.height = video.current.videoHeight;
    canvas.getContext("2d").drawImage(video.current, 0, 0);
    const blob = await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.95); });
    take([blob]);
  };
  if (!stream) return html`<button type="button" onClick=${start}>Use the camera</button>${error && html`<${Problem} error=${error} />`}`;
  return html`<div class="camera"><video ref=${video} autoplay muted playsinline aria-label="Camera"></video>
    <div class="buttons"><button type="button" class="main" onClick=${shoot}>Take this picture</button><button type="button" onClick=${() => setStream(null)}>Turn it off</button></div></div>`;
}
