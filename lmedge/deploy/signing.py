"""Ed25519 signatures of files in the format of minisign, so that other tools make and check them.

https://jedisct1.github.io/minisign/ describes the format. The package `cryptography` computes.
Signatures are over the BLAKE2b hash of the file, as minisign makes them; those over the file itself
are verified too.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import secrets
import struct
from typing import Any, Self

from ..errors import DeployError, MissingDependencyError
from ..harmless import harmless
from .state import Reason

_WHOLE, _HASHED = b"Ed", b"ED"  # what is signed: the bytes, or their BLAKE2b
_SCRYPT, _PLAIN, _CHECK = b"Sc", b"\0\0", b"B2"
# libsodium's crypto_pwhash_scryptsalsa208sha256_*_SENSITIVE, which minisign uses: 1 GiB of memory.
OPERATIONS, MEMORY = 1 << 25, 1 << 30
_SECRET = struct.Struct("<2s2s2s32sQQ104s")
_MOST_MEMORY = 2**31 - 1
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A public key: eight bytes that identify it, and its 32 bytes."""

    number: bytes
    key: bytes

    @classmethod
    def read(cls, text: str, place: object) -> Self:
        """Return the key in the text of a .pub file. Raises DeployError."""
        data = _decoded(_line(text, 1, place), place)
        if len(data) != 42 or data[:2] != _WHOLE:
            raise DeployError(f"{place}: no public key of minisign; make one with `lmedge sign`")
        return cls(number=data[2:10], key=data[10:])

    def text(self) -> str:
        """Return the text of a .pub file."""
        comment = f"minisign public key {_shown(self.number)}"
        return f"{_UNTRUSTED}{comment}\n{_encoded(_WHOLE + self.number + self.key)}\n"

    def verify(self, data: bytes, signature: str, place: object) -> str:
        """Return the trusted comment of a signature. Raises DeployError if it does not fit."""
        packed = _decoded(_line(signature, 1, place), place)
        comment, outer = _line(signature, 2, place), _decoded(_line(signature, 3, place), place)
        if len(packed) != 74 or len(outer) != 64 or not comment.startswith(_TRUSTED):
            raise DeployError(f"{place}: no signature of minisign; sign again", Reason.SIGNATURE)
        kind, number, inner = packed[:2], packed[2:10], packed[10:]
        if number != self.number:
            raise DeployError(
                f"{place}: signed by the key {_shown(number)}, and {_shown(self.number)} is "
                "trusted; sign with that one",
                Reason.SIGNATURE,
            )
        comment = comment.removeprefix(_TRUSTED)
        message = _digest(data) if kind == _HASHED else data
        whole = kind in {_HASHED, _WHOLE} and self._fits(inner, message)
        if not (whole and self._fits(outer, inner + comment.encode())):
            raise DeployError(f"{place}: is of another file, or was changed", Reason.SIGNATURE)
        return comment

    def _fits(self, signature: bytes, message: bytes) -> bool:
        kinds, invalid = _library()
        try:
            kinds.Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except invalid:
            return False
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecretKey:
    """A secret key: eight bytes that identify it, and the 32 bytes that it is made of."""

    number: bytes
    seed: bytes = dataclasses.field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """Return a new key."""
        return cls(number=secrets.token_bytes(8), seed=secrets.token_bytes(32))

    @classmethod
    def read(cls, text: str, password: str, place: object) -> Self:
        """Return the key in the text of a .key file. Raises DeployError."""
        data = _decoded(_line(text, 1, place), place)
        if len(data) != _SECRET.size:
            raise DeployError(f"{place}: no secret key of minisign; make one with `lmedge sign`")
        kind, way, check, salt, operations, memory, packed = _SECRET.unpack(data)
        if kind != _WHOLE or check != _CHECK or way not in {_SCRYPT, _PLAIN}:
            raise DeployError(f"{place}: a kind of key that is not known; make another")
        if way == _SCRYPT:
            packed = _masked(packed, password, salt, operations, memory, place)
        number, pair, found = packed[:8], packed[8:72], packed[72:]
        digest = hashlib.blake2b(_WHOLE + number + pair, digest_size=32).digest()
        if way == _SCRYPT and digest != found:  # minisign writes none without a password
            raise DeployError(f"{place}: the password is not that of this key; type it again")
        key = cls(number=number, seed=pair[:32])
        if key.public.key != pair[32:]:
            raise DeployError(f"{place}: is damaged; take its copy")
        return key

    @staticmethod
    def encrypted(text: str, place: object) -> bool:
        """Return True if the text of a .key file needs a password."""
        return _decoded(_line(text, 1, place), place)[2:4] == _SCRYPT

    def text(self, password: str) -> str:
        """Return the text of a .key file, which is not encrypted if the password is empty."""
        pair = self.seed + self.public.key
        check = hashlib.blake2b(_WHOLE + self.number + pair, digest_size=32).digest()
        packed, way, salt = self.number + pair + check, _PLAIN, bytes(32)
        operations = memory = 0
        if password:
            way, salt, operations, memory = _SCRYPT, secrets.token_bytes(32), OPERATIONS, MEMORY
            packed = _masked(packed, password, salt, operations, memory, "the new key")
        data = _SECRET.pack(_WHOLE, way, _CHECK, salt, operations, memory, packed)
        kind = "encrypted secret key" if password else "secret key, not encrypted"
        return f"{_UNTRUSTED}minisign {kind}\n{_encoded(data)}\n"

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        raw = self._private().public_key().public_bytes_raw()
        return PublicKey(number=self.number, key=bytes(raw))

    def sign(self, data: bytes, comment: str) -> str:
        """Return the text of a signature of `data`, with a comment that is signed too."""
        key, comment = self._private(), " ".join(comment.split())
        inner = bytes(key.sign(_digest(data)))
        outer = bytes(key.sign(inner + comment.encode()))
        return (
            f"{_UNTRUSTED}signature by lmedge\n{_encoded(_HASHED + self.number + inner)}\n"
            f"{_TRUSTED}{comment}\n{_encoded(outer)}\n"
        )

    def _private(self) -> Any:
        kinds, _ = _library()
        return kinds.Ed25519PrivateKey.from_private_bytes(self.seed)


