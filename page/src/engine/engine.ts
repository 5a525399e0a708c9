/** The worker as the page sees it: promises, a time limit, a new worker after a crash. */
import { asPageError, PageError, type Code } from "../errors";
import { runnable, type Build } from "./builds";
import type { Lesson, Taught } from "../teach/lesson";
import type {
  Classified,
  Loaded,
  LoadRequest,
  Looked,
  Reply,
  Request,
  Result,
  StartRequest,
} from "./messages";
import { loadRuntime, type Runtime } from "./runtime";
import { readVerdict, writeVerdict } from "./verdict";

const START_SECONDS = 20;
const LOAD_SECONDS = 20;
const CLASSIFY_SECONDS = 10;
const TEACH_SECONDS = 600;

interface Waiting {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: PageError) => void;
  readonly timer: number;
}

type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;

/** Run one file on images, one after the other. */
export class Engine {
  private builds: Build[];
  private runtime: Runtime | null = null;
  private worker: Worker | null = null;
  private starting: Promise<Worker> | null = null;
  private reviving: Promise<unknown> | null = null;
  private waiting = new Map<number, Waiting>();
  private number = 0;
  private file: { data: ArrayBuffer; name: string } | null = null;

  /** threads: Use them if this page may. */
  constructor(private readonly threads = true) {
    this.builds = this.usable();
  }

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

  /** Prepare a frame or the bytes of an image for a lesson. Throws a PageError. */
  async look(source: ImageBitmap | Blob): Promise<Looked> {
    const moved = source instanceof ImageBitmap ? [source] : [];
    await this.revive();
    return (await this.ask({ kind: "look", source }, CLASSIFY_SECONDS, "image-slow", moved)) as Looked;
  }

  /** Teach a file one burst, in a worker that ends with the lesson. Throws a PageError. */
  static async teach(lesson: Lesson): Promise<Taught> {
    const engine = new Engine(false);
    try {
      return (await engine.ask({ kind: "teach", ...lesson }, TEACH_SECONDS, "teach-slow")) as Taught;
    } finally {
      engine.end(new PageError("unexpected", "the lesson is over"));
    }
  }

  /** Forget the stream that was smoothed. */
  async reset(): Promise<void> {
    if (this.worker !== null && this.file !== null) {
      await this.ask({ kind: "reset" }, CLASSIFY_SECONDS, "image-slow");
    }
  }

  private async start(data: ArrayBuffer, name: string): Promise<Loaded> {
    await this.started();
    const several = this.runtime !== null && this.runtime.threads > 1;
    const threads = several ? readVerdict(data.byteLength) : 1;
    const request: Unnumbered<LoadRequest> = { kind: "load", data, name, threads };
    let loaded: Loaded;
    try {
      loaded = (await this.ask(request, LOAD_SECONDS, "file-slow")) as Loaded;
    } catch (error) {
      // The threads' shared memory may be the one that a phone does not give.
      if (!several || !(error instanceof PageError && error.code === "memory")) throw error;
      this.end(error);
      this.drop("threaded");
      return this.start(data, name);
    }
    if (loaded.ratio !== null) writeVerdict(data.byteLength, loaded.threads);
    return loaded;
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
  ): Promise<Result> {
    return this.send(await this.started(), request, seconds, late, moved);
  }

  private send(
    worker: Worker,
    request: Unnumbered<Request>,
    seconds: number,
    late: Code,
    moved: Transferable[],
  ): Promise<Result> {
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.end(new PageError(late));
      }, 1000 * seconds);
      this.waiting.set(id, { resolve, reject, timer });
      worker.postMessage({ ...request, id }, moved);
    });
  }

  private async started(): Promise<Worker> {
    if (this.worker !== null && this.starting === null) return this.worker;
    this.starting ??= this.startAny();
    try {
      return await this.starting;
    } finally {
      this.starting = null;
    }
  }

  /** Start a worker with the first build of LiteRT.js that runs here. Throws a PageError. */
  private async startAny(): Promise<Worker> {
    for (;;) {
      const build = this.builds[0];
      if (build === undefined) throw new PageError("engine-refused");
      try {
        this.runtime ??= await loadRuntime(build);
        return await this.startWorker(this.runtime);
      } catch (error) {
        const problem = asPageError(error, "engine-refused");
        this.end(problem);
        this.drop(build);
        if (this.builds.length === 0) {
          this.builds = this.usable();
          throw problem;
        }
        console.warn(`${build}: ${problem.message}`);
      }
    }
  }

  private async startWorker({ script, loader, module, threads }: Runtime): Promise<Worker> {
    const worker = new Worker(script);
    worker.onmessage = (event: MessageEvent<Reply>) => this.receive(event.data);
    worker.onerror = (event) => this.end(new PageError("file-crashed", event.message));
    this.worker = worker;
    const request: Unnumbered<StartRequest> = { kind: "start", module, loader, threads };
    await this.send(worker, request, START_SECONDS, "engine-refused", []);
    return worker;
  }

  /** Use this build no more. */
  private drop(build: Build): void {
    this.runtime = null;
    this.builds = this.builds.filter((one) => one !== build);
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

  /** Return the builds that this page may run; threads need a page that the browser isolates. */
  private usable(): Build[] {
    const threads = this.threads && window.crossOriginIsolated;
    return runnable().filter((build) => build !== "threaded" || threads);
  }
}
