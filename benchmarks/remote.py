"""`lmedge benchmark --host`: the same benchmark on a remote host, with the report copied here.

The benchmark continues if the connection is lost. The folder made for it on the host is removed
after every end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lmedge import files
from lmedge.errors import HostError, LmedgeError, error_class
from lmedge.harmless import echo, harmless
from lmedge.model_file import read_model
from lmedge.remote.host import RemoteHost
from lmedge.remote.payload import Payload, megabytes
from lmedge.remote.ssh import Connection, Link

_log = logging.getLogger(__name__)
_NAMES = re.compile(
    r"(report|comparison)\.(json|csv|html|md)|samples\.csv|pareto\.(png|svg)"
    r"|plots/[a-z_-]{1,40}\.(png|svg)"
)
_MOST_BYTES = 256 << 20
_REPORT = "report"  # name of the folder on the remote host


def default_folder(payload: Payload, host: str) -> Path:
    """Return runs/benchmark-FILE-HOST, so that no report of this machine is replaced."""
    remote = re.sub(r"[^\w.-]+", "-", host.rpartition("@")[2]).strip("-.")
    others = "-and-others" if len(payload.files) > 1 else ""
    return Path("runs") / f"benchmark-{payload.files[0].stem}{others}-{remote}"


def benchmark_there(link: Link, payload: Payload, out: Path, python: str | None) -> None:
    """Run a benchmark on a remote host and put its report into the folder `out`.

    `python` is the Python there; None looks for one. Raises HostError if the host refuses or is
    lost, otherwise the error that the same benchmark would raise here.
    """
    for file in payload.files:
        read_model(file)  # an unusable file is an error before anything is sent
    _check_folder(out)
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="lmedge-") as local,
        Connection(link) as connection,
    ):
        packed, report = Path(local) / "payload", Path(local) / "report"
        packed.mkdir()
        report.mkdir()
        arguments = payload.pack(packed)
        remote = RemoteHost(connection)
        try:
            names = _measure(remote, packed, [*arguments, "--out", _REPORT], python)
            connection.fetch(f"{remote.folder}/{_REPORT}", report, rsync=remote.rsync)
        except BaseException as error:
            if not remote.remove() and isinstance(error, HostError):
                raise HostError(f"{error}; {remote.folder} may be left there") from error
            raise
        if not remote.remove():
            _log.warning("%s was lost: %s is left there", remote.host, remote.folder)
        _place(report, out)
    echo(f"report: {out}: {names}")


def _measure(remote: RemoteHost, packed: Path, arguments: list[str], python: str | None) -> str:
    """Send, run and print the table; return the names of the report's files."""
    _log.info("connecting to %s", remote.host)
    interpreter = remote.prepare(python)
    remote.outfit(interpreter, packed)
    _log.info("sending %.1f MB", megabytes(packed))
    remote.connection.send(packed, remote.folder, rsync=remote.rsync)
    if interpreter.rank == 2:
        _log.info("installing lmedge there, for the time of the benchmark")
    ready = remote.install(interpreter)
    _log.info("measuring on %s", remote.host)
    remote.start(ready, arguments, shutil.get_terminal_size().columns)
    code = remote.wait()
    if code:
        raise _failure(remote, code)
    table, _, names = remote.printed("output").rpartition(f"report: {_REPORT}: ")
    echo(table, nl=False)
    if "report.html" not in names and "comparison.json" not in names:
        _log.info("no pages and plots: the Python there has no jinja2 and matplotlib")
    return names.strip()


def _failure(remote: RemoteHost, code: int) -> LmedgeError:
    """Return the error of the command there: its line, and the class of its exit code."""
    lines = [line.strip() for line in remote.printed("errors").splitlines()]
    message = next((line for line in reversed(lines) if line), "no message")
    message = message.removeprefix("lmedge: ").removeprefix("Error: ")
    kind = error_class(code) or HostError
    return kind(f"{remote.host}: {message}")


def _check_folder(out: Path) -> None:
    """Raise LmedgeError before anything is sent if a report cannot be written to `out`."""
    if out.exists() and not out.is_dir():
        raise LmedgeError(f"{out} is a file; name another folder with --out")
    new = not out.exists()
    files.check_writable(out / "report.json")
    if new:
        out.rmdir()


def _place(report: Path, out: Path) -> None:
    """Move the files that came back to `out`; older files of other names stay.

    Raises HostError for a file that no report has, that is too large, or that is not JSON.
    """
    _check(report)
    for path in sorted(report.rglob("*")):
        if path.is_file() and not path.is_symlink():
            files.write_bytes(out / path.relative_to(report), path.read_bytes())


def _check(report: Path) -> None:
    total = 0
    for path in sorted(report.rglob("*")):
        name = path.relative_to(report).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if not _NAMES.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise HostError(f"the report has a file {harmless(name)!r}, which no report has")
        total += path.stat().st_size
        if total > _MOST_BYTES:
            raise HostError(f"the report is larger than {_MOST_BYTES >> 20} MiB")
        if path.suffix == ".json":
            try:
                content = json.loads(path.read_bytes(), parse_constant=_no_number)
            except (ValueError, RecursionError) as error:
                raise HostError(f"the report's {name} is damaged ({error})") from error
            if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
                raise HostError(f"the report's {name} is not what `lmedge benchmark` writes")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this as Ctrl-C does, after the folder there is removed."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    kept = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
