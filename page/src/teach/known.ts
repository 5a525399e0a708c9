/** The output `known`, the probability that an image shows a landmark: lmedge/teach/known.py. */
import { matrix, row, solve } from "./matrix";

const FAR = 0.95; // share of the photographs whose distance from the plane says nothing
const NEWTON = 25;
const TINY = 1e-12;

/** What `known` depends on: values of the landmark regression, -Infinity for one not learned. */
export interface Evidence {
  readonly values: ArrayLike<number>;
  readonly distance: number;
}

export interface KnownScore {
  readonly likeness: number;
  readonly length: number;
  readonly distance: number;
  readonly limit: number;
  readonly offset: number;
}

/** Fit to photographs of landmarks, and to other kinds with the share of each. */
export function fitKnown(
  own: readonly Evidence[],
  kinds: readonly (readonly [readonly Evidence[], number])[],
): KnownScore {
  const limit = quantile(own.map((one) => one.distance), FAR);
  const rest = 1 - kinds.reduce((sum, [, share]) => sum + share, 0);
  const parts = [[own, rest] as const, ...kinds];
  const total = parts.reduce((sum, [part]) => sum + part.length, 0);
  const weights = parts.flatMap(([part, share]) => part.map(() => (total * share) / part.length));
  const design = parts.flatMap(([part]) => part.map((one) => terms(one, limit)));
  const [slopes, offset] = logistic(design, own.length, weights);
  const [likeness, length, distance] = slopes as [number, number, number];
  return { likeness, length, distance, limit, offset };
}

/** Return the probability that an image shows one of the landmarks. */
export function scoreOf(score: KnownScore, one: Evidence): number {
  const [likeness, length, distance] = terms(one, score.limit) as [number, number, number];
  const place = likeness * score.likeness + length * score.length + distance * score.distance + score.offset;
  return 1 / (1 + Math.exp(-Math.min(60, Math.max(-60, place))));
}

function terms({ values, distance }: Evidence, limit: number): number[] {
  let [largest, square] = [-Infinity, 0];
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    largest = Math.max(largest, value);
    if (Number.isFinite(value)) square += value ** 2;
  }
  return [largest, square, Math.max(distance - limit, 0)];
}

/** Return the quantile of values between which it is linear. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const low = sorted[Math.floor(place)]!;
  return low + (sorted[Math.ceil(place)]! - low) * (place - Math.floor(place));
}

/** Return slopes and offset of a logistic regression; the first `positive` rows are so. */
function logistic(
  features: readonly (readonly number[])[],
  positive: number,
  weights: readonly number[],
): [number[], number] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const count = features.length;
  const columns = features[0]!.map((_, at) => features.map((one) => one[at]!));
  const means = columns.map((own) => own.reduce((sum, value, at) => sum + weights[at]! * value, 0) / total);
  const scales = columns.map((own) => {
    const mean = own.reduce((sum, value) => sum + value, 0) / count;
    const spread = Math.sqrt(own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count);
    return spread > TINY ? spread : 1;
  });
  const design = features.map((one) => [...one.map((value, at) => (value - means[at]!) / scales[at]!), 1]);
  const size = scales.length + 1;
  let found = new Float64Array(size);
  for (let round = 0; round < NEWTON; round++) {
    const slope = matrix(size, 1);
    slope.data.set(found);
    const curvature = matrix(size, size);
    for (let at = 0; at < size; at++) row(curvature, at)[at] = 1;
    design.forEach((one, index) => {
      const place = one.reduce((sum, value, at) => sum + value * found[at]!, 0);
      const chance = 1 / (1 + Math.exp(-Math.min(30, Math.max(-30, place))));
      const miss = weights[index]! * (chance - (index < positive ? 1 : 0));
      const bend = weights[index]! * chance * (1 - chance);
      one.forEach((value, at) => {
        slope.data[at]! += miss * value;
        one.forEach((other, beside) => (row(curvature, at)[beside]! += bend * value * other));
      });
    });
    solve(curvature, slope);
    found = found.map((value, at) => value - slope.data[at]!);
  }
  const slopes = scales.map((scale, at) => found[at]! / scale);
  return [slopes, found[size - 1]! - slopes.reduce((sum, value, at) => sum + value * means[at]!, 0)];
}
