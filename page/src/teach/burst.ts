/** A burst: images of what is in view that differ, as lmedge/camera/burst.py. */
import { PageError } from "../errors";
import type { Looked } from "../engine/messages";

export const FRAMES = 15; // images of a burst at the most
export const GAP = 200; // milliseconds between two of them
const LEAST = 2;
const SIDE = 16; // of the grey thumbnail
const FLAT = 4; // standard deviation of the thumbnail of a dark or empty frame
const SAME = 1.5; // mean difference of two thumbnails: the noise of a camera

export class Burst {
  readonly taken: Looked[] = [];

  constructor(private readonly most = FRAMES) {}

  private readonly thumbnails: Float64Array[] = [];
  private flat = 0;

  /** True if there are as many images as a burst has. */
  get full(): boolean {
    return this.taken.length >= this.most;
  }

  /** True if there are enough images to teach. */
  get enough(): boolean {
    return this.taken.length >= LEAST;
  }

  /** Keep an image if it shows something else than the ones before. */
  add(looked: Looked): void {
    const thumbnail = grey(looked.input);
    if (deviation(thumbnail) < FLAT) {
      this.flat++;
      return;
    }
    if (this.thumbnails.some((other) => difference(thumbnail, other) < SAME)) return;
    this.thumbnails.push(thumbnail);
    this.taken.push(looked);
  }

  /** Throws a PageError if there are too few images to teach. */
  check(): void {
    if (!this.enough) throw new PageError(this.flat > 0 ? "teach-dark" : "teach-same");
  }
}

/** Return the means of the grey levels in SIDE x SIDE parts of a square image. */
function grey(input: Uint8Array): Float64Array {
  const size = Math.round(Math.sqrt(input.length / 3));
  const found = new Float64Array(SIDE * SIDE);
  const counts = new Float64Array(SIDE * SIDE);
  for (let y = 0, at = 0; y < size; y++) {
    const line = Math.floor((y * SIDE) / size) * SIDE;
    for (let x = 0; x < size; x++, at += 3) {
      const place = line + Math.floor((x * SIDE) / size);
      found[place]! += 0.299 * input[at]! + 0.587 * input[at + 1]! + 0.114 * input[at + 2]!;
      counts[place]!++;
    }
  }
  return found.map((value, place) => value / Math.max(1, counts[place]!));
}

function deviation(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

function difference(one: Float64Array, other: Float64Array): number {
  return one.reduce((sum, value, at) => sum + Math.abs(value - other[at]!), 0) / one.length;
}
