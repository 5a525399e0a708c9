/** The photographs' features inside a file, so that later lessons are exact: lmedge/teach/memory.py. */
import { PageError } from "../errors";
import { readArchive } from "../model/zip";
import { byName, coarsened, coarseNumbers, coarsePlaces, type Bursts, type FeatureSet, type Stored } from "./features";

export const TAUGHT = "taught"; // the entry of lmedge.json
export const FEATURES_FILE = "taught_features.bin";
export const DESCRIPTION = "features of the photographs that the file has learned";
const MOST_BYTES = 8 * 1024 * 1024;

export type Info = Readonly<Record<string, unknown>>;

/** Return what lmedge.json of a file holds. */
export async function readInfo(data: Uint8Array<ArrayBuffer>): Promise<Info> {
  const files = await readArchive(data, ["lmedge.json"]);
  return JSON.parse(new TextDecoder().decode(files.get("lmedge.json"))) as Info;
}

/** Return true if a file holds features of its photographs. */
export function remembers(info: Info): boolean {
  const entry = info[TAUGHT] as { features?: unknown } | null | undefined;
  return entry?.features === FEATURES_FILE;
}

/** Return the set that a file remembers. Throws a PageError. */
export async function recall(data: Uint8Array<ArrayBuffer>, info: Info): Promise<FeatureSet> {
  if (!remembers(info)) throw new PageError("teach-nothing");
  const files = await readArchive(data, [FEATURES_FILE]);
  const content = files.get(FEATURES_FILE)!;
  try {
    return parsed(content, info);
  } catch (error) {
    throw error instanceof PageError ? error : new PageError("teach-memory", String(error));
  }
}

function parsed(content: Uint8Array, info: Info): FeatureSet {
  const entry = info[TAUGHT] as Record<string, unknown>;
  const above = info["hierarchy"] as Readonly<Record<string, string>>;
  const hierarchy = new Map(Object.entries(above).sort(([a], [b]) => byName(a, b)));
  const [width, zero] = [whole(entry["width"], 1), whole(entry["zero"], -128)];
  const photographs = entry["photographs"] as Readonly<Record<string, unknown>>;
  const bits = entry["bits"] ?? 8;
  if (bits !== 4 && bits !== 8) throw new PageError("teach-memory", "bits");
  const bytes = bits === 8 ? new Int8Array(content.slice().buffer) : unpacked(content, zero);
  let at = 0;
  const next = (count: number): Stored => {
    const data = bytes.slice(at, at + count * width);
    at += count * width;
    if (at > bytes.length) throw new PageError("teach-memory", "rows are missing");
    return { data, count };
  };
  const landmarks = new Map([...hierarchy.keys()].map((name) => [name, next(whole(photographs[name], 1))]));
  const unknown = next(whole(entry["unknown"], 0));
  if (at !== bytes.length && !(bits === 4 && at === bytes.length - 1)) throw new PageError("teach-memory", "rows are left over");
  const stored = (entry["bursts"] ?? {}) as Readonly<Record<string, unknown>>;
  const bursts = new Map(
    [...hierarchy.keys()]
      .filter((name) => Object.hasOwn(stored, name))
      .map((name) => [name, burstsOf(stored[name], landmarks.get(name)!.count)] as const),
  );
  return { hierarchy, landmarks, unknown, width, zero, bursts, bits };
}

function burstsOf(found: unknown, count: number): Bursts {
  const bursts = (found as unknown[][]).map((one) => one.map((place) => whole(place, 0)));
  const places = bursts.flat();
  const fits = new Set(places).size === places.length && places.every((place) => place < count);
  if (!fits || bursts.some((one) => one.length < 2)) throw new PageError("teach-memory", "bursts");
  return bursts;
}

function whole(value: unknown, least: number): number {
  if (!Number.isInteger(value) || (value as number) < least) throw new PageError("teach-memory", "numbers");
  return value as number;
}

/** Return numbers of 4 bits, two a byte, the first one in the lower half. */
function unpacked(content: Uint8Array, zero: number): Int8Array {
  const numbers = coarseNumbers(zero);
  const found = new Int8Array(2 * content.length);
  content.forEach((byte, at) => {
    found[2 * at] = numbers[byte & 15]!;
    found[2 * at + 1] = numbers[byte >> 4]!;
  });
  return found;
}

function packed(rows: Int8Array, zero: number): Uint8Array {
  const places = coarsePlaces(rows, zero);
  return Uint8Array.from({ length: Math.ceil(rows.length / 2) }, (_, at) => {
    return places[2 * at]! | ((places[2 * at + 1] ?? 0) << 4);
  });
}

function size({ bits, landmarks, unknown }: FeatureSet): number {
  const parts = [...landmarks.values(), unknown];
  return Math.ceil((parts.reduce((sum, { data }) => sum + data.length, 0) * bits) / 8);
}

/** Return a set as a file keeps it: coarse if it would be too large. Throws a PageError. */
export function storable(found: FeatureSet): FeatureSet {
  const kept = size(found) > MOST_BYTES ? coarsened(found) : found;
  if (size(kept) > MOST_BYTES) throw new PageError("teach-full");
  return kept;
}

/** Return the entry of lmedge.json for a set that can be stored, and its rows. */
export function remembered(found: FeatureSet): readonly [Info, Uint8Array] {
  const parts = [...[...found.hierarchy.keys()].map((name) => found.landmarks.get(name)!), found.unknown];
  const rows = new Int8Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let at = 0;
  for (const { data } of parts) {
    rows.set(data, at);
    at += data.length;
  }
  const names = [...found.hierarchy.keys()];
  const entry = {
    features: FEATURES_FILE,
    width: found.width,
    zero: found.zero,
    photographs: Object.fromEntries(names.map((name) => [name, found.landmarks.get(name)!.count])),
    unknown: found.unknown.count,
    ...(found.bits === 8 ? {} : { bits: found.bits }),
    ...(found.bursts.size > 0 ? { bursts: Object.fromEntries(found.bursts) } : {}),
  };
  return [entry, found.bits === 8 ? new Uint8Array(rows.buffer) : packed(rows, found.zero)];
}
