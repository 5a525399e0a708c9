import { PageError } from "../errors";
import { remembers } from "../teach/memory";
import { logitSteps } from "./graph";
import { sha256 } from "./sha256";
import { readArchive } from "./zip";

export const HEADS = ["landmark", "category"] as const;
export type Head = (typeof HEADS)[number];
export type OutputName = Head | "known";
export type ResizeMode = "crop" | "pad" | "squash";

export const MAX_BYTES = 256 * 1024 * 1024;
const INFO_FILE = "lmedge.json";
const INFO_SCHEMA = 1;
const KNOWN_LABELS = ["landmark", "something else"];
const HEAVIEST = 2;

/** The resistance of a stream's label against changes, as `Steadiness` in Python. */
export interface Steadiness {
  readonly seconds: number;
  readonly margin: number;
  readonly dwell: number;
}

/** The least score of an image that shows a known landmark, as `Threshold` in Python. */
export interface Threshold {
  readonly least: number;
  readonly score: "agreement" | "known";
}

/** The facts of a file's own metadata. */
export interface ModelFacts {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly lmedge: string;
  readonly format: string;
  readonly size: number;
  readonly resize: ResizeMode;
  readonly landmarks: readonly string[];
  readonly categories: readonly string[];
  /** Index of the category of each landmark. */
  readonly parents: readonly number[];
  readonly hasKnown: boolean;
  /** Step of the int8 logits of each head after its temperature; 0 if it has none. */
  readonly logitSteps: Readonly<Record<Head, number>>;
  readonly categoryWeight: number;
  readonly threshold: Threshold;
  readonly steadiness: Steadiness;
  /** Number of photographs whose features the file holds; null if it holds none. */
  readonly photographs: number | null;
  /** Outputs for the golden images, by name; null in a file without them. */
  readonly golden: Readonly<Record<string, readonly (readonly number[])[]>> | null;
}

type Values = Readonly<Record<string, unknown>>;

/** Check the bytes of a .tflite and read its metadata, as `parse_model` in Python. */
export async function readFacts(
  data: Uint8Array<ArrayBuffer>,
  name: string,
): Promise<ModelFacts> {
  if (data.byteLength > MAX_BYTES) throw new PageError("file-large");
  if (data.byteLength < 16 || new TextDecoder("latin1").decode(data.subarray(4, 8)) !== "TFL3") {
    throw new PageError("file-other", "not a TFLite file");
  }
  const info = json(await one(data, INFO_FILE));
  if (number(info.schema, "schema") > INFO_SCHEMA) {
    throw new PageError("file-newer", String(info.lmedge));
  }
  if (info.io === "int8") throw new PageError("file-int8");
  await checkBody(data, info);
  const landmarks = lines(await one(data, "landmark_labels.txt"));
  const categories = lines(await one(data, "category_labels.txt"));
  const parents = hierarchy(object(info.hierarchy, "hierarchy"), landmarks, categories);
  const hasKnown = await knownLabels(data);
  const preprocessing = object(info.preprocessing, "preprocessing");
  const resize = preprocessing.resize;
  if (resize !== "crop" && resize !== "pad" && resize !== "squash") throw damaged("resize");
  const size = number(preprocessing.size, "size");
  if (!Number.isInteger(size) || size < 16 || size > 4096) throw damaged("size");
  const steps = logitSteps(data);
  return {
    name,
    sha256: await sha256(data),
    bytes: data.byteLength,
    lmedge: String(info.lmedge),
    format: typeof info.format === "string" ? info.format : "",
    size,
    resize,
    landmarks,
    categories,
    parents,
    hasKnown,
    logitSteps: { landmark: steps["landmark"] ?? 0, category: steps["category"] ?? 0 },
    categoryWeight: weight(info.decoding),
    threshold: threshold(info.rejection, hasKnown),
    steadiness: steadiness(info.smoothing),
    photographs: photographs(info),
    golden: info.golden == null ? null : (info.golden as ModelFacts["golden"]),
  };
}

