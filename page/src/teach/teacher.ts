/** The lessons of this page: taught, kept, taken back, saved, exported. */
import { csvCell } from "../csv";
import { Engine } from "../engine/engine";
import type { Loaded, Looked } from "../engine/messages";
import { PageError } from "../errors";
import { sha256 } from "../model/sha256";
import { zipped } from "../model/zipper";
import type { Problem } from "./gate";
import type { Taught } from "./lesson";
import { Store, type KeptLesson, type KeptPhotograph } from "./store";

/** The file in use, as the page loads and replaces it. */
export interface FileInUse {
  readonly data: ArrayBuffer;
  readonly loaded: Loaded;
}

export interface Place {
  /** SHA-256 of the page's own file; null before it is known. */
  readonly ownSha256: string | null;
  current(): FileInUse | null;
  /** Load a file in place of the current one, which stays if this one is refused. */
  use(data: ArrayBuffer, name: string): Promise<void>;
  /** Load the page's own file. */
  useOwn(): Promise<void>;
}

export interface KeptFile {
  readonly data: ArrayBuffer;
  readonly name: string;
}

/** A lesson that the gate refuses. */
export class Refused extends Error {
  constructor(readonly problems: readonly Problem[]) {
    super(problems.map((one) => one.kind).join());
  }
}

const ORIGIN = [
  ...["path", "sha256", "category", "landmark", "labelled", "predicted", "probability", "known"],
  ...["reasons", "burst", "camera", "time", "model", "collected"],
];

export class Teacher {
  /** The lessons that are kept, the first one first. */
  lessons: readonly KeptLesson[] = [];
  photographs = 0;
  /** How many lessons the browser has lost since the page was opened before. */
  lost = 0;
  private latest = 0;
  private readonly store = new Store(new URL("./", location.href).href);

  /** `changed` is called after each lesson, and when one is taken back. */
  constructor(
    private readonly place: Place,
    private readonly changed: () => void,
  ) {}

  /** SHA-256 of the file in use. */
  get inUse(): string | null {
    return this.place.current()?.loaded.facts.sha256 ?? null;
  }

  /** Throws a PageError if nothing can be added to the file in use. */
  check(): void {
    const current = this.place.current();
    if (current === null) throw new PageError("file-missing");
    if (current.loaded.facts.photographs === null) throw new PageError("teach-nothing");
  }

  /** Return the category of each landmark of the file in use. */
  get hierarchy(): ReadonlyMap<string, string> {
    const facts = this.place.current()?.loaded.facts;
    return new Map(facts?.landmarks.map((name, at) => [name, facts.categories[facts.parents[at]!]!]));
  }

  /** Return the file of the last lesson if the page's own file was the same then, otherwise null. */
  async preferred(own: string): Promise<KeptFile | null> {
    try {
      const lost = await this.refresh();
      this.lost += lost.length;
      await this.store.discard(lost);
      if (this.latest > 0) void this.store.secure().catch((error: unknown) => console.warn("not secured:", error));
    } catch (error) {
      console.warn("no lessons:", error); // the browser keeps nothing
    }
    const last = this.lessons.at(-1);
    return last?.own === own && last.file !== null ? { data: last.file, name: last.name } : null;
  }

  /** Use the file of the last lesson. Throws a PageError. */
  async reuse(): Promise<void> {
    const last = this.lessons.at(-1);
    if (last?.file != null) await this.place.use(last.file, last.name);
  }

