// A decoded picture -> the pixels that a network takes, equal to Pillow's and so to those of preprocessing.py.
//
// A picture comes as `{ width, height, rows }`, where `rows(top, count)` gives RGBA bytes of whole rows. They are asked for
// in strips, so that a photograph of 50 megapixels needs no second copy of 200 MB.
//
// Pillow resizes with a filter as wide as the reduction, in one pass across and one down, in whole numbers: the filter's
// values are rounded to 22 binary places, and each pass rounds its sums to bytes.

const PLACES = 22;
const HALF = 1 << (PLACES - 1);
const STRIP_PIXELS = 1 << 20;
const FILTERS = {
  bilinear: { reach: 1, value: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  bicubic: { reach: 2, value: cubic },
  lanczos: { reach: 3, value: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function cubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

// Python's round(): halves go to the even neighbour.
export function roundHalfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

// (size, size, channels) bytes of an upright picture: `Preprocessing.pixels`.
export function pixels(picture, preprocessing) {
  const { size, mode } = preprocessing;
  const channels = mode === "L" ? 1 : 3;
  const { inner, canvas, left, top } = geometry(picture, preprocessing);
  const resized = resize(picture, inner, preprocessing.interpolation, channels);
  const fill = preprocessing.mean.map((mean) => roundHalfEven(mean * 255));
  const out = new Uint8Array(size * size * channels);
  const cutX = roundHalfEven((canvas[0] - size) / 2);
  const cutY = roundHalfEven((canvas[1] - size) / 2);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const fromX = x + cutX - left;
      const fromY = y + cutY - top;
      const inside = fromX >= 0 && fromX < inner[0] && fromY >= 0 && fromY < inner[1];
      for (let c = 0; c < channels; c++) {
        out[(y * size + x) * channels + c] = inside ? resized[(fromY * inner[0] + fromX) * channels + c] : fill[c];
      }
    }
  }
  return out;
}

// A JPEG at 1/2, 1/4 or 1/8 of its size, where its shorter side keeps twice the pixels that the network needs.
//
// Python lets the JPEG decoder do this, which browsers cannot. The mean of each square is close to what the decoder gives.
export function reduced(picture, preprocessing) {
  const { size, resize: how, crop_fraction: share } = preprocessing;
  const least = 2 * (how === "shorter" ? roundHalfEven(size / share) : size);
  const possible = Math.floor(Math.min(picture.width, picture.height) / least);
  const factor = [8, 4, 2].find((one) => one <= possible);
  if (!factor) return picture;
  const width = Math.ceil(picture.width / factor);
  const height = Math.ceil(picture.height / factor);
  const rows = (top, count) => means(picture, factor, width, top, count);
  return { ...picture, width, height, rows, factor };
}

function means(picture, factor, width, top, count) {
  const numRows = Math.min(count * factor, picture.height - top * factor);
  const source = picture.rows(top * factor, numRows);
  const out = new Uint8Array(count * width * 4);
  for (let y = 0; y < count; y++) {
    const endY = Math.min((y + 1) * factor, numRows);
    for (let x = 0; x < width; x++) {
      const endX = Math.min((x + 1) * factor, picture.width);
      const number = (endY - y * factor) * (endX - x * factor);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let fromY = y * factor; fromY < endY; fromY++) {
          for (let fromX = x * factor; fromX < endX; fromX++) sum += source[(fromY * picture.width + fromX) * 4 + c];
        }
        out[(y * width + x) * 4 + c] = roundHalfEven(sum / number);  // halves are frequent; rounding all up would brighten
      }
    }
  }
  return out;
}

// The size to which a picture is resized, the canvas on which it is laid, and where on it.
function geometry({ width, height }, { size, resize: how, crop_fraction: share }) {
  if (how === "shorter") {
    const side = roundHalfEven(size / share);
    const short = Math.min(width, height);
    const inner = [Math.floor((side * width) / short), Math.floor((side * height) / short)];
    return { inner, canvas: inner, left: 0, top: 0 };
  }
  const canvas = [size, size];
  if (how === "squash") return { inner: canvas, canvas, left: 0, top: 0 };
  const longer = Math.max(width, height);
  const inner = [width, height].map((side) => Math.max(1, roundHalfEven((size * side) / longer)));
  return { inner, canvas, left: Math.floor((size - inner[0]) / 2), top: Math.floor((size - inner[1]) / 2) };
}

