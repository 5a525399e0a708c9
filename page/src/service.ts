/**
 * The service worker: the page without a network, and new versions that appear whole or not at all.
 *
 * Each version has a cache of its own. A note in another cache names the active one. It changes
 * after every file of the new version was stored and its SHA-256 compared.
 */
import { isSpare, pathOf, runnable } from "./engine/builds";
import { sha256 } from "./model/sha256";
import {
  FRESH,
  readVersion,
  VERSION_FILE,
  type ServiceReply,
  type ServiceRequest,
  type Version,
} from "./version";

declare const self: ServiceWorkerGlobalScope;

const scope = self.registration.scope;
// Pages of several files may share one origin, and its caches with it.
const PREFIX = `lmedge ${scope} `;
const NOTES = `lmedge-notes ${scope}`;
const ACTIVE = new URL("active-version", scope).href;

self.addEventListener("install", () => void self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const ours = event.request.method === "GET" && event.request.url.startsWith(scope);
  if (ours && !url.searchParams.has(FRESH)) event.respondWith(answer(event.request, url));
});

self.addEventListener("message", (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  const reply = (message: ServiceReply) => port.postMessage(message);
  const request = event.data as ServiceRequest;
  const work = { active: tellActive, complete, store }[request.kind];
  event.waitUntil(work(reply));
});

async function answer(request: Request, url: URL): Promise<Response> {
  const active = await activeVersion();
  if (active !== null) {
    const cache = await caches.open(PREFIX + active);
    const path = url.href === scope ? new URL("index.html", scope).href : url.href;
    const found = await cache.match(path, { ignoreSearch: true });
    if (found !== undefined) return request.mode === "navigate" ? isolating(found, cache) : found;
  }
  return fetch(request);
}

/**
 * Return the stored page with the headers that allow threads, if the build for them is stored too.
 *
 * A host that cannot send them needs not: the second visit is answered from here. The answer is a
 * new one, since browsers refuse a page whose own was redirected.
 */
async function isolating(found: Response, cache: Cache): Promise<Response> {
  const headers = new Headers(found.headers);
  const wasm = new URL(`${pathOf("threaded")}.wasm`, scope).href;
  if (runnable().includes("threaded") && (await cache.match(wasm)) !== undefined) {
    headers.set("Cross-Origin-Opener-Policy", "same-origin");
    headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  }
  return new Response(found.body, { status: found.status, headers });
}

async function activeVersion(): Promise<string | null> {
  const note = await (await caches.open(NOTES)).match(ACTIVE);
  const version = note === undefined ? null : await note.text();
  return version !== null && (await caches.has(PREFIX + version)) ? version : null;
}

type Tell = (message: ServiceReply) => void;

async function tellActive(reply: Tell): Promise<void> {
  reply({ kind: "active", version: await activeVersion() });
}

/** Store what the active version lacks: a newer browser may run another build of the wasm. */
async function complete(reply: Tell): Promise<void> {
  try {
    const active = await activeVersion();
    if (active === null) throw new Error("nothing is stored");
    const cache = await caches.open(PREFIX + active);
    const about = await cache.match(new URL(VERSION_FILE, scope).href);
    if (about === undefined) throw new Error(`no ${VERSION_FILE}`);
    for (const file of needed(await readVersion(about))) {
      const url = new URL(file.path, scope).href;
      if ((await cache.match(url)) === undefined) await cache.put(url, await whole(url, file.sha256, null));
    }
    reply({ kind: "stored", version: active });
  } catch (error) {
    reply({ kind: "broken", reason: error instanceof Error ? error.message : String(error) });
  }
}

/** Return the files of a version but the builds of the wasm that this browser does not use. */
function needed(version: Version): Version["files"] {
  return version.files.filter((file) => !isSpare(file.path));
}

let storing: Promise<string> | null = null;

async function store(reply: Tell): Promise<void> {
  try {
    storing ??= storeNewest((share) => reply({ kind: "progress", share }));
    reply({ kind: "stored", version: await storing });
  } catch (error) {
    reply({ kind: "broken", reason: error instanceof Error ? error.message : String(error) });
  } finally {
    storing = null;
  }
}

async function storeNewest(progress: (share: number) => void): Promise<string> {
  const address = new URL(VERSION_FILE, scope);
  address.searchParams.set(FRESH, "");
  const response = await fetch(address, { cache: "no-store" });
  const version = await readVersion(response.clone());
  const active = await activeVersion();
  const name = PREFIX + version.version;
  if (version.version === active && (await isWhole(name, version))) return version.version;
  try {
    const cache = await caches.open(name);
    await cache.put(new URL(VERSION_FILE, scope).href, response);
    const old = active === null ? null : await caches.open(PREFIX + active);
    const files = needed(version);
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    let done = 0;
    for (const file of files) {
      const url = new URL(file.path, scope).href;
      await cache.put(url, await whole(url, file.sha256, old));
      done += file.bytes;
      progress(done / total);
    }
  } catch (error) {
    if (version.version !== active) await caches.delete(name);
    throw error;
  }
  await (await caches.open(NOTES)).put(ACTIVE, new Response(version.version));
  for (const other of await caches.keys()) {
    if (other.startsWith(PREFIX) && other !== name) await caches.delete(other);
  }
  return version.version;
}

async function isWhole(name: string, version: Version): Promise<boolean> {
  const cache = await caches.open(name);
  for (const file of needed(version)) {
    const found = await cache.match(new URL(file.path, scope).href);
    if (found === undefined || (await hash(found)) !== file.sha256) return false;
  }
  return true;
}

/** Return a file with the given SHA-256: the stored one, or the host's, past old copies. */
async function whole(url: string, wanted: string, old: Cache | null): Promise<Response> {
  const stored = await old?.match(url);
  if (stored !== undefined && (await hash(stored.clone())) === wanted) return stored;
  for (const cache of ["no-cache", "reload"] as const) {
    const response = await fetch(url, { cache });
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    if ((await hash(response.clone())) === wanted) return response;
  }
  throw new Error(`${url}: its checksum does not match`);
}

async function hash(response: Response): Promise<string> {
  return sha256(new Uint8Array(await response.arrayBuffer()));
}
