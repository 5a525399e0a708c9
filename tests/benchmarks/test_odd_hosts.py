"""What a remote host prints and sends back: bounded, checked, and one line if it is odd."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from lmedge.benchmarks.pages import write_comparison, write_report
from lmedge.benchmarks.received import report_of
from lmedge.benchmarks.received_comparison import comparison_of
from lmedge.errors import HostError
from lmedge.evaluation.folders import scan
from lmedge.model_file import read_model
from lmedge.remote.host import RemoteHost
from lmedge.remote.link import Link
from lmedge.remote.payload import Payload
from lmedge.remote.ssh import Connection
from tests.in_process import lmedge
from tests.tiny_file import TAXONOMY, image

PYTHON = {"path": "/usr/bin/python3", "version": [3, 11], "missing": [], "lmedge": None}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteHost:
    """A host behind an ssh that prints the file `answer`."""
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\nread mark\necho "$mark" | sed "s/^echo //"\ncat >/dev/null\n'
        f"cat {tmp_path / 'answer'}\n"
    )
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return RemoteHost(Connection(Link(host="board", patience=0.0)))


def answer(tmp_path: Path, data: bytes | str) -> None:
    (tmp_path / "answer").write_bytes(data if isinstance(data, bytes) else data.encode())


class TestWords:
    @pytest.mark.parametrize("text", ["", "\n", "a\n", "/etc\nrsync\n", "\x1b[2J\n\x9b\n", "ÿ" * 9])
    def test_the_first_script(self, host: RemoteHost, tmp_path: Path, text: str) -> None:
        answer(tmp_path, text)
        with pytest.raises(HostError, match="first script") as caught:
            host.prepare(None)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "found",
        [
            "no json",
            "[" * 100_000,
            json.dumps(None),
            json.dumps({**PYTHON, "version": ["3", "11"]}),
            json.dumps({**PYTHON, "version": [True, 3]}),
            json.dumps({**PYTHON, "path": 5}),
            json.dumps({**PYTHON, "path": "a\nb"}),
            json.dumps({**PYTHON, "missing": ["\x1b[2J"]}),
            json.dumps({**PYTHON, "lmedge": ["0.1"]}),
        ],
    )
    def test_its_pythons(self, host: RemoteHost, tmp_path: Path, found: str) -> None:
        answer(tmp_path, f"/var/tmp/{host._name}\nscp\n{found}\n")
        with pytest.raises(HostError, match="probe of Python") as caught:
            host.prepare(None)
        assert len(str(caught.value)) < 500

    def test_a_good_one(self, host: RemoteHost, tmp_path: Path) -> None:
        answer(tmp_path, f"/var/tmp/{host._name}\nscp\n{json.dumps(PYTHON)}\n")
        assert host.prepare(None).path == "/usr/bin/python3"

    @pytest.mark.parametrize("state", ["", "²", "٣", "-1", "1\n2", "12345678"])
    def test_the_end(self, host: RemoteHost, tmp_path: Path, state: str) -> None:
        answer(tmp_path, state)
        with pytest.raises(HostError, match="was ended there"):
            host.wait()

    def test_words_without_end(
        self, host: RemoteHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmedge.remote.ssh._MOST_OUTPUT", 1 << 16)
        (tmp_path / "answer").symlink_to("/dev/zero")
        with pytest.raises(HostError, match="sent more than"):
            host.prepare(None)

    def test_a_host_that_never_ends(
        self, host: RemoteHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmedge.remote.host._LONGEST", 0.0)
        answer(tmp_path, "running")
        with pytest.raises(HostError, match="has not ended within"):
            host.wait()

    def test_a_file_without_end(self, host: RemoteHost, tmp_path: Path) -> None:
        (tmp_path / "answer").symlink_to("/dev/zero")
        with pytest.raises(HostError, match="sent more than"):
            host.read("report/report.json", 1 << 20)


SCRIPT = "<script>alert(1)</script>"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def payload(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Payload:
    """A file and photographs: one in the folder of another landmark, one that cannot be read."""
    folder = tmp_path_factory.mktemp("payload")
    data, unknown = folder / "photographs", folder / "strangers"
    unknown.mkdir()
    for landmark in TAXONOMY.landmarks:
        inside = data / TAXONOMY.category_of(landmark) / landmark
        inside.mkdir(parents=True)
        cv2.imwrite(str(inside / "0.jpg"), image(landmark)[..., ::-1])
    red, green = sorted(data.glob("*/*"))[:2]
    shutil.copy(red / "0.jpg", green / "wrong.jpg")
    shutil.copy(red / "0.jpg", unknown)
    (green / "broken.jpg").write_bytes(b"no image")
    return Payload(files=(tiny_file,), data=data, pictures=scan(data), unknown=unknown)


@pytest.fixture(scope="module")
def board(payload: Payload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a board that runs this payload."""
    folder = tmp_path_factory.mktemp("board")
    words = payload.pack(folder)
    done = lmedge("benchmark", *words, "--runs", 10, "--out", "report", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "report"


@pytest.fixture
def answered(board: Path) -> tuple[dict[str, Any], str]:
    """What it sends back: report.json, and samples.csv as text."""
    return json.loads((board / "report.json").read_text()), (board / "samples.csv").read_text()


def put(*path: str | int, value: Any) -> Change:
    """Return a change of one value in a report."""

    def change(report: dict[str, Any]) -> None:
        inside: Any = report
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value

    return change


CHANGES: list[Change] = [
    put("schema", value=3),
    put("page", value=SCRIPT),
    put("file", "sha256", value="0" * 64),
    put("file", "name", value=SCRIPT),
    put("file", "operators", 0, "operator", value=SCRIPT),
    put("environment", "processor", value=["x"]),
    put("environment", "platform", value="x" * 10_000),
    put("environment", "cores", value=True),
    put("environment", "load_average", value=[1.0, 2.0]),
    put("data", "path", value="/etc"),
    put("data", value=None),
    put("accuracy", value=None),
    put("accuracy", "strangers", value=None),
    put("accuracy", "landmark", "macro_f1", value=SCRIPT),
    put("accuracy", "landmark", "macro_f1", value=0.5),
    put("accuracy", "landmark", "n", value=10**400),
    put("accuracy", "landmark", "classes", SCRIPT, value={}),
    put("accuracy", "recall_interval", value={SCRIPT: [0, 1]}),
    put("accuracy", "conflict_rate", value=float("inf")),
    put("accuracy", "conflict_rate", value=10**400),
    put("accuracy", "confusions", 0, "said", value=SCRIPT),
    put("accuracy", "mistakes", 0, "said", value=SCRIPT),
    put("accuracy", "mistakes", 0, "path", value="/etc/passwd"),
    put("accuracy", "mistakes", 0, "path", value="photographs/../secret.jpg"),
    put("accuracy", "mistakes", 0, "probability", value="0.5"),
    put("accuracy", "rejection", value=[]),
    put("accuracy", "calibration", "together", "bins", value=[{}] * 16),
    put("accuracy", "skipped", "unreadable", 0, "path", value=SCRIPT),
    put("accuracy", "skipped", "unreadable", value={}),
    put("accuracy", "matrices", "landmark", value=[[0, 0, 1 << 60]]),
    put("accuracy", "matrices", "landmark", 0, value=[0, 99, 2]),
    put("accuracy", "matrices", "landmark", 0, value=[-1, 0, 2]),
    put("accuracy", "matrices", "category_alone", value=[[0, 0, 9]]),
    put("latency", "runs", value=11),
    put("latency", "threads", value=0),
    put("latency", "invoke_ms", "p50", value=0),
    put("latency", "load_ms", value=-1),
    put("latency", "stages_ms", SCRIPT, value={}),
    put("latency", "stages_ms", "decode", value=None),
    put("latency", "sweep", value=[]),
    put("latency", "sweep", 0, "threads", value=SCRIPT),
    put("latency", "peak_mb", value=SCRIPT),
    put("latency", "conditions", "before", "throttled", value=1.5),
    put("latency", "noisy", value=[SCRIPT]),
]


class TestReports:
    def test_an_honest_one(
        self, payload: Payload, board: Path, answered: tuple[dict[str, Any], str], tmp_path: Path
    ) -> None:
        """The same files as there, and its pages show the image that is wrong."""
        pytest.importorskip("jinja2")
        report, samples = answered
        model, out = read_model(payload.files[0]), tmp_path / "out"
        made = report_of(json.dumps(report), samples, payload, model)
        write_report(made, out, payload.pictures_there())
        for name in ("report.json", "report.csv", "samples.csv", "report.md", "report.html"):
            assert (out / name).read_text() == (board / name).read_text(), name
        assert "data:image/jpeg" in (out / "report.html").read_text()

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_hostile_one(
        self, payload: Payload, answered: tuple[dict[str, Any], str], change: Change
    ) -> None:
        report, samples = answered
        change(report)
        with pytest.raises(HostError, match="no report of lmedge") as caught:
            report_of(json.dumps(report), samples, payload, read_model(payload.files[0]))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("path", ["environment", "latency", "accuracy.matrices"])
    def test_one_of_another_version(
        self, payload: Payload, answered: tuple[dict[str, Any], str], path: str
    ) -> None:
        report, samples = answered
        *above, name = path.split(".")
        del (report[above[0]] if above else report)[name]
        with pytest.raises(HostError, match=f"{path} is missing; install this version there"):
            report_of(json.dumps(report), samples, payload, read_model(payload.files[0]))

    @pytest.mark.parametrize("text", ["", "[]", "{}", "x", '{"schema": NaN}', "[" * 99_999])
    def test_no_json(self, payload: Payload, text: str) -> None:
        model = read_model(payload.files[0])
        with pytest.raises(HostError, match="no report of lmedge"):
            report_of(text, "", payload, model)
        with pytest.raises(HostError, match="no report of lmedge"):
            comparison_of(text, "", payload, [model])

    def test_odd_samples(self, payload: Payload, answered: tuple[dict[str, Any], str]) -> None:
        report, samples = answered
        model = read_model(payload.files[0])
        head, first, rest = samples.split("\n", 2)
        for rows in ("1\n", "nan,1\n", "1,inf\n", "0,1\n", "-1,1\n", "1,2,3\n", "1,x\n"):
            with pytest.raises(HostError, match=r"samples\.csv has no 2 columns"):
                report_of(json.dumps(report), f"{head}\n{rest}{rows}", payload, model)
        with pytest.raises(HostError, match=r"samples\.csv has no 2 columns"):
            report_of(json.dumps(report), f"{head}\n", payload, model)
        with pytest.raises(HostError, match="does not follow"):
            report_of(json.dumps(report), f"{head}\n{first}\n{first}\n", payload, model)

    def test_no_markup_or_escape_reaches_a_page(
        self, payload: Payload, answered: tuple[dict[str, Any], str], tmp_path: Path
    ) -> None:
        """Every text that a board is free to choose."""
        pytest.importorskip("jinja2")
        report, samples = answered
        hostile = f"\x1b[2J{SCRIPT}\u202e"
        for name in ("python", "platform", "processor", "runtime", "lmedge", "numpy", "opencv"):
            report["environment"][name] = hostile
        for moment in ("before", "after"):
            report["latency"]["conditions"][moment]["governor"] = hostile
        report["accuracy"]["skipped"]["unreadable"][0]["reason"] = hostile
        made = report_of(json.dumps(report), samples, payload, read_model(payload.files[0]))
        write_report(made, tmp_path / "out", payload.pictures_there())
        pages = [path for path in (tmp_path / "out").rglob("*") if path.suffix != ".png"]
        assert len(pages) > 5
        for path in filter(Path.is_file, pages):
            text = path.read_text()
            assert "\x1b" not in text and "\u202e" not in text, path
            assert path.suffix in {".json", ".csv"} or "<script" not in text, path

    def test_comparisons(self, tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
        pytest.importorskip("jinja2")
        files = (tiny_file, Path(shutil.copy(tiny_file, tmp_path / "copy.tflite")))
        payload = Payload(files=files, data=photographs, pictures=scan(photographs))
        board = tmp_path / "board"
        board.mkdir()
        words = payload.pack(board)
        done = lmedge("benchmark", *words, "--runs", 10, "--out", "report", cwd=board)
        assert done.returncode == 0, done.stderr
        theirs, out = board / "report", tmp_path / "out"
        text, samples = (
            (theirs / "comparison.json").read_text(),
            (theirs / "samples.csv").read_text(),
        )
        models = [read_model(file) for file in files]
        write_comparison(comparison_of(text, samples, payload, models), out)
        for name in ("comparison.json", "comparison.csv", "comparison.html", "comparison.md"):
            assert (out / name).read_text() == (theirs / name).read_text(), name
        for change in (
            put("entries", 1, "name", value=SCRIPT),
            put("entries", 1, "bytes", value=1),
            put("entries", 1, "runtime", value=3),
            put("entries", 1, "p50_ms", value=1e9),
            put("entries", 1, "macro_f1", value=None),
            put("entries", 1, "ratio_interval", value=[1, 2, 3]),
            put("entries", value=[]),
            put("pictures", value=1000),
            put("noisy", value=[SCRIPT] * 9),
            put("machine", value={}),
            put("page", value=SCRIPT),
        ):
            changed = json.loads(text)
            change(changed)
            with pytest.raises(HostError, match="no report of lmedge"):
                comparison_of(json.dumps(changed), samples, payload, models)
        hostile = json.loads(text)
        for inside, key in (
            (hostile, "machine"),
            *((one, "runtime") for one in hostile["entries"]),
        ):
            inside[key] = f"\x1b[2J{SCRIPT}"
        hostile["noisy"] = [SCRIPT]
        write_comparison(comparison_of(json.dumps(hostile), samples, payload, models), out)
        for path in (*out.glob("*.html"), *out.glob("*.md"), *out.glob("*.svg")):
            assert "<script" not in path.read_text(), path