// (height, width, channels) bytes: `Image.resize`.
export function resize(picture, [width, height], interpolation, channels) {
  if (interpolation === "nearest") return nearest(picture, width, height, channels);
  const across = picture.width === width ? null : coefficients(picture.width, width, FILTERS[interpolation]);
  const down = picture.height === height ? null : coefficients(picture.height, height, FILTERS[interpolation]);
  // Since Pillow 13 the pass that saves most work comes first; before, the one across always did.
  const fewerRows = picture.height - height;
  const downFirst = fewerRows > 0 && fewerRows > 2 * (picture.width - width);
  const rowLength = (downFirst || !across ? picture.width : width) * channels;
  const sums = down && new Int32Array(height * rowLength).fill(HALF);
  const found = new Uint8Array((down ? height : picture.height) * rowLength);
  eachStrip(picture, channels, (bytes, top, count) => {
    const strip = across && !downFirst ? passAcross(bytes, picture.width, width, count, channels, across) : bytes;
    if (down) addDown(strip, sums, rowLength, top, count, down);
    else found.set(strip, top * rowLength);
  });
  if (down) for (let i = 0; i < sums.length; i++) found[i] = byte(sums[i]);
  return across && downFirst ? passAcross(found, picture.width, width, height, channels, across) : found;
}

// The rows of a picture in strips, as RGB or grey bytes.
function eachStrip({ width, height, rows, factor = 1 }, channels, use) {
  const count = Math.max(1, Math.floor(STRIP_PIXELS / (width * factor * factor)));
  for (let top = 0; top < height; top += count) {
    const some = Math.min(count, height - top);
    use(withoutAlpha(rows(top, some), channels), top, some);
  }
}

function withoutAlpha(rgba, channels) {
  const out = new Uint8Array((rgba.length / 4) * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    if (channels === 3) {
      out[to++] = rgba[from];
      out[to++] = rgba[from + 1];
      out[to++] = rgba[from + 2];
    } else {  // Pillow's weights of red, green and blue, of 65536
      out[to++] = (rgba[from] * 19595 + rgba[from + 1] * 38470 + rgba[from + 2] * 7471 + 0x8000) >> 16;
    }
  }
  return out;
}

// For each output position: the first input, how many inputs, and their weights as whole numbers.
function coefficients(from, to, filter) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = filter.reach * stretch;
  const length = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * length);
  const exact = new Float64Array(length);
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - start;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      exact[i] = filter.value((i + start - centre + 0.5) * (1 / stretch));
      sum += exact[i];
    }
    for (let i = 0; i < count; i++) {
      const weight = (sum === 0 ? exact[i] : exact[i] / sum) * (1 << PLACES);
      weights[place * length + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    first[place] = start;
    counts[place] = count;
  }
  return { first, counts, weights, length };
}

function byte(sum) {
  const value = sum >> PLACES;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function passAcross(source, fromWidth, toWidth, height, channels, { first, counts, weights, length }) {
  const target = new Uint8Array(height * toWidth * channels);
  const [second, third] = channels === 3 ? [1, 2] : [0, 0];  // all channels in one go: half the time
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < toWidth; x++, to += channels) {
      const end = x * length + counts[x];
      let [a, b, c] = [HALF, HALF, HALF];
      for (let i = x * length, at = (y * fromWidth + first[x]) * channels; i < end; i++, at += channels) {
        const weight = weights[i];
        a = (a + Math.imul(source[at], weight)) | 0;
        b = (b + Math.imul(source[at + second], weight)) | 0;
        c = (c + Math.imul(source[at + third], weight)) | 0;
      }
      target[to + third] = byte(c);
      target[to + second] = byte(b);
      target[to] = byte(a);
    }
  }
  return target;
}

// Adds what `count` rows from `top` on give to the sums of all output rows.
function addDown(source, sums, rowLength, top, count, { first, counts, weights, length }) {
  for (let y = 0; y < counts.length; y++) {
    const start = Math.max(first[y], top);
    const end = Math.min(first[y] + counts[y], top + count);
    for (let row = start; row < end; row++) {
      const weight = weights[y * length + row - first[y]];
      const from = (row - top) * rowLength;
      const to = y * rowLength;
      for (let x = 0; x < rowLength; x++) sums[to + x] += Math.imul(source[from + x], weight);
    }
  }
}

// Pillow adds up the step instead of multiplying it; the sums round differently.
function nearestPlaces(from, to) {
  const places = new Int32Array(to);
  const step = from / to;
  for (let i = 0, at = step * 0.5; i < to; i++, at += step) places[i] = Math.min(from - 1, Math.trunc(at));
  return places;
}

function nearest(picture, width, height, channels) {
  const columns = nearestPlaces(picture.width, width);
  const lines = nearestPlaces(picture.height, height);
  const out = new Uint8Array(width * height * channels);
  eachStrip(picture, channels, (bytes, top, count) => {
    for (let y = 0; y < height; y++) {
      if (lines[y] < top || lines[y] >= top + count) continue;
      for (let x = 0; x < width; x++) {
        const from = ((lines[y] - top) * picture.width + columns[x]) * channels;
        for (let c = 0; c < channels; c++) out[(y * width + x) * channels + c] = bytes[from + c];
      }
    }
  });
  return out;
}
