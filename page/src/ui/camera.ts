/** The camera: the rear one first, its frames one at a time, and what may go wrong. */
import { PageError } from "../errors";

type Facing = "environment" | "user";
const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 } };

/** Return true if this page may ask for a camera. */
export function isAvailable(): boolean {
  return window.isSecureContext && navigator.mediaDevices !== undefined;
}

/** Return true if the user allowed the camera before, so that asking shows no question. */
export async function isAllowed(): Promise<boolean> {
  try {
    const status = await navigator.permissions.query({ name: "camera" as PermissionName });
    return status.state === "granted";
  } catch {
    return false;
  }
}

export class Camera {
  private stream: MediaStream | null = null;
  private facing: Facing = "environment";

  /** `lost` is called if the camera goes away. */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly lost: () => void,
  ) {}

  get running(): boolean {
    return this.stream !== null;
  }

  /** Open the camera. Throws a PageError. */
  async start(): Promise<void> {
    this.stop();
    if (!isAvailable()) throw new PageError("camera-insecure");
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: this.facing, ...SIZE },
      });
    } catch (error) {
      throw refusal(error);
    }
    this.stream = stream;
    for (const track of stream.getVideoTracks()) {
      track.onended = () => {
        this.stop();
        this.lost();
      };
    }
    this.video.srcObject = stream;
    this.video.classList.toggle("mirrored", this.facing === "user");
    await this.video.play();
  }

  /** Open the other camera. */
  async turn(): Promise<void> {
    this.facing = this.facing === "environment" ? "user" : "environment";
    await this.start();
  }

  stop(): void {
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.stream = null;
    this.video.srcObject = null;
  }

  /** Return true if there is another camera to turn to. */
  async hasOther(): Promise<boolean> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((one) => one.kind === "videoinput").length > 1;
  }

  /** Wait for the next frame and return it. */
  async frame(): Promise<ImageBitmap | null> {
    await nextFrame(this.video);
    if (this.stream === null || this.video.videoWidth === 0) return null;
    try {
      return await createImageBitmap(this.video, { colorSpaceConversion: "none" });
    } catch {
      return null; // the camera went away meanwhile
    }
  }
}

function nextFrame(video: HTMLVideoElement): Promise<void> {
  return new Promise((resolve) => {
    // A camera that stands still delivers no frame: look again after a while.
    const timer = setTimeout(resolve, 1000);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(done);
    else requestAnimationFrame(done);
  });
}

function refusal(error: unknown): PageError {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return new PageError("camera-refused");
  if (name === "NotReadableError" || name === "AbortError") return new PageError("camera-busy");
  return new PageError("camera-none", name);
}
