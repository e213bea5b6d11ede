/** Resampling with a triangle filter, as rowrnn/saving/resampling.py does it. */

const EMPTY = 1e-6;

/** Returns the weights [new, pixels] of a triangle filter, whose rows sum to 1, or are zero far away. */
export function triangleWeights(pixels: number, centres: Float64Array, step: number): Float64Array {
  const weights = new Float64Array(centres.length * pixels);
  const reach = Math.max(step, 1);
  centres.forEach((centre, place) => {
    let sum = 0;
    for (let pixel = 0; pixel < pixels; pixel++) {
      const weight = Math.max(0, 1 - Math.abs(pixel + 0.5 - centre) / reach);
      weights[place * pixels + pixel] = weight;
      sum += weight;
    }
    for (let pixel = 0; pixel < pixels; pixel++) weights[place * pixels + pixel] /= Math.max(sum, EMPTY);
  });
  return weights;
}

/** Returns an image [H, W, channels] of one [h, w, channels], by weights [H, h] and [W, w]. */
export function resample(
  image: ArrayLike<number>,
  height: number,
  width: number,
  channels: number,
  vertical: Float64Array,
  horizontal: Float64Array,
): Float64Array {
  const newHeight = vertical.length / height;
  const newWidth = horizontal.length / width;
  const lower = new Float64Array(newHeight * width * channels);
  for (let y = 0; y < newHeight; y++)
    for (let h = 0; h < height; h++) {
      const weight = vertical[y * height + h];
      if (weight === 0) continue;
      for (let i = 0; i < width * channels; i++) lower[y * width * channels + i] += weight * image[h * width * channels + i];
    }
  const found = new Float64Array(newHeight * newWidth * channels);
  for (let x = 0; x < newWidth; x++)
    for (let w = 0; w < width; w++) {
      const weight = horizontal[x * width + w];
      if (weight === 0) continue;
      for (let y = 0; y < newHeight; y++)
        for (let c = 0; c < channels; c++)
          found[(y * newWidth + x) * channels + c] += weight * lower[(y * width + w) * channels + c];
    }
  return found;
}
