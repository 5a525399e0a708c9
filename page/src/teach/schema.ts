/** The tables of tensorflow/lite/schema/schema.fbs that the files of lmedge hold. */
import type { Field, Schema } from "./flatbuffer";

const BYTE: Field = { scalar: 1 };
const INT: Field = { scalar: 4 };
const LONG: Field = { scalar: 8 };
const TEXT: Field = { string: true };
const BYTES: Field = { vector: 1 };
const INTS: Field = { vector: 4 };
const tables = (schema: () => Schema): Field => ({ tables: schema });

/** Field numbers by name. */
export const MODEL = { codes: 1, graphs: 2, buffers: 4, metadata: 6, signatures: 7 } as const;
export const CODE = { byte: 0, version: 2, builtin: 3 } as const;
export const GRAPH = { tensors: 0, inputs: 1, outputs: 2, operators: 3 } as const;
export const TENSOR = { shape: 0, type: 1, buffer: 2, name: 3, quantization: 4 } as const;
export const QUANTIZATION = { scale: 2, zero: 3 } as const;
export const OPERATOR = { code: 0, inputs: 1, outputs: 2, optionsType: 3, options: 4 } as const;
export const SIGNATURE = { inputs: 0, outputs: 1 } as const;
export const MAPPING = { name: 0, tensor: 1 } as const;
export const METADATA = { name: 0, buffer: 1 } as const;
export const BUFFER = { data: 0 } as const;

const operatorCode: Schema = [BYTE, TEXT, INT, INT];
const quantization: Schema = [INTS, INTS, INTS, { vector: 8 }, BYTE, null, INT];
const tensor: Schema = [
  ...[INTS, BYTE, INT, TEXT, { table: () => quantization } as Field, BYTE],
  ...[null, INTS, BYTE, null, INT],
];
const operator: Schema = [
  ...[INT, INTS, INTS, BYTE, { flat: true } as Field, BYTES, BYTE],
  ...[BYTES, INTS, LONG, LONG, BYTE, null, INT],
];
const graph: Schema = [tables(() => tensor), INTS, INTS, tables(() => operator), TEXT, INT];
const buffer: Schema = [{ vector: 1, align: 16 }, LONG, LONG];
const metadata: Schema = [TEXT, INT];
const mapping: Schema = [TEXT, INT];
const signature: Schema = [tables(() => mapping), tables(() => mapping), TEXT, null, INT];

export const model: Schema = [
  ...[INT, tables(() => operatorCode), tables(() => graph), TEXT, tables(() => buffer)],
  ...[INTS, tables(() => metadata), tables(() => signature), null, null],
];

/** Options of operators that hold more than scalars: ReshapeOptions and SqueezeOptions. */
export const NOT_FLAT: readonly number[] = [17, 30];

export const TYPES = { float32: 0, int32: 2, uint8: 3, int16: 7, int8: 9 } as const;
/** Numbers of BuiltinOperator. */
export const OPERATORS = {
  ADD: 0,
  DEQUANTIZE: 6,
  FULLY_CONNECTED: 9,
  LOGISTIC: 14,
  MUL: 18,
  RELU: 19,
  SOFTMAX: 25,
  SUB: 41,
  SUM: 74,
  RSQRT: 76,
  REDUCE_MAX: 82,
  SQUARE: 92,
} as const;
export type OperatorName = keyof typeof OPERATORS;
/** Numbers of BuiltinOptions for the operators that have any. */
export const OPTIONS: Partial<Record<OperatorName, number>> = {
  ADD: 11,
  DEQUANTIZE: 38,
  FULLY_CONNECTED: 8,
  MUL: 21,
  SOFTMAX: 9,
  SUB: 28,
  SUM: 27,
  REDUCE_MAX: 27,
  SQUARE: 66,
};
