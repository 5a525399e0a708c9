/** What the page and its worker send each other. */
import type { Code } from "../errors";
import type { Prediction } from "../labels/decoding";
import type { ModelFacts } from "../model/file";
import type { Verification } from "../model/golden";
import type { Lesson, Taught } from "../teach/lesson";

export interface StartRequest {
  readonly kind: "start";
  readonly id: number;
  /** LiteRT.js's wasm. */
  readonly module: WebAssembly.Module;
  /** Address of its loader, which is the script of the threads. */
  readonly loader: string;
  readonly threads: number;
}

export interface LoadRequest {
  readonly kind: "load";
  readonly id: number;
  readonly data: ArrayBuffer;
  readonly name: string;
  /** Number of threads; null measures one against the most and takes the faster. */
  readonly threads: number | null;
}

export interface ClassifyRequest {
  readonly kind: "classify";
  readonly id: number;
  /** A frame of the camera, or the bytes of an image. */
  readonly source: ImageBitmap | Blob;
  /** Time of a frame in its stream; null for an image, which is not smoothed. */
  readonly seconds: number | null;
  /** Return the bytes of the network's input and its outputs too. */
  readonly detail?: boolean;
}

/** Prepare a frame, or the bytes of an image, for a lesson. */
export interface LookRequest {
  readonly kind: "look";
  readonly id: number;
  readonly source: ImageBitmap | Blob;
}

export interface TeachRequest extends Lesson {
  readonly kind: "teach";
  readonly id: number;
}

export interface ResetRequest {
  readonly kind: "reset";
  readonly id: number;
}

export type Request =
  | StartRequest
  | LoadRequest
  | ClassifyRequest
  | LookRequest
  | TeachRequest
  | ResetRequest;

export interface Loaded {
  readonly facts: ModelFacts;
  readonly verification: Verification | null;
  readonly milliseconds: number;
  /** Threads that an image is computed with. */
  readonly threads: number;
  /** Time of an image with several threads against one; null if that was not measured. */
  readonly ratio: number | null;
}

export interface Classified {
  readonly prediction: Prediction;
  /** From the decoded image to the prediction. */
  readonly milliseconds: number;
  readonly detail?: {
    readonly input: Uint8Array;
    readonly outputs: Readonly<Record<string, Float32Array>>;
  };
}

export interface Looked {
  /** The network's input. */
  readonly input: Uint8Array<ArrayBuffer>;
  /** The whole image as JPEG. */
  readonly jpeg: Blob;
}

export type Result = Loaded | Classified | Looked | Taught | null;

export type Reply =
  | { readonly id: number; readonly result: Result }
  | { readonly id: number; readonly code: Code; readonly detail: string; readonly fatal: boolean };
