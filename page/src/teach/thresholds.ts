/** Temperatures, the weight of the categories, and thresholds: lmedge/evaluation/. */
import { row, type Matrix } from "./matrix";

const [LOW, HIGH] = [0.05, 20];
const GOLDEN = (Math.sqrt(5) - 1) / 2;
const STEPS = 40;
const HEAVIEST = 2;
const WEIGHTS = 81;
const TINY = 1e-9;
const DIGITS = 1e6;
const COVERAGE = 0.95;
const SHOWN = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99, 1.0];

/** Return the softmax of a row of logits, in single precision as the file's outputs. */
export function softmax(logits: Float64Array, temperature: number): Float32Array {
  const scaled = logits.map((value) => value / temperature);
  const largest = scaled.reduce((most, value) => Math.max(most, value), -Infinity);
  const powers = scaled.map((value) => Math.exp(value - largest));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(powers, (value) => value / total);
}

function logSoftmax(values: Float64Array): Float64Array {
  const largest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const total = values.reduce((sum, value) => sum + Math.exp(value - largest), 0);
  return values.map((value) => value - largest - Math.log(total));
}

/** Return the weighted mean log loss of logits against smoothed targets, by temperature. */
export function smoothedLoss(
  logits: Matrix,
  truth: readonly number[],
  weights: readonly number[],
): (temperature: number) => number {
  const count = weights.reduce((sum, weight) => sum + weight, 0);
  const right = (count + 1) / (count + 2);
  const others = (1 - right) / Math.max(logits.columns - 1, 1);
  return (temperature) => {
    let total = 0;
    truth.forEach((own, index) => {
      const found = logSoftmax(row(logits, index).map((value) => value / temperature));
      const sum = found.reduce((all, value) => all + value, 0);
      total -= weights[index]! * (others * (sum - found[own]!) + right * found[own]!);
    });
    return total / count;
  };
}

/** Fit the temperature that gives the least loss: `fit_temperature` in Python. */
export function fitTemperature(logits: Matrix, truth: readonly number[], weights: readonly number[]): number {
  if (logits.rows === 0 || logits.columns < 2) return 1;
  const loss = smoothedLoss(logits, truth, weights);
  const at = (place: number) => loss(Math.exp(place));
  let [low, high] = [Math.log(LOW), Math.log(HIGH)];
  let [left, right] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
  let [atLeft, atRight] = [at(left), at(right)];
  for (let step = 0; step < STEPS; step++) {
    if (atLeft <= atRight) {
      [high, right, atRight] = [right, left, atLeft];
      left = high - GOLDEN * (high - low);
      atLeft = at(left);
    } else {
      [low, left, atLeft] = [left, right, atRight];
      right = low + GOLDEN * (high - low);
      atRight = at(right);
    }
  }
  return Math.exp((low + high) / 2);
}

/** Honest answers for photographs, and what is true of them. */
export interface Answers {
  readonly landmark: readonly Float32Array[];
  readonly category: readonly Float32Array[];
  readonly known: readonly number[];
  readonly truth: readonly number[];
}

/** Return the likeliest weight of the category head: `fit_category_weight` in Python. */
export function fitCategoryWeight({ landmark, category, truth }: Answers, parents: readonly number[]): number {
  const logarithm = (value: number) => Math.log(Math.max(value, TINY));
  const first = landmark.map((one) => Float64Array.from(one, logarithm));
  const second = category.map((one) => Float64Array.from(parents, (above) => logarithm(one[above]!)));
  let [best, least] = [1, Infinity];
  for (let step = 0; step < WEIGHTS; step++) {
    const weight = step * (HEAVIEST / (WEIGHTS - 1)); // as numpy.linspace rounds
    let loss = (weight - 1) ** 2;
    truth.forEach((own, index) => {
      loss -= logSoftmax(first[index]!.map((value, at) => value + weight * second[index]![at]!))[own]!;
    });
    if (loss < least) [best, least] = [weight, loss];
  }
  return best;
}

