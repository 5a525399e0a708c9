/** Cells of CSV files, as lmedge/harmless.py writes them. */

/** Quote a cell; one that a spreadsheet would take for a formula gets an apostrophe first. */
export function csvCell(text: string): string {
  const safe = /^'*\s*[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
