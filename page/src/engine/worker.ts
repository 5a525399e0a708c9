/** The worker that runs the network, so that the page never waits for it. */
import { loadAndCompile, loadLiteRt, Tensor, type CompiledModel } from "@litertjs/core";

import { asPageError, PageError } from "../errors";
import { choose, read, type Outputs } from "../labels/decoding";
import { OutputReader } from "../labels/outputs";
import { Smoother } from "../labels/smoothing";
import { HEADS, readFacts, type ModelFacts } from "../model/file";
import { compare, COUNT, goldenImage } from "../model/golden";
import { checkHeader, MAX_FILE_BYTES } from "../vision/header";
import { decode, pixelsOf } from "../vision/pixels";
import { teach, type Run } from "../teach/lesson";
import { prepare } from "../vision/resize";
import type {
  Classified,
  ClassifyRequest,
  Loaded,
  LoadRequest,
  Looked,
  LookRequest,
  Reply,
  Request,
  Result,
  StartRequest,
} from "./messages";

declare const self: DedicatedWorkerGlobalScope;

const GOLDEN_ROUNDS = 2; // some devices compute the first inference alone right
const SPEED_ROUNDS = 4; // the first of which is not counted
const FASTER = 0.9; // threads that gain less only warm the phone
const INPUT = "image";
const JPEG_QUALITY = 0.92;

class Network {
  private readonly smoother: Smoother;
  private readonly reader: OutputReader;

  constructor(
    readonly facts: ModelFacts,
    private readonly compiled: CompiledModel,
  ) {
    this.smoother = new Smoother(facts);
    this.reader = new OutputReader(facts);
  }

  async run(image: Uint8Array<ArrayBuffer>): Promise<Outputs> {
    const { size } = this.facts;
    return this.reader.read(await runGraph(this.compiled, image, size));
  }

  async classify(request: ClassifyRequest): Promise<Classified> {
    const bitmap = await bitmapOf(request.source);
    try {
      const start = performance.now();
      const input = prepare(pixelsOf(bitmap), this.facts.size, this.facts.resize);
      const outputs = await this.run(input);
      const reading = read(this.facts, outputs);
      const { seconds } = request;
      const prediction =
        seconds === null ? choose(this.facts, reading) : this.smoother.update(reading, seconds);
      const milliseconds = performance.now() - start;
      if (!request.detail) return { prediction, milliseconds };
      const { known, ...heads } = outputs;
      const all = known === null ? heads : { ...heads, known };
      return { prediction, milliseconds, detail: { input, outputs: all } };
    } finally {
      bitmap.close();
    }
  }

  /** Prepare an image for a lesson. */
  async look(request: LookRequest): Promise<Looked> {
    const bitmap = await bitmapOf(request.source);
    try {
      const input = prepare(pixelsOf(bitmap), this.facts.size, this.facts.resize);
      return { input, jpeg: request.source instanceof Blob ? request.source : await jpegOf(bitmap) };
    } finally {
      bitmap.close();
    }
  }

  reset(): void {
    this.smoother.reset();
  }

  delete(): void {
    this.compiled.delete();
  }
}

/** Run a graph on an image and return its outputs by name. */
async function runGraph(
  compiled: CompiledModel,
  image: Uint8Array<ArrayBuffer>,
  size: number,
): Promise<Record<string, Float32Array>> {
  const tensor = new Tensor(image, [1, size, size, 3]);
  const outputs: Record<string, Float32Array> = {};
  try {
    const found = await compiled.run({ [INPUT]: tensor });
    for (const [name, output] of Object.entries(found)) {
      outputs[name] = new Float32Array(output.toTypedArray() as Float32Array);
      output.delete();
    }
  } catch (error) {
    broken = true;
    throw asPageError(error, "file-crashed");
  } finally {
    if (!broken) tensor.delete();
  }
  return outputs;
}

/** Load a graph of a lesson, use it, and drop it. */
async function withGraph<Found>(
  graph: Uint8Array<ArrayBuffer>,
  use: (run: Run) => Promise<Found>,
): Promise<Found> {
  const compiled = await compileGraph(graph, 1);
  try {
    return await use((image) => runGraph(compiled, image, Math.sqrt(image.length / 3)));
  } finally {
    if (!broken) compiled.delete();
  }
}

