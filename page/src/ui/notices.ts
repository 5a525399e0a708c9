/** Sentences at the edge of the page: problems, and offers with a button. */
import { PageError, asPageError } from "../errors";
import { problems, texts } from "../texts";
import { element } from "./elements";

export interface Offer {
  readonly text: string;
  readonly action: () => void;
}

/** Show a sentence under a key, in place of the one before. */
export function notify(key: string, sentence: string, offers: readonly Offer[] = [], bad = false): void {
  dismiss(key);
  const box = document.createElement("div");
  box.className = bad ? "notice bad" : "notice";
  box.dataset["key"] = key;
  const text = document.createElement("p");
  text.textContent = sentence;
  box.append(text);
  const close: Offer = { text: texts.close, action: () => dismiss(key) };
  for (const offer of [...offers, close]) {
    const button = document.createElement("button");
    button.textContent = offer.text;
    button.onclick = offer.action;
    box.append(button);
  }
  element("notices").append(box);
}

/** Show the sentence of a problem, and log what was found. */
export function report(key: string, error: unknown, offers: readonly Offer[] = []): PageError {
  const problem = asPageError(error, "unexpected");
  console.warn(problem.message);
  notify(key, problems[problem.code], offers, true);
  return problem;
}

/** Remove the sentence of a key. */
export function dismiss(key: string): void {
  document.querySelector(`#notices [data-key="${key}"]`)?.remove();
}
