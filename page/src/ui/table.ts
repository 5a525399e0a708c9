/** Several photographs: a table, and the same as CSV. */
import { csvCell } from "../csv";
import type { Classified } from "../engine/messages";
import { PageError } from "../errors";
import { problems, texts } from "../texts";
import { element, harmless } from "./elements";

export interface Row {
  readonly name: string;
  readonly result: Classified | PageError;
}

/** Add a row to the table. */
export function addRow(row: Row): void {
  const line = document.createElement("tr");
  const cells =
    row.result instanceof PageError
      ? [row.name, problems[row.result.code], ""]
      : [row.name, ...labels(row.result)];
  for (const [index, text] of cells.entries()) {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.setAttribute("scope", "row");
    cell.textContent = harmless(text);
    line.append(cell);
  }
  line.classList.toggle("bad", row.result instanceof PageError);
  element("rows").append(line);
}

/** Empty the table. */
export function clearRows(): void {
  element("rows").replaceChildren();
}

function labels({ prediction }: Classified): readonly string[] {
  if (!prediction.known) return [texts.notALandmark, ""];
  const { landmark, landmarkProbability, category, categoryProbability } = prediction;
  return [
    `${landmark} ${texts.percent(landmarkProbability)}`,
    `${category} ${texts.percent(categoryProbability)}`,
  ];
}

/** Return the columns of `lmedge predict --csv`; images that cannot be read are left out. */
export function asCsv(rows: readonly Row[]): string {
  const header =
    "path,landmark,landmark_probability,category,category_probability,known,milliseconds";
  const lines = rows.flatMap(({ name, result }) => {
    if (result instanceof PageError) return [];
    const { prediction: one, milliseconds } = result;
    return [
      [
        csvCell(name),
        csvCell(one.landmark),
        one.landmarkProbability.toFixed(6),
        csvCell(one.category),
        one.categoryProbability.toFixed(6),
        one.known ? "True" : "False",
        milliseconds.toFixed(3),
      ].join(","),
    ];
  });
  return [header, ...lines, ""].join("\r\n");
}
