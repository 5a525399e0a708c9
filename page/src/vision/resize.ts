/**
 * The preprocessing of lmedge/image.py, byte for byte.
 *
 * `cv2.INTER_LINEAR_EXACT` samples in fixed point: coefficients with 8 fractional bits, rows with
 * 8, the sum with 16, rounded half up.
 */
import type { ResizeMode } from "../model/file";

/** A part of an image: interleaved bytes, the first three of each pixel red, green and blue. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  /** Bytes of a pixel, 3 or 4. */
  readonly channels: number;
  /** Pixels from one row to the next, and those before the first pixel. */
  readonly pitch: number;
  readonly start: number;
}

const HALVE_FROM = 2.5;
const PAD = 114;

/** Return the pixels of a whole image. */
export function whole(
  data: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  channels: number,
): Pixels {
  return { data, width, height, channels, pitch: width, start: 0 };
}

/** Make an image the network's input, (size, size, 3) bytes, as `prepare` in Python. */
export function prepare(image: Pixels, size: number, mode: ResizeMode): Uint8Array<ArrayBuffer> {
  const { width, height } = image;
  if (mode === "crop" && width !== height) {
    const side = Math.min(width, height);
    return shrink(part(image, (width - side) >> 1, (height - side) >> 1, side), size, size);
  }
  if (mode === "pad" && width !== height) {
    const scale = size / Math.max(height, width);
    const high = Math.max(1, roundHalfEven(height * scale));
    const wide = Math.max(1, roundHalfEven(width * scale));
    const inner = shrink(image, wide, high);
    const out = new Uint8Array(size * size * 3).fill(PAD);
    const [top, left] = [(size - high) >> 1, (size - wide) >> 1];
    for (let y = 0; y < high; y++) {
      out.set(inner.subarray(y * wide * 3, (y + 1) * wide * 3), ((top + y) * size + left) * 3);
    }
    return out;
  }
  return shrink(image, size, size);
}

function part(image: Pixels, left: number, top: number, side: number): Pixels {
  const start = image.start + top * image.pitch + left;
  return { ...image, width: side, height: side, start };
}

/** Halve as often as needed, then resize to (height, width, 3) bytes. */
function shrink(image: Pixels, width: number, height: number): Uint8Array<ArrayBuffer> {
  let small = image;
  while (Math.min(small.height / height, small.width / width) >= HALVE_FROM) {
    const [wide, high] = [small.width >> 1, small.height >> 1];
    small = whole(resizeExact(small, wide, high), wide, high, 3);
  }
  return resizeExact(small, width, height);
}

interface Samples {
  /** Index of the first of two neighbours, and the weight of the second in 1/256. */
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly weight: Int32Array;
}

/** Return where each of `target` samples lies among `source` ones. */
function samples(source: number, target: number): Samples {
  const first = new Int32Array(target);
  const second = new Int32Array(target);
  const weight = new Int32Array(target);
  const scale = 1 / (target / source); // as OpenCV computes it, by the inverse
  for (let index = 0; index < target; index++) {
    const place = scale * (index + 0.5) - 0.5;
    const floor = Math.floor(place);
    first[index] = Math.min(Math.max(floor, 0), source - 1);
    second[index] = Math.min(first[index]! + 1, source - 1);
    if (floor >= 0 && floor < source - 1) weight[index] = roundHalfEven((place - floor) * 256);
  }
  return { first, second, weight };
}

/** Resize as `cv2.resize(..., interpolation=cv2.INTER_LINEAR_EXACT)`. */
export function resizeExact(image: Pixels, width: number, height: number): Uint8Array<ArrayBuffer> {
  const across = samples(image.width, width);
  const down = samples(image.height, height);
  const out = new Uint8Array(width * height * 3);
  const rows = [new Int32Array(width * 3), new Int32Array(width * 3)] as const;
  const held = [-1, -1];
  const row = (y: number, other: number): Int32Array => {
    const there = held.indexOf(y);
    if (there >= 0) return rows[there as 0 | 1];
    const free = held[0] === other ? 1 : 0;
    held[free] = y;
    sampleRow(image, y, across, rows[free]);
    return rows[free];
  };
  for (let y = 0; y < height; y++) {
    const [upper, lower, weight] = [down.first[y]!, down.second[y]!, down.weight[y]!];
    const a = row(upper, lower);
    const b = row(lower, upper);
    const rest = 256 - weight;
    const at = y * width * 3;
    for (let index = 0; index < a.length; index++) {
      out[at + index] = (a[index]! * rest + b[index]! * weight + 32768) >> 16;
    }
  }
  return out;
}

function sampleRow(image: Pixels, y: number, across: Samples, out: Int32Array): void {
  const { data, channels, pitch, start } = image;
  const { first, second, weight } = across;
  const line = start + y * pitch;
  for (let x = 0, to = 0; x < first.length; x++, to += 3) {
    const a = (line + first[x]!) * channels;
    const b = (line + second[x]!) * channels;
    const w = weight[x]!;
    const rest = 256 - w;
    out[to] = data[a]! * rest + data[b]! * w;
    out[to + 1] = data[a + 1]! * rest + data[b + 1]! * w;
    out[to + 2] = data[a + 2]! * rest + data[b + 2]! * w;
  }
}

/** Round as Python's `round` and OpenCV's `cvRound`: a half to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
