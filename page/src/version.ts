/** app.json, which `lmedge app` writes: the files of this version, and the .tflite among them. */
export interface Version {
  readonly schema: number;
  readonly title: string;
  readonly version: string;
  readonly model: { readonly file: string; readonly name: string; readonly sha256: string };
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
}

export const VERSION_FILE = "app.json";
/** A request with this query is answered by the network and never by what is stored. */
export const FRESH = "fresh";

/** What the page asks of its service worker; the reply comes by the port of the message. */
export type ServiceRequest = { readonly kind: "active" | "complete" | "store" };

export type ServiceReply =
  | { readonly kind: "active"; readonly version: string | null }
  | { readonly kind: "progress"; readonly share: number }
  | { readonly kind: "stored"; readonly version: string }
  | { readonly kind: "broken"; readonly reason: string };

/** Read app.json. Throws if it is none. */
export async function readVersion(response: Response): Promise<Version> {
  if (!response.ok) throw new Error(`${VERSION_FILE}: ${response.status}`);
  const found = (await response.json()) as Partial<Version>;
  if (found.schema !== 1 || !Array.isArray(found.files) || typeof found.version !== "string") {
    throw new Error(`${VERSION_FILE} cannot be used`);
  }
  return found as Version;
}
