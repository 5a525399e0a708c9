/** The labelled picture, to share or to save. */
import type { Prediction } from "../labels/decoding";
import { texts } from "../texts";
import { download, harmless } from "./elements";

const SHADE = "rgb(0 0 0 / 72%)";
const [LANDMARK, CATEGORY, TRACK] = ["#56b4e9", "#e69f00", "#5f5f5f"];

/** Draw an image with its labels below, as JPEG. */
export async function labelled(
  image: CanvasImageSource,
  width: number,
  height: number,
  prediction: Prediction,
): Promise<Blob> {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("no canvas");
  context.drawImage(image, 0, 0, width, height);
  const unit = Math.max(10, Math.min(width, height) / 28);
  const rows = prediction.known ? 2 : 1;
  const top = height - unit * (0.8 + 2.6 * rows);
  context.fillStyle = SHADE;
  context.fillRect(0, top, width, height - top);
  context.font = `600 ${1.3 * unit}px system-ui, sans-serif`;
  const row = (number: number, name: string, share: number | null, color: string) => {
    const base = top + unit * (1.8 + 2.6 * number);
    const percentage = share === null ? "" : texts.percent(share);
    const room = width - 2.6 * unit - context.measureText(percentage).width;
    context.fillStyle = "#fff";
    context.fillText(harmless(name), unit, base, room);
    context.fillText(percentage, width - unit - context.measureText(percentage).width, base);
    if (share === null) return;
    context.fillStyle = TRACK;
    context.fillRect(unit, base + 0.4 * unit, width - 2 * unit, 0.4 * unit);
    context.fillStyle = color;
    context.fillRect(unit, base + 0.4 * unit, (width - 2 * unit) * share, 0.4 * unit);
  };
  if (prediction.known) {
    row(0, prediction.landmark, prediction.landmarkProbability, LANDMARK);
    row(1, prediction.category, prediction.categoryProbability, CATEGORY);
  } else row(0, texts.notALandmark, null, LANDMARK);
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob === null ? reject(new Error("no image")) : resolve(blob)),
      "image/jpeg",
      0.9,
    ),
  );
}

/** Share a picture if the device can, otherwise save it. */
export async function hand(picture: Blob, name: string): Promise<void> {
  const file = new File([picture], name, { type: picture.type });
  if (navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file] });
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
    }
    return;
  }
  download(picture, name);
}
