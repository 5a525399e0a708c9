/** Zip archives of stored files, without dates: the same content gives the same bytes. */
const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const END_BYTES = 22;
const VERSION = 20;
const FIRST_DAY = 0x21; // 1980-01-01, the earliest a zip can hold
const UTF8 = 0x800; // flag of names that are no ASCII

/**
 * Return an archive of files, by name, in their order.
 *
 * `before` is the number of bytes in front of the archive in its file, which its offsets count.
 */
export function zipped(files: ReadonlyMap<string, Uint8Array>, before = 0): Uint8Array<ArrayBuffer> {
  const entries = [...files].map(([name, content]) => {
    const encoded = new TextEncoder().encode(name);
    return { name: encoded, content, crc: crc32(content), flags: encoded.length > name.length ? UTF8 : 0 };
  });
  const size = entries.reduce(
    (sum, { name, content }) => sum + LOCAL_BYTES + ENTRY_BYTES + 2 * name.length + content.length,
    END_BYTES,
  );
  const data = new Uint8Array(size);
  const view = new DataView(data.buffer);
  let at = 0;
  const places = entries.map(({ name, content, crc, flags }) => {
    const place = at;
    view.setUint32(at, 0x04034b50, true);
    view.setUint16(at + 4, VERSION, true);
    describe(view, at + 6, flags, crc, content.length, name.length);
    data.set(name, at + LOCAL_BYTES);
    data.set(content, at + LOCAL_BYTES + name.length);
    at += LOCAL_BYTES + name.length + content.length;
    return place;
  });
  const directory = at;
  entries.forEach(({ name, content, crc, flags }, index) => {
    view.setUint32(at, 0x02014b50, true);
    view.setUint16(at + 4, VERSION, true);
    view.setUint16(at + 6, VERSION, true);
    describe(view, at + 8, flags, crc, content.length, name.length);
    view.setUint32(at + 42, places[index]! + before, true);
    data.set(name, at + ENTRY_BYTES);
    at += ENTRY_BYTES + name.length;
  });
  view.setUint32(at, 0x06054b50, true);
  view.setUint16(at + 8, entries.length, true);
  view.setUint16(at + 10, entries.length, true);
  view.setUint32(at + 12, at - directory, true);
  view.setUint32(at + 16, directory + before, true);
  return data;
}

/** Write what the header of a file and its entry in the directory have in common. */
function describe(view: DataView, at: number, flags: number, crc: number, size: number, name: number): void {
  view.setUint16(at, flags, true);
  view.setUint16(at + 6, FIRST_DAY, true);
  view.setUint32(at + 8, crc, true);
  view.setUint32(at + 12, size, true);
  view.setUint32(at + 16, size, true);
  view.setUint16(at + 20, name, true);
}

/** CRC-32 of ISO 3309, as in APPNOTE.TXT 4.4.7. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (let at = 0; at < data.length; at++) value = TABLE[(value ^ data[at]!) & 0xff]! ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
