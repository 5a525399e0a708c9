/** The worker as the page sees it: promises, a time limit, a new worker after a crash. */
import { PageError, type Code } from "../errors";
import type { Classified, Loaded, LoadRequest, Reply, Request } from "./messages";
import { loadRuntime, type Runtime } from "./runtime";

const LOAD_SECONDS = 20;
const CLASSIFY_SECONDS = 10;

interface Waiting {
  readonly resolve: (result: Loaded | Classified | null) => void;
  readonly reject: (error: PageError) => void;
  readonly timer: number;
}

type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;

/** Run one file on images, one after the other. */
export class Engine {
  private worker: Worker | null = null;
  private runtime: Promise<Runtime> | null = null;
  private reviving: Promise<unknown> | null = null;
  private waiting = new Map<number, Waiting>();
  private number = 0;
  private file: { data: ArrayBuffer; name: string } | null = null;

  /** `folder`: address of the folder with LiteRT.js's wasm, ending in a slash. */
  constructor(private readonly folder: string) {}

  /** Load a file in place of the one before, which stays if this one is refused. */
  async load(data: ArrayBuffer, name: string): Promise<Loaded> {
    const before = this.file;
    try {
      const loaded = await this.start(data, name);
      this.file = { data, name };
      return loaded;
    } catch (error) {
      this.file = before;
      throw error;
    }
  }

  /** Classify a frame or the bytes of an image. Throws a PageError. */
  async classify(
    source: ImageBitmap | Blob,
    seconds: number | null = null,
    detail = false,
  ): Promise<Classified> {
    const request = { kind: "classify" as const, source, seconds, detail };
    const moved = source instanceof ImageBitmap ? [source] : [];
    await this.revive();
    return (await this.ask(request, CLASSIFY_SECONDS, "image-slow", moved)) as Classified;
  }

  /** Forget the stream that was smoothed. */
  async reset(): Promise<void> {
    if (this.worker !== null && this.file !== null) {
      await this.ask({ kind: "reset" }, CLASSIFY_SECONDS, "image-slow");
    }
  }

  private async start(data: ArrayBuffer, name: string): Promise<Loaded> {
    const { module } = await this.loaded();
    const request: Unnumbered<LoadRequest> = { kind: "load", data, name, module };
    return (await this.ask(request, LOAD_SECONDS, "file-slow")) as Loaded;
  }

  /** Load the file again if its worker was ended. */
  private async revive(): Promise<void> {
    if (this.worker === null && this.file !== null) {
      this.reviving ??= this.start(this.file.data, this.file.name);
    }
    try {
      await this.reviving;
    } finally {
      this.reviving = null;
    }
  }

  private async ask(
    request: Unnumbered<Request>,
    seconds: number,
    late: Code,
    moved: Transferable[] = [],
  ): Promise<Loaded | Classified | null> {
    const worker = await this.started();
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.end(new PageError(late));
      }, 1000 * seconds);
      this.waiting.set(id, { resolve, reject, timer });
      worker.postMessage({ ...request, id }, moved);
    });
  }

  private async loaded(): Promise<Runtime> {
    this.runtime ??= loadRuntime(this.folder);
    try {
      return await this.runtime;
    } catch (error) {
      this.runtime = null;
      throw error;
    }
  }

  private async started(): Promise<Worker> {
    const { script } = await this.loaded();
    if (this.worker !== null) return this.worker;
    const worker = new Worker(script);
    worker.onmessage = (event: MessageEvent<Reply>) => this.receive(event.data);
    worker.onerror = (event) => this.end(new PageError("file-crashed", event.message));
    this.worker = worker;
    return worker;
  }

  private receive(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (waiting === undefined) return;
    this.waiting.delete(reply.id);
    clearTimeout(waiting.timer);
    if ("result" in reply) return waiting.resolve(reply.result);
    const error = new PageError(reply.code, reply.detail);
    waiting.reject(error);
    if (reply.fatal) this.end(error);
  }

  /** End the worker; everything that waits for it fails. */
  private end(error: PageError): void {
    this.worker?.terminate();
    this.worker = null;
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.waiting.clear();
  }
}
