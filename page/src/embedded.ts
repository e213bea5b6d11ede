/** The models and examples that lie in the page as JSON, their arrays as base64. */

import { GATES, type Kind } from "./cells";
import type { Classifier } from "./classifier";
import type { Preprocessing } from "./preprocessing";

export interface StoredModel {
  name: string;
  title: string;
  kind: Kind;
  pooling: "last" | "mean";
  classes: string[];
  preprocessing: Preprocessing;
  arrays: Record<string, string>;
}

export interface Example {
  label: string;
  width: number;
  height: number;
  channels: 1 | 3;
  bytes: Uint8Array;
}

export interface Embedded {
  models: Classifier[];
  examples: Example[];
}

/** Reads what Python has put into the page. */
export function embedded(json: string): Embedded {
  const stored: { models: StoredModel[]; examples: (Omit<Example, "bytes"> & { bytes: string })[] } = JSON.parse(json);
  return {
    models: stored.models.map(classifier),
    examples: stored.examples.map((example) => ({ ...example, bytes: bytesOf(example.bytes) })),
  };
}

export function classifier(stored: StoredModel): Classifier {
  const array = (name: string): Float32Array => new Float32Array(bytesOf(stored.arrays[name]).buffer);
  const bias = array("bias");
  const { arrays, ...rest } = stored;
  return {
    ...rest,
    height: stored.preprocessing.size[0]!,
    width: stored.preprocessing.size[1]!,
    channels: stored.preprocessing.channels,
    weights: {
      input: array("input"),
      recurrent: array("recurrent"),
      bias,
      candidateBias: "candidate_bias" in arrays ? array("candidate_bias") : undefined,
      hidden: bias.length / GATES[stored.kind].length,
    },
    head: { kernel: array("head_kernel"), bias: array("head_bias") },
  };
}

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
