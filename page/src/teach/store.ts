/** What was taught on this device, kept by the browser: files, lessons, photographs. */
import { PageError } from "../errors";

const VERSION = 2;
const [LESSONS, PHOTOGRAPHS, PADDING] = ["lessons", "photographs", "padding"];
const [VALUES, VALUE_BYTES] = [160, 32_000]; // of the padding, together more than a journal of Chromium
const UNDONE = 3; // lessons that can be taken back; older ones leave no file

/** One lesson: the file after it, and the photographs that were kept. */
export interface KeptLesson {
  /** Place in the order of the lessons. */
  readonly number: number;
  /** SHA-256 of the page's own file that the first lesson began with. */
  readonly own: string;
  /** Name of the file. */
  readonly name: string;
  readonly landmark: string;
  readonly category: string;
  readonly burst: string;
  readonly time: string;
  /** SHA-256 of the file before the lesson, and after it. */
  readonly before: string;
  readonly after: string;
  /** The file after it; null if it is too old to be taken back to. */
  readonly file: ArrayBuffer | null;
}

export interface KeptPhotograph {
  readonly lesson: number;
  readonly category: string;
  readonly landmark: string;
  readonly burst: string;
  readonly time: string;
  /** SHA-256 of the file that was in use. */
  readonly model: string;
  readonly image: Blob;
}

/** What is kept. */
export interface Kept {
  /** The lessons that can be read, the first one first. */
  readonly lessons: readonly KeptLesson[];
  /** The number of photographs. */
  readonly photographs: number;
  /** The largest number of a lesson, 0 without one; lost ones and those of photographs count. */
  readonly latest: number;
  /** Numbers of the lessons that cannot be read. */
  readonly lost: readonly number[];
}

/** The lessons of one page; pages at other addresses have their own. */
export class Store {
  private opened: Promise<IDBDatabase> | null = null;
  private padded: Promise<void> | null = null; // once a page

  /** scope: Address of the folder of the page. */
  constructor(private readonly scope: string) {}

  /** Return what is kept; nothing if the browser keeps nothing. */
  async find(): Promise<Kept> {
    const { values: lessons, lost } = await this.all<KeptLesson>(LESSONS);
    const photographs = await this.run("readonly", (store) => store(PHOTOGRAPHS).count());
    const newest = await this.run("readonly", (store) => store(PHOTOGRAPHS).index("lesson").openKeyCursor(null, "prev"));
    const numbers = [...lessons.map((one) => one.number), ...lost, newest?.key ?? 0] as number[];
    return { lessons, photographs, latest: Math.max(...numbers), lost: lost as number[] };
  }

  /** Protect what is kept from a former power cut (see `pad`). Throws what the browser throws. */
  async secure(): Promise<void> {
    const database = await this.database();
    await (this.padded ??= pad(database));
  }

  /** Return the photographs that can be read. */
  async photographs(): Promise<readonly KeptPhotograph[]> {
    return (await this.all<KeptPhotograph>(PHOTOGRAPHS)).values;
  }

  /** Keep a lesson and its photographs, both or neither. Throws a PageError. */
  async add(lesson: KeptLesson, photographs: readonly KeptPhotograph[]): Promise<void> {
    const { values: all } = await this.all<KeptLesson>(LESSONS);
    await this.run("readwrite", (store) => {
      for (const old of all.slice(0, Math.max(0, all.length - UNDONE))) {
        if (old.file !== null) store(LESSONS).put({ ...old, file: null });
      }
      for (const one of photographs) store(PHOTOGRAPHS).add(one);
      return store(LESSONS).put(lesson);
    });
  }

  /** Forget lessons that cannot be read. Their photographs stay. */
  async discard(lost: readonly number[]): Promise<void> {
    for (const number of lost) await this.run("readwrite", (store) => store(LESSONS).delete(number));
  }