async function one(data: Uint8Array<ArrayBuffer>, name: string): Promise<Uint8Array> {
  return (await readArchive(data, [name])).get(name) as Uint8Array;
}

async function checkBody(data: Uint8Array<ArrayBuffer>, info: Values): Promise<void> {
  const length = number(info.model_bytes, "model_bytes");
  if (!Number.isInteger(length) || length < 16 || length > data.byteLength) throw damaged("length");
  if ((await sha256(data.subarray(0, length))) !== info.model_sha256) {
    throw new PageError("file-damaged", "its checksum does not match");
  }
}

async function knownLabels(data: Uint8Array<ArrayBuffer>): Promise<boolean> {
  let labels: readonly string[];
  try {
    labels = lines(await one(data, "known_labels.txt"));
  } catch (error) {
    if (error instanceof PageError && error.code === "file-other") return false;
    throw error;
  }
  if (labels.join("\n") !== KNOWN_LABELS.join("\n")) throw damaged("known_labels.txt");
  return true;
}

function hierarchy(
  above: Values,
  landmarks: readonly string[],
  categories: readonly string[],
): number[] {
  const unique = (names: readonly string[]) => new Set(names).size === names.length;
  // eslint-disable-next-line no-control-regex
  const bad = [...landmarks, ...categories].some((name) => !name.trim() || /[\0-\x1f]/.test(name));
  if (landmarks.length < 2 || !unique(landmarks) || !unique(categories) || bad) {
    throw damaged("labels");
  }
  const parents = landmarks.map((name) =>
    Object.hasOwn(above, name) ? categories.indexOf(String(above[name])) : -1,
  );
  if (parents.includes(-1) || new Set(parents).size !== categories.length) {
    throw damaged("hierarchy");
  }
  return parents;
}

function weight(stored: unknown): number {
  if (stored == null) return 1;
  const found = number(object(stored, "decoding").category_weight, "decoding");
  if (!(found >= 0 && found <= HEAVIEST)) throw damaged("decoding");
  return found;
}

function photographs(info: Values): number | null {
  if (!remembers(info)) return null;
  const counts = Object.values(object(object(info.taught, "memory").photographs, "memory"));
  return counts.reduce<number>((sum, count) => sum + number(count, "memory"), 0);
}

function threshold(stored: unknown, hasKnown: boolean): Threshold {
  if (stored == null) return { least: 0, score: "agreement" };
  const values = object(stored, "threshold");
  const least = number(values.threshold, "threshold");
  const score = values.score ?? "agreement";
  if (!(least >= 0 && least <= 1)) throw damaged("threshold");
  if (score !== "agreement" && !(score === "known" && hasKnown)) throw damaged("threshold");
  return { least, score };
}

function steadiness(stored: unknown): Steadiness {
  if (stored == null) return { seconds: 0.3, margin: 0.3, dwell: 0.5 };
  const values = object(stored, "smoothing");
  const seconds = number(values.smoothing, "smoothing");
  const margin = number(values.margin, "smoothing");
  const dwell = number(values.dwell, "smoothing");
  if (!(seconds >= 0 && dwell >= 0 && margin >= 0 && margin < 1)) throw damaged("smoothing");
  return { seconds, margin, dwell };
}

function json(bytes: Uint8Array): Values {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return object(JSON.parse(text), INFO_FILE);
  } catch (error) {
    throw error instanceof PageError ? error : damaged(INFO_FILE);
  }
}

function lines(bytes: Uint8Array): readonly string[] {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.replace(/\n$/, "").split("\n");
  } catch {
    throw damaged("labels");
  }
}

function object(value: unknown, what: string): Values {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw damaged(what);
  return value as Values;
}

function number(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw damaged(what);
  return value;
}

function damaged(what: string): PageError {
  return new PageError("file-damaged", `its ${what} cannot be used`);
}
