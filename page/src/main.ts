/** The page: starts everything, and passes camera frames and photographs to the engine. */
import "./style.css";

import { Engine } from "./engine/engine";
import type { Classified } from "./engine/messages";
import { asPageError, PageError } from "./errors";
import { lookForUpdate, ModelSource } from "./source";
import { Teacher } from "./teach/teacher";
import { texts } from "./texts";
import { About } from "./ui/about";
import { Camera, isAllowed, isAvailable } from "./ui/camera";
import { download, element, harmless, label, write, writeTexts } from "./ui/elements";
import { hand, labelled } from "./ui/labelled";
import { Lessons } from "./ui/lessons";
import { dismiss, report } from "./ui/notices";
import { Offline } from "./ui/offline";
import { hide, show, wait } from "./ui/panel";
import { addRow, asCsv, clearRows, type Row } from "./ui/table";

type View = "welcome" | "camera" | "frozen" | "still" | "table";

const LESSON_PAUSE = 150; // milliseconds between two frames while a lesson is computed

const engine = new Engine();
const video = element<HTMLVideoElement>("video");
const still = element<HTMLImageElement>("still");
const camera = new Camera(video, () => {
  view("welcome");
  report("camera", new PageError("camera-lost"), [{ text: texts.retry, action: () => void startCamera() }]);
});
const offline = new Offline(() => about.refresh());
const source = new ModelSource(
  engine,
  () => about.refresh(),
  (own) => teacher.preferred(own),
);
const teacher = new Teacher(source, () => {
  about.refresh();
  lessons.refresh();
});
const about = new About(source, (asked) => lookForUpdate(source.version, offline, asked), offline, teacher);
const lessons = new Lessons(teacher, engine, camera);

let ready: Promise<void> = Promise.resolve();
let current: View = "welcome";
let last: Classified | null = null;
let rows: Row[] = [];
let chosen: readonly File[] = [];
let rate = 0;
let rateAt = 0;

/** Show one of the views and the buttons that belong to it. */
function view(next: View): void {
  current = next;
  const live = next === "camera" || next === "frozen";
  element("welcome").hidden = next !== "welcome";
  element("results").hidden = next !== "table";
  video.hidden = !live;
  still.hidden = next !== "still";
  if (next === "welcome" || next === "table") hide();
  element("shutter").hidden = next === "table" && !isAvailable();
  element("teach").hidden = next !== "camera";
  element("share").hidden = next !== "frozen" && next !== "still";
  const shutter = next === "camera" ? texts.freeze : next === "frozen" ? texts.resume : texts.camera;
  label(element("shutter"), shutter);
  element("shutter").classList.toggle("live", next === "camera");
  label(element("share"), "canShare" in navigator ? texts.share : texts.save);
}

let starting: Promise<void> | null = null;

/** Open the camera and classify its frames; a second touch meanwhile changes nothing. */
function startCamera(): Promise<void> {
  starting ??= openCamera().finally(() => (starting = null));
  return starting;
}

async function openCamera(): Promise<void> {
  dismiss("camera");
  dismiss("image");
  try {
    await camera.start();
    element("turn").hidden = !(await camera.hasOther());
    view("camera");
    wait(source.loaded === null ? texts.loading : texts.looking);
    await ready;
    if (source.loaded === null) {
      camera.stop();
      view("welcome");
      return;
    }
    await engine.reset();
    void run();
  } catch (error) {
    view("welcome");
    report("camera", asPageError(error, "camera-none"), [{ text: texts.retry, action: () => void startCamera() }]);
  }
}

let looping = false;

/** Classify the newest frame, one after the other, as long as the camera is shown. */
async function run(): Promise<void> {
  if (looping) return;
  looping = true;
  try {
    while (current === "camera" && camera.running) {
      if (lessons.busy) await new Promise((resolve) => setTimeout(resolve, LESSON_PAUSE));
      const frame = await camera.frame();
      if (frame === null) continue;
      const result = await engine.classify(frame, performance.now() / 1000);
      if (current !== "camera") break;
      showFrame(result);
    }
  } catch (error) {
    camera.stop();
    view("welcome");
    report("camera", error, [{ text: texts.retry, action: () => void startCamera() }]);
  } finally {
    looping = false;
  }
}

