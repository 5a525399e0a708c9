/**
 * FlatBuffers as trees of plain values, read and written by a description of their tables.
 *
 * What a description does not name is refused, so that nothing is lost on the way through a tree.
 * Layout: https://flatbuffers.dev/internals/
 */
import { PageError } from "../errors";

/**
 * A field by what it holds: a scalar of so many bytes, a vector of scalars, a string, a table, a
 * vector of tables, or the table of a union that holds scalars alone. Null fields are refused.
 */
export type Field =
  | { readonly scalar: 1 | 2 | 4 | 8 }
  | { readonly vector: 1 | 4 | 8; readonly align?: number }
  | { readonly string: true }
  | { readonly table: () => Schema }
  | { readonly tables: () => Schema }
  | { readonly flat: true }
  | null;

export type Schema = readonly Field[];

/** Fields by number: bytes of a scalar, a vector or a string, tables, or a flat table. */
export type Node = Map<number, Uint8Array | Node | Node[] | Flat>;

/** A table of scalars as it stands: its vtable and its bytes behind the offset of that. */
export interface Flat {
  readonly vtable: Uint8Array;
  readonly inline: Uint8Array;
}

const MOST_TABLES = 200_000; // of a buffer, so that shared tables take no time without end
const ALIGN = 16;

/** Read the root table of a buffer. Throws a PageError if it is damaged or holds other fields. */
export function readTree(data: Uint8Array, schema: Schema): Node {
  try {
    return new Reader(data).root(schema);
  } catch (error) {
    if (error instanceof RangeError) throw damaged("offsets");
    throw error;
  }
}

class Reader {
  private readonly view: DataView;
  private tables = 0;

  constructor(private readonly data: Uint8Array) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  root(schema: Schema): Node {
    return this.table(this.view.getUint32(0, true), schema);
  }

  private table(at: number, schema: Schema): Node {
    if (++this.tables > MOST_TABLES) throw damaged("tables");
    const vtable = at - this.view.getInt32(at, true);
    const count = (this.view.getUint16(vtable, true) - 4) >> 1;
    const node: Node = new Map();
    for (let field = 0; field < count; field++) {
      const offset = this.view.getUint16(vtable + 4 + 2 * field, true);
      if (offset === 0) continue;
      const kind = schema[field];
      if (kind == null) throw damaged(`field ${field}`);
      node.set(field, this.value(at + offset, kind));
    }
    return node;
  }

  private value(at: number, kind: NonNullable<Field>): Uint8Array | Node | Node[] | Flat {
    if ("scalar" in kind) return this.bytes(at, kind.scalar);
    const start = at + this.view.getUint32(at, true);
    if ("table" in kind) return this.table(start, kind.table());
    if ("flat" in kind) return this.flat(start);
    const length = this.view.getUint32(start, true);
    if ("string" in kind) return this.bytes(start + 4, length);
    if ("vector" in kind) return this.bytes(start + 4, length * kind.vector);
    if (length > MOST_TABLES) throw damaged("vector");
    return Array.from({ length }, (_, index) => {
      const entry = start + 4 + 4 * index;
      return this.table(entry + this.view.getUint32(entry, true), kind.tables());
    });
  }

  private flat(at: number): Flat {
    const vtable = at - this.view.getInt32(at, true);
    const length = this.view.getUint16(vtable, true);
    const size = this.view.getUint16(vtable + 2, true);
    return { vtable: this.bytes(vtable, length), inline: this.bytes(at + 4, size - 4) };
  }

  private bytes(at: number, length: number): Uint8Array {
    if (length < 0 || at + length > this.data.byteLength) throw damaged("lengths");
    return this.data.subarray(at, at + length);
  }
}

/** Write a tree. Tables come before what they refer to, as offsets point forward. */
export function writeTree(root: Node, schema: Schema, identifier: string): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  const start = writer.reserve(4 + identifier.length, 4);
  writer.bytes(start + 4, new TextEncoder().encode(identifier));
  writer.pending.push([start, root, { table: () => schema }]);
  // One level after the other: no deep recursion, and the large buffers last.
  for (let next = writer.pending.shift(); next !== undefined; next = writer.pending.shift()) {
    writer.value(...next);
  }
  return writer.finish();
}

type Value = Uint8Array | Node | Node[] | Flat;

class Writer {
  /** Values that are still to be written, with the place of the offset that refers to each. */
  readonly pending: [number, Value, NonNullable<Field>][] = [];
  private data = new Uint8Array(1 << 20);
  private view = new DataView(this.data.buffer);
  private end = 0;

  /** Return the place of `size` new bytes, aligned so that the byte `at` of them is. */
  reserve(size: number, align: number, at = 0): number {
    const start = Math.ceil((this.end + at) / align) * align - at;
    this.end = start + size;
    if (this.end > this.data.byteLength) {
      const larger = new Uint8Array(Math.max(this.end, 2 * this.data.byteLength));
      larger.set(this.data);
      this.data = larger;
      this.view = new DataView(larger.buffer);
    }
    return start;
  }

