// In place of ONNX Runtime Web: a network of three classes, for which the mean of each channel decides.
export const env = { wasm: {} };

export class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

export const InferenceSession = {
  create: async (bytes) => {
    const isOurs = new TextDecoder().decode(bytes) === "network" && env.wasm.wasmBinary.byteLength === 4;
    if (!isOurs) throw new Error("wrong files");
    return { run: async ({ pixels }) => answers(pixels.data) };
  },
};

function answers(data) {
  const sums = [0, 0, 0];
  data.forEach((value, i) => (sums[i % 3] += value));
  const powers = sums.map((sum) => Math.exp(((sum / data.length) * 3) / 64));
  const all = powers[0] + powers[1] + powers[2];
  return {
    probabilities: { data: Float32Array.from(powers, (one) => one / all) },
    features: { data: Float32Array.from(sums) },
  };
}
