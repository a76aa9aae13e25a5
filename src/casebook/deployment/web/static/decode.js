// A picture's file -> `{ width, height, rows, bitmap, isJpeg }`, upright, on white where it is transparent, or an error
// that says why not.
//
// The browser decodes, and applies the camera's orientation. The size is read from the file's header before, because a
// file of 20 KB can decode to 800 MB. The limits are those of decode.py. Colour profiles are not applied there, so not here.

import { openDeepPng } from "./png16.js";

const MAX_PIXELS = 50e6;
const MAX_ASPECT = 100;
const MAX_BYTES = 256 * 2 ** 20;

export async function openPicture(file, valueRange = null) {
  if (file.size === 0) throw new Error("is empty (0 bytes)");
  if (file.size > MAX_BYTES) throw new Error(`has ${Math.round(file.size / 2 ** 20)} MB, more than the limit of 256`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const stored = headerSize(bytes);
  if (!stored) throw new Error("is not a JPEG, PNG, GIF, BMP, WebP or AVIF file");
  checkSize(stored);
  let bitmap, deep;
  try {
    deep = await openDeepPng(bytes, valueRange);
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("is cut off, damaged, or of a kind that this browser cannot read");
  }
  return { ...fromBitmap(bitmap), ...deep, isJpeg: stored.isJpeg === true };
}

// The rows of a bitmap, drawn a strip at a time: phones allow no canvas as large as their photographs.
export function fromBitmap(bitmap) {
  const { width, height } = bitmap;
  checkSize({ width, height });
  let canvas = null;
  const rows = (top, count) => {
    if (canvas?.height !== count) canvas = new OffscreenCanvas(width, count);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, count);
    context.drawImage(bitmap, 0, -top);
    return context.getImageData(0, 0, width, count).data;
  };
  return { width, height, rows, bitmap };
}

function checkSize({ width, height }) {
  const pixels = width * height;
  if (pixels > MAX_PIXELS) {
    const size = `${width} x ${height} = ${Math.round(pixels / 1e6)} megapixels`;
    throw new Error(`has ${size}, more than the limit of ${MAX_PIXELS / 1e6}`);
  }
  if (Math.max(width, height) > MAX_ASPECT * Math.min(width, height)) {
    throw new Error(`is ${width} x ${height} pixels, more than ${MAX_ASPECT} times as long as wide`);
  }
}

// { width, height, isJpeg } as stored, before the orientation; undefined for a file of another kind.
export function headerSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const starts = (text, at = 0) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return jpegSize(view);
    if (starts("\x89PNG\r\n\x1a\n")) return { width: view.getUint32(16), height: view.getUint32(20) };
    if (starts("GIF8")) return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    if (starts("BM")) return bmpSize(view);
    if (starts("RIFF") && starts("WEBP", 8)) return webpSize(view, starts);
    if (starts("ftypavi", 4)) return avifSize(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;  // the file ends within its header
  }
  return undefined;
}

function jpegSize(view) {
  for (let at = 2; ;) {
    while (view.getUint8(at) !== 0xff) at += 1;
    while (view.getUint8(at) === 0xff) at += 1;
    const marker = view.getUint8(at);
    at += 1;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 5), height: view.getUint16(at + 3), isJpeg: true };
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // these have no length
    at += view.getUint16(at);
  }
}

function bmpSize(view) {
  if (view.getUint32(14, true) === 12) return { width: view.getUint16(18, true), height: view.getUint16(20, true) };
  return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
}

function webpSize(view, starts) {
  if (starts("VP8 ", 12)) return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  if (starts("VP8L", 12)) {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  const three = (at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
  return { width: three(24) + 1, height: three(27) + 1 };
}

// The largest of the sizes in the boxes "ispe": a file has one for each of its tiles and one for the whole.
function avifSize(view) {
  let size;
  for (let at = 0; at + 16 <= Math.min(view.byteLength, 1 << 16); at++) {
    if (view.getUint32(at) !== 0x69737065) continue;
    const found = { width: view.getUint32(at + 8), height: view.getUint32(at + 12) };
    if (!size || found.width * found.height > size.width * size.height) size = found;
  }
  return size;
}
