"""Teach a board over its preview page, as the buttons of the page do; run on the emulated board.

    python3 - show 4 < board_lessons.py                   # another pattern of vivid, which moves
    python3 - begin 'a landmark' 'a category' < board_lessons.py      # a burst, and its name
    python3 - end < board_lessons.py                      # wait for the end of the lesson

It prints lines of JSON, the state of the lesson on the page. Python's own library is enough.
whole_board.py sends this file to the board.
"""

from __future__ import annotations

import fcntl
import json
import struct
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

DEVICE = Path("/dev/video0")
PAGE = "http://127.0.0.1:8000/teach"
TOKEN = Path("/var/lib/lmedge/cache/preview-token")
LOOK = 1.0  # seconds between looks at the page
LONGEST = 1200.0  # seconds for a step of a lesson
# linux/videodev2.h, and drivers/media/test-drivers/vivid/vivid-ctrls.c
_SET_CONTROL = 0xC008561C  # VIDIOC_S_CTRL of struct v4l2_control, two 32-bit numbers
_PATTERN, _ACROSS, _DOWN = 0xF0F000, 0xF0F002, 0xF0F003
_FORWARD = 6  # "Move Right Fast" and "Move Down Fast"


def show(pattern: int, device: Path = DEVICE) -> None:
    """Let vivid show one of its test patterns, and move it as a hand moves a camera."""
    with device.open("rb+", buffering=0) as camera:
        for control, value in ((_PATTERN, pattern), (_ACROSS, _FORWARD), (_DOWN, _FORWARD)):
            fcntl.ioctl(camera, _SET_CONTROL, struct.pack("=Ii", control, value))


def ask(act: dict[str, Any] | None = None) -> dict[str, Any]:
    """Press a button of the page, or only look; return the state of the lesson."""
    request = urllib.request.Request(
        PAGE,
        data=None if act is None else json.dumps(act).encode(),
        headers={"Authorization": f"Bearer {TOKEN.read_text().strip()}"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.loads(answer.read()))


def wait_for(phases: set[str]) -> dict[str, Any]:
    """Return the first state with one of these phases, the last state if none comes."""
    until = time.monotonic() + LONGEST
    state = ask()
    while state["phase"] not in phases and time.monotonic() < until:
        time.sleep(LOOK)
        state = ask()
    return state


def begin(landmark: str, category: str) -> dict[str, Any]:
    """Take a burst and name it; return the state after that."""
    ask({"do": "burst"})
    state = wait_for({"asking", "ready"})
    if state["phase"] == "asking":
        state = ask({"do": "teach", "landmark": landmark, "category": category, "keep": True})
    return state


def end() -> dict[str, Any]:
    """Return the state after the lesson; a burst is asked about again if it failed."""
    return wait_for({"asking", "ready"})


def main(words: list[str]) -> None:
    """Do what the words say, and print the state of the lesson."""
    do, *more = words
    if do == "show":
        show(int(more[0]))
        return
    state = begin(*more) if do == "begin" else end()
    print(json.dumps(state))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
