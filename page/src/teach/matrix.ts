/** Matrices in double precision, row by row in one array. */

export interface Matrix {
  readonly data: Float64Array;
  readonly rows: number;
  readonly columns: number;
}

export function matrix(rows: number, columns: number): Matrix {
  return { data: new Float64Array(rows * columns), rows, columns };
}

export function row(one: Matrix, index: number): Float64Array {
  return one.data.subarray(index * one.columns, (index + 1) * one.columns);
}

/** Return the sum of products of two vectors. */
export function dot(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const length = one.length;
  let at = 0;
  for (; at + 3 < length; at += 4) {
    a += one[at]! * other[at]!;
    b += one[at + 1]! * other[at + 1]!;
    c += one[at + 2]! * other[at + 2]!;
    d += one[at + 3]! * other[at + 3]!;
  }
  for (; at < length; at++) a += one[at]! * other[at]!;
  return a + b + (c + d);
}

/** Add a multiple of a vector to another one. */
export function add(target: Float64Array, factor: number, values: ArrayLike<number>): void {
  for (let at = 0; at < target.length; at++) target[at]! += factor * values[at]!;
}

/**
 * Solve a square system for several right sides, by elimination with row pivots.
 *
 * Both are overwritten; the right side becomes the solution.
 */
export function solve(system: Matrix, right: Matrix): Matrix {
  const size = system.rows;
  for (let column = 0; column < size; column++) {
    let best = column;
    for (let at = column + 1; at < size; at++) {
      if (Math.abs(row(system, at)[column]!) > Math.abs(row(system, best)[column]!)) best = at;
    }
    if (best !== column) {
      swap(system, column, best);
      swap(right, column, best);
    }
    const own = row(system, column);
    const pivot = own[column]!;
    for (let at = column + 1; at < size; at++) {
      const below = row(system, at);
      const factor = below[column]! / pivot;
      if (factor === 0) continue;
      for (let k = column; k < size; k++) below[k]! -= factor * own[k]!;
      add(row(right, at), -factor, row(right, column));
    }
  }
  for (let at = size - 1; at >= 0; at--) {
    const own = row(system, at);
    const target = row(right, at);
    for (let k = at + 1; k < size; k++) add(target, -own[k]!, row(right, k));
    for (let k = 0; k < target.length; k++) target[k]! /= own[at]!;
  }
  return right;
}

function swap(one: Matrix, first: number, second: number): void {
  const kept = row(one, first).slice();
  row(one, first).set(row(one, second));
  row(one, second).set(kept);
}

/** Eigenvalues of a symmetric matrix, and their vectors as rows. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Matrix;
}

/**
 * Decompose a symmetric matrix, which is overwritten by the vectors.
 *
 * Householder's reduction to three diagonals and the implicit QL method (Bowdler, Martin, Reinsch
 * and Wilkinson 1968, as in EISPACK's tred2 and tql2). The matrix is used by columns, which for a
 * symmetric one are rows: all inner loops run along the memory.
 */
export function decompose(symmetric: Matrix): Eigen {
  const values = new Float64Array(symmetric.rows);
  const beside = new Float64Array(symmetric.rows);
  reduce(symmetric, values, beside);
  accumulate(symmetric, values);
  iterate(symmetric, values, beside);
  return { values, vectors: symmetric };
}

function reduce(v: Matrix, d: Float64Array, e: Float64Array): void {
  const n = v.rows;
  for (let j = 0; j < n; j++) d[j] = row(v, j)[n - 1]!;
  for (let i = n - 1; i > 0; i--) {
    let [scale, h] = [0, 0];
    for (let k = 0; k < i; k++) scale += Math.abs(d[k]!);
    if (scale === 0) {
      e[i] = d[i - 1]!;
      for (let j = 0; j < i; j++) {
        d[j] = row(v, j)[i - 1]!;
        row(v, j)[i] = 0;
        row(v, i)[j] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        d[k]! /= scale;
        h += d[k]! * d[k]!;
      }
      const f = d[i - 1]!;
      const g = f > 0 ? -Math.sqrt(h) : Math.sqrt(h);
      e[i] = scale * g;
      h -= f * g;
      d[i - 1] = f - g;
      reflect(v, d, e, i, h);
    }
    d[i] = h;
  }
}

