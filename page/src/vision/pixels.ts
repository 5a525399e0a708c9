/** Pixels of bitmaps, unscaled: browsers scale differently from each other. */
import { PageError } from "../errors";
import { whole, type Pixels } from "./resize";

/** Pixels that are read at once: phones limit the area of a canvas. */
const STRIP = 4_000_000;
const WHITE = 255;

let canvas: OffscreenCanvas | null = null;
let context: OffscreenCanvasRenderingContext2D | null = null;

/** Decode the bytes of an image, upright by its EXIF orientation, without colour conversion. */
export async function decode(bytes: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(bytes, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    throw new PageError("image-damaged", error instanceof Error ? error.message : "");
  }
}

/** Return the pixels of a bitmap; transparent ones lie on white. */
export function pixelsOf(bitmap: ImageBitmap): Pixels {
  const { width, height } = bitmap;
  if (width * height <= STRIP) return strip(bitmap, 0, height);
  const rows = Math.max(1, Math.floor(STRIP / width));
  const all = new Uint8Array(width * height * 3);
  for (let top = 0; top < height; top += rows) {
    const { data } = strip(bitmap, top, Math.min(rows, height - top));
    for (let from = 0, to = top * width * 3; from < data.length; from += 4, to += 3) {
      all[to] = data[from]!;
      all[to + 1] = data[from + 1]!;
      all[to + 2] = data[from + 2]!;
    }
  }
  return whole(all, width, height, 3);
}

function strip(bitmap: ImageBitmap, top: number, height: number): Pixels {
  const drawn = surface(bitmap.width, height);
  drawn.drawImage(bitmap, 0, -top);
  const { data } = drawn.getImageData(0, 0, bitmap.width, height);
  if (isTransparent(data)) layOnWhite(data, plainPixels(bitmap, top, height) ?? data);
  return whole(data, bitmap.width, height, 4);
}

function surface(width: number, height: number): OffscreenCanvasRenderingContext2D {
  if (canvas === null || context === null || canvas.width !== width || canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height);
    context = canvas.getContext("2d", { willReadFrequently: true });
    if (context === null) throw new PageError("memory", "no canvas");
  } else {
    context.clearRect(0, 0, width, height);
  }
  return context;
}

function isTransparent(data: Uint8ClampedArray): boolean {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return true;
  return false;
}

/** Write colour * alpha + white * (1 - alpha), rounded half up, into `out`. */
function layOnWhite(out: Uint8ClampedArray, plain: Uint8Array | Uint8ClampedArray): void {
  for (let at = 0; at < out.length; at += 4) {
    const alpha = plain[at + 3]!;
    for (let channel = at; channel < at + 3; channel++) {
      out[channel] = Math.floor((plain[channel]! * alpha + WHITE * (255 - alpha) + 127) / 255);
    }
  }
}

/**
 * Return RGBA bytes without alpha multiplied in; a 2D canvas multiplies and so loses them.
 *
 * null if the browser has no WebGL in workers.
 */
function plainPixels(bitmap: ImageBitmap, top: number, height: number): Uint8Array | null {
  const { width } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2", { antialias: false });
  if (gl === null || Math.max(width, bitmap.height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const texture = gl.getParameter(gl.TEXTURE_BINDING_2D) as WebGLTexture;
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const bytes = new Uint8Array(width * height * 4);
  if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE) {
    gl.readPixels(0, top, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  }
  const good = gl.getError() === gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return good ? bytes : null;
}
