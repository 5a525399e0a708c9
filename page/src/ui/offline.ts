/** Storing this page for use without a network, and new versions of it. */
import { PageError } from "../errors";
import {
  FRESH,
  readVersion,
  VERSION_FILE,
  type ServiceReply,
  type ServiceRequest,
  type Version,
} from "../version";

export type OfflineState = "insecure" | "missing" | "storing" | "ready";

/** The service worker as the page sees it. */
export class Offline {
  state: OfflineState = "missing";

  /** `changed` is called when the state changes. */
  constructor(private readonly changed: () => void) {}

  /** Register the service worker, and store this version if none is stored. */
  async begin(): Promise<void> {
    if (!("serviceWorker" in navigator) || !window.isSecureContext) return this.set("insecure");
    try {
      await navigator.serviceWorker.register("./service.js", { updateViaCache: "none" });
      await navigator.serviceWorker.ready;
      const reply = await this.ask({ kind: "active" });
      if (reply.kind === "active" && reply.version !== null) {
        this.set("ready");
        await this.ask({ kind: "complete" });
        return;
      }
      await this.store(() => undefined);
      await navigator.storage?.persist?.();
    } catch (error) {
      console.warn("not stored:", error);
      this.set("missing");
    }
  }

  /** Return the version at this address if it is not the one in use, otherwise null. */
  async newer(current: string): Promise<Version | null> {
    if (this.state !== "ready") return null;
    try {
      const response = await fetch(`./${VERSION_FILE}?${FRESH}`, { cache: "no-store" });
      const found = await readVersion(response);
      return found.version === current ? null : found;
    } catch {
      return null; // no network
    }
  }

  /** Load the version at this address whole. Throws a PageError; the old one then stays. */
  async store(progress: (share: number) => void): Promise<void> {
    const before = this.state;
    this.set("storing");
    const reply = await this.ask({ kind: "store" }, progress);
    if (reply.kind === "stored") return this.set("ready");
    this.set(before);
    throw new PageError("update-broken", reply.kind === "broken" ? reply.reason : "");
  }

  private set(state: OfflineState): void {
    this.state = state;
    this.changed();
  }

  private async ask(
    request: ServiceRequest,
    progress?: (share: number) => void,
  ): Promise<ServiceReply> {
    const { active } = await navigator.serviceWorker.ready;
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = (event: MessageEvent<ServiceReply>) => {
        if (event.data.kind === "progress") progress?.(event.data.share);
        else resolve(event.data);
      };
      active?.postMessage(request, [port2]);
    });
  }
}
