/** The plane through the mean features of all landmarks: lmedge/teach/plane.py. */
import { classesOf, rowOf, type Rows } from "./features";
import { add, dot, matrix, row, solve, type Matrix } from "./matrix";

const PART = 4; // of the features: a plane has at most one dimension for so many
const TINY = 1e-12;

/** A row less the centre, along the plane, and its height above the plane of the other classes. */
interface Apart {
  readonly away: Float64Array;
  readonly flat: Float64Array;
  readonly height: number;
}

/** The plane through the means of the classes; with too few features, the mean of these means. */
export class Plane {
  readonly centre: Float64Array;
  /** (R, F) orthonormal. */
  readonly basis: Matrix;
  private readonly means: Float64Array[];
  /** Of the plane without each class, towards the mean of it. */
  private readonly normals: Float64Array[] = [];
  private readonly offsets: number[] = [];

  constructor(
    private readonly rows: Rows,
    private readonly classes: readonly number[],
  ) {
    this.means = classesOf(classes).map((members) => {
      const mean = new Float64Array(rows.width);
      for (const one of members) add(mean, 1 / members.length, rowOf(rows, one));
      return mean;
    });
    const count = this.means.length;
    this.centre = new Float64Array(rows.width);
    for (const mean of this.means) add(this.centre, 1 / count, mean);
    const dimensions = PART * (count - 1) <= rows.width ? count - 1 : 0;
    this.basis = orthonormal(this.means.slice(0, dimensions).map((mean) => this.off(mean)), rows.width);
    if (dimensions > 0) this.measure(count);
  }

  /** Return the squared distances of other rows from the plane. */
  distances(rows: Rows): Float64Array {
    return Float64Array.from({ length: rows.count }, (_, index) => this.distance(rowOf(rows, index)));
  }

  /** Return the squared distance of a row from the plane. */
  distance(one: ArrayLike<number>): number {
    const away = this.off(one);
    const flat = this.along(away);
    return Math.max(dot(away, away) - dot(flat, flat), 0);
  }

  /** Return the squared distance of each row from the plane without its class. */
  withoutClasses(): Float64Array {
    const others = Math.max(this.means.length - 1, 1);
    return Float64Array.from(this.classes, (number, index) => {
      const own = rowOf(this.rows, index);
      if (this.basis.rows > 0) {
        const { away, flat, height } = this.apart(own, number);
        return Math.max(dot(away, away) - dot(flat, flat) + height ** 2, 0);
      }
      const mean = this.means[number]!;
      const left = this.off(own).map((value, at) => value - (this.centre[at]! - mean[at]!) / others);
      return dot(left, left);
    });
  }

  /** Return the squared distance of each row from the plane without its group. */
  withoutGroups(groups: readonly (readonly number[])[]): Float64Array {
    const members = classesOf(this.classes);
    const found = this.withoutClasses();
    for (const group of groups) {
      const number = this.classes[group[0]!]!;
      const left = members[number]!.length - group.length;
      if (left === 0) continue;
      const change = new Float64Array(this.rows.width);
      for (const one of group) {
        const own = rowOf(this.rows, one);
        const mean = this.means[number]!;
        for (let at = 0; at < change.length; at++) change[at]! -= (own[at]! - mean[at]!) / left;
      }
      this.moved(group, number, change).forEach((value, at) => (found[group[at]!] = value));
    }
    return found;
  }

  /** Return the squared distances of some rows after the mean of a class has changed. */
  private moved(group: readonly number[], number: number, change: Float64Array): number[] {
    if (this.basis.rows === 0) {
      return group.map((one) => {
        const left = this.off(rowOf(this.rows, one));
        add(left, -1 / this.means.length, change);
        return dot(left, left);
      });
    }
    const inside = this.along(change);
    const rise = this.height(this.along(this.off(this.means[number]!)), number) + dot(inside, this.normals[number]!);
    const length = dot(change, change) - dot(inside, inside) + rise ** 2;
    return group.map((one) => {
      const { away, flat, height } = this.apart(rowOf(this.rows, one), number);
      const whole = dot(away, away) - dot(flat, flat) + height ** 2;
      const along = dot(away, change) - dot(flat, inside) + height * rise;
      return Math.max(whole - along ** 2 / Math.max(length, TINY), 0);
    });
  }

  /** Find the plane of the other classes for each one, from barycentric coordinates. */
  private measure(count: number): void {
    const system = matrix(count, count);
    this.means.forEach((mean, index) => {
      row(system, index).set(this.along(this.off(mean)));
      row(system, index)[count - 1] = 1;
    });
    const right = matrix(count, count);
    for (let at = 0; at < count; at++) row(right, at)[at] = 1;
    const places = solve(system, right);
    for (let number = 0; number < count; number++) {
      const slopes = Float64Array.from({ length: count - 1 }, (_, at) => row(places, at)[number]!);
      const length = Math.max(Math.sqrt(dot(slopes, slopes)), TINY);
      this.normals.push(slopes.map((value) => value / length));
      this.offsets.push(row(places, count - 1)[number]! / length);
    }
  }

  private apart(one: ArrayLike<number>, number: number): Apart {
    const away = this.off(one);
    const flat = this.along(away);
    return { away, flat, height: this.height(flat, number) };
  }

  private height(flat: Float64Array, number: number): number {
    return dot(flat, this.normals[number]!) + this.offsets[number]!;
  }

  private off(one: ArrayLike<number>): Float64Array {
    return this.centre.map((value, at) => one[at]! - value);
  }

  private along(away: ArrayLike<number>): Float64Array {
    return Float64Array.from({ length: this.basis.rows }, (_, at) => dot(row(this.basis, at), away));
  }
}

/** Return an orthonormal basis of vectors: Gram and Schmidt, twice for each. */
function orthonormal(vectors: readonly Float64Array[], width: number): Matrix {
  const basis = matrix(vectors.length, width);
  vectors.forEach((vector, index) => {
    const own = row(basis, index);
    own.set(vector);
    for (let round = 0; round < 2; round++) {
      for (let before = 0; before < index; before++) add(own, -dot(own, row(basis, before)), row(basis, before));
    }
    const length = Math.sqrt(dot(own, own));
    for (let at = 0; at < width; at++) own[at]! /= Math.max(length, TINY);
  });
  return basis;
}
