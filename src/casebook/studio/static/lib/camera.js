// The camera: bursts of pictures while Space or the button is held. A burst is one group.
import { html, useEffect, useRef, useState, Problem } from "./ui.js";

const APART_MS = 160; // between two pictures of a burst
const SIDE = 640; // the longest side that is kept
const WAITING = 4; // pictures on their way; a slow disk slows the burst down

export const newBurst = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// give(blob, burst) sends one picture; ended(count) is called after each burst.
export function Camera({ give, ended, what }) {
  const [stream, setStream] = useState(null);
  const [error, setError] = useState(null);
  const [count, setCount] = useState(0);
  const [holding, setHolding] = useState(false);
  const video = useRef();
  const live = useRef({ give, ended });
  live.current = { give, ended };
  const start = async () => {
    setError(null);
    try {
      setStream(await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } }));
    } catch (problem) {
      const why = { NotFoundError: "This machine has no camera that the browser can find.", NotAllowedError: "The browser does not let this page use the camera; allow it beside the address." };
      setError(new Error(why[problem.name] ?? `The camera gives no picture: ${problem.message}`));
    }
  };
  useEffect(() => {
    if (!stream) return undefined;
    video.current.srcObject = stream;
    return () => stream.getTracks().forEach((track) => track.stop());
  }, [stream]);
  useEffect(() => {
    if (!holding || !stream) return undefined;
    const burst = newBurst();
    let going = true;
    const pending = new Set();
    let taken = 0;
    const finished = (async () => {
      while (going) {
        const began = performance.now();
        if (pending.size < WAITING && video.current.videoWidth) {
          const blob = await shot(video.current);
          if (!going) break;
          const sending = live.current.give(blob, burst).then(() => { taken += 1; setCount(taken); });
          pending.add(sending);
          sending.catch((problem) => { going = false; setError(problem); setHolding(false); }).finally(() => pending.delete(sending));
        }
        await new Promise((done) => { setTimeout(done, Math.max(10, APART_MS - (performance.now() - began))); });
      }
      await Promise.allSettled(pending);
    })();
    return () => { going = false; finished.then(() => live.current.ended(taken)); };
  }, [holding, stream]);
  const hold = () => { setCount(0); setHolding(true); };
  useEffect(() => {
    if (!stream) return undefined;
    const isTyping = (event) => event.target.closest?.("input:not([type=radio]), textarea, select, dialog, a, button:not(.main)");
    const down = (event) => { if (event.key === " " && !isTyping(event)) { event.preventDefault(); if (!event.repeat) hold(); } };
    const up = (event) => { if (event.key === " ") { if (!isTyping(event)) event.preventDefault(); setHolding(false); } };
    const leave = () => setHolding(false);
    addEventListener("keydown", down);
    addEventListener("keyup", up);
    addEventListener("blur", leave);
    return () => { removeEventListener("keydown", down); removeEventListener("keyup", up); removeEventListener("blur", leave); };
  }, [stream]);
  if (!stream) return html`<div><button type="button" onClick=${start}>Use the camera</button>${error && html`<${Problem} error=${error} />`}</div>`;
  return html`<div class="camera">
    <video ref=${video} autoplay muted playsinline aria-label="Camera"></video>
    <div class="buttons">
      <button type="button" class="main" aria-pressed=${holding} onPointerDown=${hold} onPointerUp=${() => setHolding(false)} onPointerLeave=${() => setHolding(false)}>
        ${holding ? `Taking ${what} … ${count}` : `Hold Space to take ${what}`}</button>
      <button type="button" onClick=${() => { setHolding(false); setStream(null); }}>Turn it off</button></div>
    ${error && html`<${Problem} error=${error} />`}</div>`;
}

async function shot(video) {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.92); });
}
