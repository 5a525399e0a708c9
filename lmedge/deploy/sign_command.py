"""`lmedge sign`: keys, signatures of files, and their verification."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from ..commands.options import PATH
from ..errors import DeployError
from ..files import write_text
from ..harmless import echo, harmless
from ..model_file import read_model
from ..regular import read_regular
from ..text_files import decode_text
from .signing import PublicKey, SecretKey
from .store import SIGNATURE_SUFFIX

PASSWORD = "LMEDGE_KEY_PASSWORD"
_MOST = 1 << 16
_NO_KEY = "check the name, or make a key with `lmedge sign --new-key NAME`"
_NOT_SIGNED = "sign the file with `lmedge sign FILE --key NAME.key`"


@click.command()
@click.argument("file", type=PATH, metavar="[FILE.tflite]", required=False)
@click.option("--key", type=PATH, metavar="NAME.key", help="Sign with this secret key.")
@click.option(
    "--new-key", type=PATH, metavar="NAME", help="Make NAME.key, the secret, and NAME.pub."
)
@click.option(
    "--verify", type=PATH, metavar="NAME.pub", help="Verify FILE.minisig by this public key."
)
@click.option("--no-password", is_flag=True, help="With --new-key: do not encrypt the secret key.")
def sign(
    file: Path | None,
    key: Path | None,
    new_key: Path | None,
    verify: Path | None,
    no_password: bool,
) -> None:
    """Sign a file, so that boards accept it, and no other.

    The signature is written to FILE.tflite.minisig, which minisign verifies too. `lmedge deploy
    --key NAME.pub` sends it with the file; the board then learns the key.

    \b
    lmedge sign --new-key museum
    lmedge sign landmarks.tflite --key museum.key
    lmedge sign landmarks.tflite --verify museum.pub
    """  # noqa: D301  (click needs the control character)
    if sum(one is not None for one in (key, new_key, verify)) != 1:
        raise click.UsageError("pass one of --key, --new-key and --verify")
    if (file is None) != (new_key is not None):
        raise click.UsageError("pass FILE.tflite with --key or --verify, and none with --new-key")
    if no_password and new_key is None:
        raise click.UsageError("--no-password needs --new-key")
    if new_key is not None:
        _make(new_key, encrypted=not no_password)
    elif key is not None and file is not None:
        _sign(file, key)
    elif verify is not None and file is not None:
        comment = verify_file(file, read_public_key(verify))
        echo(f"{harmless(file)}: the signature fits: {harmless(comment)}")


def read_public_key(path: Path) -> PublicKey:
    """Return the public key of a file. Raises DeployError."""
    return PublicKey.read(_read(path, _NO_KEY), path)


def verify_file(file: Path, key: PublicKey) -> str:
    """Return the trusted comment of a file's signature. Raises DeployError if it does not fit."""
    signature = signature_path(file)
    return key.verify(read_model(file).data, _read(signature, _NOT_SIGNED), signature)


def signature_path(file: Path) -> Path:
    """Return the path of a file's signature."""
    return file.with_name(file.name + SIGNATURE_SUFFIX)


def _make(name: Path, *, encrypted: bool) -> None:
    secret, public = (name.with_name(f"{name.name}.{suffix}") for suffix in ("key", "pub"))
    for path in (secret, public):
        if path.exists():
            raise DeployError(f"{path}: is there already; choose another name")
    key = SecretKey.make()
    text = key.text(_new_password() if encrypted else "")
    secret.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    write_text(public, key.public.text())
    echo(f"wrote {harmless(secret)}, which is secret, and {harmless(public)}")


def _sign(file: Path, path: Path) -> None:
    data = read_model(file).data  # only files that boards would run are signed
    text = _read(path, _NO_KEY)
    password = _password(path) if SecretKey.encrypted(text, path) else ""
    key = SecretKey.read(text, password, path)
    comment = f"timestamp:{int(time.time())}\tfile:{harmless(file.name)}\thashed"
    write_text(signature_path(file), key.sign(data, comment))
    echo(f"wrote {harmless(signature_path(file))}")


def _password(path: Path) -> str:
    given = os.environ.get(PASSWORD)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise DeployError(f"{path}: has a password; set {PASSWORD}, or sign at a terminal")
    return str(click.prompt(f"password of {harmless(path)}", hide_input=True))


def _new_password() -> str:
    given = os.environ.get(PASSWORD)
    if given is None and not sys.stdin.isatty():
        raise DeployError(f"a new key needs a password; set {PASSWORD}, or pass --no-password")
    if given is None:
        given = click.prompt("password of the new key", hide_input=True, confirmation_prompt=True)
    if not given:
        raise DeployError("the password is empty; pass --no-password to have none")
    return str(given)


def _read(path: Path, otherwise: str) -> str:
    try:
        return decode_text(read_regular(path, _MOST))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeployError(f"{path}: cannot be read ({harmless(reason)}); {otherwise}") from error
