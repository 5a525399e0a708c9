/** From two heads to one prediction, as `Classifier` in Python. */
import type { ModelFacts } from "../model/file";

export const TOP = 3;

/** The probabilities of the heads for one image, and that of `known` with its complement. */
export interface Outputs {
  readonly landmark: Float32Array;
  readonly category: Float32Array;
  readonly known: Float32Array | null;
}

export interface Candidate {
  readonly landmark: string;
  readonly category: string;
  readonly probability: number;
}

export interface Reading {
  readonly joint: readonly number[];
  readonly agreement: number;
  readonly known: boolean;
  readonly knownProbability: number | null;
}

/** The labels of one image, and the probabilities behind them. */
export interface Prediction extends Reading {
  readonly landmark: string;
  readonly landmarkProbability: number;
  readonly category: string;
  readonly categoryProbability: number;
  readonly top: readonly Candidate[];
}

/** Decode both heads together and compare the score with the threshold. */
export function read(facts: ModelFacts, outputs: Outputs): Reading {
  const { landmark, category } = outputs;
  const weight = facts.categoryWeight;
  let [agreement, total] = [0, 0];
  const product: number[] = [];
  facts.parents.forEach((parent, index) => {
    const [alone, above] = [landmark[index]!, category[parent]!];
    agreement += alone * above;
    const both = alone * (weight === 1 ? above : above ** weight);
    total += both;
    product.push(both);
  });
  const joint = total > 0 ? product.map((value) => value / total) : Array.from(landmark);
  const shown = outputs.known === null ? null : outputs.known[0]!;
  const { score, least } = facts.threshold;
  const measured = score === "agreement" || shown === null ? agreement : shown;
  return { joint, agreement, known: measured >= least, knownProbability: shown };
}

/** Choose labels by a joint probability; `lead` is the landmark to choose in place of the best. */
export function choose(
  facts: ModelFacts,
  reading: Reading,
  joint: readonly number[] = reading.joint,
  lead: number | null = null,
): Prediction {
  const values = Array.from(joint, Math.fround);
  let order = values.map((_, index) => index).sort((a, b) => values[b]! - values[a]! || a - b);
  if (lead !== null && order[0] !== lead) order = [lead, ...order.filter((one) => one !== lead)];
  const top = order.slice(0, TOP).map((index) => ({
    landmark: facts.landmarks[index]!,
    category: facts.categories[facts.parents[index]!]!,
    probability: values[index]!,
  }));
  const best = top[0]!;
  const group = facts.parents[order[0]!];
  let inside = 0;
  values.forEach((value, index) => {
    if (facts.parents[index] === group) inside += value;
  });
  return {
    ...reading,
    joint: values,
    landmark: best.landmark,
    landmarkProbability: best.probability,
    category: best.category,
    categoryProbability: Math.min(1, inside),
    top,
  };
}