  /**
   * Teach images of one burst and use the file that comes of it.
   *
   * keep: Store the images too. Throws a PageError, or Refused by the gate; the file then stays.
   */
  async teach(landmark: string, category: string, images: readonly Looked[], keep: boolean): Promise<Taught> {
    this.check();
    const { data, loaded } = this.place.current()!;
    const { name, sha256: before } = loaded.facts;
    const inputs = images.map((one) => one.input);
    const taught = await Engine.teach({ data: new Uint8Array(data), name, landmark, category, inputs });
    if (taught.problems.length > 0) throw new Refused(taught.problems);
    await this.place.use(taught.data.buffer, name);
    const time = new Date().toISOString().replace(/\.\d+Z$/, "+00:00");
    const number = this.latest + 1;
    const burst = `taught-${(await sha256(inputs[0]!)).slice(0, 12)}`;
    const about = { category, landmark, burst, time };
    const kept = images.map(({ jpeg }): KeptPhotograph => ({ ...about, lesson: number, model: before, image: jpeg }));
    const previous = this.lessons.at(-1);
    const own = before === previous?.after ? previous.own : before;
    try {
      const after = taught.sha256;
      const lesson = { ...about, number, own, name, before, after, file: taught.data.buffer };
      await this.store.add(lesson, keep ? kept : []);
    } catch (error) {
      await this.place.use(data, name);
      throw error;
    }
    await this.refresh();
    return taught;
  }

  /** True if the last lesson can be taken back: the file before it is at hand. */
  get canUndo(): boolean {
    const [before, last] = [this.lessons.at(-2), this.lessons.at(-1)];
    if (last === undefined) return false;
    return last.before === this.place.ownSha256 || (last.before === before?.after && before.file !== null);
  }

  /** Take the last lesson back, with its photographs. Throws a PageError. */
  async undo(): Promise<void> {
    const [before, last] = [this.lessons.at(-2), this.lessons.at(-1)];
    if (last === undefined || !this.canUndo) return;
    if (last.before === before?.after && before.file !== null) await this.place.use(before.file, before.name);
    else await this.place.useOwn();
    await this.store.remove(last);
    await this.refresh();
  }

  /** Forget all lessons and photographs, and use the page's own file. Throws a PageError. */
  async forget(): Promise<void> {
    await this.place.useOwn();
    await this.store.clear();
    await this.refresh();
  }

  /** Return the file in use, to save or to share. */
  file(): File {
    const { data, loaded } = this.place.current()!;
    return new File([data], loaded.facts.name, { type: "application/octet-stream" });
  }

  /**
   * Return the photographs that were kept in a zip of `<category>/<landmark>/`, with origin.csv.
   *
   * `lost` counts those that the browser cannot read any more.
   */
  async exported(): Promise<{ readonly file: File; readonly lost: number }> {
    const files = new Map<string, Uint8Array>();
    const lines = [ORIGIN];
    const found = await this.store.photographs();
    let lost = this.photographs - found.length;
    for (const one of found) {
      const content = await bytes(one.image);
      if (content === null) {
        lost += 1;
        continue;
      }
      const suffix = one.image.type === "image/png" ? "png" : one.image.type === "image/webp" ? "webp" : "jpg";
      const digest = await sha256(content);
      const path = `${folder(one.category)}/${folder(one.landmark)}/${digest.slice(0, 16)}.${suffix}`;
      if (files.has(path)) continue;
      files.set(path, content);
      const { category, landmark, burst, time, model } = one;
      const about = { category, landmark, burst, time, model, labelled: time, reasons: "taught" };
      const row: Record<string, string> = { ...about, path, sha256: digest };
      lines.push(ORIGIN.map((column) => row[column] ?? ""));
    }
    const table = lines.map((line) => line.map(csvCell).join(",")).join("\n");
    files.set("origin.csv", new TextEncoder().encode(`${table}\n`));
    const file = new File([zipped(files)], "photographs.zip", { type: "application/zip" });
    return { file, lost };
  }

  /** Read what is kept; return the numbers of lessons that cannot be read. */
  private async refresh(): Promise<readonly number[]> {
    const { lost, ...kept } = await this.store.find();
    [this.lessons, this.photographs, this.latest] = [kept.lessons, kept.photographs, kept.latest];
    this.changed();
    return lost;
  }
}

/** Return the bytes of an image, null if the browser has lost them. */
async function bytes(image: Blob): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    return new Uint8Array(await image.arrayBuffer());
  } catch (error) {
    console.warn("a photograph is lost:", error);
    return null;
  }
}

/** Return a name as one part of a path. */
function folder(name: string): string {
  const safe = name.replace(/[/\\]/g, "_");
  return /^\.+$/.test(safe) ? `_${safe}` : safe;
}
