"""The checks of `lmedge doctor`; they need the standard library and click alone.

A check imports the package that it examines, but never TensorFlow. A check never raises: it
reports what goes wrong.
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .. import __version__, machine
from ..errors import LmedgeError
from ..files import cache_folder, check_writable
from ..processes import child_environment, python_command
from ..runtime import RUNTIME_PACKAGES, runtime_label
from .packages import INSTALL_TRAINING, Diagnosis, reason

WEIGHTS_FILE = "efficientnetb0_notop.h5"
WEIGHTS_URL = f"https://storage.googleapis.com/keras-applications/{WEIGHTS_FILE}"
NETWORK_SECONDS = 5.0
GPU_SECONDS = 90.0
GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA, AMD, the Linux subsystem of Windows
_ASK_TENSORFLOW = (
    "import tensorflow as tf; print('GPUS', len(tf.config.list_physical_devices('GPU')))"
)


def examine(check: Callable[[], Diagnosis]) -> Diagnosis:
    """Run a check; a defect of the check becomes a diagnosis as well."""
    try:
        return check()
    except Exception as error:  # a doctor that crashes helps nobody
        return Diagnosis(
            name=check.__name__.removeprefix("check_"),
            status="action",
            detail=f"could not be checked: {reason(error)}",
        )


def check_python() -> Diagnosis:
    """Name Python, lmedge and the machine."""
    system = f"{platform.system()} {platform.machine()}"
    versions = f"{platform.python_version()}, lmedge {__version__}, {system}"
    return Diagnosis(name="Python", status="ok", detail=f"{versions}, {machine.processor_model()}")


def check_runtime() -> Diagnosis:
    """Name the runtime that will be used, the first that imports."""
    failed = []
    for module, package in RUNTIME_PACKAGES.items():
        try:
            importlib.import_module(f"{module}.interpreter")
        except Exception as error:
            if machine.package_version(package):
                failed.append(f"{package} is installed but fails ({reason(error)})")
            continue
        detail = "; ".join([f"{runtime_label(module)} will be used", *failed])
        if module == "tflite_runtime":
            action = "pip install ai-edge-litert: it runs int8 files many times faster"
            return Diagnosis(name="runtime", status="action", detail=detail, action=action)
        return Diagnosis(name="runtime", status="ok", detail=detail)
    detail = "; ".join(failed) or f"none of {', '.join(RUNTIME_PACKAGES.values())}"
    return Diagnosis(
        name="runtime",
        status="missing",
        detail=detail,
        action="pip install ai-edge-litert",
        blocks=True,
    )


def check_camera() -> Diagnosis:
    """Look for video devices and for the permission to open them."""
    if not sys.platform.startswith("linux"):
        return Diagnosis(
            name="camera",
            status="ok",
            detail="not checked on this system; `lmedge camera` tries it",
        )
    devices = _devices("video*")
    if not devices:
        action = "plug one in, or give `lmedge camera --source` a video, a folder or a URL"
        return Diagnosis(name="camera", status="missing", detail="no /dev/video*", action=action)
    devices = [device for device in devices if _takes_images(device)]
    if not devices:
        return Diagnosis(
            name="camera",
            status="missing",
            detail="no /dev/video* takes images",
            action="connect one; a Raspberry Pi's own camera is `--source picamera2`",
        )
    usable = [device for device in devices if os.access(device, os.R_OK | os.W_OK)]
    if not usable:
        action = "sudo usermod -aG video $USER, then log in again"
        return Diagnosis(
            name="camera",
            status="action",
            detail=f"{', '.join(devices)}: no permission",
            action=action,
        )
    return Diagnosis(name="camera", status="ok", detail=", ".join(usable))


def _takes_images(device: str) -> bool:
    """Return False for a node of metadata or of a codec, of which some boards have a dozen."""
    try:
        from ..camera.v4l2 import read_offer

        return read_offer(Path(device), readable_only=True) is not None
    except (ImportError, OSError):  # OpenCV does not load, or nobody may ask the device
        return True


def check_display() -> Diagnosis:
    """Look for a screen, and an OpenCV that can open windows on it."""
    headless = "use `lmedge camera --headless`"
    toolkit = _window_toolkit()
    if sys.platform.startswith("linux"):
        screen = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or ""
    else:
        screen = platform.system()
    if not screen:
        return Diagnosis(
            name="display",
            status="missing",
            detail="neither DISPLAY nor WAYLAND_DISPLAY is set",
            action=headless,
        )
    if not toolkit:
        action = f"pip install opencv-python in place of the headless one, or {headless}"
        return Diagnosis(
            name="display",
            status="action",
            detail=f"{screen}, but OpenCV has no windows",
            action=action,
        )
    return Diagnosis(name="display", status="ok", detail=f"{screen}, windows by {toolkit}")


def check_cache() -> Diagnosis:
    """Look for a folder in which files that can be made again are kept."""
    folder = cache_folder()
    try:
        check_writable(folder / "doctor.txt")
    except LmedgeError as error:
        return Diagnosis(
            name="cache",
            status="action",
            detail=f"not used: {str(error).partition(';')[0]}",
            action="set LMEDGE_CACHE to a folder that can be written; without it the thread count "
            "is measured at each start, and training prepares its images anew",
        )
    return Diagnosis(name="cache", status="ok", detail=str(folder))


def check_gpu() -> Diagnosis:
    """Look for a GPU; if there is one, ask TensorFlow in a separate process."""
    devices = _devices(*GPU_DEVICES)
    if sys.platform.startswith("linux") and not devices:
        return Diagnosis(
            name="GPU",
            status="missing",
            detail="no device",
            action="none needed: training runs on the processor, slower",
        )
    if machine.package_version("tensorflow") is None:
        return Diagnosis(
            name="GPU",
            status="action",
            detail=f"{', '.join(devices)}, TensorFlow not installed",
            action="pip install 'lmedge[gpu]' to train on it",
        )
    return ask_tensorflow(python_command("-c", _ASK_TENSORFLOW), GPU_SECONDS)


def ask_tensorflow(command: list[str], seconds: float) -> Diagnosis:
    """Run a command that prints `GPUS <count>`, and judge its answer."""
    action = "pip install 'lmedge[gpu]' and a driver that `nvidia-smi` finds"
    try:
        answer = subprocess.run(
            command,
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Diagnosis(
            name="GPU",
            status="action",
            detail=f"TensorFlow gave no answer in {seconds:.0f} s",
            action=action,
        )
    found = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("GPUS ")]
    if not found:
        last = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        return Diagnosis(
            name="GPU",
            status="action",
            detail=f"TensorFlow does not import: {last}",
            action=INSTALL_TRAINING,
        )
    if found[0] == "0":
        return Diagnosis(
            name="GPU",
            status="action",
            detail="there is one, TensorFlow does not see it",
            action=action,
        )
    return Diagnosis(name="GPU", status="ok", detail=f"{found[0]} seen by TensorFlow")


def check_weights_file() -> Diagnosis:
    """Look for the ImageNet weights, on this machine or at the download host."""
    try:
        cached = Path("~/.keras/models").expanduser() / WEIGHTS_FILE
    except RuntimeError:  # no home folder
        return Diagnosis(
            name="weights",
            status="missing",
            detail="no home folder to keep them in: neither HOME nor an entry for this user",
            action="set HOME, or pass `lmedge train --weights PATH`",
        )
    if cached.is_file():
        return Diagnosis(name="weights", status="ok", detail=str(cached))
    if _answers(WEIGHTS_URL, NETWORK_SECONDS):
        return Diagnosis(
            name="weights", status="ok", detail="not here yet; `lmedge train` will download them"
        )
    action = f"fetch {WEIGHTS_URL} elsewhere and pass --weights PATH, or train with --weights none"
    return Diagnosis(
        name="weights",
        status="missing",
        detail="not here and the download host does not answer",
        action=action,
    )


def _devices(*patterns: str) -> list[str]:
    return sorted(str(path) for pattern in patterns for path in Path("/dev").glob(pattern))


def _window_toolkit() -> str:
    """Return the toolkit that OpenCV opens windows with, empty without one."""
    try:
        import cv2

        information = cv2.getBuildInformation()
    except Exception:
        return ""
    lines = (line.strip().partition(":") for line in information.splitlines())
    names = [value.strip() for key, _, value in lines if key == "GUI"]
    return names[0] if names and names[0] != "NONE" else ""


def _answers(url: str, seconds: float) -> bool:
    """Ask for the headers, in a thread since the look-up of a name has no time limit."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds):
                answered.set()
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
