/** Teaching by hand: hold the button, name what was seen, done. */
import type { Engine } from "../engine/engine";
import type { Looked } from "../engine/messages";
import { Burst, FRAMES, GAP } from "../teach/burst";
import type { Problem } from "../teach/gate";
import { Refused, type Teacher } from "../teach/teacher";
import { texts } from "../texts";
import type { Camera } from "./camera";
import { element, write } from "./elements";
import { hand } from "./labelled";
import { dismiss, notify, report } from "./notices";

const TAP = 400; // milliseconds: a shorter touch takes a whole burst by itself
const LONGEST = 2 * FRAMES * GAP; // of a burst that is not held, unless it has too few images
const KEY = "teach"; // of all notices

export class Lessons {
  /** True while a burst is taken, and while the button is held. */
  private holding = false;
  private held = false;
  private taking = false;
  /** True while a lesson is computed, which needs the processor more than the labels do. */
  busy = false;
  private images: readonly Looked[] = [];

  constructor(
    private readonly teacher: Teacher,
    private readonly engine: Engine,
    private readonly camera: Camera,
  ) {
    this.connectButton();
    this.connectForm();
    this.connectChoices();
  }

  /** Say that lessons are lost, or that landmarks were taught to another file than the page has now. */
  offerTaught(): void {
    if (this.teacher.lost > 0) notify("lost", texts.lostLessons(this.teacher.lost), [], true);
    const last = this.teacher.lessons.at(-1);
    const other = last !== undefined && last.file !== null && last.after !== this.teacher.inUse;
    if (!other) return;
    const use = () => void this.attempt(() => this.teacher.reuse(), () => dismiss(KEY));
    notify(KEY, texts.otherTaught, [{ text: texts.useTaught, action: use }]);
  }

  /** Teach photographs that were chosen instead of a burst. */
  async teachFiles(files: readonly Blob[]): Promise<void> {
    await this.attempt(async () => {
      this.teacher.check();
      const burst = new Burst(files.length);
      for (const file of files) burst.add(await this.engine.look(file));
      this.ask(burst);
    });
  }

  /** Show the buttons of the panel that belong to what was taught. */
  refresh(): void {
    const [lessons, photographs] = [this.teacher.lessons.length, this.teacher.photographs];
    element("lesson-choices").hidden = lessons + photographs === 0;
    element("save-file").hidden = lessons === 0;
    element("export-photos").hidden = photographs === 0;
    element("undo").hidden = !this.teacher.canUndo;
  }

