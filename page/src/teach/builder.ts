/** Tensors and operators at the end of a graph, as `_Builder` of lmedge/teach/heads.py. */
import { integer, nodesOf, numbers, text, type Node } from "./flatbuffer";
import {
  BUFFER,
  CODE,
  GRAPH,
  MAPPING,
  MODEL,
  OPERATOR,
  OPERATORS,
  OPTIONS,
  SIGNATURE,
  TENSOR,
  TYPES,
  type OperatorName,
} from "./schema";

const PREFIX = "taught/";
/** Flat tables of options, as FlatBuffers hold them. */
const NOTHING = { vtable: Uint8Array.of(4, 0, 4, 0), inline: new Uint8Array() };
const BETA_ONE = { vtable: Uint8Array.of(6, 0, 8, 0, 4, 0), inline: Uint8Array.of(0, 0, 0x80, 0x3f) };
const KEEP_DIMS = { vtable: Uint8Array.of(6, 0, 8, 0, 4, 0), inline: Uint8Array.of(1, 0, 0, 0) };

export class Builder {
  /** The model with what was added; the given one stays as it is. */
  readonly tree: Node;
  private readonly tensors: Node[];
  private readonly operators: Node[];
  private readonly buffers: Node[];
  private readonly codes: Node[];
  private readonly places = new Map<OperatorName, number>();

  constructor(tree: Node) {
    this.tree = new Map(tree);
    const graph: Node = new Map(nodesOf(tree, MODEL.graphs)[0]);
    this.tensors = [...nodesOf(graph, GRAPH.tensors)];
    this.operators = [...nodesOf(graph, GRAPH.operators)];
    this.buffers = [...nodesOf(tree, MODEL.buffers)];
    this.codes = [...nodesOf(tree, MODEL.codes)];
    graph.set(GRAPH.tensors, this.tensors).set(GRAPH.operators, this.operators);
    this.tree.set(MODEL.graphs, [graph]).set(MODEL.buffers, this.buffers).set(MODEL.codes, this.codes);
  }

  /** Add a constant and return its tensor. */
  constant(name: string, values: Float32Array | Int32Array, shape: readonly number[] = [values.length]): number {
    const buffer: Node = new Map();
    buffer.set(BUFFER.data, numbers(values));
    this.buffers.push(buffer);
    const type = values instanceof Int32Array ? TYPES.int32 : TYPES.float32;
    return this.tensor(name, shape, type, this.buffers.length - 1);
  }

  /** Add a FULLY_CONNECTED of a (K, F) kernel and a (K,) bias. */
  dense(name: string, rows: number, kernel: Float32Array, bias: Float32Array): number {
    const shape = [bias.length, kernel.length / bias.length];
    const inputs = [rows, this.constant(`${name}/kernel`, kernel, shape), this.constant(`${name}/bias`, bias)];
    return this.apply("FULLY_CONNECTED", name, inputs, [1, bias.length]);
  }

  /** Add an operator with one float32 output. */
  apply(name: OperatorName, output: string, inputs: readonly number[], shape: readonly number[] = [1, 1]): number {
    const made: Node = new Map();
    const place = this.tensor(output, shape, TYPES.float32, 0);
    made.set(OPERATOR.code, integer(this.code(name)));
    made.set(OPERATOR.inputs, numbers(Int32Array.from(inputs)));
    made.set(OPERATOR.outputs, numbers(Int32Array.of(place)));
    const type = OPTIONS[name];
    if (type !== undefined) {
      const reducer = name === "SUM" || name === "REDUCE_MAX";
      made.set(OPERATOR.optionsType, integer(type, 1));
      made.set(OPERATOR.options, name === "SOFTMAX" ? BETA_ONE : reducer ? KEEP_DIMS : NOTHING);
    }
    this.operators.push(made);
    return place;
  }

  /** Make tensors the outputs, by name. */
  finish(outputs: Readonly<Record<string, number>>): void {
    const [graph] = nodesOf(this.tree, MODEL.graphs) as [Node];
    const [before] = nodesOf(this.tree, MODEL.signatures) as [Node];
    graph.set(GRAPH.outputs, numbers(Int32Array.from(Object.values(outputs))));
    const signature: Node = new Map(before);
    signature.set(
      SIGNATURE.outputs,
      Object.entries(outputs).map(([name, index]) => {
        const mapping: Node = new Map();
        return mapping.set(MAPPING.name, text(name)).set(MAPPING.tensor, integer(index));
      }),
    );
    this.tree.set(MODEL.signatures, [signature]);
  }

  private tensor(name: string, shape: readonly number[], type: number, buffer: number): number {
    const made: Node = new Map();
    made.set(TENSOR.shape, numbers(Int32Array.from(shape)));
    made.set(TENSOR.type, integer(type, 1));
    made.set(TENSOR.buffer, integer(buffer));
    made.set(TENSOR.name, text(PREFIX + name));
    this.tensors.push(made);
    return this.tensors.length - 1;
  }

  private code(name: OperatorName): number {
    let place = this.places.get(name);
    if (place === undefined) {
      const made: Node = new Map();
      made.set(CODE.byte, integer(OPERATORS[name], 1)).set(CODE.builtin, integer(OPERATORS[name]));
      made.set(CODE.version, integer(name === "DEQUANTIZE" ? 2 : 1));
      this.codes.push(made);
      place = this.codes.length - 1;
      this.places.set(name, place);
    }
    return place;
  }
}
