/**
 * The heads of a taught file, and honest answers for every photograph: lmedge/teach/fitting.py.
 *
 * A `Method` finds kernels and what it would answer without some rows. The rest does not depend on it.
 */
import {
  alike,
  categoriesOf,
  classesOf,
  deviations,
  grouped,
  rowOf,
  rowsOf,
  tied,
  unit,
  type FeatureSet,
  type Rows,
} from "./features";
import { fitKnown, scoreOf, type Evidence, type KnownScore } from "./known";
import { dot, matrix, row, type Matrix } from "./matrix";
import { Plane } from "./plane";
import { Ridge, type Coefficients } from "./ridge";
import {
  fitCategoryWeight,
  fitRejection,
  fitTemperature,
  largest,
  share,
  smoothedLoss,
  softmax,
  together,
  type Answers,
  type Rejection,
} from "./thresholds";

export const HEADS = ["landmark", "category"] as const;
export type Head = (typeof HEADS)[number];
export const SHARPNESS = 20; // logits per unit of the regression
const TRIED = 9;
const SHARES = Array.from({ length: TRIED }, (_, at) => 3e-5 * (0.03 / 3e-5) ** (at / (TRIED - 1)));

/** A closed form with one parameter: what is learned, and what would be without some rows. */
export interface Method {
  coefficients(targets: Matrix, share: number): Coefficients;
  leftOut(targets: Matrix, share: number, groups: readonly (readonly number[])[]): Matrix;
}

/** One head: logits are scaled features times kernel, (K, F), plus bias. */
export interface LinearHead extends Coefficients {
  readonly temperature: number;
  readonly share: number;
}

export interface TaughtHeads {
  readonly heads: Readonly<Record<Head, LinearHead>>;
  readonly known: KnownScore;
  /** What features of length 1 are divided by. */
  readonly deviation: Float32Array;
  readonly plane: Plane;
}

export interface Teaching {
  readonly heads: TaughtHeads;
  readonly landmarks: readonly string[];
  readonly categories: readonly string[];
  readonly parents: readonly number[];
  /** The landmark of each photograph. */
  readonly truth: readonly number[];
  /** Answers of regressions without the photograph and its burst, of every photograph. */
  readonly answers: Readonly<Record<Head, readonly Float32Array[]>>;
  /** False for photographs whose landmark has no other burst. */
  readonly measured: readonly boolean[];
  /** The number of the group of like photographs, or of one burst, of each. */
  readonly groups: readonly number[];
  readonly categoryWeight: number;
  readonly rejection: Rejection;
  /** Share of the photographs of a landmark that was left out which pass as known. */
  readonly passing: number;
  /** The landmark that the honest answers of both heads give. */
  readonly guesses: readonly number[];
  readonly pairs: readonly (readonly [number, number])[];
}

/** Return whether a landmark has several bursts, so that there is an honest answer. */
export function isJudged({ measured }: Pick<Teaching, "measured">): boolean {
  return measured.some(Boolean);
}

/** Fit the heads to a set of features: `teach_heads` in Python. */
export function teachHeads(found: FeatureSet): Teaching {
  const [rows, truth] = rowsOf(found);
  const landmarks = [...found.hierarchy.keys()];
  const categories = categoriesOf(found.hierarchy);
  const parents = landmarks.map((name) => categories.indexOf(found.hierarchy.get(name)!));
  const truths = { landmark: truth, category: truth.map((own) => parents[own]!) };
  const pairs = alike(rows);
  const groups = grouped(truth, [...pairs, ...tied(found)]);
  const deviation = deviations(rows, truth);
  divide(rows, deviation);
  const measured = isMeasured(truth, groups);
  const used = isJudged({ measured }) ? measured : measured.map(() => true); // to fit to
  const targets = { landmark: oneOf(truths.landmark, landmarks.length), category: oneOf(truths.category, categories.length) };
  const method: Method = new Ridge(rows, truth);
  const fitted = fitHeads(method, targets, truths, groups, used);
  const answers = {
    landmark: softmaxOf(fitted.landmark),
    category: softmaxOf(fitted.category),
  };
  const plane = new Plane(rows, truth);
  const unknown = divide(unit(found.unknown, found), deviation);
  const { score, own, leftOut } = fitScore(method, plane, fitted.landmark, targets.landmark, truth, groups, used, unknown);
  const kept = [...used.keys()].filter((index) => used[index]);
  const judged: Answers = {
    landmark: kept.map((index) => answers.landmark[index]!),
    category: kept.map((index) => answers.category[index]!),
    known: kept.map((index) => own[index]!),
    truth: kept.map((index) => truth[index]!),
  };
  const categoryWeight = fitCategoryWeight(judged, parents);
  const guesses = answers.landmark.map((one, index) =>
    largest(together(one, answers.category[index]!, parents, categoryWeight)),
  );
  const heads: TaughtHeads = {
    heads: { landmark: fitted.landmark.head, category: fitted.category.head },
    known: score,
    deviation,
    plane,
  };
  const right = kept.map((index) => guesses[index] === truth[index]);
  const rejection = fitRejection(judged, right, unknownScores(heads, unknown, leftOut));
  return {
    heads,
    landmarks,
    categories,
    parents,
    truth,
    answers,
    measured,
    groups: numbered(groups, truth.length),
    categoryWeight,
    rejection,
    passing: share(leftOut, rejection.threshold),
    guesses,
    pairs,
  };
}

