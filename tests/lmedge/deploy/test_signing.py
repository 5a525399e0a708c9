"""Signatures: made and verified here, by minisign where it is installed, and by boards."""

from __future__ import annotations

import dataclasses
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from lmedge.deploy import signing
from lmedge.deploy.checks import require_bytes, take_signature
from lmedge.deploy.install import Installer
from lmedge.deploy.keeper import Keeper
from lmedge.deploy.release import Release
from lmedge.deploy.signing import PublicKey, SecretKey
from lmedge.deploy.state import Reason, Result
from lmedge.errors import DeployError, MissingDependencyError
from tests.in_process import lmedge
from tests.lmedge.deploy.boards import board, kept, put, release, until

MINISIGN = shutil.which("minisign")
needs_minisign = pytest.mark.skipif(MINISIGN is None, reason="no minisign: apt install minisign")


def minisign(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["minisign", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_a_signature_fits_its_file_its_comment_and_its_key_alone() -> None:
    key, other = SecretKey.make(), SecretKey.make()
    text = key.sign(b"data", "file:x\thashed")
    assert key.public.verify(b"data", text, "x") == "file:x hashed"
    lines = text.splitlines()
    for changed in (
        text.replace("file:x", "file:y"),
        "\n".join([lines[0], lines[1][:-3] + "A==", *lines[2:]]),
        "\n".join([*lines[:3], lines[1]]),
        "\n".join(lines[:3]),
        "",
        text.replace(lines[3], "not base64!"),
    ):
        with pytest.raises(DeployError) as found:
            key.public.verify(b"data", changed, "x")
        assert found.value.reason == Reason.SIGNATURE
    with pytest.raises(DeployError, match="another file"):
        key.public.verify(b"date", text, "x")
    with pytest.raises(DeployError, match="signed by the key"):
        other.public.verify(b"data", text, "x")
    forged = dataclasses.replace(other, number=key.number).sign(b"data", "c")
    with pytest.raises(DeployError, match="another file"):
        key.public.verify(b"data", forged, "x")


def test_a_secret_key_opens_with_its_password_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "OPERATIONS", 1 << 15)
    monkeypatch.setattr(signing, "MEMORY", 1 << 24)
    key = SecretKey.make()
    text = key.text("correct horse")
    assert SecretKey.encrypted(text, "k") and SecretKey.read(text, "correct horse", "k") == key
    for wrong in ("", "battery"):
        with pytest.raises(DeployError, match="password"):
            SecretKey.read(text, wrong, "k")
    plain = key.text("")
    assert not SecretKey.encrypted(plain, "k") and SecretKey.read(plain, "", "k") == key
    assert PublicKey.read(key.public.text(), "k") == key.public
    with pytest.raises(DeployError, match="no public key"):
        PublicKey.read(plain, "k")
    with pytest.raises(DeployError, match="no secret key"):
        SecretKey.read(key.public.text(), "", "k")


@pytest.mark.parametrize(
    ("operations", "memory", "expected"),
    [(1 << 25, 1 << 30, (1 << 20, 1)), (1 << 19, 1 << 24, (1 << 14, 1)), (1, 1 << 24, (1024, 1))],
)
def test_the_cost_is_that_of_libsodium(
    operations: int, memory: int, expected: tuple[int, int]
) -> None:
    assert signing._cost(operations, memory) == expected


@needs_minisign
def test_minisign_verifies_ours_and_we_verify_its(tmp_path: Path, tiny_file: Path) -> None:
    file = Path(shutil.copy(tiny_file, tmp_path / "landmarks.tflite"))
    assert lmedge("sign", "--new-key", tmp_path / "museum", "--no-password").returncode == 0
    assert lmedge("sign", file, "--key", tmp_path / "museum.key").returncode == 0
    theirs = minisign("-V", "-p", tmp_path / "museum.pub", "-m", file)
    assert theirs.returncode == 0 and "file:landmarks.tflite" in theirs.stdout, theirs.stderr
    signed = minisign("-S", "-s", tmp_path / "museum.key", "-m", file, "-x", tmp_path / "again")
    assert signed.returncode == 0, signed.stderr
    public = PublicKey.read((tmp_path / "museum.pub").read_text(), "k")
    public.verify(file.read_bytes(), (tmp_path / "again").read_text(), "x")
    made = minisign("-G", "-W", "-p", tmp_path / "m.pub", "-s", tmp_path / "m.key")
    assert made.returncode == 0, made.stderr
    done = lmedge("sign", file, "--key", tmp_path / "m.key")
    assert done.returncode == 0, done.stderr
    assert minisign("-V", "-p", tmp_path / "m.pub", "-m", file).returncode == 0
    assert lmedge("sign", file, "--verify", tmp_path / "m.pub").returncode == 0
    refused = lmedge("sign", file, "--verify", tmp_path / "museum.pub")
    assert refused.returncode == 14 and "signed by the key" in refused.stderr


def test_the_command_keeps_a_secret_secret(tmp_path: Path, tiny_file: Path) -> None:
    made = lmedge("sign", "--new-key", tmp_path / "k", "--no-password")
    assert made.returncode == 0
    assert stat.S_IMODE((tmp_path / "k.key").stat().st_mode) == 0o600
    before = (tmp_path / "k.key").read_text()
    again = lmedge("sign", "--new-key", tmp_path / "k", "--no-password")
    assert again.returncode == 14 and "is there already" in again.stderr
    assert (tmp_path / "k.key").read_text() == before
    asked = lmedge("sign", "--new-key", tmp_path / "p")
    assert asked.returncode == 14 and "LMEDGE_KEY_PASSWORD" in asked.stderr
    assert not (tmp_path / "p.key").exists()
    for words in ((), (tiny_file,), (tiny_file, "--new-key", "x"), ("--verify", "x")):
        assert lmedge("sign", *words).returncode == 2
    other = tmp_path / "text.tflite"
    other.write_text("no model")
    assert lmedge("sign", other, "--key", tmp_path / "k.key").returncode == 4
    absent = lmedge("sign", tiny_file, "--key", tmp_path / "absent.key")
    assert absent.returncode == 14 and "make a key with `lmedge sign --new-key" in absent.stderr
    unsigned = lmedge("sign", tiny_file, "--verify", tmp_path / "k.pub")
    assert unsigned.returncode == 14 and "sign the file with" in unsigned.stderr


def signed(kind: str, key: SecretKey, tmp_path: Path, **settings: object) -> tuple[Release, Path]:
    made, path = release(kind, tmp_path, **settings)
    text = key.sign(path.read_bytes(), "c")
    path.with_name(path.name + ".minisig").write_text(text)
    return made, path


def test_a_board_learns_a_key_when_a_signed_release_has_proved_itself(tmp_path: Path) -> None:
    store, key = board(tmp_path / "board"), SecretKey.make()
    public = key.public.text()
    old = put(store, "well 1", tmp_path)
    unsigned, path = release("well 2", tmp_path)
    with pytest.raises(DeployError, match="is not signed") as found:
        Installer(store, None, print, key=public).install(unsigned, path)
    assert found.value.reason == Reason.SIGNATURE
    with kept(store):
        until((store.folder / "run" / "keeper.json").exists)
        bad, path = signed("crash", key, tmp_path)
        ended = Installer(store, None, print, key=public).install(bad, path)
        assert ended is not None and ended.result is Result.BACK
        assert store.learned() is None and store.current() == old.name, (
            "a signed release that fails does not take away the unsigned one"
        )
        new, path = signed("well 3", key, tmp_path)
        ended = Installer(store, None, print, key=public).install(new, path)
        assert ended is not None and ended.result is Result.GOOD
    assert store.learned() == public
    unsigned, path = release("well 2", tmp_path)
    with pytest.raises(DeployError, match="is not signed"):
        Installer(store, None, print).install(unsigned, path)
    stolen = SecretKey.make()
    forged, path = signed("well 4", stolen, tmp_path)
    for offered in (None, stolen.public.text()):
        with pytest.raises(DeployError) as found:
            Installer(store, None, print, key=offered).install(forged, path)
        assert found.value.reason == Reason.SIGNATURE
    with pytest.raises(DeployError) as found:
        require_bytes(store, old)
    assert found.value.reason == Reason.SIGNATURE


def test_a_file_that_runs_already_is_signed_later(tmp_path: Path) -> None:
    """The release has the same name before and after: its signature must arrive all the same."""
    store, key, thief = board(tmp_path / "board"), SecretKey.make(), SecretKey.make()
    old = put(store, "well", tmp_path)
    _, path = signed("well", key, tmp_path)
    with kept(store):
        until((store.folder / "run" / "keeper.json").exists)
        ended = Installer(store, None, print, key=key.public.text()).install(old, path)
        assert ended is not None and ended.result is Result.GOOD
    assert store.learned() == key.public.text()
    require_bytes(store, old)
    signed("well", thief, tmp_path)
    with pytest.raises(DeployError, match="signed by the key"):
        Installer(store, None, print).install(old, path)
    require_bytes(store, old)  # the right signature stayed
    place = store.file(old).with_name(path.name + ".minisig")
    place.write_text(thief.sign(path.read_bytes(), "c"))
    signed("well", key, tmp_path)
    Installer(store, None, print).install(old, path)
    with kept(store):
        until(lambda: store.state().trial is None and store.state().good == (old.name,))
    store.trusted.unlink()
    signed("well", thief, tmp_path)
    take_signature(store, old, path.with_name(path.name + ".minisig"), None)
    require_bytes(store, old, key.public.text())  # without a key nobody can tell: the first stays


def test_a_board_that_knows_a_key_refuses_other_files_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = board(tmp_path / "board"), SecretKey.make()
    made = put(store, "well", tmp_path)
    store.write("trusted.pub", key.public.text())
    with pytest.raises(DeployError, match="is not signed") as found:
        Keeper(store).run()
    assert found.value.reason == Reason.SIGNATURE
    place = store.file(made)
    place.with_name(place.name + ".minisig").write_text(key.sign(place.read_bytes(), "c"))
    require_bytes(store, made)

    def missing() -> None:
        raise MissingDependencyError("signatures need cryptography")

    monkeypatch.setattr(signing, "_library", missing)
    with pytest.raises(DeployError, match="need cryptography") as found:
        require_bytes(store, made)
    assert found.value.reason == Reason.SIGNATURE, "a board that cannot verify does not run it"
    store.trusted.unlink()
    store.trusted.mkdir()
    with pytest.raises(DeployError, match="cannot be read"):
        require_bytes(store, made)
