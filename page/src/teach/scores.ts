/** Figures of the honest answers, both heads decoded together: lmedge/evaluation/scoring.py. */
import { HEADS, type Head, type Teaching } from "./fitting";
import { upperEnd } from "./gate";

const RESAMPLES = 2000;
const UPPER = 0.975; // the upper end of an interval of 95 %

export interface Score {
  readonly macro_f1: number;
  readonly accuracy: number;
  readonly n: number;
}

type Pair = readonly [truth: number, guess: number];

/** Return the figures of both heads. */
export function scores(teaching: Teaching): Record<Head, Score> {
  const score = (head: Head): Score => {
    const pairs = pairsOf(teaching, head);
    return { macro_f1: macroF1(pairs), accuracy: accuracy(pairs), n: pairs.length };
  };
  return { landmark: score(HEADS[0]), category: score(HEADS[1]) };
}

/**
 * Return the upper end of the 95 % interval of landmark macro F1: `macro_f1_interval` in Python.
 *
 * Photographs are drawn again within each landmark, and the interval is at least as wide as that of
 * the accuracy.
 */
export function upperF1(teaching: Teaching): number {
  const pairs = pairsOf(teaching, "landmark");
  if (pairs.length === 0) return 1;
  const byTruth = teaching.landmarks.map((_, own) => pairs.filter(([truth]) => truth === own));
  const next = randomNumbers();
  const drawn = Float64Array.from({ length: RESAMPLES }, () =>
    macroF1(byTruth.flatMap((own) => own.map(() => own[Math.floor(next() * own.length)]!))),
  ).sort();
  const right = Math.round(accuracy(pairs) * pairs.length);
  const margin = upperEnd(right, pairs.length) - right / pairs.length;
  return Math.min(1, Math.max(drawn[Math.ceil(UPPER * (RESAMPLES - 1))]!, macroF1(pairs) + margin));
}

function pairsOf({ truth, guesses, measured, parents }: Teaching, head: Head): Pair[] {
  const of = (landmark: number) => (head === "landmark" ? landmark : parents[landmark]!);
  const kept = [...truth.keys()].filter((index) => measured[index]);
  return kept.map((index) => [of(truth[index]!), of(guesses[index]!)]);
}

function accuracy(pairs: readonly Pair[]): number {
  return pairs.filter(([one, other]) => one === other).length / Math.max(1, pairs.length);
}

/** Return the mean F1 of the classes that are true of a photograph. */
function macroF1(pairs: readonly Pair[]): number {
  const [support, guessed, hits] = [new Map<number, number>(), new Map<number, number>(), new Map<number, number>()];
  const count = (counts: Map<number, number>, name: number) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const [truth, guess] of pairs) {
    count(support, truth);
    count(guessed, guess);
    if (truth === guess) count(hits, truth);
  }
  let sum = 0;
  for (const [name, of] of support) sum += (2 * (hits.get(name) ?? 0)) / (of + (guessed.get(name) ?? 0));
  return sum / Math.max(1, support.size);
}

/** Return a source of numbers of 0 to 1, the same at each call (SplitMix32). */
function randomNumbers(): () => number {
  let state = 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}