/** Return what the graph computes for features of length 1 that were divided by the deviation. */
export function outputsOf(
  { heads, known, plane }: TaughtHeads,
  scaled: Float32Array,
): { landmark: Float32Array; category: Float32Array; known: number } {
  const logits = (head: LinearHead) => head.bias.map((value, at) => value + dot(row(head.kernel, at), scaled));
  const landmark = logits(heads.landmark);
  const evidence = { values: landmark.map((value) => value / SHARPNESS), distance: plane.distance(scaled) };
  return {
    landmark: softmax(landmark, heads.landmark.temperature),
    category: softmax(logits(heads.category), heads.category.temperature),
    known: Math.fround(scoreOf(known, evidence)),
  };
}

/** Divide features by the deviation of each, in place. */
export function divide(rows: Rows, deviation: Float32Array): Rows {
  for (let at = 0; at < rows.data.length; at++) rows.data[at]! /= deviation[at % rows.width]!;
  return rows;
}

/** A head, and its logits for each row by regressions without the row's group. */
interface FittedHead {
  readonly head: LinearHead;
  readonly left: Matrix;
}

function isMeasured(truth: readonly number[], groups: readonly (readonly number[])[]): boolean[] {
  const counts = classesOf(truth).map((members) => members.length);
  const found = truth.map(() => true);
  for (const group of groups) {
    for (const one of group) found[one] = group.length < counts[truth[one]!]!;
  }
  return found;
}

function numbered(groups: readonly (readonly number[])[], count: number): number[] {
  const found = new Array<number>(count);
  groups.forEach((group, number) => group.forEach((one) => (found[one] = number)));
  return found;
}

function oneOf(truth: readonly number[], count: number): Matrix {
  const found = matrix(truth.length, count);
  truth.forEach((own, index) => (row(found, index)[own] = 1));
  return found;
}

/**
 * Choose the regularisation of each head by the log loss of its honest answers.
 *
 * A group weighs as one photograph there.
 */
function fitHeads(
  method: Method,
  targets: Readonly<Record<Head, Matrix>>,
  truths: Readonly<Record<Head, readonly number[]>>,
  groups: readonly (readonly number[])[],
  used: readonly boolean[],
): Record<Head, FittedHead> {
  const kept = [...used.keys()].filter((index) => used[index]);
  const every = new Array<number>(used.length);
  for (const group of groups) for (const one of group) every[one] = 1 / group.length;
  const weights = kept.map((index) => every[index]!);
  const fitted = (name: Head): FittedHead => {
    let [least, share, temperature, left] = [Infinity, 0, 1, matrix(0, 0)];
    for (const tried of SHARES) {
      const values = method.leftOut(targets[name], tried, groups);
      for (let at = 0; at < values.data.length; at++) values.data[at]! *= SHARPNESS;
      const judged = matrix(kept.length, values.columns);
      kept.forEach((index, at) => row(judged, at).set(row(values, index)));
      const truth = kept.map((index) => truths[name][index]!);
      const found = fitTemperature(judged, truth, weights);
      const loss = smoothedLoss(judged, truth, weights)(found);
      if (loss < least) [least, share, temperature, left] = [loss, tried, found, values];
    }
    const { kernel, bias } = method.coefficients(targets[name], share);
    for (let at = 0; at < kernel.data.length; at++) kernel.data[at]! *= SHARPNESS;
    return { head: { kernel, bias: bias.map((value) => value * SHARPNESS), temperature, share }, left };
  };
  return { landmark: fitted("landmark"), category: fitted("category") };
}

function softmaxOf({ head, left }: FittedHead): Float32Array[] {
  return Array.from({ length: left.rows }, (_, index) => softmax(row(left, index), head.temperature));
}

/** Fit the output `known`; return its scores of each photograph, and with its landmark left out. */
function fitScore(
  method: Method,
  plane: Plane,
  { head, left }: FittedHead,
  targets: Matrix,
  truth: readonly number[],
  groups: readonly (readonly number[])[],
  used: readonly boolean[],
  unknown: Rows,
): { score: KnownScore; own: number[]; leftOut: number[] } {
  const near = plane.withoutGroups(groups);
  const every = truth.map(
    (_, index): Evidence => ({ values: row(left, index).map((value) => value / SHARPNESS), distance: near[index]! }),
  );
  const far = plane.withoutClasses();
  const values = method.leftOut(targets, head.share, classesOf(truth));
  const away = truth.map((own, index): Evidence => {
    row(values, index)[own] = -Infinity; // the landmark that is not in the list
    return { values: row(values, index), distance: far[index]! };
  });
  const others: Evidence[] = [];
  for (let index = 0; index < unknown.count; index += 2) {
    const one = rowOf(unknown, index); // the others test what is fitted
    const logits = head.bias.map((value, at) => (value + dot(row(head.kernel, at), one)) / SHARPNESS);
    others.push({ values: logits, distance: plane.distance(one) });
  }
  const own = every.filter((_, index) => used[index]);
  const score = fitKnown(own, others.length > 0 ? [[away, 0.25], [others, 0.25]] : [[away, 0.5]]);
  const scores = (all: readonly Evidence[]) => all.map((one) => Math.fround(scoreOf(score, one)));
  return { score, own: scores(every), leftOut: away.map((one) => scoreOf(score, one)) };
}

function unknownScores(
  heads: TaughtHeads,
  unknown: Rows,
  leftOut: readonly number[],
): { fit: number[]; test: number[] } | null {
  if (unknown.count < 2) return null;
  const scores = Array.from({ length: unknown.count }, (_, index) => outputsOf(heads, rowOf(unknown, index)).known);
  return {
    fit: [...scores.filter((_, index) => index % 2 === 0), ...leftOut.map(Math.fround)],
    test: scores.filter((_, index) => index % 2 === 1),
  };
}
