/** The step of a head's int8 logits, read from the graph: lmedge/graph.py. */
import { PageError } from "../errors";

/** Numbers of BuiltinOperator and TensorType in tensorflow/lite/schema/schema.fbs. */
const DEQUANTIZE = 6;
const MUL = 18;
const SOFTMAX = 25;
const FLOAT32 = 0;
const INT8 = 9;

const MOST_ENTRIES = 65536; // of a vector
const LONGEST_NAME = 64;

interface Operator {
  readonly code: number;
  readonly inputs: readonly number[];
}

/** One table of a FlatBuffer. Offsets outside the buffer end in a RangeError of the view. */
class Table {
  private readonly fields: number;

  constructor(
    private readonly view: DataView,
    private readonly at: number,
  ) {
    this.fields = at - view.getInt32(at, true);
  }

  int(field: number): number {
    const at = this.place(field);
    return at === 0 ? 0 : this.view.getInt32(at, true);
  }

  byte(field: number): number {
    const at = this.place(field);
    return at === 0 ? 0 : this.view.getInt8(at);
  }

  table(field: number): Table | null {
    const at = this.place(field);
    return at === 0 ? null : new Table(this.view, at + this.view.getUint32(at, true));
  }

  ints(field: number): number[] {
    return this.vector(field, (at) => this.view.getInt32(at, true));
  }

  floats(field: number): number[] {
    return this.vector(field, (at) => this.view.getFloat32(at, true));
  }

  tables(field: number): Table[] {
    return this.vector(field, (at) => new Table(this.view, at + this.view.getUint32(at, true)));
  }

  /** Name of an entry, in ASCII as all names that are looked for. */
  string(field: number): string {
    return String.fromCharCode(...this.bytes(field));
  }

  /** Four bytes as a float32; null if there are more or fewer. */
  scalar(field: number): number | null {
    const start = this.start(field);
    if (start === 0 || this.view.getUint32(start, true) !== 4) return null;
    return this.view.getFloat32(start + 4, true);
  }

  /** True if a vector has entries. */
  filled(field: number): boolean {
    const start = this.start(field);
    return start !== 0 && this.view.getUint32(start, true) > 0;
  }

  private bytes(field: number): number[] {
    const start = this.start(field);
    const length = start === 0 ? 0 : this.view.getUint32(start, true);
    if (length > LONGEST_NAME) return [];
    return Array.from({ length }, (_, index) => this.view.getUint8(start + 4 + index));
  }

  private vector<Item>(field: number, read: (at: number) => Item): Item[] {
    const start = this.start(field);
    const length = start === 0 ? 0 : this.view.getUint32(start, true);
    if (length > MOST_ENTRIES) throw new RangeError("a vector is too long");
    return Array.from({ length }, (_, index) => read(start + 4 + 4 * index));
  }

  private start(field: number): number {
    const at = this.place(field);
    return at === 0 ? 0 : at + this.view.getUint32(at, true);
  }

  private place(field: number): number {
    const slot = 4 + 2 * field;
    if (slot + 2 > this.view.getUint16(this.fields, true)) return 0;
    const offset = this.view.getUint16(this.fields + slot, true);
    return offset === 0 ? 0 : this.at + offset;
  }
}

interface Tensor {
  readonly type: number;
  readonly scale: number;
  /** The value of a constant of one float32. */
  readonly scalar: number | null;
  readonly constant: boolean;
}

/**
 * Return the step of the int8 logits whose softmax an output is, after the temperature, by name.
 *
 * It is 0 for an output that is none of such logits. Throws a PageError if the graph is damaged.
 */
export function logitSteps(data: Uint8Array): Readonly<Record<string, number>> {
  try {
    return stepsOf(new DataView(data.buffer, data.byteOffset, data.byteLength));
  } catch (error) {
    if (error instanceof RangeError) throw new PageError("file-damaged", "its graph");
    throw error;
  }
}

function stepsOf(view: DataView): Record<string, number> {
  const model = new Table(view, view.getUint32(0, true));
  const [graph, signature] = [model.tables(2)[0], model.tables(7)[0]];
  if (graph === undefined || signature === undefined) return {};
  const writers = writersOf(model, graph);
  const [tensors, buffers] = [graph.tables(0), model.tables(4)];
  const tensor = (index: number) => tensorOf(tensors[index], buffers);
  return Object.fromEntries(
    signature.tables(1).map((output) => [output.string(0), step(output.int(1), writers, tensor)]),
  );
}

function writersOf(model: Table, graph: Table): Map<number, Operator> {
  const codes = model.tables(1).map((code) => Math.max(code.byte(0), code.int(3)));
  const writers = new Map<number, Operator>();
  for (const one of graph.tables(3)) {
    const operator = { code: codes[one.int(0)] ?? -1, inputs: one.ints(1) };
    for (const output of one.ints(2)) writers.set(output, operator);
  }
  return writers;
}

function tensorOf(table: Table | undefined, buffers: readonly Table[]): Tensor {
  const buffer = buffers[table?.int(2) ?? 0];
  const scales = table?.table(4)?.floats(2) ?? [];
  const type = table?.byte(1) ?? -1;
  return {
    type,
    scale: scales.length === 1 ? scales[0]! : 0,
    scalar: type === FLOAT32 ? (buffer?.scalar(0) ?? null) : null,
    constant: buffer?.filled(0) ?? false,
  };
}

/** SOFTMAX(DEQUANTIZE(logits) [MUL a constant]): the step of these logits. */
function step(
  output: number,
  writers: ReadonlyMap<number, Operator>,
  tensor: (index: number) => Tensor,
): number {
  const source = (code: number, index: number): number => {
    const one = writers.get(index);
    return one?.code === code ? (one.inputs[0] ?? -1) : -1;
  };
  let logits = source(SOFTMAX, output);
  let factor = 1;
  const scaled = writers.get(logits);
  if (scaled?.code === MUL) {
    const [scalars, others] = [true, false].map((constant) =>
      scaled.inputs.filter((index) => tensor(index).constant === constant),
    ) as [number[], number[]];
    if (scalars.length !== 1 || others.length !== 1) return 0;
    factor = tensor(scalars[0]!).scalar ?? 0;
    logits = others[0]!;
  }
  const steps = source(DEQUANTIZE, logits);
  const { type, scale } = tensor(steps);
  return steps >= 0 && type === INT8 ? Math.max(0, factor * scale) : 0;
}