async function jpegOf(bitmap: ImageBitmap): Promise<Blob> {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

let network: Network | null = null;
/** True after LiteRT.js threw: nothing of its wasm may be used after a trap or an abort. */
let broken = false;
/** The most threads that LiteRT.js was started with. */
let most = 1;

async function bitmapOf(source: ImageBitmap | Blob): Promise<ImageBitmap> {
  if (source instanceof ImageBitmap) return source;
  if (source.size > MAX_FILE_BYTES) throw new PageError("image-large");
  checkHeader(new Uint8Array(await source.arrayBuffer()));
  return decode(source);
}

/** Start LiteRT.js with wasm that is compiled already; its loader stands in front of this script. */
async function startEngine({ module, loader, threads }: StartRequest): Promise<null> {
  const scope = self as unknown as Record<string, unknown>;
  // LiteRT.js names this class of WebGPU also if there is none, and otherwise opens a GPU that
  // this page does not use: the wasm kernels alone give the bits that the file was verified with.
  scope["GPUBuffer"] ??= class {};
  Object.defineProperty(self.navigator, "gpu", { value: undefined, configurable: true });
  // LiteRT.js starts as many workers as there are cores.
  Object.defineProperty(self.navigator, "hardwareConcurrency", { value: threads, configurable: true });
  scope["importScripts"] = () => undefined; // by which it would load its loader
  const refused = new Promise<never>((_, reject) => {
    type Done = (instance: WebAssembly.Instance, module: WebAssembly.Module) => void;
    const instantiateWasm = (imports: WebAssembly.Imports, done: Done) => {
      WebAssembly.instantiate(module, imports).then((one) => done(one, module), reject);
      return {};
    };
    scope["Module"] = { instantiateWasm, mainScriptUrlOrBlob: loader };
  });
  try {
    await Promise.race([loadLiteRt("./", { threads: threads > 1 }), refused]);
  } catch (error) {
    broken = true;
    throw asPageError(error, "engine-refused");
  }
  most = threads;
  return null;
}

async function load(request: LoadRequest): Promise<Loaded> {
  const start = performance.now();
  const data = new Uint8Array(request.data);
  const facts = await readFacts(data, request.name);
  const { loaded, ...speed } = await fastest(data, facts, request.threads);
  try {
    const found: Outputs[] = [];
    for (let number = 0; number < COUNT * GOLDEN_ROUNDS; number++) {
      found.push(await loaded.run(goldenImage(number % COUNT, facts.size)));
    }
    const verification = compare(facts, found);
    network?.delete();
    network = loaded;
    return { facts, verification, milliseconds: performance.now() - start, ...speed };
  } catch (error) {
    if (!broken) loaded.delete();
    throw error;
  }
}

interface Fastest {
  readonly loaded: Network;
  readonly threads: number;
  readonly ratio: number | null;
}

/** Return the network with the given number of threads; null measures which is faster. */
async function fastest(data: Uint8Array, facts: ModelFacts, wanted: number | null): Promise<Fastest> {
  if (most === 1 || wanted !== null) {
    const threads = Math.min(most, wanted ?? 1);
    return { loaded: await compile(data, facts, threads), threads, ratio: null };
  }
  const several = await compile(data, facts, most);
  const one = await compile(data, facts, 1);
  const taken: [number[], number[]] = [[], []];
  for (let round = 0; round < SPEED_ROUNDS; round++) {
    for (const [at, way] of [several, one].entries()) {
      const start = performance.now();
      await way.run(goldenImage(0, facts.size));
      taken[at]!.push(performance.now() - start);
    }
  }
  const ratio = Math.min(...taken[0].slice(1)) / Math.min(...taken[1].slice(1));
  const [loaded, other, threads] = ratio < FASTER ? [several, one, most] : [one, several, 1];
  other.delete();
  return { loaded, threads, ratio };
}

async function compileGraph(data: Uint8Array, threads: number): Promise<CompiledModel> {
  try {
    return await loadAndCompile(data, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
  } catch (error) {
    broken = true;
    throw asPageError(error, "file-damaged");
  }
}

async function compile(data: Uint8Array, facts: ModelFacts, threads: number): Promise<Network> {
  const compiled = await compileGraph(data, threads);
  try {
    checkGraph(compiled, facts);
  } catch (error) {
    compiled.delete();
    throw error;
  }
  return new Network(facts, compiled);
}

/** Refuse a graph that does not have the inputs and outputs that its metadata describes. */
function checkGraph(compiled: CompiledModel, facts: ModelFacts): void {
  const inputs = compiled.getInputDetails();
  const shape = Array.from(inputs[0]?.shape ?? []).join();
  const { size } = facts;
  const fits = inputs.length === 1 && inputs[0]?.name === INPUT && inputs[0].dtype === "uint8";
  if (!fits || shape !== `1,${size},${size},3`) throw new PageError("file-damaged", "its input");
  const lengths: Record<string, number> = {
    landmark: facts.landmarks.length,
    category: facts.categories.length,
    ...(facts.hasKnown ? { known: 2 } : {}),
  };
  const outputs = compiled.getOutputDetails();
  const good =
    outputs.length === Object.keys(lengths).length &&
    HEADS.every((head) => outputs.some((one) => one.name === head)) &&
    outputs.every(
      (one) =>
        one.dtype === "float32" && Array.from(one.shape).join() === `1,${lengths[one.name] ?? -1}`,
    );
  if (!good) throw new PageError("file-damaged", "its outputs");
}

async function answer(request: Request): Promise<Result> {
  if (request.kind === "start") return startEngine(request);
  if (request.kind === "load") return load(request);
  if (request.kind === "teach") return teach(request, withGraph);
  if (network === null) throw new PageError("unexpected", "no file is loaded");
  if (request.kind === "classify") return network.classify(request);
  if (request.kind === "look") return network.look(request);
  network.reset();
  return null;
}

let queue: Promise<void> = Promise.resolve();

self.onmessage = (event: MessageEvent<Request>) => {
  const request = event.data;
  queue = queue.then(async () => {
    let reply: Reply;
    try {
      reply = { id: request.id, result: await answer(request) };
    } catch (error) {
      const code = request.kind === "load" ? "file-damaged" : "unexpected";
      const problem = asPageError(error, code);
      const fatal = broken || problem.code === "memory";
      reply = { id: request.id, code: problem.code, detail: problem.detail, fatal };
    }
    self.postMessage(reply);
  });
};
