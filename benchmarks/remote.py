"""`lmedge benchmark --host`: the same benchmark on a remote host, with the report made here.

Figures come back, as JSON and samples that are checked; tables, pages and plots are made here. The
benchmark continues if the connection is lost. The folder made for it on the host is removed after
every end.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmedge import files
from lmedge.errors import HostError, LmedgeError, error_class
from lmedge.evaluation.folders import split_known
from lmedge.harmless import echo
from lmedge.model_file import ModelFile, read_model
from lmedge.remote.host import RemoteHost
from lmedge.remote.link import Link
from lmedge.remote.payload import Payload, megabytes
from lmedge.remote.ssh import Connection
from lmedge.report.terminal import HarmlessConsole

from .pages import write_comparison, write_report
from .received import report_of
from .received_comparison import comparison_of
from .tables import show_comparison, show_report

_log = logging.getLogger(__name__)
_MOST_BYTES = 64 << 20  # of report.json, and of the samples: two million runs
_REPORT = "report"  # name of the folder on the remote host


def default_folder(payload: Payload, host: str) -> Path:
    """Return runs/benchmark-FILE-HOST, so that no report of this machine is replaced."""
    remote = re.sub(r"[^\w.-]+", "-", host.rpartition("@")[2]).strip("-.")
    others = "-and-others" if len(payload.files) > 1 else ""
    return Path("runs") / f"benchmark-{payload.files[0].stem}{others}-{remote}"


def benchmark_there(
    link: Link, payload: Payload, out: Path, python: str | None, *, together: bool
) -> None:
    """Run a benchmark on a remote host and write its report into the folder `out`.

    `python` is the Python there; None looks for one. `together`: a comparison of several files or
    runtimes. Raises HostError if the host refuses, is lost or sends back no report, otherwise the
    error that the same benchmark would raise here.
    """
    # An unusable file is an error before anything is sent.
    models = [read_model(file) for file in payload.files]
    if payload.pictures:
        split_known(models[0].taxonomy, payload.pictures)
    name = "comparison" if together else "report"
    _check_folder(out)
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="lmedge-") as local,
        Connection(link) as connection,
    ):
        packed = Path(local) / "payload"
        packed.mkdir()
        arguments = payload.pack(packed)
        remote = RemoteHost(connection)
        try:
            texts = _measure(remote, packed, [*arguments, "--out", _REPORT], python, name)
        except BaseException as error:
            if not remote.remove() and isinstance(error, HostError):
                raise HostError(f"{error}; {remote.folder} may be left there") from error
            raise
        if not remote.remove():
            _log.warning("%s was lost: %s is left there", remote.host, remote.folder)
        names = _write(remote, name, texts, payload, models, out)
    echo(f"report: {out}: {', '.join(names)}")


def _measure(
    remote: RemoteHost, packed: Path, arguments: list[str], python: str | None, name: str
) -> tuple[str, str]:
    """Send and run; return the text of the JSON of that name, and that of the samples."""
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
    return (
        remote.read(f"{_REPORT}/{name}.json", _MOST_BYTES),
        remote.read(f"{_REPORT}/samples.csv", _MOST_BYTES),
    )


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
    files.check_folder(out)


def _write(
    remote: RemoteHost,
    name: str,
    texts: tuple[str, str],
    payload: Payload,
    models: Sequence[ModelFile],
    out: Path,
) -> list[str]:
    """Check what came back, then make and print here what a benchmark of this machine makes."""
    try:
        if name == "comparison":
            compared = comparison_of(*texts, payload, models)
        else:
            report = report_of(*texts, payload, models[0])
    except HostError as error:
        raise HostError(f"{remote.host}: {error}") from error
    if name == "comparison":
        names = write_comparison(compared, out)
        show_comparison(compared, HarmlessConsole())
    else:
        names = write_report(report, out, payload.pictures_there())
        show_report(report, HarmlessConsole())
    return names


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
