/** Ridge regression in closed form, with exact answers for rows left out: lmedge/teach/ridge.py. */
import { rowOf, type Rows } from "./features";
import { add, decompose, dot, matrix, row, solve, type Matrix } from "./matrix";

const TINY = 1e-12;

/** A kernel, (K, F), with the bias of each of K targets. */
export interface Coefficients {
  readonly kernel: Matrix;
  readonly bias: Float64Array;
}

/**
 * A ridge regression with an intercept on weighted rows, for any targets and regularisation.
 *
 * The weighted, centred rows are decomposed once: by their products with each other if there are no
 * more rows than features, otherwise by those of the features.
 */
export class Ridge {
  readonly weights: Float64Array;
  readonly scale: number;
  readonly centre: Float64Array;
  private readonly values: Float64Array;
  /** (R, F) directions of the values. */
  private readonly directions: Matrix;
  /** (N, R) rows along the directions. */
  private readonly places: Matrix;

  constructor(
    rows: Rows,
    private readonly classes: readonly number[],
  ) {
    const counts: number[] = [];
    for (const number of classes) counts[number] = (counts[number] ?? 0) + 1;
    this.weights = Float64Array.from(classes, (number) => 1 / (counts[number]! * counts.length));
    this.centre = new Float64Array(rows.width);
    this.weights.forEach((weight, index) => add(this.centre, weight, rowOf(rows, index)));
    const centred = matrix(rows.count, rows.width);
    for (let index = 0; index < rows.count; index++) {
      const own = row(centred, index);
      const source = rowOf(rows, index);
      for (let at = 0; at < own.length; at++) own[at] = source[at]! - this.centre[at]!;
    }
    const byRows = rows.count <= rows.width;
    const { values, vectors } = decompose(byRows ? this.productsOfRows(centred) : this.productsOfFeatures(centred));
    const least = TINY * Math.max(TINY, ...values);
    const kept = [...values.keys()].filter((index) => values[index]! > least);
    this.values = Float64Array.from(kept, (index) => values[index]!);
    this.scale = Math.max(TINY, this.values.reduce((sum, value) => sum + value, 0));
    this.directions = byRows ? this.turned(centred, vectors, kept) : chosen(vectors, kept);
    this.places = matrix(rows.count, kept.length);
    for (let index = 0; index < rows.count; index++) {
      const own = row(this.places, index);
      for (let at = 0; at < own.length; at++) own[at] = dot(row(centred, index), row(this.directions, at));
    }
  }

  /** Return kernel and bias for (N, K) targets; `share` is the regularisation, of `scale`. */
  coefficients(targets: Matrix, share: number): Coefficients {
    const { mean, inside } = this.projected(targets);
    const kernel = matrix(targets.columns, this.directions.columns);
    inside.forEach((own, target) => {
      own.forEach((value, at) => {
        add(row(kernel, target), value / (this.values[at]! + share * this.scale), row(this.directions, at));
      });
    });
    const bias = mean.map((value, target) => value - dot(this.centre, row(kernel, target)));
    return { kernel, bias };
  }

  /** Return what regressions without each group of rows would give for it, (N, K). */
  leftOut(targets: Matrix, share: number, groups: readonly (readonly number[])[]): Matrix {
    const found = matrix(targets.rows, targets.columns);
    const { mean, inside } = this.projected(targets);
    const factors = this.values.map((value) => 1 / (value + share * this.scale));
    const scaled = inside.map((own) => own.map((value, at) => value * factors[at]!));
    const residuals = matrix(targets.rows, targets.columns);
    for (let index = 0; index < targets.rows; index++) {
      const own = row(residuals, index);
      const place = row(this.places, index);
      scaled.forEach((values, target) => {
        own[target] = row(targets, index)[target]! - mean[target]! - dot(place, values);
      });
    }
    const byClass: number[][][] = [];
    for (const group of groups) (byClass[this.classes[group[0]!]!] ??= []).push([...group]);
    byClass.forEach((inClass) => {
      const members = inClass.flat().sort((a, b) => a - b);
      const kernel = this.leverages(members, factors);
      const weight = this.weights[members[0]!]!;
      for (const [size, same] of bySize(inClass)) {
        const apart = without(kernel, chosen(residuals, members), weight, members, size, same);
        for (const [place, values] of apart) {
          const target = row(found, place);
          for (let at = 0; at < target.length; at++) target[at] = row(targets, place)[at]! - values[at]!;
        }
      }
    });
    return found;
  }

  /** Return the weighted mean of targets, and their products with each direction. */
  private projected(targets: Matrix): { mean: Float64Array; inside: Float64Array[] } {
    const mean = new Float64Array(targets.columns);
    this.weights.forEach((weight, index) => add(mean, weight, row(targets, index)));
    const inside = Array.from(mean, () => new Float64Array(this.values.length));
    this.weights.forEach((weight, index) => {
      const own = row(targets, index);
      inside.forEach((sums, target) => add(sums, weight * (own[target]! - mean[target]!), row(this.places, index)));
    });
    return { mean, inside };
  }

