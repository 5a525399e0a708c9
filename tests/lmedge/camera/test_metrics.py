"""`--metrics`: the figures of a loop, as Prometheus reads them."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge import LmedgeError, __version__
from lmedge.camera import Absence, Choice
from lmedge.camera.metrics import Metrics
from tests import quick
from tests.lmedge.camera.results import result_of
from tests.lmedge.camera.test_loop import Given
from tests.lmedge.camera.test_preview import get
from tests.locations import ROOT
from tests.processes import free_port

parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")


@pytest.fixture
def figures(tiny_file: Path) -> Iterator[Metrics]:
    sink = Metrics("127.0.0.1", 0, Choice([tiny_file], 1), Given([]))
    yield sink
    sink.close()


def read(url: str, **headers: str) -> dict[str, float]:
    """Return the samples by their names with labels, as `name{label=value}`."""
    status, _, body = get(url, **headers)
    assert status == 200
    found = {}
    for family in parser.text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_the_figures_are_those_of_the_loop(tiny_file: Path, figures: Metrics) -> None:
    before = read(figures.url)
    assert before["lmedge_frames_total"] == 0 and before["lmedge_camera_present"] == 0
    shown = [("red", True)] * 3 + [("blue", True), ("green", False)]
    results = [result_of(tiny_file, name, known=known) for name, known in shown]
    for result in results:
        figures.take(result)
    after = read(figures.url)
    assert after["lmedge_frames_total"] == 5 and after["lmedge_frames_unknown_total"] == 1
    assert after["lmedge_frames_shown_total{category=towers,landmark=red}"] == 3
    assert "lmedge_frames_shown_total{category=towers,landmark=green}" not in after
    assert after["lmedge_classification_seconds_count"] == 5
    spent = sum(result.prediction.milliseconds for result in results) / 1000
    assert after["lmedge_classification_seconds_sum"] == pytest.approx(spent)
    edges = [value for name, value in after.items() if "_bucket" in name]
    assert edges == sorted(edges) and edges[-1] == 5
    assert after["lmedge_camera_present"] == 1 and after["lmedge_frame_age_seconds"] < 30
    figures.take(results[0])
    figures.absent(Absence(message="away"))
    assert read(figures.url)["lmedge_camera_present"] == 0


def test_the_file_and_the_process_are_named(tiny_file: Path, figures: Metrics) -> None:
    names = " ".join(read(figures.url))
    assert f"file={tiny_file.name},sha256=" in names and f"version={__version__}" in names
    assert "process_resident_memory_bytes" in names


def test_counts_of_the_source_are_read_when_they_are_asked_for(tiny_file: Path) -> None:
    source = Given([])
    sink = Metrics("127.0.0.1", 0, Choice([tiny_file], 1), source)
    source.dropped, source.damaged, source.absences = 7, 2, 1
    found = read(sink.url)
    sink.close()
    assert found["lmedge_frames_dropped_total"] == 7 and found["lmedge_frames_damaged_total"] == 2
    assert found["lmedge_camera_absences_total"] == 1


def test_other_addresses_have_a_token_and_other_pages_are_none(
    tiny_file: Path, figures: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(figures.url.removesuffix("metrics"))[0] == 404
    assert get(figures.url, Host="elsewhere.example")[0] == 403
    with pytest.raises(LmedgeError, match="--metrics 127.0.0.1"):
        Metrics("127.0.0.1", figures.port, Choice([tiny_file], 1), Given([]))
    monkeypatch.setenv("LMEDGE_TOKEN", "a-word-of-the-owner")
    sink = Metrics("0.0.0.0", 0, Choice([tiny_file], 1), Given([]))
    url = f"http://127.0.0.1:{sink.port}/metrics"
    try:
        assert get(url)[0] == 403
        assert read(url, Authorization="Bearer a-word-of-the-owner")["lmedge_frames_total"] == 0
        assert "owner" not in sink.shown()
    finally:
        sink.close()


def expressions() -> list[str]:
    """Return the expressions of the dashboard, its variables replaced by what matches anything."""
    board = json.loads((ROOT / "examples" / "grafana-dashboard.json").read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [one.replace("$instance", ".*").replace("$job", ".*") for one in found]


def test_the_dashboard_shows_figures_that_there_are(tiny_file: Path, figures: Metrics) -> None:
    figures.take(result_of(tiny_file, "red"))
    there = {name.split("{")[0] for name in read(figures.url)} | {"lmedge_temperature_celsius"}
    wanted = set(re.findall(r"\b(?:lmedge|process)_\w+", " ".join(expressions())))
    assert wanted and wanted <= there


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (Debian)")
def test_a_real_prometheus_reads_them(tiny_file: Path, tmp_path: Path, figures: Metrics) -> None:
    quick.needs_process()
    for _ in range(3):
        figures.take(result_of(tiny_file, "red"))
    settings = tmp_path / "prometheus.yml"
    settings.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs: [{job_name: lmedge, static_configs: [{targets: ['127.0.0.1:"
        f"{figures.port}']}}]}}]\n"
    )
    # A free port, for a moment: Prometheus does not print the one it takes.
    address = f"127.0.0.1:{free_port()}"
    words = [
        "prometheus",
        f"--config.file={settings}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert _asked(address, "lmedge_frames_shown_total", seconds=60) == "3"
            assert _asked(address, "lmedge_classification_seconds_count", seconds=10) == "3"
            for expression in expressions():  # an error of the grammar is status 400
                _query(address, expression)
        finally:
            process.kill()


def _query(address: str, query: str) -> list[dict[str, list[str]]]:
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{words}", timeout=5) as answer:
        return list(json.load(answer)["data"]["result"])


def _asked(address: str, query: str, seconds: float) -> str:
    """Return the value of a query, as soon as there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if found := _query(address, query):
                return str(found[0]["value"][1])
        time.sleep(0.2)
    raise AssertionError(f"no value of {query} after {seconds} s")
