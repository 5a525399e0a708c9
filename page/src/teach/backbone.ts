/** The backbone of a file: its graph up to the pooled features, as lmedge/teach/backbone.py. */
import { PageError } from "../errors";
import {
  integer,
  integerOf,
  integersOf,
  nodeOf,
  nodesOf,
  numbers,
  readTree,
  text,
  textOf,
  writeTree,
  type Node,
} from "./flatbuffer";
import { Builder } from "./builder";
import {
  CODE,
  GRAPH,
  MAPPING,
  METADATA,
  MODEL,
  model,
  NOT_FLAT,
  OPERATOR,
  OPERATORS,
  QUANTIZATION,
  SIGNATURE,
  TENSOR,
  TYPES,
} from "./schema";

export const FEATURES = "features";
const TAUGHT_PREFIX = "taught/"; // of the names of all tensors of taught heads
const TFLITE_METADATA = "TFLITE_METADATA";
const IDENTIFIER = "TFL3";

/** A graph whose only output are the pooled features. */
export interface Backbone {
  readonly tree: Node;
  /** Index of the tensor of the features. */
  readonly features: number;
  readonly width: number;
  /** Step of int8 and int16 features; 0 for float32. */
  readonly step: number;
  /** Zero point of int8 features; 0 for others. */
  readonly zero: number;
  /** True if the features are int8, which are stored as they are. */
  readonly whole: boolean;
}

/** Cut the backbone off a file that was loaded before. Throws a PageError. */
export function cutBackbone(data: Uint8Array): Backbone {
  const tree = readTree(data, model);
  const graph = graphOf(tree);
  for (const one of nodesOf(graph, GRAPH.operators)) {
    if (NOT_FLAT.includes(integerOf(one, OPERATOR.optionsType))) throw refused("its operators");
  }
  const [features, last] = findFeatures(tree, graph);
  graph.set(GRAPH.operators, needed(nodesOf(graph, GRAPH.operators).slice(0, last), features));
  graph.set(GRAPH.outputs, numbers(Int32Array.of(features)));
  prune(tree, graph);
  return described(tree, graph);
}

/** Return the bytes of a graph that gives the features as float32, which LiteRT.js reads. */
export function featureGraph(backbone: Backbone): Uint8Array<ArrayBuffer> {
  if (backbone.step === 0) return writeModel(backbone.tree);
  const build = new Builder(backbone.tree);
  const whole = build.apply("DEQUANTIZE", FEATURES, [backbone.features], [1, backbone.width]);
  build.finish({ [FEATURES]: whole });
  return writeModel(build.tree);
}

/** Return the bytes of a model. */
export function writeModel(tree: Node): Uint8Array<ArrayBuffer> {
  return writeTree(tree, model, IDENTIFIER);
}

/** Return the features, int8, of what `featureGraph` gave: `FeatureReader` in Python. */
export function asStored(values: Float32Array, { step, zero, whole }: Backbone): Int8Array {
  const found = step > 0 ? Float64Array.from(values, (value) => Math.round(value / step)) : Float64Array.from(values);
  if (whole) return Int8Array.from(found, (value) => value + zero);
  const largest = found.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  return Int8Array.from(found, (value) => halfEven(value * (127 / largest)));
}

function halfEven(value: number): number {
  const whole = Math.floor(value);
  const rest = value - whole;
  if (rest !== 0.5) return rest < 0.5 ? whole : whole + 1;
  return whole % 2 === 0 ? whole : whole + 1;
}

function graphOf(tree: Node): Node {
  const graphs = nodesOf(tree, MODEL.graphs);
  const signatures = nodesOf(tree, MODEL.signatures);
  if (graphs.length !== 1 || signatures.length !== 1) throw refused("its graphs");
  return graphs[0]!;
}

/** Return the tensor of the features and the place of the first operator that reads it. */
function findFeatures(tree: Node, graph: Node): readonly [number, number] {
  const codes = nodesOf(tree, MODEL.codes).map((code) =>
    Math.max(integerOf(code, CODE.builtin), integerOf(code, CODE.byte)),
  );
  const tensors = nodesOf(graph, GRAPH.tensors);
  const operators = nodesOf(graph, GRAPH.operators);
  for (const [place, one] of operators.entries()) {
    const [output] = integersOf(one, OPERATOR.outputs);
    const written = tensors[output ?? -1];
    const name = written === undefined ? "" : textOf(written, TENSOR.name);
    const dense = codes[integerOf(one, OPERATOR.code)] === OPERATORS.FULLY_CONNECTED;
    if (dense || name.startsWith(TAUGHT_PREFIX)) {
      const [input] = integersOf(one, OPERATOR.inputs);
      if (input !== undefined) return [input, place];
    }
  }
  throw refused("no pooled features");
}

/** Return the operators that a tensor depends on, in their order. */
function needed(operators: readonly Node[], output: number): Node[] {
  const wanted = new Set([output]);
  const kept: Node[] = [];
  for (const one of [...operators].reverse()) {
    if (!integersOf(one, OPERATOR.outputs).some((index) => wanted.has(index))) continue;
    for (const index of integersOf(one, OPERATOR.inputs)) if (index >= 0) wanted.add(index);
    kept.push(one);
  }
  return kept.reverse();
}

