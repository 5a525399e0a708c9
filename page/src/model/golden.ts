/** Golden images, which a formula makes, and the file's outputs for them: lmedge/golden.py. */
import { PageError } from "../errors";
import type { Outputs } from "../labels/decoding";
import { isExact, knownSteps } from "../labels/exact";
import type { ModelFacts } from "./file";

export const COUNT = 3;
const IDENTICAL = 1e-6;
const LARGEST = 0.05;

/** The outputs of this device beside those that the file holds. */
export interface Verification {
  readonly largest: number;
  readonly identical: boolean;
  readonly passed: boolean;
}

/** Return golden image `number`, (size, size, 3) bytes. */
export function goldenImage(number: number, size: number): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(size * size * 3);
  let at = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      for (let channel = 0; channel < 3; channel++) {
        const wave = (x * (3 + number) + y * (5 - number) + channel * 61) % 511;
        image[at++] = Math.floor((Math.abs(wave - 255) * (number + 1)) / COUNT);
      }
    }
  }
  return image;
}

/** Compare outputs for the golden images with those of the file; null if it holds none. */
export function compare(facts: ModelFacts, found: readonly Outputs[]): Verification | null {
  if (facts.golden === null) return null;
  const names = facts.hasKnown ? (["landmark", "category", "known"] as const) : (["landmark", "category"] as const);
  const stepped = isExact(facts.logitSteps);
  let largest = 0;
  let sameTop = true;
  for (const name of names) {
    found.forEach((outputs, number) => {
      const here = outputs[name];
      const stored = facts.golden?.[name]?.[number % COUNT];
      if (!Array.isArray(stored) || here === null || stored.length !== here.length) {
        throw new PageError("file-damaged", "its golden answers cannot be used");
      }
      stored.forEach((value, index) => {
        // Former versions of lmedge stored this output as the kernel gave it.
        const wanted = name === "known" && stepped ? knownSteps(Math.min(1, Math.max(0, value))) : value;
        const difference = Math.abs(wanted - here[index]!);
        largest = Number.isNaN(difference) ? Infinity : Math.max(largest, difference);
      });
      sameTop &&= top(stored) === top(here);
    });
  }
  return {
    largest,
    identical: sameTop && largest <= IDENTICAL,
    passed: sameTop && largest <= LARGEST,
  };
}

function top(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) {
    if (values[index]! > values[best]!) best = index;
  }
  return best;
}
