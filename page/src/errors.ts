/** The problems that a person can act on. Each code has its sentence in texts.ts. */
export type Code =
  | "file-missing"
  | "file-large"
  | "file-other"
  | "file-damaged"
  | "file-newer"
  | "file-int8"
  | "file-slow"
  | "file-crashed"
  | "image-other"
  | "image-damaged"
  | "image-large"
  | "image-slow"
  | "engine-refused"
  | "engine-missing"
  | "memory"
  | "camera-insecure"
  | "camera-none"
  | "camera-refused"
  | "camera-busy"
  | "camera-lost"
  | "update-broken"
  | "teach-nothing"
  | "teach-memory"
  | "teach-graph"
  | "teach-other"
  | "teach-full"
  | "teach-same"
  | "teach-dark"
  | "teach-category"
  | "teach-slow"
  | "teach-stored"
  | "unexpected";

/** A problem with its code, and what was found, in English. */
export class PageError extends Error {
  constructor(
    readonly code: Code,
    readonly detail = "",
  ) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = "PageError";
  }
}

/** Return the error as a PageError; `code` is that of an error of the browser. */
export function asPageError(error: unknown, code: Code): PageError {
  if (error instanceof PageError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof RangeError || /out of memory|memory allocation|allocation failed/i.test(detail)) {
    return new PageError("memory", detail);
  }
  return new PageError(code, detail);
}
