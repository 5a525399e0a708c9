"""Things that happen to boards, in scenarios that can be chosen, for the emulated board.

Each event does one thing through ssh or `lmedge deploy`, and returns its end. Every remote command
is for the image of `board_image`: Debian with bash, systemd and a store in STORE, as root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lmedge.deploy.signing import SecretKey

from . import board_offers
from .board_machine import LOOK, NO_FRAMES, STORE, Event, Machine, last_step
from .lesson_events import TAUGHT, LessonEvents

FIRST, SECOND = "deploy the first file", "deploy the second file"
SCENARIOS = (
    *("deploy", "cuts", "refused", "camera", "hang", "disk", "signed", "wheelhouse", "offers"),
    "lesson",
)
# The brackets keep the shell, whose command line holds the pattern, from being found.
CAMERA, KEEPER = "pgrep -f '[l]medge camera'", "pgrep -f '[l]medge board keep'"
_VIVID = "/sys/bus/platform/drivers/vivid"
# What users may write: the reserve of root stays, so that the journal goes on.
_FILL = (
    'fallocate -l "$(df --output=avail -B1 / | tail -1)" /full; sync; '
    "df -m --output=avail / | tail -1"
)
_UNSIGNED = f"""\
cd {STORE}/releases || exit 1
for name in *; do
  [ -e "$name/release.json" ] && ! ls "$name" | grep -q minisig || continue
  ln -sfn "releases/$name" ../current && chown -h lmedge ../current
  systemctl --no-block restart lmedge; echo "$name"; exit 0
