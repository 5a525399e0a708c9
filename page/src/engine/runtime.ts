/** LiteRT.js for the worker: its wasm, compiled, and one script of its loader and our code. */
import workerUrl from "./worker?worker&url";

import { PageError } from "../errors";
import { pathOf, threadCount, type Build } from "./builds";

export interface Runtime {
  /** Address of the worker's script, a blob. */
  readonly script: string;
  /** Address of LiteRT.js's loader, a blob: the script of the threads. */
  readonly loader: string;
  readonly module: WebAssembly.Module;
  /** The most threads of a network. */
  readonly threads: number;
}

/**
 * Load a build of LiteRT.js.
 *
 * The page loads everything and hands it over. The worker asks the network for nothing, so that it
 * starts offline in every browser. A worker made of a blob is bound to the page's
 * Content-Security-Policy, one that is loaded from its address only to what its host sends.
 */
export async function loadRuntime(build: Build): Promise<Runtime> {
  const path = `./${pathOf(build)}`;
  const [loader, worker, module] = await Promise.all([
    text(`${path}.js`),
    text(workerUrl),
    compiled(`${path}.wasm`),
  ]);
  return {
    script: script(loader, "\n", worker),
    loader: script(loader),
    module,
    threads: build === "threaded" ? threadCount() : 1,
  };
}

function script(...parts: string[]): string {
  return URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
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
