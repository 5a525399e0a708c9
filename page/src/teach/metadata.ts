/** Labels, hierarchy and provenance inside a .tflite, as lmedge/metadata.py writes them. */
import { sha256 } from "../model/sha256";
import { zipped } from "../model/zipper";
import { integer, nodesOf, numbers, text, writeTree, type Field, type Node, type Schema } from "./flatbuffer";
import { writeModel } from "./backbone";
import { byName } from "./features";
import type { Info } from "./memory";
import { BUFFER, METADATA, MODEL } from "./schema";

const NAME = "TFLITE_METADATA";
const IDENTIFIER = "M001";
const MIN_PARSER_VERSION = "1.3.0";
const INFO_FILE = "lmedge.json";
const CHECKSUM = "content_sha256";
const NO_CHECKSUM = "0".repeat(64);
const KNOWN_LABELS = ["landmark", "something else"];
// Enumerations of metadata_schema.fbs.
const [IMAGE_PROPERTIES, FEATURE_PROPERTIES, RGB] = [2, 1, 1];
const [AXIS_LABELS, DESCRIPTIONS] = [2, 1];
const [NORMALIZATION, THRESHOLDING] = [1, 3];

/** The content of a file beside its graph. */
export interface Card {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly size: number;
  readonly mean: number;
  readonly scale: number;
  readonly landmarks: readonly string[];
  readonly categories: readonly string[];
  readonly thresholds: Readonly<Record<string, number>>;
  readonly info: Info;
  /** Further files by name, with their descriptions. */
  readonly files: ReadonlyMap<string, { readonly content: Uint8Array; readonly description: string }>;
}

/** Return a .tflite: a graph with its metadata and files. */
export async function pack(graph: Node, card: Card): Promise<Uint8Array<ArrayBuffer>> {
  const tree = new Map(graph);
  const buffers = [...nodesOf(tree, MODEL.buffers)];
  const entry: Node = new Map();
  entry.set(METADATA.name, text(NAME)).set(METADATA.buffer, integer(buffers.length));
  buffers.push(new Map([[BUFFER.data, modelMetadata(card)]]));
  tree.set(MODEL.buffers, buffers).set(MODEL.metadata, [...nodesOf(tree, MODEL.metadata), entry]);
  const body = writeModel(tree);
  const archive = await archived(body, card);
  const whole = new Uint8Array(body.length + archive.length);
  whole.set(body);
  whole.set(archive, body.length);
  return whole;
}

async function archived(body: Uint8Array<ArrayBuffer>, card: Card): Promise<Uint8Array> {
  const info = {
    ...card.info,
    model_bytes: body.length,
    model_sha256: await sha256(body),
    [CHECKSUM]: NO_CHECKSUM,
  };
  const lines = (names: readonly string[]) => text(`${names.join("\n")}\n`);
  const files = new Map<string, Uint8Array>([
    ["landmark_labels.txt", lines(card.landmarks)],
    ["category_labels.txt", lines(card.categories)],
    ["known_labels.txt", lines(KNOWN_LABELS)],
    [INFO_FILE, text(`${JSON.stringify(sorted(info), null, 1)}\n`)],
  ]);
  for (const [name, { content }] of card.files) files.set(name, content);
  const digest = await contentDigest(files);
  const written = new TextDecoder().decode(files.get(INFO_FILE));
  files.set(INFO_FILE, text(written.replace(`"${CHECKSUM}": "${NO_CHECKSUM}"`, `"${CHECKSUM}": "${digest}"`)));
  return zipped(files, body.length);
}

/** Return the SHA-256 of an archive's files: `content_digest` of lmedge/archive.py. */
async function contentDigest(files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const parts = [...files]
    .sort(([a], [b]) => byName(a, b))
    .flatMap(([name, content]) => [text(name), text(String(content.length)), content]);
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length + 1, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length + 1;
  }
  return sha256(whole);
}

