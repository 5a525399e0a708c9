"""fleet.toml: every mistake has its line, and a plan has the words of the camera."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmedge.deploy.fleet_file import read_fleet
from lmedge.deploy.plan import camera_options
from lmedge.errors import DeployError

GOOD = """\
# twelve kiosks, of which two are shown
[defaults]
source = "0"
size = "1280x720"
budget-ms = 60
memory-mb = 400

[board.kiosk-1]
host = "pi@kiosk-1.local"
source = "picamera2"
mirror = true
ssh-options = ["Port=2222"]

[board."hall.2"]
host = "pi@hall-2.local"
fps = 15
record = "last.mp4"
least-rate = 2.5
service = "lmedge-hall"
format = "yuyv"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text, "utf-8")
    return path


def test_boards_have_their_own_settings_over_the_defaults(tmp_path: Path) -> None:
    first, second = read_fleet(write(tmp_path, GOOD))
    assert (first.name, first.host, first.ssh_options) == (
        "kiosk-1",
        "pi@kiosk-1.local",
        ("Port=2222",),
    )
    assert first.source == "picamera2"
    assert first.capture == ("--mirror", "--size", "1280x720", "--source", "picamera2")
    assert (first.budget_ms, first.service.memory_mb) == (60.0, 400)
    assert second.arguments == ("--record", "last.mp4") and second.extras == ("camera", "deploy")
    assert " ".join(second.capture) == "--format yuyv --fps 15 --size 1280x720 --source 0"
    assert (second.least_rate, second.service.name) == (2.5, "lmedge-hall")
    assert [plan.name for plan in read_fleet(tmp_path / "fleet.toml", ["hall.2"])] == ["hall.2"]
    with pytest.raises(DeployError, match="no board 'attic'"):
        read_fleet(tmp_path / "fleet.toml", ["attic"])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('size = "1280x720"', 'size = "big"', 4, "is not a size"),
        ("budget-ms = 60", "budget-ms = -1", 5, "above 0"),
        ("memory-mb = 400", 'memory-mb = "400"', 6, "whole number"),
        ("memory-mb = 400", "memory_mb = 400", 6, "perhaps memory-mb"),
        ('host = "pi@kiosk-1.local"', 'host = "-oProxyCommand=x"', 9, "USER@BOARD"),
        ('host = "pi@kiosk-1.local"', "", 8, "has no host"),
        ("mirror = true", 'mirror = "yes"', 11, "true or false"),
        ('["Port=2222"]', '["StrictHostKeyChecking=no"]', 12, "always checked"),
        ('["Port=2222"]', '"Port=2222"', 12, "list of KEY=VALUE"),
        ("fps = 15", "headless = true", 16, "is not known"),
        ("fps = 15", "fps = 0", 16, "0<x<=1000"),
        ("fps = 15", 'folder = "relative"', 16, "must begin with"),
        ('"lmedge-hall"', '"../x"', 19, "small letters"),
        ("pi@hall-2.local", 'pi@kiosk-1.local"\nssh-options = ["Port=2222"]\n#', 14, "folder"),
        ("[defaults]", "[default]", 2, "is not known"),
        ('board."hall.2"', 'board."a b"', 14, "is no name"),
        ("[defaults]", "[defaults", 2, "line 2"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(DeployError) as found:
        read_fleet(write(tmp_path, GOOD.replace(old, new, 1)))
    assert words in str(found.value) and f"line {line}" in str(found.value), found.value


def test_several_cameras_of_one_host_share_it_by_the_defaults(tmp_path: Path) -> None:
    text = '[defaults]\nhost = "pi"\n'
    for name in ("left", "right"):
        text += f'[board.{name}]\nfolder = "/srv/{name}"\nservice = "lmedge-{name}"\n'
    assert [plan.host for plan in read_fleet(write(tmp_path, text))] == ["pi", "pi"]


def test_a_file_without_boards_or_that_is_none(tmp_path: Path) -> None:
    for text in ("", "[defaults]\n", "board = 1\n", "[board]\nx = 1\n"):
        with pytest.raises(DeployError):
            read_fleet(write(tmp_path, text))
    for absent in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(DeployError, match=r"cannot be read \(.*\); name a file with a section"):
            read_fleet(absent)
    (tmp_path / "bytes.toml").write_bytes(b"\x00" * 9)
    with pytest.raises(DeployError, match="not text"):
        read_fleet(tmp_path / "bytes.toml")


def test_options_that_make_no_sense_in_a_service_are_no_keys() -> None:
    assert {"source", "preview", "record", "token-file"} <= set(camera_options())
    assert not {"list", "headless", "frames", "token", "status"} & set(camera_options())