  private leverages(members: readonly number[], factors: Float64Array): Matrix {
    const kernel = matrix(members.length, members.length);
    members.forEach((one, first) => {
      const own = row(this.places, one).map((value, at) => value * factors[at]!);
      for (let second = first; second < members.length; second++) {
        const value = 1 + dot(own, row(this.places, members[second]!));
        row(kernel, first)[second] = value;
        row(kernel, second)[first] = value;
      }
    });
    return kernel;
  }

  private productsOfRows(centred: Matrix): Matrix {
    const products = matrix(centred.rows, centred.rows);
    const roots = this.weights.map(Math.sqrt);
    for (let first = 0; first < centred.rows; first++) {
      for (let second = first; second < centred.rows; second++) {
        const value = roots[first]! * roots[second]! * dot(row(centred, first), row(centred, second));
        row(products, first)[second] = value;
        row(products, second)[first] = value;
      }
    }
    return products;
  }

  private productsOfFeatures(centred: Matrix): Matrix {
    const width = centred.columns;
    const products = matrix(width, width);
    for (let index = 0; index < centred.rows; index++) {
      const own = row(centred, index);
      for (let at = 0; at < width; at++) {
        const factor = this.weights[index]! * own[at]!;
        const target = row(products, at);
        for (let other = at; other < width; other++) target[other]! += factor * own[other]!;
      }
    }
    for (let at = 0; at < width; at++) {
      for (let other = 0; other < at; other++) row(products, at)[other] = row(products, other)[at]!;
    }
    return products;
  }

  /** Return the directions of features that belong to vectors of rows. */
  private turned(centred: Matrix, vectors: Matrix, kept: readonly number[]): Matrix {
    const found = matrix(kept.length, centred.columns);
    kept.forEach((index, at) => {
      const target = row(found, at);
      const length = Math.sqrt(this.values[at]!);
      row(vectors, index).forEach((value, one) => {
        add(target, (value * Math.sqrt(this.weights[one]!)) / length, row(centred, one));
      });
    });
    return found;
  }
}

/** Return some rows of a matrix. */
function chosen(one: Matrix, kept: readonly number[]): Matrix {
  const found = matrix(kept.length, one.columns);
  kept.forEach((index, at) => row(found, at).set(row(one, index)));
  return found;
}

function bySize(groups: readonly number[][]): Map<number, number[][]> {
  const found = new Map<number, number[][]>();
  for (const group of groups) {
    const same = found.get(group.length);
    if (same === undefined) found.set(group.length, [group]);
    else same.push(group);
  }
  return found;
}

/**
 * Return the residuals of groups of one size that are left out, by row: `_without` in Python.
 *
 * At first the whole class gains the weight that its group is about to lose.
 */
function without(
  leverages: Matrix,
  whole: Matrix,
  weight: number,
  members: readonly number[],
  size: number,
  groups: readonly (readonly number[])[],
): [number, Float64Array][] {
  const count = members.length;
  let [kernel, residuals, raised] = [leverages, whole, weight];
  if (size < count) {
    raised = (weight * count) / (count - size);
    [kernel, residuals] = reweighted(kernel, residuals, raised - weight);
  }
  const places = new Map(members.map((one, index) => [one, index]));
  return groups.flatMap((group) => {
    const own = group.map((one) => places.get(one)!);
    const system = matrix(size, size);
    own.forEach((one, first) => {
      own.forEach((other, second) => {
        row(system, first)[second] = (first === second ? 1 : 0) - raised * row(kernel, one)[other]!;
      });
    });
    const right = solve(system, chosen(residuals, own));
    return group.map((one, at): [number, Float64Array] => [one, row(right, at)]);
  });
}

function reweighted(kernel: Matrix, residuals: Matrix, change: number): [Matrix, Matrix] {
  const { rows: count } = kernel;
  const system = matrix(count, count);
  const right = matrix(count, count + residuals.columns);
  for (let at = 0; at < count; at++) {
    const own = row(system, at);
    row(kernel, at).forEach((value, other) => (own[other] = value * change + (other === at ? 1 : 0)));
    row(right, at).set(row(kernel, at));
    row(right, at).set(row(residuals, at), count);
  }
  solve(system, right);
  const found: [Matrix, Matrix] = [matrix(count, count), matrix(count, residuals.columns)];
  for (let at = 0; at < count; at++) {
    row(found[0], at).set(row(right, at).subarray(0, count));
    row(found[1], at).set(row(right, at).subarray(count));
  }
  return found;
}