  bytes(at: number, bytes: Uint8Array): void {
    this.data.set(bytes, at);
  }

  value(reference: number, value: Value, kind: NonNullable<Field>): void {
    const start = this.content(value, kind);
    this.view.setUint32(reference, start - reference, true);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.data.slice(0, Math.ceil(this.end / ALIGN) * ALIGN);
  }

  private content(value: Value, kind: NonNullable<Field>): number {
    if ("table" in kind) return this.table(value as Node, kind.table());
    if ("flat" in kind) return this.flat(value as Flat);
    if ("tables" in kind) return this.tables(value as Node[], kind.tables);
    const bytes = value as Uint8Array;
    const size = "vector" in kind ? kind.vector : 1;
    const align = "vector" in kind ? (kind.align ?? Math.max(4, size)) : 4;
    const start = this.reserve(4 + bytes.length + ("string" in kind ? 1 : 0), align, 4);
    this.view.setUint32(start, bytes.length / size, true);
    this.bytes(start + 4, bytes);
    return start;
  }

  private tables(nodes: readonly Node[], schema: () => Schema): number {
    const start = this.reserve(4 + 4 * nodes.length, 4);
    this.view.setUint32(start, nodes.length, true);
    nodes.forEach((node, index) => this.pending.push([start + 4 + 4 * index, node, { table: schema }]));
    return start;
  }

  private table(node: Node, schema: Schema): number {
    const width = (field: number) => {
      const kind = schema[field]!;
      return "scalar" in kind ? kind.scalar : 4;
    };
    const fields = [...node.keys()].sort((a, b) => width(b) - width(a) || a - b);
    const count = Math.max(-1, ...fields) + 1;
    const vtable = this.reserve(4 + 2 * count, 2);
    let size = 4;
    const places = new Map<number, number>();
    for (const field of fields) {
      const own = width(field);
      size = Math.ceil(size / own) * own;
      places.set(field, size);
      size += own;
    }
    const start = this.reserve(size, 8);
    this.view.setInt32(start, start - vtable, true);
    this.view.setUint16(vtable, 4 + 2 * count, true);
    this.view.setUint16(vtable + 2, size, true);
    for (const [field, place] of places) {
      this.view.setUint16(vtable + 4 + 2 * field, place, true);
      const [kind, value] = [schema[field]!, node.get(field)!];
      if ("scalar" in kind) this.bytes(start + place, value as Uint8Array);
      else this.pending.push([start + place, value, kind]);
    }
    return start;
  }

  private flat({ vtable, inline }: Flat): number {
    const table = this.reserve(vtable.length, 2);
    this.bytes(table, vtable);
    const start = this.reserve(4 + inline.length, 8);
    this.view.setInt32(start, start - table, true);
    this.bytes(start + 4, inline);
    return start;
  }
}

/** Return the bytes of an integer of 1, 4 or 8 bytes. */
export function integer(value: number, size: 1 | 4 | 8 = 4): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  if (size === 1) view.setInt8(0, value);
  else if (size === 4) view.setInt32(0, value, true);
  else view.setBigInt64(0, BigInt(value), true);
  return bytes;
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** Return the bytes of numbers, little-endian as in the file on every machine that runs wasm. */
export function numbers(values: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

export function textOf(node: Node, field: number): string {
  const found = node.get(field);
  return found instanceof Uint8Array ? new TextDecoder().decode(found) : "";
}

export function integerOf(node: Node, field: number, otherwise = 0): number {
  const found = node.get(field);
  if (!(found instanceof Uint8Array)) return otherwise;
  const view = new DataView(found.buffer, found.byteOffset, found.byteLength);
  if (found.length === 1) return view.getInt8(0);
  if (found.length === 4) return view.getInt32(0, true);
  throw damaged("numbers");
}

export function integersOf(node: Node, field: number): number[] {
  return Array.from(new Int32Array(aligned(node, field)));
}

export function floatsOf(node: Node, field: number): number[] {
  return Array.from(new Float32Array(aligned(node, field)));
}

export function nodesOf(node: Node, field: number): Node[] {
  const found = node.get(field);
  return Array.isArray(found) ? found : [];
}

export function nodeOf(node: Node, field: number): Node | null {
  const found = node.get(field);
  return found instanceof Map ? found : null;
}

function aligned(node: Node, field: number): ArrayBuffer {
  const found = node.get(field);
  return found instanceof Uint8Array ? found.slice().buffer : new ArrayBuffer(0);
}

function damaged(what: string): PageError {
  return new PageError("teach-graph", `the ${what} of its graph`);
}