  private connectButton(): void {
    const button = element("teach");
    let from = 0;
    let byHand = false; // the click that follows a pointer or a key is no touch of its own
    const down = () => {
      [this.held, byHand, from] = [true, true, performance.now()];
      void this.take();
    };
    const up = () => {
      // Who taps, or cannot hold a button, gets a whole burst.
      if (this.held && performance.now() - from >= TAP) this.holding = false;
      this.held = false;
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button === 0) down();
    });
    for (const name of ["pointerup", "pointercancel", "keyup", "blur"]) button.addEventListener(name, up);
    button.addEventListener("keydown", (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) down();
    });
    button.addEventListener("click", (event) => {
      // Screen readers and voices click without a pointer or a key.
      if (!byHand && event.detail === 0) void this.take();
      byHand = false;
    });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Take a burst as long as the button is held, and ask for its name. */
  private async take(): Promise<void> {
    if (this.taking) return;
    [this.taking, this.holding] = [true, true];
    await this.attempt(async () => {
      this.teacher.check();
      const burst = new Burst();
      const end = performance.now() + LONGEST;
      const over = () => performance.now() > (burst.enough ? end : end + LONGEST) && !this.held;
      while (this.holding && this.camera.running && !burst.full && !over()) {
        const next = performance.now() + GAP;
        const frame = await this.camera.frame();
        if (frame !== null) burst.add(await this.engine.look(frame));
        notify(KEY, texts.burst(burst.taken.length));
        await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
      }
      this.ask(burst);
    });
    this.taking = false;
  }

  private ask(burst: Burst): void {
    burst.check();
    dismiss(KEY);
    this.images = burst.taken;
    const { hierarchy } = this.teacher;
    fill("landmarks", [...hierarchy.keys()]);
    fill("categories", [...new Set(hierarchy.values())]);
    write(element("lesson-count"), texts.lessonCount(burst.taken.length));
    element<HTMLFormElement>("lesson-form").reset();
    this.follow();
    element<HTMLDialogElement>("lesson").showModal();
  }

  private connectForm(): void {
    const dialog = element<HTMLDialogElement>("lesson");
    element("lesson-landmark").oninput = () => this.follow();
    element("lesson-cancel").onclick = () => dialog.close();
    element("lesson-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
      const [landmark, category] = [name("lesson-landmark"), name("lesson-category")];
      void this.teach(landmark, category, element<HTMLInputElement>("lesson-keep").checked);
    };
  }

  /** Let a landmark of the file have its own category. */
  private follow(): void {
    const landmark = name("lesson-landmark");
    const above = this.teacher.hierarchy.get(landmark);
    const category = element<HTMLInputElement>("lesson-category");
    if (above !== undefined) category.value = above;
    category.readOnly = above !== undefined;
    const complete = landmark !== "" && name("lesson-category") !== "";
    category.oninput = () => this.follow();
    element<HTMLButtonElement>("lesson-teach").disabled = !complete;
  }

  private async teach(landmark: string, category: string, keep: boolean): Promise<void> {
    await this.attempt(async () => {
      notify(KEY, texts.teaching);
      this.busy = true;
      const { macroF1, photographs, seconds } = await this.teacher
        .teach(landmark, category, this.images, keep)
        .finally(() => (this.busy = false));
      this.images = [];
      const done = texts.taught(landmark, photographs, seconds.features + seconds.solving);
      const judged = macroF1 === null ? texts.unjudged : texts.judged(macroF1);
      notify(KEY, `${done} ${judged}`, [{ text: texts.undo, action: () => void this.undo() }]);
    });
  }

  private connectChoices(): void {
    const about = element<HTMLDialogElement>("about");
    const choose = (id: string, action: () => Promise<void> | void) => {
      element(id).onclick = () => {
        about.close();
        void this.attempt(async () => action());
      };
    };
    choose("save-file", () => share(this.teacher.file()));
    choose("export-photos", async () => {
      const { file, lost } = await this.teacher.exported();
      await share(file);
      if (lost > 0) notify(KEY, texts.lostPhotographs(lost), [], true);
    });
    choose("undo", () => this.undo());
    choose("forget", () => {
      const action = () => void this.attempt(() => this.teacher.forget(), () => notify(KEY, texts.forgotten));
      notify(KEY, texts.forgetQuestion, [{ text: texts.forget, action }]);
    });
  }

  private async undo(): Promise<void> {
    await this.attempt(() => this.teacher.undo(), () => notify(KEY, texts.undone));
  }

  /** Do something, and show the sentence of what goes wrong. */
  private async attempt(work: () => Promise<void>, done?: () => void): Promise<void> {
    try {
      await work();
      done?.();
    } catch (error) {
      if (error instanceof Refused) {
        notify(KEY, texts.notTaught(error.problems.map(sentence).join(" ")), [], true);
      } else report(KEY, error);
    }
  }
}

function sentence(problem: Problem): string {
  if (problem.kind === "copy") return texts.refusedCopy(problem.one, problem.other);
  if (problem.kind === "worse") return texts.refusedWorse(problem.most, problem.trained);
  if (problem.kind === "loses") return texts.refusedLoss(problem.one, problem.lost, problem.of);
  return texts.refusedAlike(problem.one, problem.other, problem.right, problem.of);
}

/** Return a name that was written, without control characters and space around it. */
function name(id: string): string {
  return element<HTMLInputElement>(id).value.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/gu, "").trim();
}

function fill(id: string, names: readonly string[]): void {
  element(id).replaceChildren(
    ...names.map((one) => {
      const option = document.createElement("option");
      option.value = one;
      return option;
    }),
  );
}

async function share(file: File): Promise<void> {
  await hand(file, file.name);
}
