// PNG files of 16 bits a channel, of which browsers keep the upper 8: read here, as decode.py does it through OpenCV.
import { roundHalfEven } from "./resize.js";

const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 };  // PNG's colour type -> channels; the last of 2 and of 4 is opacity
const LEFT_TO_THE_BROWSER = ["tRNS", "eXIf"];

// `{ width, height, rows }`, on white where transparent, or null for any other file and for kinds left to the browser.
export async function openDeepPng(bytes, valueRange) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || view.getUint32(0) !== 0x89504e47 || bytes[24] !== 16 || bytes[28] !== 0) return null;
  const [width, height, channels] = [view.getUint32(16), view.getUint32(20), CHANNELS[bytes[25]]];
  const chunks = imageChunks(view, bytes);
  if (!channels || !chunks) return null;
  const stride = 2 * channels * width;
  const lines = await inflated(chunks, height * (stride + 1));
  unfilter(lines, height, stride, 2 * channels);
  const level = levels(valueRange ?? [0, 65535]);
  const opacity = levels([0, 65535]);
  const rows = (top, count) => {
    const out = new Uint8Array(count * width * 4).fill(255);
    for (let y = 0; y < count; y++) {
      let from = (top + y) * (stride + 1) + 1;
      for (let to = y * width * 4; to < (y + 1) * width * 4; to += 4, from += 2 * channels) {
        const value = (channel) => (lines[from + 2 * channel] << 8) | lines[from + 2 * channel + 1];
        const alpha = channels % 2 ? 255 : opacity[value(channels - 1)];
        for (let c = 0; c < 3; c++) out[to + c] = onWhite(level[value(channels > 2 ? c : 0)], alpha);
      }
    }
    return out;
  };
  return { width, height, rows };
}

// The compressed parts of the picture; null where a chunk says that there is more to do.
function imageChunks(view, bytes) {
  const found = [];
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (LEFT_TO_THE_BROWSER.includes(name)) return null;
    if (name === "IDAT") found.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return found;
}

// At most `length` bytes, however many the file would give.
async function inflated(chunks, length) {
  const out = new Uint8Array(length);
  const reader = new Blob(chunks).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (let at = 0; at < length;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("damaged");
    out.set(value.subarray(0, length - at), at);
    at += value.length;
  }
  await reader.cancel();
  return out;
}

// Each line begins with the number of the filter that it went through; `step` is the bytes of a pixel.
function unfilter(lines, height, stride, step) {
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1) + 1;
    const filter = lines[start - 1];
    if (filter > 4) throw new Error("damaged");
    for (let i = 0; i < stride; i++) {
      const at = start + i;
      const left = i < step ? 0 : lines[at - step];
      const above = y === 0 ? 0 : lines[at - stride - 1];
      const corner = i < step || y === 0 ? 0 : lines[at - stride - 1 - step];
      if (filter === 1) lines[at] += left;
      else if (filter === 2) lines[at] += above;
      else if (filter === 3) lines[at] += (left + above) >> 1;
      else if (filter === 4) lines[at] += predicted(left, above, corner);
    }
  }
}

// The PNG specification's "Paeth" predictor.
function predicted(left, above, corner) {
  const byLeft = Math.abs(above - corner);
  const byAbove = Math.abs(left - corner);
  const byCorner = Math.abs(left + above - 2 * corner);
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}

// For each of the 65,536 values its byte: the ends of the range become 0 and 255.
function levels([low, high]) {
  const scale = 255 / (high - low);
  return Uint8Array.from({ length: 65536 }, (_, v) => roundHalfEven(Math.min(255, Math.max(0, (v - low) * scale))));
}

// Pillow's rounding of a division by 255.
function onWhite(value, alpha) {
  const sum = value * alpha + 255 * (255 - alpha) + 128;
  return (sum + (sum >> 8)) >> 8;
}
