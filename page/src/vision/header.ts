/** Sizes in the headers of images, read before a decoder sees the bytes. */
import { PageError } from "../errors";

export const MAX_PIXELS = 200_000_000;
export const MAX_FILE_BYTES = 512 * 1024 * 1024;

/**
 * Refuse an image whose header gives no size, or more than MAX_PIXELS.
 *
 * Formats with other headers, HEIC for instance, are left to the browser.
 */
export function checkHeader(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let size: readonly [number, number] | null;
  try {
    size = headerSize(view);
  } catch (error) {
    throw error instanceof PageError ? error : new PageError("image-damaged", "its header is cut off");
  }
  if (size === null) return;
  if (size[0] < 1 || size[1] < 1) throw new PageError("image-damaged", "no size");
  if (size[0] * size[1] > MAX_PIXELS) throw new PageError("image-large", `${size[0]} x ${size[1]}`);
}

function headerSize(view: DataView): readonly [number, number] | null {
  if (view.byteLength < 12) throw new PageError("image-damaged");
  const head = view.getUint32(0);
  if (head >>> 8 === 0xffd8ff) return jpegSize(view);
  if (head === 0x89504e47) return [view.getUint32(16), view.getUint32(20)];
  if (head === 0x52494646 && view.getUint32(8) === 0x57454250) return webpSize(view);
  if (head >>> 16 === 0x424d) {
    // OS/2's first version has a header of 12 bytes, with 16 bits a side.
    if (view.getUint32(14, true) === 12) return [view.getUint16(18, true), view.getUint16(20, true)];
    return [Math.abs(view.getInt32(18, true)), Math.abs(view.getInt32(22, true))];
  }
  return null;
}

function jpegSize(view: DataView): readonly [number, number] {
  // Some decoders fill the missing part with grey, silently.
  if (!hasEndMark(view)) throw new PageError("image-damaged", "no end of image");
  let at = 2;
  for (;;) {
    while (view.getUint8(at) !== 0xff) at++;
    while (view.getUint8(at) === 0xff) at++;
    const marker = view.getUint8(at++);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 5), view.getUint16(at + 3)];
    if (marker === 0xd9) throw new PageError("image-damaged");
    const standalone = marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (!standalone) at += view.getUint16(at);
  }
}

function hasEndMark(view: DataView): boolean {
  for (let at = view.byteLength - 2; at >= 2; at--) {
    if (view.getUint16(at) === 0xffd9) return true;
  }
  return false;
}

function webpSize(view: DataView): readonly [number, number] {
  const kind = view.getUint32(12);
  const three = (at: number) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16) + 1;
  if (kind === 0x56503820) {
    return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  }
  if (kind === 0x5650384c) {
    const bits = view.getUint32(21, true);
    return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
  }
  if (kind === 0x56503858) return [three(24), three(27)];
  throw new PageError("image-damaged");
}