done
echo none
"""
# The service has the camera: it is stopped meanwhile.
_OFFERS = f"""\
place=$(readlink -f {STORE}/keeper)
python=/usr/bin/python3
[ -d "$place/packages" ] && export PYTHONPATH="$place/packages" || python="$place/venv/bin/python"
systemctl stop lmedge
cd /tmp && "$python" - /dev/video0 <<'END'
{{program}}
END
systemctl --no-block start lmedge
"""
_RUN = f"LMEDGE_CACHE=/tmp/cache {STORE}/keeper/run"
_SOURCE = f"{STORE}/current/*.tflite --source /dev/video0 --threads 1 --headless --frames 1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardEvents:
    """The events on one board with two files.

    Attributes:
        machine: The board.
        first: A .tflite file.
        second: Another one.
        taught: One that remembers its photographs, for the lessons.
        cuts: Number of pulled plugs.
        seed: Seed of their times.
        rows: Function that returns the number of rows so far, which the times depend on.
        release: Function that returns the release in use, by the rows.
        span: Function that returns the seconds of an event, by the rows.
    """

    machine: Machine
    first: Path
    second: Path
    taught: Path
    cuts: int = 20
    seed: int = 0
    rows: Callable[[], int]
    release: Callable[[], str]
    span: Callable[[str], float]

    def scenario(self, name: str) -> Iterator[Event]:
        """Yield the events of one of the SCENARIOS, in their order."""
        yield from getattr(self, f"_{name}")()

    def _deploy(self) -> Iterator[Event]:
        machine, first = self.machine, self.first
        yield Event(name=FIRST, act=lambda: machine.deploy(first))
        yield Event(name="deploy it again", act=lambda: machine.deploy(first))
        yield Event(name="reboot", act=self.reboot)
        yield Event(name=SECOND, act=lambda: machine.deploy(self.second))

    def _cuts(self) -> Iterator[Event]:
        for _ in range(self.cuts // 2):
            yield Event(name="plug pulled in service", act=self.cut_in_service)
            yield Event(name="plug pulled in a deployment", act=self.cut_in_deployment)

    def _refused(self) -> Iterator[Event]:
        machine, first, second = self.machine, self.first, self.second
        slow = ("--budget-ms", "0.01")
        yield Event(name="deploy one over its budget", act=lambda: machine.deploy(first, *slow))
        yield Event(name="roll back by hand", act=self.roll_back)
        yield Event(
            name="deploy one that gives too few frames",
            act=lambda: machine.deploy(second, board="demanding"),
        )

    def _camera(self) -> Iterator[Event]:
        yield Event(name="camera away for a minute", act=self.camera_away)
        yield Event(name="camera module removed and loaded", act=self.camera_module)

    def _hang(self) -> Iterator[Event]:
        both = f"{CAMERA}; {KEEPER}"
        yield Event(name="camera process stopped", act=lambda: self.stop(CAMERA))
        yield Event(name="keeper and camera process stopped", act=lambda: self.stop(both))

    def _disk(self) -> Iterator[Event]:
        machine = self.machine
        keeping = "keeping"
        yield Event(
            name="collect and record", act=lambda: machine.deploy(self.first, board=keeping)
        )
        yield Event(name="full disk", act=self.fill)
        yield Event(
            name="deploy to a full disk", act=lambda: machine.deploy(self.second, board=keeping)
        )
        yield Event(name="free disk", act=self.free)

    def _signed(self) -> Iterator[Event]:
        machine, first, second = self.machine, self.first, self.second
        yield Event(name="deploy a signed file with its key", act=self.sign)
        yield Event(
            name="deploy an unsigned file", act=lambda: machine.deploy(self.unsigned(first))
        )
        yield Event(name="current names an unsigned release, restart", act=self.name_unsigned)
        yield Event(
            name="signature replaced by a wrong one, restart", act=self.forge, state=NO_FRAMES
        )
        yield Event(
            name="deploy the signed file again", act=lambda: machine.deploy(self.signed(second))
        )
        yield Event(name="public key removed by hand", act=self.forget_key)

    def _wheelhouse(self) -> Iterator[Event]:
        yield Event(name="deploy with a wheelhouse", act=self.wheelhouse)

    def _offers(self) -> Iterator[Event]:
        # With the lmedge of now, also on a board that an earlier one has served.
        yield Event(name="deploy to list cameras", act=lambda: self.machine.deploy(self.first))
        yield Event(name="camera --list", act=self.list_cameras)
        nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups env"
        for name, words in (
            ("camera --list without permission", f"{nobody} {_RUN} camera --list"),
            ("a size that is not offered", f"{_RUN} camera {_SOURCE} --size 333x222"),
            ("a camera that the service has", f"{_RUN} camera {_SOURCE}"),
        ):
            yield Event(name=name, act=lambda words=words: self.last_line(words))  # type: ignore[misc]
        yield Event(name="images in each format and size", act=self.offers)

    def _lesson(self) -> Iterator[Event]:
        lessons = LessonEvents(
            machine=self.machine,
            file=self.taught,
            chance=self.chance,
            release=self.release,
            span=lambda: self.span(TAUGHT),
        )
        yield from lessons.events()

    def reboot(self) -> str:
        """Start the system anew, and wait until it is another boot."""
        asked = "cat /proc/sys/kernel/random/boot_id"
        before = self.machine.ssh(asked)
        self.machine.ssh("systemctl reboot")
        until = time.monotonic() + self.machine.patience
        while self.machine.ssh(asked) in {before, None} and time.monotonic() < until:
            time.sleep(LOOK)
        return ""

    def roll_back(self) -> str:
        """Go back by hand."""
        process = self.machine.lmedge("-q", "fleet", "rollback", str(self.machine.fleet()), "--all")
        output, errors = process.communicate()
        return (output or errors).strip()

    def cut_in_service(self) -> str:
        """Pull the plug within a minute."""
        time.sleep(self.chance().uniform(0, 60))
        self.machine.pull_the_plug()
        self.machine.start()
        return ""

    def cut_in_deployment(self) -> str:
        """Pull the plug while the other file is deployed; return the step that was cut."""
        from lmedge.model_file import read_model

        runs_second = self.release() and read_model(self.second).sha256.startswith(self.release())
        file = self.first if runs_second else self.second
        process = self.machine.start_deployment(file, "--give-up", "5")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.chance().uniform(0, 1.05 * self.span(SECOND)))
        self.machine.pull_the_plug()
        _, errors = process.communicate()
        self.machine.start()
        return last_step(errors)

    def chance(self) -> random.Random:
        """Return the dice of the next row, the same if a second call goes on."""
        return random.Random(f"{self.seed} {self.rows()}")

    def camera_away(self) -> str:
        """Take the driver away for a minute."""
        script = f"echo vivid.0 >{_VIVID}/unbind; sleep 60; echo vivid.0 >{_VIVID}/bind; echo bound"
        return (self.machine.ssh(script, self.machine.patience) or "no answer").strip()

    def camera_module(self) -> str:
        """Remove the module of the camera and load it again; a module in use is only bound again.

        The camera of a board is in use: it is unbound first, as by a cable that is pulled.
        """
        script = (
            f"echo vivid.0 >{_VIVID}/unbind; sleep 20; "
            "if modprobe -r vivid; then sleep 20; modprobe vivid && echo loaded; "
            f"else echo vivid.0 >{_VIVID}/bind; echo 'in use, bound again'; fi"
        )
        return (self.machine.ssh(script, self.machine.patience) or "no answer").strip()

    def stop(self, processes: str) -> str:
        """Stop processes as a driver that hangs would, and wait for what ends them."""
        mark = self.machine.mark()
        before = self.machine.ssh(f"kill -STOP $({processes}); {CAMERA}")
        until = time.monotonic() + self.machine.stall + self.machine.patience
        while time.monotonic() < until:
            time.sleep(LOOK)
            now = self.machine.ssh(CAMERA)
            if now and now != before:
                break
        return self.machine.journal("no frame was classified|[Ww]atchdog timeout", mark)

    def fill(self) -> str:
        """Fill the disk, and wait for what recording and collecting tell about it."""
        mark = self.machine.mark()
        left = (self.machine.ssh(_FILL, self.machine.patience) or "?").strip()
        lines = self.machine.journal("recording pauses|collecting pauses", mark, 2)
        return f"{left} MB left; {lines}"

    def free(self) -> str:
        """Remove what filled the disk, and wait until collecting and recording go on."""
        mark = self.machine.mark()
        self.machine.ssh("rm -f /full; sync", self.machine.patience)
        return self.machine.journal("recording goes on|collect: goes on", mark, 2)

    def sign(self) -> str:
        """Sign copies of the files, and deploy the second so that the board learns the key."""
        key = SecretKey.make()
        public = self.machine.folder / "museum.pub"
        public.write_text(key.public.text())
        for file in (self.first, self.second):
            copy = self.signed(file)
            signature = copy.with_name(copy.name + ".minisig")
            signature.write_text(key.sign(copy.read_bytes(), copy.name))
        return self.machine.deploy(self.signed(self.second), "--key", str(public))

    def signed(self, file: Path) -> Path:
        """Return the copy of a file that is signed."""
        folder = self.machine.folder / "signed"
        folder.mkdir(exist_ok=True)
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
        return folder / file.name

    def unsigned(self, file: Path) -> Path:
        """Return a copy of a file without a signature."""
        folder = self.machine.folder / "unsigned"
        folder.mkdir(exist_ok=True)
        return Path(shutil.copy(file, folder))

    def name_unsigned(self) -> str:
        """Let `current` name a release from before the key, as somebody at the board could."""
        mark = self.machine.mark()
        name = (self.machine.ssh(_UNSIGNED, self.machine.patience) or "?").strip()
        if len(name) < 12:
            return f"unsigned release: {name}"
        return f"{name[:12]} named; " + self.machine.journal("is not signed", mark)

    def forge(self) -> str:
        """Replace the signature of the current release by one of another key, and restart."""
        forged = SecretKey.make().sign(self.signed(self.second).read_bytes(), "forged")
        mark = self.machine.mark()
        self.machine.ssh(
            f"cd {STORE}/current/ && printf %s '{forged}' >\"$(echo *.minisig)\" && "
            "systemctl --no-block restart lmedge",
            self.machine.patience,
        )
        return self.machine.journal("signed by", mark)

    def forget_key(self) -> str:
        """Remove the public key that the board has learned, so that other events go on."""
        self.machine.ssh(f"rm -f {STORE}/trusted.pub")
        return ""

    def wheelhouse(self) -> str:
        """Deploy to a Python without packages; the board reaches no index."""
        self.machine.make_bare_python()
        house = str(self.machine.folder / "wheelhouse")
        return self.machine.deploy(self.signed(self.second), "--wheelhouse", house, board="bare")

    def list_cameras(self) -> str:
        """List the cameras in the emulator; the whole list is kept in cameras.jsonl."""
        script = f"{_RUN} camera --list --json"
        text = self.machine.ssh(script, self.machine.patience) or ""
        (self.machine.folder / "cameras.jsonl").write_text(text)
        return "; ".join(_camera(json.loads(line)) for line in text.splitlines()) or "no answer"

    def last_line(self, words: str) -> str:
        """Return the last line that a command prints there."""
        text = (
            self.machine.ssh(f"cd /tmp; {words} 2>&1; true", self.machine.patience) or "no answer"
        )
        return text.strip().splitlines()[-1] if text.strip() else "no message"

    def offers(self) -> str:
        """Take images in each format and size; the lines are kept in offers.jsonl."""
        program = Path(board_offers.__file__).read_text("utf-8")
        script = _OFFERS.replace("{program}", program)
        text = self.machine.ssh(script, 4 * self.machine.patience) or ""
        (self.machine.folder / "offers.jsonl").write_text(text)
        return board_offers.summary(text) if text else "no answer"


def _camera(found: dict) -> str:  # type: ignore[type-arg]
    """Return one camera of `lmedge camera --list --json` in a line."""
    formats = found["formats"]
    readable = [one for one in formats if one["readable"]]
    sizes = dict.fromkeys(
        "x".join(map(str, size["most"])) for one in readable for size in one["sizes"]
    )
    return (
        f"{found['source']} {found['name']}: {len(formats)} formats, {len(readable)} readable; "
        f"{', '.join(sizes)}"
    )
