"""A headless Chromium that takes images of pages: its DevTools protocol, through a pipe.

Chromium is the system's own, from PATH. A pipe needs no port and no library, and unlike the
switches of the command line the protocol sets widths below 500 pixels and the dark scheme.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from lmedge.errors import MissingDependencyError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SWITCHES = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_SECONDS = 60.0
# It reads from descriptor 3 and writes to 4; either may stand in the other's place at first.
_PLACE = """
import os, sys
for target, source in ((60, 1), (61, 2)):
    os.dup2(int(sys.argv[source]), target)
os.dup2(60, 3)
os.dup2(61, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclasses.dataclass(frozen=True)
class Screen:
    """What a page is shown on: `width` and `height` in CSS pixels, each `scale` pixels wide."""

    width: int
    height: int
    scale: float = 1.0
    dark: bool = False
    phone: bool = False


class Browser:
    """One tab. `image` and `printed` return what the last `open`ed page looks like."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        """`to` and `back` are the file descriptors the browser reads from and writes to."""
        self._process, self._to, self._back = process, to, back
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._call("Page.enable")

    def open(self, url: str, screen: Screen, settle: float = 0.3) -> None:
        """Load a page for `screen`, and wait `settle` seconds after it was loaded."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=screen.scale,
            mobile=screen.phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if screen.dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self._call("Page.navigate", url=url)
        self._wait_for("Page.loadEventFired")
        time.sleep(settle)

    def overflow(self) -> int:
        """Return by how many CSS pixels the page is wider than the screen: 0 where it fits."""
        found = self.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return int(found)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def image(self, *, top: int = 0, height: int | None = None) -> bytes:
        """Return the screen as PNG; with `height` that much of the page, from `top`."""
        if height is None:
            found = self._call("Page.captureScreenshot", format="png")
        else:
            width = self.evaluate("document.documentElement.clientWidth")
            clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
            found = self._call(
                "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
            )
        return base64.b64decode(found["data"])

    def printed(self) -> bytes:
        """Return the page as PDF on A4, backgrounds left out as browsers do."""
        self._call("Emulation.setEmulatedMedia", media="")  # the page's own rules for print
        found = self._call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(found["data"])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._read()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, event: str) -> None:
        while self._read().get("method") != event:
            pass

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._back, 1 << 20)
            if not chunk:
                raise MissingDependencyError("the browser ended; does `chromium --headless` start?")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


def find() -> str:
    """Return the path of a Chromium. Raises MissingDependencyError where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise MissingDependencyError(f"no browser: none of {', '.join(NAMES)} is on PATH; install one")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium with a profile of its own, and end it."""
    command = [find(), *_SWITCHES]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # as root it does not start with one
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        read_by_it, to = os.pipe()
        back, written_by_it = os.pipe()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _PLACE,
                str(read_by_it),
                str(written_by_it),
                *command,
                f"--user-data-dir={profile}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(read_by_it, written_by_it),
        )
        os.close(read_by_it)
        os.close(written_by_it)
        try:
            yield Browser(process, to, back)
        finally:
            os.close(to)
            os.close(back)
            process.terminate()
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
