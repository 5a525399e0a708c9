"""A real sshd on loopback, and a board behind it: a second Python with the device's packages."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmedge.remote.packing import unpack, write_wheel

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
# What a device has: the packages of pip install lmedge, and theirs.
DEVICE = [
    "numpy",
    "ai-edge-litert",
    "backports-strenum",
    "flatbuffers",
    "click",
    "rich",
    "pygments",
    "markdown-it-py",
    "mdurl",
    "protobuf",
    "tqdm",
    "typing-extensions",
    "ml-dtypes",
]


@dataclasses.dataclass
class Server:
    """A running sshd that lets this user in by key; `options` are what ssh needs to know of it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def options(self, known: str = "known hosts") -> list[str]:
        values = {
            "Port": str(self.port),
            "IdentityFile": str(self.folder / "key"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self.folder / known}"',
            "GlobalKnownHostsFile": "/dev/null",
        }
        return [
            word for key, value in values.items() for word in ("--ssh-option", f"{key}={value}")
        ]

    def children(self) -> list[int]:
        """Return the processes that hold connections."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(word) for word in found.stdout.split()]

    def cut(self) -> None:
        """End every connection as a network does that fails: without a word."""
        for child in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        """End the server itself and every connection: nothing listens any more."""
        children = self.children()  # they have another parent when it is gone
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def left(self) -> list[str]:
        """Return what is still in the board's temporary folder."""
        return sorted(path.name for path in (self.folder / "tmp").iterdir())


@contextlib.contextmanager
def serve(folder: Path, startups: str = "100", **environment: str) -> Iterator[Server]:
    """Start sshd with a host key, a user key and a temporary folder of its own.

    `startups` is its limit of log-ins at a time, `environment` what commands there see besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir()
    for name in ("host", "key", "other"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for known, key in (("known hosts", "host"), ("changed hosts", "other")):
        kind, text, *_ = (folder / f"{key}.pub").read_text().split()
        (folder / known).write_text(f"[127.0.0.1]:{port} {kind} {text}\n")
    (folder / "no hosts").write_text("")
    settings = folder / "sshd_config"
    variables = {"TMPDIR": str(folder / "tmp"), **environment}
    seen = [f'"{name}={value}"' for name, value in variables.items()]
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        f"MaxStartups {startups}\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        f"SetEnv {' '.join(seen)}\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", settings], stderr=subprocess.DEVNULL)
    server = Server(folder, port, process)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError("sshd does not answer")
        yield server
    finally:
        server.stop()
        process.wait()


def board_python(
    folder: Path, *, lmedge: bool = True, packages: bool = True, also: Sequence[str] = ()
) -> Path:
    """Make a virtual environment as a board has it and return its Python.

    Its packages, `also` among them, are links to those that are installed here: no network, no
    minutes.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = (folder / "lib").glob("python3*/site-packages")
    if packages:
        import cv2

        names = [name for name in (*DEVICE, *also) if _installed(name)]
        paths = {path for name in names for path in _top(name)} | {Path(cv2.__file__).parent}
        for path in paths | set(Path(cv2.__file__).parents[1].glob("opencv*")):
            (site / path.name).symlink_to(path)
    if lmedge:
        wheel = write_wheel(folder)
        unpack(wheel, site)
    return folder / "bin" / "python"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _top(name: str) -> set[Path]:
    files = importlib.metadata.distribution(name).files or []
    base = Path(str(importlib.metadata.distribution(name).locate_file("")))
    heads = {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
    return {base / head for head in heads if (base / head).exists()}


def user() -> str:
    """Return this user's name at 127.0.0.1."""
    import getpass

    return f"{getpass.getuser()}@127.0.0.1"


if __name__ == "__main__":  # python -m tests.sshd FOLDER: to try by hand
    with serve(Path(sys.argv[1])) as running:
        print(" ".join(running.options()), board_python(Path(sys.argv[1]) / "board"))  # noqa: T201
        running.process.wait()
