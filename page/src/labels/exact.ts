/**
 * Probabilities that are equal to the last bit on every machine: lmedge/exact.py.
 *
 * The order of the operations is that of Python. Each of them is rounded alike everywhere.
 */

const SMALLEST_STEP = 1e-3;
const LARGEST_STEP = 16;
const STEPS = 255;
const NOTHING = 1e-37;
const ROOM = 1e-5;
const KNOWN_STEPS = 1024;
const HALVINGS = 10;
const TERMS = 8;

/** The softmax of logits that are a step apart, or whole multiples of it. */
export class ExactSoftmax {
  private readonly powers: readonly number[];
  private readonly perStep: number;

  /** `step` is in SMALLEST_STEP..LARGEST_STEP. */
  private constructor(step: number) {
    this.perStep = 1 / step;
    const ratio = exponential(step);
    const powers = [1];
    for (let place = 0; place < STEPS; place++) powers.push(powers[place]! * ratio);
    this.powers = powers;
  }

  /** Return null if steps cannot be told apart. */
  static of(step: number): ExactSoftmax | null {
    return step >= SMALLEST_STEP && step <= LARGEST_STEP ? new ExactSoftmax(step) : null;
  }

  /** Return the probabilities of a kernel computed exactly, or as they are if that cannot be. */
  again(values: Float32Array): Float32Array {
    const top = values.reduce((most, value) => Math.max(most, value), 0);
    if (!(top > NOTHING)) return values;
    const first = Math.log(top) * this.perStep + 0.5;
    const powers: number[] = [];
    let total = 0;
    for (const value of values) {
      const place = Math.trunc(first - Math.log(value) * this.perStep);
      const power = value > NOTHING ? this.powers[place] : 0;
      if (power === undefined) return values;
      powers.push(power);
      total += power;
    }
    const found = powers.map((power) => power / total);
    if (found.some((one, index) => Math.abs(one - values[index]!) > ROOM)) return values;
    return Float32Array.from(found);
  }
}

/** Return true if the probabilities of all heads are computed again, as of an int8 file. */
export function isExact(steps: Readonly<Record<string, number>>): boolean {
  return Object.values(steps).every((step) => ExactSoftmax.of(step) !== null);
}

/** Return a value of the output `known`, in 0..1, in whole steps. */
export function knownSteps(value: number): number {
  return Math.floor(value * KNOWN_STEPS + 0.5) / KNOWN_STEPS;
}

function exponential(step: number): number {
  const part = step / 2 ** HALVINGS;
  let total = 1;
  for (let term = TERMS; term > 0; term--) total = 1 - (part * total) / term;
  for (let halving = 0; halving < HALVINGS; halving++) total *= total;
  return total;
}
