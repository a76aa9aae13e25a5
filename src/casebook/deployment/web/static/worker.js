// Pictures -> answers, beside the page so that it never stalls. The first message brings the network, all others a picture.
import { fromBitmap, openPicture } from "./decode.js";
import { pixels, reduced } from "./resize.js";
import { byProbability, fromHalf, judge } from "./unsure.js";

const NUM_CLASSES_SENT = 5;
const THUMBNAIL_SIDE = 320;
let ready = null;

self.onmessage = async ({ data }) => {
  if (data.start) ready = start(data.start);
  try {
    const classifier = await ready;
    if (data.start) self.postMessage({ threads: classifier.threads });
    else await answer(classifier, data);
  } catch (error) {
    self.postMessage({ id: data.id, error: error.message ?? String(error) });
  }
};

async function start({ runtimeUrl, runtimeCode, runtimeWasm, network, kept, manifest }) {
  // A page that was opened as a file may not hand addresses of code to its worker, but the code.
  const code = runtimeCode && URL.createObjectURL(new Blob([runtimeCode], { type: "text/javascript" }));
  const runtime = await import(code ?? runtimeUrl);
  const threads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  Object.assign(runtime.env.wasm, { wasmBinary: runtimeWasm, numThreads: threads });
  runtime.env.logLevel = "error";
  const session = await runtime.InferenceSession.create(new Uint8Array(network), { executionProviders: ["wasm"] });
  return { runtime, session, manifest, threads, kept: kept && fromHalf(new Uint8Array(kept)) };
}

// Answers with what the network says, the milliseconds that the parts took, a thumbnail, and for a check all numbers.
async function answer(classifier, { id, file, bitmap, wantsAll, wantsThumbnail }) {
  const { runtime, session, manifest, kept } = classifier;
  const { preprocessing, classes } = manifest;
  const began = performance.now();
  const picture = file ? await openPicture(file, preprocessing.value_range) : fromBitmap(bitmap);
  try {
    const decoded = performance.now();
    const source = picture.isJpeg ? reduced(picture, preprocessing) : picture;
    const input = pixels(source, preprocessing);
    const resized = performance.now();
    const shape = [1, preprocessing.size, preprocessing.size, preprocessing.mode === "L" ? 1 : 3];
    const outputs = await session.run({ pixels: new runtime.Tensor("uint8", input, shape) });
    const [probabilities, features] = [outputs.probabilities.data, outputs.features?.data];
    if (!probabilities.every(Number.isFinite)) throw new Error("the network gives no numbers; its weights are damaged");
    const judged = judge(probabilities, features, classes, manifest.unsure ?? null, kept);
    const milliseconds = { decode: decoded - began, resize: resized - decoded, network: performance.now() - resized };
    const ordered = byProbability(judged.probabilities);
    const first = ordered.slice(0, NUM_CLASSES_SENT);
    // Where a picture may have several labels: those that reach their thresholds.
    const given = manifest.thresholds?.length ? ordered.filter((k) => probabilities[k] >= manifest.thresholds[k]) : null;
    const thumbnail = wantsThumbnail ? await thumbnailOf(picture.bitmap) : null;
    self.postMessage(
      {
        id, milliseconds, thumbnail, size: [picture.width, picture.height], why: judged.why, reason: judged.reason,
        possible: judged.candidates.map((k) => classes[k]), labels: given && given.map((k) => classes[k]),
        classes: first.map((k) => [classes[k], judged.probabilities[k]]),
        ...(wantsAll && { probabilities, pixels: input, isReduced: source !== picture }),
      },
      thumbnail ? [thumbnail] : [],
    );
  } finally {
    picture.bitmap.close();
  }
}

function thumbnailOf(bitmap) {
  const share = Math.min(1, THUMBNAIL_SIDE / Math.max(bitmap.width, bitmap.height));
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * share)));
  return createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "medium" });
}