  /** Forget a lesson with its photographs. */
  async remove({ number }: KeptLesson): Promise<void> {
    await this.run("readwrite", (store) => {
      const request = store(PHOTOGRAPHS).index("lesson").openKeyCursor(IDBKeyRange.only(number));
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor === null) return;
        store(PHOTOGRAPHS).delete(cursor.primaryKey);
        cursor.continue();
      };
      return store(LESSONS).delete(number);
    });
  }

  /** Forget everything. */
  async clear(): Promise<void> {
    await this.run("readwrite", (store) => {
      store(PHOTOGRAPHS).clear();
      return store(LESSONS).clear();
    });
  }

  /**
   * Return all values of a store in the order of their keys, and the keys of those that are lost.
   *
   * Browsers keep large values in files of their own. A power cut can take such a file and leave the
   * value that names it; `getAll` then fails for all of them. Any other error is thrown: the value
   * may be read another time.
   */
  private async all<Value>(name: string): Promise<{ values: Value[]; lost: IDBValidKey[] }> {
    try {
      return { values: (await this.run("readonly", (store) => store(name).getAll())) as Value[], lost: [] };
    } catch (error) {
      if (!isLost(error)) throw error;
      console.warn(`not all ${name} can be read:`, error);
    }
    const [values, lost]: [Value[], IDBValidKey[]] = [[], []];
    for (const key of await this.run("readonly", (store) => store(name).getAllKeys())) {
      try {
        values.push((await this.run("readonly", (store) => store(name).get(key))) as Value);
      } catch (error) {
        if (!isLost(error)) throw error;
        lost.push(key);
      }
    }
    return { values, lost };
  }

  private database(): Promise<IDBDatabase> {
    return (this.opened ??= open(this.scope));
  }

  private async run<Found>(
    mode: IDBTransactionMode,
    work: (store: (name: string) => IDBObjectStore) => IDBRequest<Found>,
  ): Promise<Found> {
    try {
      if (mode === "readwrite") await this.secure();
      // A lesson is there when it is on the disk: a power cut comes without a warning.
      const transaction = (await this.database()).transaction([LESSONS, PHOTOGRAPHS], mode, { durability: "strict" });
      const ended = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
      });
      let request: IDBRequest<Found>;
      try {
        request = work((name) => transaction.objectStore(name));
      } catch (error) {
        transaction.abort(); // all of it or nothing
        await ended.catch(() => undefined);
        throw error;
      }
      await ended;
      return request.result;
    } catch (error) {
      this.opened = null;
      throw error instanceof PageError ? error : new PageError("teach-stored", String(error));
    }
  }
}

/** Return whether Chromium has lost the file of a value for good, by the name of its error. */
function isLost(error: unknown): boolean {
  return error instanceof PageError && error.detail.startsWith("NotReadableError");
}

/**
 * Write values without a meaning, so that Chromium begins another journal of its database.
 *
 * A power cut leaves half a record at the end of the journal. Chromium reads what is before it, and
 * goes on writing behind it. At the start after that it takes the database for damaged and deletes
 * all of it. At the first write behind 4 MB it closes a journal, and writes elsewhere what it holds.
 */
async function pad(database: IDBDatabase): Promise<void> {
  await padding(database, (store) => {
    // random: values are compressed
    for (let key = 0; key < VALUES; key++) store.put(crypto.getRandomValues(new Uint8Array(VALUE_BYTES)), key);
  });
  await padding(database, (store) => store.clear());
}

/** Write to the padding; a failure changes nothing, as lessons are kept without it too. */
function padding(database: IDBDatabase, work: (store: IDBObjectStore) => void): Promise<void> {
  const written = new Promise<void>((resolve, reject) => {
    const transaction = database.transaction([PADDING], "readwrite");
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
    work(transaction.objectStore(PADDING));
  });
  return written.catch((error: unknown) => console.warn("not padded:", error));
}

function open(scope: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(`lmedge ${scope}`, VERSION);
    request.onupgradeneeded = ({ oldVersion }) => {
      request.result.createObjectStore(PADDING);
      if (oldVersion > 0) return;
      request.result.createObjectStore(LESSONS, { keyPath: "number" });
      const photographs = request.result.createObjectStore(PHOTOGRAPHS, { autoIncrement: true });
      photographs.createIndex("lesson", "lesson");
    };
    request.onsuccess = () => {
      // A newer page in another tab may change the database.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error ?? new Error("refused"));
    request.onblocked = () => reject(new Error("blocked"));
  });
}