/** Return the landmark that both heads give together, and its probability by landmark. */
export function together(
  landmark: Float32Array,
  category: Float32Array,
  parents: readonly number[],
  weight: number,
): Float64Array {
  const product = Float64Array.from(parents, (above, index) => landmark[index]! * category[above]! ** weight);
  const total = product.reduce((sum, value) => sum + value, 0);
  return total > 0 ? product.map((value) => value / total) : Float64Array.from(landmark);
}

/** Return the place of the largest value. */
export function largest(values: ArrayLike<number>): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at]! > values[best]!) best = at;
  return best;
}

/** The thresholds of a file and their figures, as `rejection` in lmedge.json. */
export interface Rejection {
  readonly threshold: number;
  readonly heads: Readonly<Record<"landmark" | "category" | "known", number>>;
  readonly coverage: number;
  readonly known: number;
  readonly strangers: number;
  readonly kept: null;
  readonly auroc: null;
  readonly false_accepts: number | null;
  readonly score: "known";
  readonly measured: "val";
  readonly curve: readonly Readonly<Record<string, number | null>>[];
  readonly risk_area: number;
}

/**
 * Fit thresholds to honest answers whose landmark is right, and to scores of unknown images:
 * `fit_rejection` in Python.
 */
export function fitRejection(
  answers: Answers,
  right: readonly boolean[],
  unknown: { readonly fit: readonly number[]; readonly test: readonly number[] } | null,
): Rejection {
  const { known } = answers;
  const chosen = (scores: readonly number[]) => scores.filter((_, index) => right[index]);
  const threshold = floor(thresholdFor(chosen(known), unknown?.fit ?? null));
  const most = (values: readonly Float32Array[]) => chosen(values.map((one) => one[largest(one)]!));
  const head = (values: readonly Float32Array[]) => floor(thresholdFor(most(values), null));
  const others = unknown?.test ?? null;
  return {
    threshold,
    heads: { landmark: head(answers.landmark), category: head(answers.category), known: threshold },
    coverage: COVERAGE,
    known: chosen(known).length,
    strangers: unknown?.fit.length ?? 0,
    kept: null,
    auroc: null,
    false_accepts: others === null ? null : share(others, threshold),
    score: "known",
    measured: "val",
    curve: curve(known, right, others),
    risk_area: riskArea(known, right),
  };
}

/** Return the share of scores that reach a threshold. */
export function share(scores: readonly number[], threshold: number): number {
  return scores.filter((one) => one >= threshold).length / scores.length;
}

function thresholdFor(known: readonly number[], unknown: readonly number[] | null): number {
  const rank = Math.floor((1 - COVERAGE) * (known.length + 1) + 1e-9);
  const highest = rank > 0 ? [...known].sort((a, b) => a - b)[rank - 1]! : 0;
  if (unknown === null || rank === 0) return highest;
  const below = unknown.filter((one) => one < highest);
  return below.length === 0 ? highest : (Math.max(...below) + highest) / 2;
}

function floor(value: number): number {
  return Math.floor(value * DIGITS) / DIGITS;
}

function curve(
  known: readonly number[],
  right: readonly boolean[],
  others: readonly number[] | null,
): Record<string, number | null>[] {
  const sorted = [...known].sort((a, b) => b - a);
  const points = new Map<number, Record<string, number | null>>();
  for (const part of SHOWN) {
    const threshold = sorted[Math.max(1, Math.round(part * sorted.length)) - 1]!;
    const passed = right.filter((_, index) => known[index]! >= threshold);
    points.set(threshold, {
      kept: passed.length / known.length,
      threshold,
      accuracy: passed.filter(Boolean).length / passed.length,
      false_accepts: others === null ? null : share(others, threshold),
    });
  }
  return [...points.values()];
}

function riskArea(known: readonly number[], right: readonly boolean[]): number {
  const order = known.map((_, index) => index);
  order.sort((a, b) => known[b]! - known[a]! || Number(right[a]) - Number(right[b]));
  let [wrong, total] = [0, 0];
  order.forEach((index, place) => {
    if (!right[index]) wrong++;
    total += wrong / (place + 1);
  });
  return total / known.length;
}