/** Drop tensors, buffers, operator codes and metadata that nothing uses any more. */
function prune(tree: Node, graph: Node): void {
  const operators = nodesOf(graph, GRAPH.operators);
  const ends = [...integersOf(graph, GRAPH.inputs), ...integersOf(graph, GRAPH.outputs)];
  const touched = operators.flatMap((one) => [
    ...integersOf(one, OPERATOR.inputs),
    ...integersOf(one, OPERATOR.outputs),
  ]);
  const tensors = numbered([...ends, ...touched].filter((index) => index >= 0));
  graph.set(GRAPH.tensors, chosen(nodesOf(graph, GRAPH.tensors), tensors));
  for (const field of [GRAPH.inputs, GRAPH.outputs]) renumber(graph, field, tensors);
  for (const one of operators) {
    for (const field of [OPERATOR.inputs, OPERATOR.outputs]) renumber(one, field, tensors);
  }
  const metadata = nodesOf(tree, MODEL.metadata).filter(
    (one) => textOf(one, METADATA.name) !== TFLITE_METADATA,
  );
  const owners = nodesOf(graph, GRAPH.tensors);
  const buffers = numbered([
    0,
    ...owners.map((one) => integerOf(one, TENSOR.buffer)),
    ...metadata.map((one) => integerOf(one, METADATA.buffer)),
  ]);
  tree.set(MODEL.buffers, chosen(nodesOf(tree, MODEL.buffers), buffers));
  for (const one of owners) one.set(TENSOR.buffer, place(buffers, integerOf(one, TENSOR.buffer)));
  for (const one of metadata) one.set(METADATA.buffer, place(buffers, integerOf(one, METADATA.buffer)));
  if (metadata.length > 0) tree.set(MODEL.metadata, metadata);
  else tree.delete(MODEL.metadata);
  const codes = numbered(operators.map((one) => integerOf(one, OPERATOR.code)));
  tree.set(MODEL.codes, chosen(nodesOf(tree, MODEL.codes), codes));
  for (const one of operators) one.set(OPERATOR.code, place(codes, integerOf(one, OPERATOR.code)));
}

function numbered(used: readonly number[]): Map<number, number> {
  return new Map([...new Set(used)].sort((a, b) => a - b).map((old, index) => [old, index]));
}

function chosen(nodes: readonly Node[], kept: ReadonlyMap<number, number>): Node[] {
  return [...kept.keys()].map((index) => {
    const node = nodes[index];
    if (node === undefined) throw refused("its tensors");
    return node;
  });
}

function renumber(node: Node, field: number, places: ReadonlyMap<number, number>): void {
  const moved = integersOf(node, field).map((index) => places.get(index) ?? -1);
  node.set(field, numbers(Int32Array.from(moved)));
}

function place(places: ReadonlyMap<number, number>, index: number): Uint8Array {
  return integer(places.get(index) ?? 0);
}

function described(tree: Node, graph: Node): Backbone {
  const [features] = integersOf(graph, GRAPH.outputs) as [number];
  const [input] = integersOf(graph, GRAPH.inputs) as [number];
  const tensor = nodesOf(graph, GRAPH.tensors)[features]!;
  const shape = integersOf(tensor, TENSOR.shape);
  const type = integerOf(tensor, TENSOR.type);
  const whole = type === TYPES.int8;
  if (shape.length !== 2 || !(whole || type === TYPES.int16 || type === TYPES.float32)) throw refused("its features");
  const [signature] = nodesOf(tree, MODEL.signatures) as [Node];
  const [image] = nodesOf(signature, SIGNATURE.inputs);
  if (image === undefined) throw refused("its input");
  image.set(MAPPING.tensor, integer(input));
  const output: Node = new Map();
  output.set(MAPPING.name, text(FEATURES)).set(MAPPING.tensor, integer(features));
  signature.set(SIGNATURE.outputs, [output]);
  const { step, zero } = type === TYPES.float32 ? { step: 0, zero: 0 } : steps(tensor);
  return { tree, features, width: shape[1]!, step, zero: whole ? zero : 0, whole };
}

function steps(tensor: Node): { step: number; zero: number } {
  const quantization = nodeOf(tensor, TENSOR.quantization);
  const scale = quantization?.get(QUANTIZATION.scale);
  const point = quantization?.get(QUANTIZATION.zero);
  if (!(scale instanceof Uint8Array) || scale.length !== 4) throw refused("its features");
  const step = new DataView(scale.buffer, scale.byteOffset).getFloat32(0, true);
  if (!(step > 0)) throw refused("its features");
  if (!(point instanceof Uint8Array) || point.length < 8) return { step, zero: 0 };
  return { step, zero: Number(new DataView(point.buffer, point.byteOffset).getBigInt64(0, true)) };
}

function refused(what: string): PageError {
  return new PageError("teach-graph", what);
}
