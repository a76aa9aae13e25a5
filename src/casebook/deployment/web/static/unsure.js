// A network's probabilities and features -> a class, or "unsure" with the reason: `runner/unsure.py` in JavaScript.

const SMALLEST = 1e-38;

// { label, why, reason, probabilities, candidates }; `judge` may be null, and then every picture has a class.
export function judge(probabilities, features, classes, numbers, kept) {
  const order = byProbability(probabilities);
  if (!numbers) return { label: order[0], why: "", reason: "", probabilities, candidates: [order[0]] };
  const shown = calibrated(probabilities, numbers.temperature);
  const candidates = order.filter((k, rank) => rank === 0 || probabilities[k] >= numbers.sets.least_probability);
  const score = numbers.unlike ? unlikeScore(features, kept, numbers.unlike.neighbour) : 0;
  const said = { label: null, probabilities: shown, candidates };
  if (numbers.unlike && !(score < numbers.unlike.limit)) {
    return { ...said, why: "unlike", reason: unlikeReason(score, numbers.unlike) };
  }
  if (margin(probabilities, order) <= numbers.least_margin) {
    return { ...said, why: "close", reason: closeReason(shown, order, classes, numbers.most_wrong) };
  }
  return { ...said, label: order[0], why: "", reason: "" };
}

// Class numbers, the most probable first; equal ones keep their order.
export function byProbability(probabilities) {
  return Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
}

function logarithm(probability) {
  return Math.log(Math.max(probability, SMALLEST));
}

function margin(probabilities, [first, second]) {
  const log = second === undefined ? -Math.log(SMALLEST) : logarithm(probabilities[first]) - logarithm(probabilities[second]);
  return Math.fround(log);
}

function calibrated(probabilities, temperature) {
  const logs = Array.from(probabilities, (one) => logarithm(one) / temperature);
  const largest = logs.reduce((a, b) => Math.max(a, b));
  const powers = logs.map((one) => Math.exp(one - largest));
  const sum = powers.reduce((a, b) => a + b);
  return Float32Array.from(powers, (one) => one / sum);
}

// 1 minus the cosine to the `neighbour`-th nearest of the kept unit vectors; infinite where a feature is no number.
function unlikeScore(features, kept, neighbour) {
  const length = Math.max(Math.sqrt(features.reduce((sum, one) => sum + one * one, 0)), 1e-12);
  const cosines = new Float32Array(kept.length / features.length);
  for (let row = 0; row < cosines.length; row++) {
    let sum = 0;
    for (let f = 0; f < features.length; f++) sum += (features[f] / length) * kept[row * features.length + f];
    cosines[row] = sum;
  }
  if (!cosines.every(Number.isFinite)) return Infinity;
  return Math.fround(1 - cosines.sort()[cosines.length - neighbour]);
}

// The bytes of IEEE half-precision numbers, little-endian, as float32.
export function fromHalf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true);
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const value = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14;
    return bits & 0x8000 ? -value : value;
  });
}

function unlikeReason(score, { limit, refused }) {
  const below = shareText(1 - refused);
  return (
    `unlike the pictures it was trained on (distance ${score.toFixed(2)}; ${below} of its own validation pictures stay ` +
    `below ${limit.toFixed(2)})`
  );
}

function closeReason(shown, order, classes, mostWrong) {
  const [first, second] = order.slice(0, 2).map((k) => `${classes[k]} ${percentText(shown[k]).replace("\u00a0", " ")}`);
  return `${first} against ${second}: not sure enough for at most ${shareText(mostWrong)} wrong answers`;
}

// A share that somebody chose: "1 %", "0.5 %".
function shareText(share) {
  return `${Number((100 * share).toPrecision(4))} %`;
}

// "97.8 %"; what is not wholly 0 or 1 is never rounded to it.
export function percentText(share, digits = 1) {
  const edge = 0.5 * 10 ** -(digits + 2);
  if (share >= 1 - edge && share < 1) return `> ${(100 - 10 ** -digits).toFixed(digits)}\u00a0%`;
  if (share > 0 && share < edge) return `< ${(10 ** -digits).toFixed(digits)}\u00a0%`;
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}
