/** The dialog with the file, its version, and the page's own state. */
import type { Loaded } from "../engine/messages";
import type { ModelSource } from "../source";
import type { Teacher } from "../teach/teacher";
import { texts } from "../texts";
import { element, harmless } from "./elements";
import type { Offline } from "./offline";

interface InstallEvent extends Event {
  prompt(): Promise<void>;
}

export class About {
  private install: InstallEvent | null = null;

  constructor(
    private readonly source: ModelSource,
    lookForUpdate: (asked: boolean) => Promise<void>,
    private readonly offline: Offline,
    private readonly teacher: Teacher,
  ) {
    element("close").onclick = () => this.dialog.close();
    element("look").onclick = () => {
      this.dialog.close();
      void lookForUpdate(true);
    };
    element("install").onclick = () => void this.install?.prompt();
    window.addEventListener("beforeinstallprompt", (event) => {
      event.preventDefault();
      this.install = event as InstallEvent;
      element("install").hidden = false;
      element("install-hint").hidden = true;
    });
    if (matchMedia("(display-mode: standalone)").matches) element("install-hint").hidden = true;
  }

  private get dialog(): HTMLDialogElement {
    return element<HTMLDialogElement>("about");
  }

  open(): void {
    this.refresh();
    this.dialog.showModal();
  }

  /** Write the facts anew. */
  refresh(): void {
    const list = element("facts");
    list.replaceChildren();
    for (const [name, value] of this.facts()) {
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = name;
      description.textContent = harmless(value);
      list.append(term, description);
    }
  }

  private *facts(): Generator<readonly [string, string]> {
    const { loaded } = this.source;
    if (loaded === null) yield [texts.fileName, texts.loading];
    else {
      const { facts, verification } = loaded;
      yield [texts.fileName, facts.name];
      yield [texts.fileVersion, `${facts.sha256.slice(0, 12)}, lmedge ${facts.lmedge}`];
      yield [texts.fileSize, `${texts.megabytes(facts.bytes)} ${facts.format}`];
      yield [texts.fileLabels, texts.counts(facts.landmarks.length, facts.categories.length)];
      yield [texts.photographsInside, String(facts.photographs ?? texts.noPhotographs)];
      yield [texts.fileCheck, check(verification)];
      yield [texts.threads, threads(loaded)];
    }
    const { lessons, photographs } = this.teacher;
    if (lessons.length + photographs > 0) yield [texts.taughtHere, texts.lessons(lessons.length, photographs)];
    yield [texts.offline, states[this.offline.state]];
  }
}

const states = {
  insecure: texts.offlineInsecure,
  missing: texts.offlineMissing,
  storing: texts.offlineStoring,
  ready: texts.offlineReady,
} as const;

function check(verification: Loaded["verification"]): string {
  if (verification === null) return texts.unverified;
  if (!verification.passed) return texts.wrong;
  return verification.identical ? texts.verified : texts.verifiedRounded;
}

function threads({ threads, ratio }: Loaded): string {
  if (ratio === null) return String(threads);
  return threads > 1 ? texts.threadsFaster(threads, ratio) : texts.threadsSlower(ratio);
}