def _library() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError(
            "signatures need cryptography: run `pip install 'lmedge[deploy]'`"
        ) from error
    return ed25519, InvalidSignature


def _masked(
    data: bytes, password: str, salt: bytes, operations: int, memory: int, place: object
) -> bytes:
    """Return `data` encrypted or decrypted, by a stream that scrypt makes of the password."""
    cost, parallel = _cost(operations, memory)
    try:
        stream = hashlib.scrypt(
            password.encode(),
            salt=salt,
            n=cost,
            r=8,
            p=parallel,
            maxmem=_MOST_MEMORY,
            dklen=len(data),
        )
    except (ValueError, MemoryError) as error:
        raise DeployError(f"{place}: needs more memory than there is ({error})") from error
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _cost(operations: int, memory: int) -> tuple[int, int]:
    """Return N and p of scrypt as libsodium picks them for two limits; r is 8."""
    operations = max(operations, 32768)
    small = operations < memory // 32
    most = operations // 32 if small else memory // 1024
    power = 1
    while power < 62 and (1 << power) <= most // 2:
        power += 1
    parallel = 1 if small else min(operations // 4 >> power, 0x3FFFFFFF) // 8
    return 1 << power, max(1, parallel)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()


def _shown(number: bytes) -> str:
    return f"{int.from_bytes(number, 'little'):016X}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(line: str, place: object) -> bytes:
    try:
        return base64.b64decode(line.encode("ascii"), validate=True)
    except ValueError as error:
        raise DeployError(
            f"{place}: not in the format of minisign ({harmless(error)})", Reason.SIGNATURE
        ) from error


def _line(text: str, number: int, place: object) -> str:
    lines = text.splitlines()
    if len(lines) <= number:
        raise DeployError(f"{place}: not in the format of minisign", Reason.SIGNATURE)
    return lines[number]
