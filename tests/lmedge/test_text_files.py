"""Text that users write is read in the encodings of their editors, whatever it is for."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from lmedge.camera.mqtt_address import find_password
from lmedge.camera.preview_token import find_token
from lmedge.deploy.fleet_file import read_fleet
from lmedge.deploy.sign_command import _read
from lmedge.deploy.signing import PublicKey
from lmedge.errors import LmedgeError

MARKED = ("utf-8-sig", "utf-16", "utf-32")
KEY = PublicKey(number=bytes(range(8)), key=bytes(range(32)))


@pytest.fixture(params=[*MARKED, "utf-16-le", "utf-16-be"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def written(folder: Path, text: str, encoding: str) -> Path:
    path = folder / "a file"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    path.chmod(0o600)
    return path


def test_a_password_of_a_broker(encoding: str, tmp_path: Path) -> None:
    assert find_password(written(tmp_path, "open sesame\n", encoding)) == "open sesame"


def test_a_token_of_the_preview(encoding: str, tmp_path: Path) -> None:
    token = "0123456789abcdef"
    assert find_token("0.0.0.0", file=written(tmp_path, f"{token}\n", encoding)) == token


def test_a_key(encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path, KEY.text(), encoding)
    assert PublicKey.read(_read(path, "look"), path) == KEY


def test_a_fleet(encoding: str, tmp_path: Path) -> None:
    text = '[board.hall]\nhost = "pi@hall"\nsource = "0"\n'
    (plan,) = read_fleet(written(tmp_path, text, encoding))
    assert plan.name == "hall"


def test_a_mark_that_does_not_fit_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(codecs.BOM_UTF16_LE + b"x")
    with pytest.raises(LmedgeError, match="cannot be read"):
        find_password(path)
