/** The features that a file is taught from, in one canonical order: lmedge/teach/features.py. */
import { PageError } from "../errors";
import { dot } from "./matrix";

const ALIKE = 0.87; // cosine of centred features from which two photographs count as one
const COARSE_BITS = 4;
const BEND = 6; // steps of a feature around its zero point, below which coarse numbers are even
const FLOOR = 1e-3; // of the mean deviation, added to each

/** Rows of int8 features, one behind the other. */
export interface Stored {
  readonly data: Int8Array;
  readonly count: number;
}

/** Places of rows of a landmark that are of one burst, two or more each. */
export type Bursts = readonly (readonly number[])[];

export interface FeatureSet {
  /** The category of each landmark, in the order of the landmarks. */
  readonly hierarchy: ReadonlyMap<string, string>;
  /** Rows of each landmark, no row twice, sorted. */
  readonly landmarks: ReadonlyMap<string, Stored>;
  readonly unknown: Stored;
  readonly width: number;
  readonly zero: number;
  readonly bursts: ReadonlyMap<string, Bursts>;
  /** 8, or 4 if every number is one of the 16 of `coarseNumbers`. */
  readonly bits: 4 | 8;
}

/** (N, F) features in single precision. */
export interface Rows {
  readonly data: Float32Array;
  readonly count: number;
  readonly width: number;
}

export function rowOf(rows: Rows, index: number): Float32Array {
  return rows.data.subarray(index * rows.width, (index + 1) * rows.width);
}

