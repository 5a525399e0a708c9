/** The graph of a taught file: heads in float32 behind a backbone, as lmedge/teach/heads.py. */
import { FEATURES, writeModel, type Backbone } from "./backbone";
import { Builder } from "./builder";
import { SHARPNESS, HEADS, type TaughtHeads } from "./fitting";
import type { Node } from "./flatbuffer";

const TINY = 1e-12; // added to a squared length

/** Return the tree of a model: the backbone's graph with heads behind its features. */
export function withHeads(backbone: Backbone, taught: TaughtHeads): Node {
  const build = new Builder(backbone.tree);
  const shape = [1, backbone.width];
  const length = unit(build, backbone, shape);
  const factor = build.constant("deviation", Float32Array.from(taught.deviation, (value) => 1 / value), shape);
  const scaled = build.apply("MUL", "scaled", [length, factor], shape);
  const outputs: Record<string, number> = {};
  const scores: Record<string, number> = {};
  for (const name of HEADS) {
    const { kernel, bias, temperature } = taught.heads[name];
    const own = [1, bias.length];
    scores[name] = build.dense(`${name}/scores`, scaled, Float32Array.from(kernel.data), Float32Array.from(bias));
    const sharp = build.constant(`${name}/sharpness`, Float32Array.of(1 / temperature));
    const logits = build.apply("MUL", `${name}/logits`, [scores[name], sharp], own);
    outputs[name] = build.apply("SOFTMAX", name, [logits], own);
  }
  outputs["known"] = known(build, taught, scaled, shape, scores["landmark"]!);
  build.finish(outputs);
  return build.tree;
}

/** Return the bytes of a graph that has no metadata yet. */
export function bareGraph(tree: Node): Uint8Array<ArrayBuffer> {
  return writeModel(tree);
}

/** Divide the features by their length. */
function unit(build: Builder, { features, step }: Backbone, shape: readonly number[]): number {
  const whole = step > 0 ? build.apply("DEQUANTIZE", FEATURES, [features], shape) : features;
  const axes = build.constant("axes", Int32Array.of(1));
  const square = build.apply("SQUARE", "square", [whole], shape);
  const total = build.apply("SUM", "sum", [square, axes]);
  const shifted = build.apply("ADD", "shifted", [total, build.constant("tiny", Float32Array.of(TINY))]);
  return build.apply("MUL", "unit", [whole, build.apply("RSQRT", "length", [shifted])], shape);
}

function known(
  build: Builder,
  { heads, known: score, plane }: TaughtHeads,
  scaled: number,
  shape: readonly number[],
  scores: number,
): number {
  const axes = build.constant("axes/known", Int32Array.of(1));
  const values = [1, heads.landmark.bias.length];
  const times = (name: string, value: number, factor: number) =>
    build.apply("MUL", `known/${name}`, [value, build.constant(`known/${name}/factor`, Float32Array.of(factor))]);
  const squares = (name: string, value: number, own: readonly number[]) =>
    build.apply("SUM", `known/${name}/sum`, [build.apply("SQUARE", `known/${name}/squares`, [value], own), axes]);
  const largest = build.apply("REDUCE_MAX", "known/largest", [scores, axes]);
  let sum = times("likeness", largest, score.likeness / SHARPNESS);
  const length = times("length", squares("values", scores, values), score.length / SHARPNESS ** 2);
  sum = build.apply("ADD", "known/values", [sum, length]);
  const centre = build.constant("known/centre", Float32Array.from(plane.centre, (value) => -value), shape);
  const off = build.apply("ADD", "known/off", [scaled, centre], shape);
  let away = squares("away", off, shape);
  const { rows, data } = plane.basis;
  if (rows > 0) {
    const inside = build.dense("known/inside", off, Float32Array.from(data), new Float32Array(rows));
    away = build.apply("SUB", "known/away", [away, squares("inside", inside, [1, rows])]);
  }
  const limit = build.constant("known/limit", Float32Array.of(-score.limit));
  const beyond = build.apply("RELU", "known/beyond", [build.apply("ADD", "known/far", [away, limit])]);
  sum = build.apply("ADD", "known/all", [sum, times("distance", beyond, score.distance)]);
  const offset = build.constant("known/offset", Float32Array.of(score.offset));
  const chance = build.apply("LOGISTIC", "known/chance", [build.apply("ADD", "known/place", [sum, offset])]);
  const signs = build.constant("known/signs", Float32Array.of(1, -1), [1, 2]);
  const signed = build.apply("MUL", "known/signed", [chance, signs], [1, 2]);
  const complement = build.constant("known/complement", Float32Array.of(0, 1), [1, 2]);
  return build.apply("ADD", "known", [signed, complement], [1, 2]);
}
