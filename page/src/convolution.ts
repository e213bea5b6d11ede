/** Convolution, normalization and maxima over maps [height, width, channels], row by row. */

export interface Maps {
  height: number;
  width: number;
  channels: number;
  values: Float32Array;
}

/** A kernel [high, wide, inputs, outputs] with its bias and strides; zeros are added above, below and on the left. */
export interface Convolution {
  kernel: Float32Array;
  bias: Float32Array;
  high: number;
  wide: number;
  strides: [number, number];
  above: number;
  left: number;
}

export function convolve(maps: Maps, how: Convolution): Maps {
  const { height, width, channels, values } = maps;
  const { kernel, bias, high, wide, above, left } = how;
  const [down, right] = how.strides;
  const outputs = bias.length;
  const newHeight = Math.floor((height + 2 * above - high) / down) + 1;
  const newWidth = Math.floor((width + left - wide) / right) + 1;
  const found = new Float32Array(newHeight * newWidth * outputs);
  const sums = new Float64Array(outputs);
  for (let y = 0; y < newHeight; y++)
    for (let x = 0; x < newWidth; x++) {
      sums.set(bias);
      for (let ky = 0; ky < high; ky++) {
        const row = y * down + ky - above;
        if (row < 0 || row >= height) continue;
        for (let kx = 0; kx < wide; kx++) {
          const column = x * right + kx - left;
          if (column < 0 || column >= width) continue;
          const from = (row * width + column) * channels;
          let weight = (ky * wide + kx) * channels * outputs;
          for (let c = 0; c < channels; c++, weight += outputs) {
            const value = values[from + c];
            if (value === 0) continue; // much of paper, and of what a ReLU leaves
            for (let o = 0; o < outputs; o++) sums[o] += value * kernel[weight + o];
          }
        }
      }
      found.set(sums, (y * newWidth + x) * outputs);
    }
  return { height: newHeight, width: newWidth, channels: outputs, values: found };
}

/** Normalizes the channels of every place (Ba et al. 2016). */
export function normalize(maps: Maps, scale: Float32Array, bias: Float32Array, epsilon: number): Maps {
  const { channels, values } = maps;
  const found = new Float32Array(values.length);
  for (let from = 0; from < values.length; from += channels) {
    let mean = 0;
    let square = 0;
    for (let c = 0; c < channels; c++) {
      mean += values[from + c] / channels;
      square += values[from + c] ** 2 / channels;
    }
    const per = 1 / Math.sqrt(Math.max(0, square - mean ** 2) + epsilon);
    for (let c = 0; c < channels; c++) found[from + c] = (values[from + c] - mean) * per * scale[c] + bias[c];
  }
  return { ...maps, values: found };
}

/** Returns max(0, maps + added). */
export function rectified(maps: Maps, added?: Maps): Maps {
  return { ...maps, values: maps.values.map((value, i) => Math.max(0, value + (added ? added.values[i] : 0))) };
}

/** Returns the largest value over the rows, [width][channels]. */
export function overRows({ height, width, channels, values }: Maps): Float32Array[] {
  return Array.from({ length: width }, (_, x) =>
    Float32Array.from({ length: channels }, (_, c) => {
      let most = -Infinity;
      for (let y = 0; y < height; y++) most = Math.max(most, values[(y * width + x) * channels + c]);
      return most;
    }),
  );
}
