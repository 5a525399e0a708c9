/** The file that the page runs: its own one or one of the user's, and new versions of the page. */
import type { Engine } from "./engine/engine";
import type { Loaded } from "./engine/messages";
import { asPageError, PageError } from "./errors";
import type { FileInUse, KeptFile } from "./teach/teacher";
import { texts } from "./texts";
import { element, harmless, write } from "./ui/elements";
import { dismiss, notify, report } from "./ui/notices";
import type { Offline } from "./ui/offline";
import { readVersion, VERSION_FILE, type Version } from "./version";

/** The loaded file, and the version of the page that it came with. */
export class ModelSource {
  version: Version | null = null;
  loaded: Loaded | null = null;
  private data: ArrayBuffer | null = null;

  /**
   * `changed` is called when another file is loaded. `preferred` returns the file to load in place
   * of the page's own, of which it gets the SHA-256, or null.
   */
  constructor(
    private readonly engine: Engine,
    private readonly changed: () => void,
    private readonly preferred: (own: string) => Promise<KeptFile | null>,
  ) {}

  get ownSha256(): string | null {
    return this.version?.model.sha256 ?? null;
  }

  current(): FileInUse | null {
    return this.loaded === null || this.data === null ? null : { data: this.data, loaded: this.loaded };
  }

  /** Load the file of this page. Whatever fails is reported. */
  async loadOwn(): Promise<void> {
    try {
      this.version = await readVersion(await fetch(`./${VERSION_FILE}`));
      document.title = harmless(this.version.title);
      write(element("title"), this.version.title);
      write(element("name"), this.version.title);
      if (!(await this.kept(this.version.model.sha256))) await this.own(this.version.model);
    } catch (error) {
      report("file", asPageError(error, "file-missing"), [
        { text: texts.reload, action: () => location.reload() },
        { text: texts.openFile, action: () => element("file").click() },
      ]);
    }
  }

  /** Load a file of the user's in place of the one of this page, until the page is closed. */
  async open(file: File): Promise<void> {
    try {
      dismiss("file");
      await this.use(await file.arrayBuffer(), file.name);
      element<HTMLDialogElement>("about").close();
    } catch (error) {
      element<HTMLDialogElement>("about").close();
      report("file", asPageError(error, "file-damaged"));
    }
  }

  /** Load a file in place of the one in use, which stays if this one is refused. */
  async use(data: ArrayBuffer, name: string): Promise<void> {
    this.loaded = await this.engine.load(data, name);
    this.data = data;
    this.show();
  }

  /** Load the file of this page. Throws a PageError. */
  async useOwn(): Promise<void> {
    if (this.version === null) throw new PageError("file-missing");
    await this.own(this.version.model);
  }

  /** Load the file that was taught here; return false if there is none that can be used. */
  private async kept(own: string): Promise<boolean> {
    const found = await this.preferred(own);
    if (found === null) return false;
    try {
      await this.use(found.data, found.name);
      return true;
    } catch (error) {
      if (!(error instanceof PageError && error.code.startsWith("file-"))) throw error;
      report("file", error);
      return false;
    }
  }

  private async own({ file, name, sha256 }: Version["model"]): Promise<void> {
    const address = `./${file}`;
    try {
      await this.use(await bytes(address), name);
    } catch (error) {
      if (!(error instanceof PageError && error.code.startsWith("file-"))) throw error;
    }
    // Stored files may be evicted or damaged: ask the host, past what is stored.
    if (this.loaded?.facts.sha256 === sha256) return;
    await this.use(await bytes(`${address}?fresh`), name);
  }

  private show(): void {
    if (this.loaded === null) return;
    const { verification } = this.loaded;
    const wrong = verification !== null && !verification.passed;
    if (wrong) notify("wrong", texts.wrong, [], true);
    write(element("check"), wrong || verification === null ? "" : texts.verified);
    this.changed();
  }
}

async function bytes(address: string): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch {
    throw new PageError("file-missing");
  }
  if (!response.ok) throw new PageError("file-missing", String(response.status));
  return response.arrayBuffer();
}

/** Offer the version at this address if it is another one; say so if `asked` and it is not. */
export async function lookForUpdate(
  version: Version | null,
  offline: Offline,
  asked: boolean,
): Promise<void> {
  const found = version === null ? null : await offline.newer(version.version);
  if (found === null) {
    if (asked) notify("update", texts.noUpdate);
    return;
  }
  const load = async () => {
    notify("update", texts.updating);
    try {
      await offline.store((share) => notify("update", `${texts.updating}: ${texts.percent(share)}`));
      location.reload();
    } catch (error) {
      report("update", asPageError(error, "update-broken"), [{ text: texts.retry, action: load }]);
    }
  };
  notify("update", texts.update, [{ text: texts.updateLoad, action: load }]);
}
