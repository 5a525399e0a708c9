"""Address of a broker's topic, and the password for it."""

from __future__ import annotations

import dataclasses
import logging
import os
import urllib.parse
from pathlib import Path

import click

from ..errors import LmedgeError
from ..harmless import harmless
from ..regular import read_regular
from ..text_files import decode_text

PASSWORD_VARIABLE = "LMEDGE_MQTT_PASSWORD"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LONGEST = 60_000  # bytes of a topic; MQTT allows 65,535 with what is appended here
_LARGEST_FILE = 4096  # bytes of a password
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MqttAddress:
    """The topic that all messages are below, and the broker.

    Attributes:
        host: Name or address of the broker.
        port: Its port.
        topic: The topic, without a slash at its end.
        user: User name; empty if the broker asks for none.
        tls: True encrypts, and checks the broker's certificate.
    """

    host: str
    port: int
    topic: str
    user: str = ""
    tls: bool = False

    def __str__(self) -> str:
        """Return the address for messages, without the user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return harmless(f"mqtt{'s' if self.tls else ''}://{host}:{self.port}/{self.topic}")

    @classmethod
    def parse(cls, text: str) -> MqttAddress:
        """Read `mqtt://[USER@]HOST[:PORT]/TOPIC`, or mqtts:// for TLS.

        Raises:
            LmedgeError: It is another address, or holds a password. The text is not repeated.
        """
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise LmedgeError("not an address such as mqtt://HOST/TOPIC or mqtts://...") from None
        if parts.password is not None:
            raise LmedgeError(
                "all users of a machine can read a command line; pass the password in "
                f"{PASSWORD_VARIABLE} or --mqtt-password-file"
            )
        topic = urllib.parse.unquote(parts.path).strip("/")
        if not parts.hostname or not topic or parts.query or parts.fragment:
            raise LmedgeError("an address needs a host and a topic, as mqtt://HOST/hall/camera")
        unfit = any(mark in topic for mark in "+#\0") or topic.startswith("$")
        if unfit or harmless(topic) != topic or len(topic.encode()) > _LONGEST:
            raise LmedgeError(
                "a topic to write to has no +, # or control characters, nor $ as its first"
            )
        return cls(
            host=parts.hostname,
            port=port,
            topic=topic,
            user=urllib.parse.unquote(parts.username or ""),
            tls=parts.scheme == "mqtts",
        )


class MqttUrl(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """mqtt://HOST/TOPIC."""

    name = "mqtt://HOST/TOPIC"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> MqttAddress:
        """Return the address."""
        if isinstance(value, MqttAddress):
            return value
        try:
            return MqttAddress.parse(str(value))
        except LmedgeError as error:
            self.fail(str(error), param, ctx)


def find_password(file: Path | None) -> str | None:
    """Return the password from a file, or from the environment, None without either.

    Raises:
        LmedgeError: The file cannot be read, or holds nothing.
    """
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        password = decode_text(read_regular(file, _LARGEST_FILE)).rstrip("\n")
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise LmedgeError(f"{file}: the password cannot be read ({reason}); check it") from error
    if not password:
        raise LmedgeError(f"{file}: holds no password; write it there")
    if os.name == "posix" and mode & 0o077:
        _log.warning("%s: others can read the password; run chmod 600 on it", file)
    return password
