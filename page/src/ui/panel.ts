/** The labels over the image. */
import type { Prediction } from "../labels/decoding";
import { texts } from "../texts";
import { element, write } from "./elements";

const ANNOUNCE_EVERY = 2000; // milliseconds: screen readers finish a sentence

let announced = "";
let announcedAt = -Infinity;

/** Show a prediction; `figures` is the small print. */
export function show(prediction: Prediction, figures: string): void {
  element("panel").hidden = false;
  const { known } = prediction;
  row("landmark", known ? prediction.landmark : texts.notALandmark, known ? prediction.landmarkProbability : null);
  row("category", known ? prediction.category : "", known ? prediction.categoryProbability : null);
  element("row-category").hidden = !known;
  write(element("figures"), figures);
  candidates(prediction);
  announce(prediction);
}

/** Show a line in place of labels, while there are none yet. */
export function wait(text: string): void {
  element("panel").hidden = false;
  row("landmark", text, null);
  element("row-category").hidden = true;
  write(element("figures"), "");
}

/** Hide the labels. */
export function hide(): void {
  element("panel").hidden = true;
}

/** Return the labels as one sentence. */
export function sentence(prediction: Prediction): string {
  if (!prediction.known) return texts.notALandmark;
  const { landmark, category, landmarkProbability } = prediction;
  return texts.announced(landmark, category, texts.percent(landmarkProbability));
}

function row(name: string, text: string, share: number | null): void {
  write(element(name), text);
  write(element(`${name}-share`), share === null ? "" : texts.percent(share));
  element(`${name}-bar`).style.transform = `scaleX(${(share ?? 0).toFixed(3)})`;
}

function candidates(prediction: Prediction): void {
  if (!element<HTMLDetailsElement>("top").open) return;
  const list = element("candidates");
  while (list.children.length < prediction.top.length) list.append(document.createElement("li"));
  while (list.children.length > prediction.top.length) list.lastElementChild?.remove();
  prediction.top.forEach((one, index) => {
    const text = `${one.landmark} (${one.category}) ${texts.percent(one.probability)}`;
    write(list.children[index] as HTMLElement, text);
  });
}

/** Tell screen readers about a change of the label, and never often. */
function announce(prediction: Prediction): void {
  const name = prediction.known ? prediction.landmark : texts.notALandmark;
  const now = performance.now();
  if (name === announced || now - announcedAt < ANNOUNCE_EVERY) return;
  announced = name;
  announcedAt = now;
  write(element("announcer"), sentence(prediction));
}
