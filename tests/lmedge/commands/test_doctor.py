"""`lmedge doctor`: it says what is here, it never crashes, its exit code can be trusted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lmedge as package
from lmedge.commands import checks, packages
from tests import processes
from tests.in_process import lmedge
from tests.lmedge.camera.kernel import CAPTURE, Kernel, Node

# Nothing may go out to the network from a test; a refused connection is an answer at once.
OFFLINE = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
DEVICE = ["Python", "NumPy", "OpenCV", "HEIC", "runtime", "cache", "camera", "display"]
TRAINING = ["TensorFlow", "tools", "GPU", "weights"]


def test_json_names_every_check(tmp_path: Path) -> None:
    process = processes.lmedge("doctor", "--json", HOME=str(tmp_path), **OFFLINE)
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["device_can_run"] is True
    assert [entry["name"] for entry in report["device"]] == DEVICE
    assert [entry["name"] for entry in report["training"]] == TRAINING
    for entry in report["device"] + report["training"]:
        assert entry["status"] in ("ok", "missing", "action")
        assert entry["detail"]
        assert (entry["status"] == "ok") == (not entry["action"])
    weights = report["training"][-1]
    assert weights["status"] == "missing"
    assert "--weights PATH" in weights["action"]


def test_lines_fit_the_terminal(tmp_path: Path) -> None:
    process = processes.lmedge("doctor", HOME=str(tmp_path), COLUMNS="80", **OFFLINE)
    assert process.returncode == 0
    assert process.stderr == ""
    assert all(len(line) <= 80 or "https://" in line for line in process.stdout.splitlines())
    for name in DEVICE + TRAINING:
        assert f" {name} " in process.stdout


def test_cached_weights_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cached = tmp_path / ".keras" / "models" / checks.WEIGHTS_FILE
    cached.parent.mkdir(parents=True)
    cached.touch()
    monkeypatch.setattr(checks, "_answers", lambda *_: pytest.fail("asked the network"))
    assert checks.check_weights_file() == packages.Diagnosis(
        name="weights", status="ok", detail=str(cached)
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is a part of Linux")
def test_a_codec_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raspberry Pi without a camera has /dev/video10 to 16."""
    linux = Kernel(monkeypatch)
    webcam, codec = Node(tmp_path / "video0"), Node(tmp_path / "video10", can=CAPTURE | 0x8000)
    paths = [str(linux.add(node)) for node in (webcam, codec)]
    monkeypatch.setattr(checks, "_devices", lambda *_: paths)
    found = checks.check_camera()
    assert (found.status, found.detail) == ("ok", paths[0])
    paths.pop(0)
    found = checks.check_camera()
    assert found.status == "missing" and "picamera2" in found.action


def test_without_the_decoder_of_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    found = packages.check_heic()
    assert (found.status, found.blocks) == ("missing", False)
    assert "lmedge[heic]" in found.action


def test_a_machine_with_nothing(tmp_path: Path) -> None:
    """Python without site-packages, and click and rich alone put beside it."""
    modules = tmp_path / "modules"
    modules.mkdir()
    import click
    import rich

    for module in (click, rich, package):
        folder = Path(module.__file__).parent
        (modules / folder.name).symlink_to(folder, target_is_directory=True)
    code = (
        f"import sys; sys.path.insert(0, {str(modules)!r}); sys.argv = ['lmedge', 'doctor']; "
        "from lmedge.cli import main; main()"
    )
    process = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "", **OFFLINE},
        check=False,
    )
    assert process.returncode == 1, process.stderr
    assert process.stderr == ""
    assert process.stdout.count("(required)") == 3
    assert "pip install ai-edge-litert" in process.stdout


def test_what_is_asked_of_tensorflow_ends_in_time() -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert "no answer" in checks.ask_tensorflow(sleeping, 0.5).detail
    failing = [sys.executable, "-c", "raise ImportError('no libcudart')"]
    assert "no libcudart" in checks.ask_tensorflow(failing, 30).detail
    assert checks.ask_tensorflow([sys.executable, "-c", "print('GPUS 0')"], 30).status == "action"
    assert checks.ask_tensorflow([sys.executable, "-c", "print('GPUS 2')"], 30).status == "ok"


def test_a_check_that_fails_is_a_finding() -> None:
    def broken() -> packages.Diagnosis:
        raise RuntimeError("first line\nsecond line")

    diagnosis = checks.examine(broken)
    assert diagnosis.name == "broken"
    assert diagnosis.status == "action"
    assert diagnosis.detail == "could not be checked: first line"


def test_a_camera_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_devices", lambda *_: ["/dev/video0"])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "usermod" in checks.check_camera().action


def test_a_display_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(checks, "_window_toolkit", lambda: "")
    assert checks.check_display().status == "action"
    monkeypatch.setattr(checks, "_window_toolkit", lambda: "QT5")
    assert checks.check_display().status == "ok"


def test_mismatched_versions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorflow": "2.19.1", "tf_keras": "2.18.0"}
    monkeypatch.setattr(packages.machine, "package_version", lambda name: versions.get(name, "1.0"))
    diagnosis = packages.check_tensorflow()
    assert diagnosis.status == "action"
    assert "tf_keras==2.19.*" in diagnosis.action


@pytest.mark.parametrize("arguments", [["--nonsense"], ["extra"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    process = lmedge("doctor", *arguments)
    assert process.returncode == 2
    assert "Traceback" not in process.stderr


def test_a_home_that_is_missing_or_read_only_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMEDGE_CACHE", "/dev/null/cache")
    diagnosis = checks.check_cache()
    assert (diagnosis.status, diagnosis.blocks) == ("action", False)
    assert "cannot write /dev/null/cache" in diagnosis.detail
    assert "LMEDGE_CACHE" in diagnosis.action
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path))
    assert checks.check_cache().detail == str(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    diagnosis = checks.check_weights_file()
    assert diagnosis.status == "missing" and "no home folder" in diagnosis.detail


@pytest.mark.parametrize("command", ["predict", "camera", "benchmark", "data"])
def test_a_broken_opencv_is_one_line_of_every_command(tmp_path: Path, command: str) -> None:
    emptied = command in {"predict", "data"}  # by the removal of another package
    says = "has no imdecode" if emptied else "libGL.so.1"
    (tmp_path / "cv2.py").write_text(
        "__version__ = '4.0'" if emptied else "raise ImportError('libGL.so.1: cannot open')"
    )
    words = ["check", tmp_path] if command == "data" else [tmp_path, tmp_path]
    process = processes.lmedge(command, *words, PYTHONPATH=str(tmp_path))
    processes.assert_refused(process, 8, f"`lmedge {command}` needs OpenCV", says, "pip install")


def test_two_opencv_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv-python": "5.0.0", "opencv-python-headless": "4.12.0"}
    monkeypatch.setattr(packages.machine, "package_version", lambda *names: versions.get(names[0]))
    diagnosis = packages.check_opencv()
    assert (diagnosis.status, diagnosis.blocks) == ("action", False)
    assert "opencv-python 5.0.0 and opencv-python-headless 4.12.0" in diagnosis.detail
    assert "pip uninstall -y opencv-python opencv-python-headless" in diagnosis.action


@pytest.mark.parametrize(("version", "status"), [("4.12.0", "action"), ("4.13.0", "ok")])
def test_an_opencv_that_is_too_old_is_told(
    version: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv2.__version__", version)
    diagnosis = packages.check_opencv()
    assert (diagnosis.status, diagnosis.blocks) == (status, False)
    assert ("'opencv-python>=4.13'" in diagnosis.action) == (status == "action")
