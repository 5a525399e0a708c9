import { PageError } from "../errors";

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;
const MAX_ENTRIES = 1000;

/** Bytes that the files of an archive may have together, as in lmedge/model_file.py. */
export const MAX_ASSOCIATED_BYTES = 16 * 1024 * 1024;

interface Entry {
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
}

/**
 * Read files of the zip archive at the end of a .tflite.
 *
 * The archive may follow other bytes: offsets count from its own beginning or from that of the
 * file. Throws a PageError `file-damaged` unless every wanted file is there.
 */
export async function readArchive(
  data: Uint8Array<ArrayBuffer>,
  wanted: readonly string[],
): Promise<Map<string, Uint8Array>> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const entries = directory(view, data);
  const missing = wanted.filter((name) => !entries.has(name));
  if (missing.length) throw new PageError("file-other", `no ${missing.join(", ")} inside`);
  const chosen = wanted.map((name) => [name, entries.get(name) as Entry] as const);
  if (chosen.reduce((sum, [, entry]) => sum + entry.size, 0) > MAX_ASSOCIATED_BYTES) {
    throw new PageError("file-damaged", "its associated files are too large");
  }
  const files = new Map<string, Uint8Array>();
  for (const [name, entry] of chosen) files.set(name, await content(view, data, entry));
  return files;
}

function directory(view: DataView, data: Uint8Array): Map<string, Entry> {
  const end = endOfDirectory(view);
  const count = view.getUint16(end + 10, true);
  const length = view.getUint32(end + 12, true);
  const start = view.getUint32(end + 16, true);
  if (count > MAX_ENTRIES || length > end) throw damaged("directory");
  const shift = end - length - start; // bytes before the archive that its offsets do not count
  if (shift < 0) throw damaged("directory");
  const entries = new Map<string, Entry>();
  let at = end - length;
  for (let number = 0; number < count; number++) {
    if (at + 46 > end || view.getUint32(at, true) !== ENTRY) throw damaged("directory");
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(data.subarray(at + 46, at + 46 + nameLength));
    entries.set(name, {
      method: view.getUint16(at + 10, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true) + shift,
    });
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return entries;
}

function endOfDirectory(view: DataView): number {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= Math.max(0, last - LONGEST_COMMENT); at--) {
    if (view.getUint32(at, true) === END) return at;
  }
  throw new PageError("file-other", "no archive at its end");
}

async function content(
  view: DataView,
  data: Uint8Array<ArrayBuffer>,
  entry: Entry,
): Promise<Uint8Array> {
  const { offset, packed, size, method } = entry;
  if (offset + 30 > data.byteLength || view.getUint32(offset, true) !== LOCAL) {
    throw damaged("entry");
  }
  const start =
    offset + 30 + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  if (start + packed > data.byteLength) throw damaged("entry");
  const bytes = data.subarray(start, start + packed);
  if (method === STORED && packed === size) return bytes;
  if (method === DEFLATED) return inflate(bytes, size);
  throw damaged("entry");
}

async function inflate(bytes: Uint8Array<ArrayBuffer>, size: number): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  const whole = new Uint8Array(size);
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.byteLength > size) throw damaged("entry");
      whole.set(value, at);
      at += value.byteLength;
    }
  } catch {
    throw damaged("entry");
  }
  if (at !== size) throw damaged("entry");
  return whole;
}

function damaged(what: string): PageError {
  return new PageError("file-damaged", `the ${what} of its archive`);
}