/** Return a value whose objects have their keys in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => byName(a, b))
      .map(([key, one]) => [key, sorted(one)]),
  );
}

const TEXT: Field = { string: true };
const FLAG: Field = { scalar: 1 };
const INT: Field = { scalar: 4 };
const FLOATS: Field = { vector: 4 };
const one = (schema: Schema): Field => ({ table: () => schema });
const many = (schema: Schema): Field => ({ tables: () => schema });

const associatedFile: Schema = [TEXT, TEXT, FLAG];
// Tables of a union: the largest of them describes the others too.
const properties: Schema = [FLAG, one([INT, INT])];
const options: Schema = [FLOATS, FLOATS];
const threshold: Schema = [INT];
const content: Schema = [FLAG, one(properties)];
const stats: Schema = [FLOATS, FLOATS];
const inputTensor: Schema = [TEXT, TEXT, null, one(content), many([FLAG, one(options)]), one(stats)];
const outputTensor: Schema = [
  ...[TEXT, TEXT, null, one(content), many([FLAG, one(threshold)]), one(stats)],
  many(associatedFile),
];
const subgraph: Schema = [TEXT, null, many(inputTensor), many(outputTensor)];
const root: Schema = [TEXT, TEXT, TEXT, many(subgraph), null, null, many(associatedFile), TEXT];

/** Return a table by its fields; texts and lists of floats are encoded. */
function table(fields: Readonly<Record<number, string | readonly number[] | Uint8Array | Node | Node[]>>): Node {
  const node: Node = new Map();
  for (const [field, value] of Object.entries(fields)) {
    const isFloats = Array.isArray(value) && typeof value[0] === "number";
    const encoded = isFloats ? numbers(Float32Array.from(value as readonly unknown[] as number[])) : value;
    node.set(Number(field), typeof encoded === "string" ? text(encoded) : (encoded as Uint8Array | Node | Node[]));
  }
  return node;
}

function modelMetadata(card: Card): Uint8Array {
  const file = (name: string, description: string, kind: number) =>
    table({ 0: name, 1: description, 2: integer(kind, 1) });
  const inside = table({
    0: "main",
    2: [imageTensor(card)],
    3: ["landmark", "category", "known"].map((head) => headTensor(head, card.thresholds[head], file)),
  });
  const others = [...card.files].map(([name, { description }]) => file(name, description, DESCRIPTIONS));
  const metadata = table({
    0: card.name,
    1: card.description,
    2: card.version,
    3: [inside],
    6: [file(INFO_FILE, "hierarchy, preprocessing, provenance, metrics", DESCRIPTIONS), ...others],
    7: MIN_PARSER_VERSION,
  });
  return writeTree(metadata, root, IDENTIFIER);
}

function imageTensor({ size, mean, scale }: Card): Node {
  const side = integer(size);
  const image = table({ 0: integer(RGB, 1), 1: table({ 0: side, 1: side }) });
  return table({
    0: "image",
    1: "the picture: raw RGB bytes",
    3: table({ 0: integer(IMAGE_PROPERTIES, 1), 1: image }),
    4: [table({ 0: integer(NORMALIZATION, 1), 1: table({ 0: [mean], 1: [scale] }) })],
    5: table({ 0: [255, 255, 255], 1: [0, 0, 0] }),
  });
}

function headTensor(
  head: string,
  least: number | undefined,
  file: (name: string, description: string, kind: number) => Node,
): Node {
  const what = head === "known" ? "that it shows any of the landmarks" : `of each ${head}`;
  const limit = table({ 0: numbers(Float32Array.of(least ?? 0)) });
  return table({
    0: head,
    1: `probability ${what}`,
    3: table({ 0: integer(FEATURE_PROPERTIES, 1), 1: table({}) }),
    4: [table({ 0: integer(THRESHOLDING, 1), 1: limit })],
    5: table({ 0: [1], 1: [0] }),
    6: [file(`${head}_labels.txt`, `${head} labels`, AXIS_LABELS)],
  });
}