function showFrame(result: Classified): void {
  const now = performance.now();
  if (rateAt > 0) rate += (1000 / Math.max(1, now - rateAt) - rate) * (rate === 0 ? 1 : 0.1);
  rateAt = now;
  last = result;
  show(result.prediction, texts.perSecond(rate, result.milliseconds));
  performance.mark("lmedge-label");
}

async function shutter(): Promise<void> {
  if (current === "camera") {
    video.pause();
    view("frozen");
  } else if (current === "frozen" && camera.running) {
    await video.play();
    view("camera");
    void run();
  } else await startCamera();
}

/** Classify photographs: one is shown, several are listed. */
async function classifyFiles(files: readonly File[]): Promise<void> {
  if (files.length === 0) return;
  camera.stop();
  dismiss("image");
  await ready;
  if (source.loaded === null) return;
  if (files.length === 1) await classifyOne(files[0]!);
  else await classifySeveral(files);
}

async function classifyOne(file: File): Promise<void> {
  try {
    const result = await engine.classify(file);
    URL.revokeObjectURL(still.src);
    still.src = URL.createObjectURL(file);
    still.alt = file.name;
    last = result;
    view("still");
    show(result.prediction, texts.took(result.milliseconds));
  } catch (error) {
    view("welcome");
    report("image", error);
  }
}

async function classifySeveral(files: readonly File[]): Promise<void> {
  rows = [];
  clearRows();
  view("table");
  const mine = rows;
  chosen = files;
  for (const [number, file] of files.entries()) {
    let result: Row["result"];
    try {
      result = await engine.classify(file);
    } catch (error) {
      result = asPageError(error, "image-damaged");
    }
    if (mine !== rows) return; // others were chosen meanwhile
    rows.push({ name: file.name, result });
    addRow(rows.at(-1)!);
    write(element("progress"), texts.classified(number + 1, files.length));
  }
}

async function shareImage(): Promise<void> {
  if (last === null) return;
  const { prediction } = last;
  const [image, width, height] =
    current === "still"
      ? ([still, still.naturalWidth, still.naturalHeight] as const)
      : ([video, video.videoWidth, video.videoHeight] as const);
  const name = prediction.known ? prediction.landmark : texts.notALandmark;
  await hand(await labelled(image, width, height, prediction), `${harmless(name)}.jpg`);
}

function connect(): void {
  element("start").onclick = () => void startCamera();
  element("shutter").onclick = () => void shutter();
  element("turn").onclick = () => {
    camera.turn().catch((error: unknown) => report("camera", error));
  };
  element("share").onclick = () => {
    shareImage().catch((error: unknown) => report("image", error));
  };
  element("more").onclick = () => about.open();
  element("csv").onclick = () => download(new Blob([asCsv(rows)], { type: "text/csv" }), "labels.csv");
  element("teach-photos").onclick = () => void lessons.teachFiles(chosen);
  const images = element<HTMLInputElement>("images");
  for (const id of ["pick", "photos"]) element(id).onclick = () => images.click();
  images.onchange = () => {
    void classifyFiles([...(images.files ?? [])]).finally(() => (images.value = ""));
  };
  const file = element<HTMLInputElement>("file");
  element("open").onclick = () => file.click();
  file.onchange = () => {
    const [chosen] = file.files ?? [];
    if (chosen) void source.open(chosen).finally(() => (file.value = ""));
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    void classifyFiles([...(event.dataTransfer?.files ?? [])]);
  });
  // A phone keeps the camera's light on otherwise.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && camera.running) camera.stop();
    else if (!document.hidden && (current === "camera" || current === "frozen")) void startCamera();
  });
}

async function begin(): Promise<void> {
  writeTexts();
  connect();
  view("welcome");
  if (!isAvailable()) report("camera", new PageError("camera-insecure"));
  ready = source.loadOwn();
  const allowed = isAvailable() && (await isAllowed());
  if (allowed) void startCamera();
  await ready;
  lessons.offerTaught();
  await offline.begin();
  await lookForUpdate(source.version, offline, false);
}

/** For scripts and tests: the engine and the teacher of this page. */
Object.assign(window, { lmedge: { engine, file: () => source, ready: () => ready, teacher } });

void begin();