/** Sort names as Python does, by their code points. */
export function byName(one: string, other: string): number {
  const [first, second] = [Array.from(one), Array.from(other)];
  for (let at = 0; at < Math.min(first.length, second.length); at++) {
    const difference = first[at]!.codePointAt(0)! - second[at]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return first.length - second.length;
}

/** Return the names of the categories, sorted. */
export function categoriesOf(hierarchy: ReadonlyMap<string, string>): string[] {
  return [...new Set(hierarchy.values())].sort(byName);
}

/** Return a set with the photographs of one burst more. Throws a PageError. */
export function withBurst(
  found: FeatureSet,
  landmark: string,
  category: string,
  burstRows: readonly Int8Array[],
): FeatureSet {
  const rows = found.bits === COARSE_BITS ? burstRows.map((one) => coarse(one, found.zero)) : burstRows;
  const above = found.hierarchy.get(landmark) ?? category;
  if (above !== category) throw new PageError("teach-category", above);
  const hierarchy = new Map([...found.hierarchy, [landmark, category] as const].sort(([a], [b]) => byName(a, b)));
  const before = found.landmarks.get(landmark) ?? { data: new Int8Array(), count: 0 };
  const known = found.bursts.get(landmark) ?? [];
  const all = [...split(before, found.width), ...rows];
  const burst = rows.map((_, index) => before.count + index);
  const [sorted, bursts] = inOrder(all, [...known, burst]);
  const landmarks = new Map(found.landmarks).set(landmark, sorted);
  const every = new Map(found.bursts).set(landmark, bursts);
  for (const [name, own] of every) if (own.length === 0) every.delete(name);
  return { ...found, hierarchy, landmarks, bursts: every };
}

/** Return the set with numbers of 4 bits; rows that become the same are one. */
export function coarsened(found: FeatureSet): FeatureSet {
  if (found.bits === COARSE_BITS) return found;
  const each = (stored: Stored) => split(stored, found.width).map((one) => coarse(one, found.zero));
  const landmarks = new Map<string, Stored>();
  const bursts = new Map<string, Bursts>();
  for (const [name, stored] of found.landmarks) {
    const [sorted, known] = inOrder(each(stored), found.bursts.get(name) ?? []);
    landmarks.set(name, sorted);
    if (known.length > 0) bursts.set(name, known);
  }
  const unknown = found.unknown.count > 0 ? inOrder(each(found.unknown), [])[0] : found.unknown;
  return { ...found, landmarks, unknown, bursts, bits: COARSE_BITS };
}

/** Return the 16 numbers of coarse features, in order, for a zero point. */
export function coarseNumbers(zero: number): Int8Array {
  const [low, high] = [Math.asinh((-128 - zero) / BEND), Math.asinh((127 - zero) / BEND)];
  const last = (1 << COARSE_BITS) - 1;
  return Int8Array.from({ length: last + 1 }, (_, at) => {
    const value = Math.round(BEND * Math.sinh(low + ((high - low) * at) / last) + zero);
    return Math.min(127, Math.max(-128, value));
  });
}

/** Return the place of the nearest coarse number of each number. */
export function coarsePlaces(row: Int8Array, zero: number): Uint8Array {
  const numbers = coarseNumbers(zero);
  return Uint8Array.from(row, (value) => {
    let best = 0;
    for (let at = 1; at < numbers.length; at++) {
      if (Math.abs(value - numbers[at]!) < Math.abs(value - numbers[best]!)) best = at;
    }
    return best;
  });
}

function coarse(row: Int8Array, zero: number): Int8Array {
  const numbers = coarseNumbers(zero);
  return Int8Array.from(coarsePlaces(row, zero), (place) => numbers[place]!);
}

function split({ data, count }: Stored, width: number): Int8Array[] {
  return Array.from({ length: count }, (_, index) => data.subarray(index * width, (index + 1) * width));
}

/** Return rows sorted, each once, and the bursts by their places among those. */
function inOrder(rows: readonly Int8Array[], known: Bursts): [Stored, Bursts] {
  const width = rows[0]?.length ?? 0;
  const order = rows.map((_, index) => index).sort((a, b) => compare(rows[a]!, rows[b]!));
  const places = new Array<number>(rows.length);
  const unique: Int8Array[] = [];
  for (const index of order) {
    const last = unique.at(-1);
    if (last === undefined || compare(last, rows[index]!) !== 0) unique.push(rows[index]!);
    places[index] = unique.length - 1;
  }
  const data = new Int8Array(unique.length * width);
  unique.forEach((one, index) => data.set(one, index * width));
  const pairs = known.flatMap((burst) => burst.slice(1).map((one) => [places[burst[0]!]!, places[one]!] as const));
  const groups = grouped(new Array<number>(unique.length).fill(0), pairs).filter((group) => group.length > 1);
  return [{ data, count: unique.length }, groups];
}

function compare(one: Int8Array, other: Int8Array): number {
  for (let at = 0; at < one.length; at++) {
    const difference = one[at]! - other[at]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Return the landmark of each row, in the order of the names, and the rows with length 1. */
export function rowsOf(found: FeatureSet): readonly [Rows, number[]] {
  const parts = [...found.hierarchy.keys()].map((name) => found.landmarks.get(name)!);
  const truth = parts.flatMap((part, number) => new Array<number>(part.count).fill(number));
  const whole = new Int8Array(truth.length * found.width);
  let at = 0;
  for (const part of parts) {
    whole.set(part.data, at);
    at += part.data.length;
  }
  return [unit({ data: whole, count: truth.length }, found), truth];
}

/** Return features, stored ones or those of a graph, with length 1. */
export function unit({ data, count }: Stored | Pick<Rows, "data" | "count">, { width, zero }: Pick<FeatureSet, "width" | "zero">): Rows {
  const found = new Float32Array(data.length);
  for (let start = 0; start < data.length; start += width) {
    let square = 0;
    for (let at = start; at < start + width; at++) square += (data[at]! - zero) ** 2;
    const length = Math.max(Math.sqrt(square), 1e-6);
    for (let at = start; at < start + width; at++) found[at] = (data[at]! - zero) / length;
  }
  return { data: found, count, width };
}

/** Return pairs of rows that link each known burst together. */
export function tied(found: FeatureSet): [number, number][] {
  const pairs: [number, number][] = [];
  let first = 0;
  for (const name of found.hierarchy.keys()) {
    for (const burst of found.bursts.get(name) ?? []) {
      for (const place of burst.slice(1)) pairs.push([first + burst[0]!, first + place]);
    }
    first += found.landmarks.get(name)!.count;
  }
  return pairs;
}

/** Return the standard deviation of each feature within a landmark, as `deviations` in Python. */
export function deviations(rows: Rows, truth: readonly number[]): Float32Array {
  const total = new Float64Array(rows.width);
  let count = 0;
  for (const members of classesOf(truth)) {
    if (members.length < 2) continue;
    count++;
    const mean = new Float64Array(rows.width);
    for (const one of members) rowOf(rows, one).forEach((value, at) => (mean[at]! += value / members.length));
    for (const one of members) {
      rowOf(rows, one).forEach((value, at) => (total[at]! += (value - mean[at]!) ** 2 / (members.length - 1)));
    }
  }
  const found = total.map((value) => Math.sqrt(value / Math.max(count, 1)));
  const mean = found.reduce((sum, value) => sum + value, 0) / rows.width;
  return Float32Array.from(found, (value) => (mean > 0 ? value + FLOOR * mean : 1));
}

/** Return the rows of each class. */
export function classesOf(truth: readonly number[]): number[][] {
  const found: number[][] = [];
  truth.forEach((number, place) => (found[number] ??= []).push(place));
  return found;
}

/** Return the pairs of rows that are alike, their mean taken off. */
export function alike(rows: Rows): [number, number][] {
  const { count, width } = rows;
  const mean = new Float64Array(width);
  for (let one = 0; one < count; one++) rowOf(rows, one).forEach((value, at) => (mean[at]! += value / count));
  const centred = rows.data.map((value, at) => value - mean[at % width]!);
  const at = (index: number) => centred.subarray(index * width, (index + 1) * width);
  for (let one = 0; one < count; one++) {
    const own = at(one);
    const length = Math.max(Math.sqrt(dot(own, own)), 1e-6);
    for (let place = 0; place < width; place++) own[place]! /= length;
  }
  const pairs: [number, number][] = [];
  for (let one = 0; one < count; one++) {
    const own = at(one);
    for (let other = one + 1; other < count; other++) {
      if (dot(own, at(other)) >= ALIKE) pairs.push([one, other]);
    }
  }
  return pairs;
}

/** Return the rows in groups of one landmark that pairs link, directly or not. */
export function grouped(truth: readonly number[], pairs: Iterable<readonly [number, number]>): number[][] {
  const first = truth.map((_, place) => place);
  const root = (place: number): number => {
    while (first[place] !== place) {
      first[place] = first[first[place]!]!;
      place = first[place]!;
    }
    return place;
  };
  for (const [one, other] of pairs) {
    if (truth[one] !== truth[other]) continue;
    const [a, b] = [root(one), root(other)];
    first[Math.max(a, b)] = Math.min(a, b);
  }
  const groups = new Map<number, number[]>();
  truth.forEach((_, place) => {
    const own = root(place);
    const group = groups.get(own);
    if (group === undefined) groups.set(own, [place]);
    else group.push(place);
  });
  return [...groups.values()];
}
