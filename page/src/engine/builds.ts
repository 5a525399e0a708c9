/** The builds of LiteRT.js's wasm, and those that this browser can run. */
export type Build = "threaded" | "relaxed" | "compat";

/** More threads gain little: a phone has at most about four fast cores. */
export const MOST_THREADS = 4;
/** Address of the folder with LiteRT.js's files, from the page's own. */
export const FOLDER = "litert/";

const FILES: Readonly<Record<Build, string>> = {
  threaded: "litert_wasm_threaded_internal",
  relaxed: "litert_wasm_internal",
  compat: "litert_wasm_compat_internal",
};
/** A module with i8x16.relaxed_swizzle, which no browser without relaxed SIMD validates. */
const RELAXED = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0],
  ...[65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
];
/** A module with a shared memory and i32.atomic.load. */
const ATOMIC = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1],
  ...[10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11],
];

/** Return the path of a build's loader and wasm without their suffix. */
export function pathOf(build: Build): string {
  return `${FOLDER}${FILES[build]}`;
}

/** Return the builds that this browser can run, the fastest first; threads need isolation too. */
export function runnable(): Build[] {
  if (typeof WebAssembly === "undefined") return [];
  if (!WebAssembly.validate(new Uint8Array(RELAXED))) return ["compat"];
  const threads = threadCount() > 1 && WebAssembly.validate(new Uint8Array(ATOMIC));
  return threads ? ["threaded", "relaxed", "compat"] : ["relaxed", "compat"];
}

/** Return the number of threads for the threaded build. */
export function threadCount(): number {
  return Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
}

/** Return true if a file of the page is a build that this browser does not need offline. */
export function isSpare(path: string): boolean {
  const builds = runnable();
  const kept = builds.filter((build) => build !== "compat" || builds.length === 1);
  return path.startsWith(`${FOLDER}litert_`) && !kept.some((build) => path.startsWith(`${pathOf(build)}.`));
}
