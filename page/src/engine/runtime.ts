/** LiteRT.js for the worker: its wasm, compiled, and one script of its loader and our code. */
import workerUrl from "./worker?worker&url";

import { PageError } from "../errors";

/** A module with i8x16.relaxed_swizzle, which no browser without relaxed SIMD validates. */
const RELAXED = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0],
  ...[65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
];

export interface Runtime {
  /** Address of the worker's script, a blob. */
  readonly script: string;
  readonly module: WebAssembly.Module;
}

/**
 * Load the runtime from the folder with LiteRT.js's files.
 *
 * The page loads everything and hands it over. The worker asks the network for nothing, so that it
 * starts offline in every browser. A worker made of a blob is bound to the page's
 * Content-Security-Policy, one that is loaded from its address only to what its host sends.
 */
export async function loadRuntime(folder: string): Promise<Runtime> {
  if (typeof WebAssembly === "undefined") throw new PageError("engine-refused");
  const relaxed = WebAssembly.validate(new Uint8Array(RELAXED));
  const name = `${folder}litert_wasm_${relaxed ? "" : "compat_"}internal`;
  const [loader, worker, module] = await Promise.all([
    text(`${name}.js`),
    text(workerUrl),
    compiled(`${name}.wasm`),
  ]);
  const blob = new Blob([loader, "\n", worker], { type: "text/javascript" });
  return { script: URL.createObjectURL(blob), module };
}

async function text(address: string): Promise<string> {
  return (await found(address)).text();
}

async function compiled(address: string): Promise<WebAssembly.Module> {
  const response = await found(address);
  try {
    // Browsers keep the compiled code of a stream. It must have wasm's own type.
    const type = response.headers.get("Content-Type") ?? "";
    if (type.startsWith("application/wasm")) return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    if (error instanceof RangeError) throw new PageError("memory", error.message);
    const refused = error instanceof WebAssembly.CompileError;
    throw new PageError(refused ? "engine-refused" : "engine-missing", String(error));
  }
}

async function found(address: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new PageError("engine-missing", String(error));
  }
  if (!response.ok) throw new PageError("engine-missing", `${address}: ${response.status}`);
  return response;
}
