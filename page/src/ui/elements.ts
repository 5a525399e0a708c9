/** The elements of index.html, and their texts. */
import { texts } from "../texts";

type Plain = { [Key in keyof typeof texts]: (typeof texts)[Key] extends string ? Key : never }[keyof typeof texts];

/** Return an element of index.html by its id. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return found as T;
}

/** Write all plain texts into the page. */
export function writeTexts(): void {
  for (const one of document.querySelectorAll<HTMLElement>("[data-text]")) {
    one.textContent = texts[one.dataset["text"] as Plain];
  }
  for (const one of document.querySelectorAll<HTMLElement>("[data-label]")) {
    label(one, texts[one.dataset["label"] as Plain]);
  }
}

/** Name an element for screen readers and as a tooltip. */
export function label(one: HTMLElement, text: string): void {
  one.setAttribute("aria-label", text);
  if (one instanceof HTMLButtonElement) one.title = text;
}

// Control characters, and invisible ones that turn or hide letters: lmedge/harmless.py.
const UNSAFE =
  /[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\ud800-\udfff]/gu;

/** Return a name of someone else's as one line of visible characters. */
export function harmless(text: string): string {
  return text.replace(UNSAFE, "\ufffd");
}

/** Write a text only if it differs: the page is then laid out less often. */
export function write(one: HTMLElement, text: string): void {
  const shown = harmless(text);
  if (one.textContent !== shown) one.textContent = shown;
}

/** Offer bytes as a download. */
export function download(bytes: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(bytes);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
