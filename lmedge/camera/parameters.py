"""Kinds of values of the command line: a size, a format, a region, an address."""

from __future__ import annotations

import click

from .frames import FrameView


class Pair(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """WIDTHxHEIGHT in pixels."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (width, height), each at least 1."""
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"{value!r} is not a size such as 1280x720", param, ctx)
        return int(width), int(height)


class PixelFormat(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """The code of a format of pixels, three or four letters and digits."""

    name = "CODE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the code in capitals."""
        code = str(value).upper()
        if not (code.isascii() and code.isalnum() and 3 <= len(code) <= 4):
            self.fail(f"{value!r} is not a format such as MJPG or YUYV", param, ctx)
        return code


class Region(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """LEFT,TOP,WIDTH,HEIGHT as shares of the image."""

    name = "LEFT,TOP,WIDTH,HEIGHT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        """Return four shares from 0 to 1, whose sums stay inside the image."""
        try:
            left, top, width, height = (float(part) for part in str(value).split(","))
            FrameView(roi=(left, top, width, height))
        except Exception:
            self.fail(f"{value!r}: four shares from 0 to 1, as 0.25,0,0.5,1", param, ctx)
        return left, top, width, height


class Address(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """HOST:PORT, or PORT on this machine alone."""

    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port, 0 to 65535."""
        host, _, port = str(value).rpartition(":")
        if not (port.isdecimal() and int(port) <= 65535):
            self.fail(f"{value!r} is not an address such as 127.0.0.1:8000", param, ctx)
        return host.strip("[]") or "127.0.0.1", int(port)
