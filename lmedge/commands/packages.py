"""The checks of installed packages, for `lmedge doctor` and for commands that cannot start.

They need the standard library and click alone, and never import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Sequence
from typing import Literal

from .. import machine

Status = Literal["ok", "missing", "action"]
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
LEAST_OPENCV = (4, 13)  # before, a stream that changes its size shows frames of the old one
OPENCV_NAMES = ("imdecode", "resize", "cvtColor", "IMREAD_COLOR_RGB", "INTER_LINEAR_EXACT")
TENSORFLOW_PACKAGES = ("tensorflow", "tf_keras", "tensorflow-model-optimization")
TOOL_PACKAGES = ("scipy", "matplotlib", "safetensors", "pillow")
INSTALL_TRAINING = "pip install 'lmedge[train]', on the computer that trains"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One line of the doctor.

    Attributes:
        name: Name of the package, device or file.
        status: "ok"; "missing" if it is absent; "action" if it is there and needs a step.
        detail: The version, the path or the problem.
        action: The next step, unless the status is ok.
        blocks: True if `lmedge predict` and `lmedge camera` cannot run because of it.
    """

    name: str
    status: Status
    detail: str
    action: str = ""
    blocks: bool = False


def check_numpy() -> Diagnosis:
    """Import NumPy."""
    return _imported("NumPy", "numpy", "pip install numpy")


def check_opencv() -> Diagnosis:
    """Import OpenCV, whose shared libraries are often missing on small systems.

    Several packages install the same folder `cv2`: two of them mix their files, and removing one
    takes files from the other.
    """
    action = "pip install opencv-python, or opencv-python-headless on a system without libGL"
    found = _imported("OpenCV", "cv2", action, OPENCV_NAMES)
    versions = {package: machine.package_version(package) for package in OPENCV_PACKAGES}
    there = {package: version for package, version in versions.items() if version}
    if len(there) > 1:
        named = " and ".join(f"{package} {version}" for package, version in there.items())
        return dataclasses.replace(
            found,
            status="action",
            detail=f"{named} are both installed and share their files"
            + (f": {found.detail}" if found.blocks else ""),
            action=f"pip uninstall -y {' '.join(there)}, then pip install one of them",
        )
    if there and found.blocks:
        name = next(iter(there))
        again = f"pip install --force-reinstall {name}"
        if "lib" not in found.detail or name.endswith("headless"):
            return dataclasses.replace(found, action=again)
    least = ".".join(map(str, LEAST_OPENCV))
    if found.status == "ok" and _numbers(found.detail) < LEAST_OPENCV:
        return dataclasses.replace(
            found,
            status="action",
            detail=f"{found.detail}: streams that change their size show old images",
            action=f"pip install 'opencv-python>={least}'",
        )
    return found


def check_heic() -> Diagnosis:
    """Look for the decoder of HEIC, which only photographs of that format need."""
    found = _imported("HEIC", "pi_heif", "pip install 'lmedge[heic]'")
    if found.status == "missing":
        detail = "not installed: such photographs, of iPhones for example, are skipped"
        return dataclasses.replace(found, detail=detail, blocks=False)
    return dataclasses.replace(found, blocks=False)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check_tensorflow() -> Diagnosis:
    """Look at the packages of training and export; two of them need the same minor version."""
    diagnosis = _packages("TensorFlow", TENSORFLOW_PACKAGES)
    minors = [
        ".".join((machine.package_version(name) or "").split(".")[:2])
        for name in TENSORFLOW_PACKAGES[:2]
    ]
    if diagnosis.status == "ok" and len(set(minors)) > 1:
        action = f"pip install 'tf_keras=={minors[0]}.*': it goes with TensorFlow {minors[0]}"
        return dataclasses.replace(diagnosis, status="action", action=action)
    return diagnosis


def check_tools() -> Diagnosis:
    """Look at the other packages of the training extra."""
    return _packages("tools", TOOL_PACKAGES)


def _packages(name: str, packages: Sequence[str]) -> Diagnosis:
    versions = {package: machine.package_version(package) for package in packages}
    absent = [package for package, version in versions.items() if version is None]
    present = [f"{package} {version}" for package, version in versions.items() if version]
    if absent:
        detail = "; ".join(filter(None, [f"no {', '.join(absent)}", ", ".join(present)]))
        return Diagnosis(name=name, status="missing", detail=detail, action=INSTALL_TRAINING)
    return Diagnosis(name=name, status="ok", detail=", ".join(present))


def _imported(name: str, module: str, action: str, needed: Sequence[str] = ()) -> Diagnosis:
    try:
        found = importlib.import_module(module)
        version = found.__version__
        absent = [one for one in needed if not hasattr(found, one)]
        if absent:
            raise ImportError(f"{module} {version} has no {', '.join(absent)}")
    except ModuleNotFoundError:
        return Diagnosis(
            name=name, status="missing", detail="not installed", action=action, blocks=True
        )
    except Exception as error:
        return Diagnosis(
            name=name,
            status="action",
            detail=f"does not import: {reason(error)}",
            action=action,
            blocks=True,
        )
    return Diagnosis(name=name, status="ok", detail=str(version))


def reason(error: BaseException) -> str:
    """Return the first line of an error, or the name of its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
