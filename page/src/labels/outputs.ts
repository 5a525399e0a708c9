/** The outputs of the graph as probabilities, as lmedge/runner.py checks and computes them. */
import { PageError } from "../errors";
import { HEADS, type ModelFacts } from "../model/file";
import type { Outputs } from "./decoding";
import { ExactSoftmax, isExact, knownSteps } from "./exact";

const SUM_ROOM = 1e-3; // by which probabilities may miss a sum of one, beside the steps of integers
const LARGEST_STEP = 1 / 255; // of probabilities that were computed in integers
const KNOWN_ROOM = 0.25; // by which the output `known` may leave 0..1

/** Read the outputs of one file. */
export class OutputReader {
  private readonly softmax: Readonly<Record<string, ExactSoftmax | null>>;

  private readonly stepped: boolean;

  constructor(facts: ModelFacts) {
    this.stepped = isExact(facts.logitSteps);
    this.softmax = Object.fromEntries(
      HEADS.map((head) => [head, ExactSoftmax.of(facts.logitSteps[head])]),
    );
  }

  /** Throws a PageError if an output holds other numbers than probabilities. */
  read(outputs: Readonly<Record<string, Float32Array>>): Outputs {
    const { known } = outputs;
    return {
      landmark: this.head("landmark", outputs["landmark"]!),
      category: this.head("category", outputs["category"]!),
      known: known === undefined ? null : pair(known, this.stepped),
    };
  }

  private head(name: string, values: Float32Array): Float32Array {
    const room = SUM_ROOM + (LARGEST_STEP * values.length) / 2;
    const sum = values.reduce((total, value) => total + value, 0);
    const fits =
      Math.abs(sum - 1) <= room && values.every((value) => value >= 0 && value <= 1 + SUM_ROOM);
    if (!fits) throw refused();
    return this.softmax[name]?.again(values) ?? values;
  }
}

/** The value of `known`, within 0..1 and in steps if the heads are exact, and its complement. */
function pair(known: Float32Array, stepped: boolean): Float32Array {
  const [first, second] = [known[0]!, known[1]!];
  const fits = first >= -KNOWN_ROOM && first <= 1 + KNOWN_ROOM;
  if (!fits || !(Math.abs(first + second - 1) <= SUM_ROOM)) throw refused();
  if (!stepped && first >= 0 && first <= 1) return known;
  const inside = Math.min(1, Math.max(0, first));
  const exact = stepped ? knownSteps(inside) : inside;
  return Float32Array.of(exact, 1 - exact);
}

function refused(): PageError {
  return new PageError("file-damaged", "its outputs are no probabilities");
}