function reflect(v: Matrix, d: Float64Array, e: Float64Array, i: number, h: number): void {
  e.fill(0, 0, i);
  for (let j = 0; j < i; j++) {
    const f = d[j]!;
    const own = row(v, j);
    row(v, i)[j] = f;
    let g = e[j]! + own[j]! * f;
    for (let k = j + 1; k < i; k++) {
      g += own[k]! * d[k]!;
      e[k]! += own[k]! * f;
    }
    e[j] = g;
  }
  let f = 0;
  for (let j = 0; j < i; j++) {
    e[j]! /= h;
    f += e[j]! * d[j]!;
  }
  const half = f / (h + h);
  for (let j = 0; j < i; j++) e[j]! -= half * d[j]!;
  for (let j = 0; j < i; j++) {
    const [first, second] = [d[j]!, e[j]!];
    const own = row(v, j);
    for (let k = j; k < i; k++) own[k]! -= first * e[k]! + second * d[k]!;
    d[j] = own[i - 1]!;
    own[i] = 0;
  }
}

function accumulate(v: Matrix, d: Float64Array): void {
  const n = v.rows;
  for (let i = 0; i < n - 1; i++) {
    const own = row(v, i);
    const next = row(v, i + 1);
    own[n - 1] = own[i]!;
    own[i] = 1;
    const h = d[i + 1]!;
    if (h !== 0) {
      for (let k = 0; k <= i; k++) d[k] = next[k]! / h;
      for (let j = 0; j <= i; j++) {
        const column = row(v, j);
        let g = 0;
        for (let k = 0; k <= i; k++) g += next[k]! * column[k]!;
        for (let k = 0; k <= i; k++) column[k]! -= g * d[k]!;
      }
    }
    next.fill(0, 0, i + 1);
  }
  for (let j = 0; j < n; j++) {
    d[j] = row(v, j)[n - 1]!;
    row(v, j)[n - 1] = 0;
  }
  row(v, n - 1)[n - 1] = 1;
}

function iterate(v: Matrix, d: Float64Array, e: Float64Array): void {
  const n = v.rows;
  e.copyWithin(0, 1);
  e[n - 1] = 0;
  let [shift, largest] = [0, 0];
  for (let l = 0; l < n; l++) {
    largest = Math.max(largest, Math.abs(d[l]!) + Math.abs(e[l]!));
    const small = Number.EPSILON * largest;
    let m = l;
    while (m < n - 1 && Math.abs(e[m]!) > small) m++;
    while (m > l && Math.abs(e[l]!) > small) shift += step(v, d, e, l, m);
    d[l]! += shift;
    e[l] = 0;
  }
}

/** One step of the implicit QL method; returns by how much the values were shifted. */
function step(v: Matrix, d: Float64Array, e: Float64Array, l: number, m: number): number {
  const start = d[l]!;
  let p = (d[l + 1]! - start) / (2 * e[l]!);
  let r = p < 0 ? -Math.sqrt(p * p + 1) : Math.sqrt(p * p + 1);
  d[l] = e[l]! / (p + r);
  d[l + 1] = e[l]! * (p + r);
  const following = d[l + 1]!;
  const shift = start - d[l]!;
  for (let i = l + 2; i < v.rows; i++) d[i]! -= shift;
  p = d[m]!;
  let [c, c2, c3, s, s2] = [1, 1, 1, 0, 0];
  const beside = e[l + 1]!;
  for (let i = m - 1; i >= l; i--) {
    c3 = c2;
    c2 = c;
    s2 = s;
    const [g, h] = [c * e[i]!, c * p];
    r = Math.sqrt(p * p + e[i]! * e[i]!);
    e[i + 1] = s * r;
    s = e[i]! / r;
    c = p / r;
    p = c * d[i]! - s * g;
    d[i + 1] = h + s * (c * g + s * d[i]!);
    rotate(row(v, i), row(v, i + 1), c, s);
  }
  p = (-s * s2 * c3 * beside * e[l]!) / following;
  e[l] = s * p;
  d[l] = c * p;
  return shift;
}

function rotate(first: Float64Array, second: Float64Array, c: number, s: number): void {
  for (let k = 0; k < first.length; k++) {
    const [one, other] = [first[k]!, second[k]!];
    second[k] = s * one + c * other;
    first[k] = c * one - s * other;
  }
}
