"""Network streams: motion JPEG over HTTP by a reader of our own, all others by OpenCV's FFmpeg.

The reader leaves out images that the network cut, shows the first image when it is there, and
reports the reason of the server. FFmpeg measures a raw motion JPEG stream for about ten seconds
first, and shows cut images with invented rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import cv2

from ..errors import SourceError
from .address import StreamAddress, parse, without_secrets
from .capture import Capture, be_quiet
from .mjpeg import CHUNK, MjpegCapture, leaving_jpeg

OPEN_SECONDS = 10.0
READ_SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "rtsp": 554}
# Over TCP, as OpenCV has it by default; a frame cut short by the network is not shown in part.
_FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;discardcorrupt|err_detect;explode"
_JPEG_TYPES = {"image/jpeg", "image/jpg", "video/x-jpeg", "video/x-motion-jpeg", "video/mjpeg"}
_HEAD = 8192  # bytes by which a stream is recognized
_STALE = re.compile(r'\bstale\s*=\s*"?true', re.IGNORECASE)
_DIGESTS = {"MD5": hashlib.md5, "SHA": hashlib.sha1, "SHA-256": hashlib.sha256}
_REASONS = {
    401: "the server refuses user or password",
    403: "the server denies access",
    404: "the server has nothing under this path",
    503: "the server is busy; it may take one viewer only",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """An open stream.

    Attributes:
        capture: The frames.
        finite: True if the server announces where the stream ends.
        beginning: A hash of the first bytes, empty if a stream of frames was recognized.
    """

    capture: Capture
    finite: bool
    beginning: str = ""


def open_stream(url: str) -> Opened:
    """Open an http, https or rtsp stream.

    Raises SourceError with the reason, as far as the network reports it, without secrets.
    """
    address = parse(url)
    name = without_secrets(url)
    if address is None or address.scheme not in PORTS:
        scheme = url.partition("://")[0].lower() if address else "such an address"
        raise SourceError(f"{name}: {scheme}:// is not supported; use {', '.join(sorted(PORTS))}")
    if not address.certain:
        raise SourceError(
            f"{name}: the host cannot be told from user and password; write their special letters "
            "in percent-encoding, @ as %40 and / as %2F"
        )
    try:
        port = urllib.parse.urlsplit(f"//{address.host}").port or PORTS[address.scheme]
    except ValueError:
        raise SourceError(
            f"{name}: the port is not a number from 0 to 65535; check the address"
        ) from None
    try:
        if address.scheme == "rtsp":
            return Opened(capture=_by_ffmpeg(address, port), finite=False)
        return _by_http(address, port)
    except _FailedError as error:
        raise SourceError(f"{name} does not open: {error}") from None


class _FailedError(Exception):
    """A reason, without the address."""


class _OtherProtocolError(Exception):
    """The first line of an answer is not HTTP's; FFmpeg knows others."""


def _by_http(address: StreamAddress, port: int) -> Opened:
    try:
        answer = _answer(address, port)
    except _OtherProtocolError:
        return Opened(capture=_by_ffmpeg(address, port), finite=False)
    kind = answer.headers.get_content_type()
    close = answer.close
    if kind.startswith("multipart/"):
        return Opened(capture=MjpegCapture(answer.read1, close), finite=False)
    length = answer.headers.get("Content-Length")
    head = _head(answer)
    if kind in _JPEG_TYPES or _is_jpeg(head):
        return Opened(capture=MjpegCapture(answer.read1, close, head), finite=length is not None)
    close()  # before the next connection: some cameras take one at a time
    if kind == "text/html":
        raise _FailedError("the server sends a page and no video; check the path")
    if not head:
        raise _FailedError("the server answers with nothing; check the path")
    capture = _by_ffmpeg(address, port)
    counted = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
    beginning = hashlib.sha256(head).hexdigest()
    return Opened(capture=capture, finite=counted or length is not None, beginning=beginning)


def _answer(address: StreamAddress, port: int) -> http.client.HTTPResponse:
    """Return the response to a request, with user and password if the server asks for them."""
    context = ssl.create_default_context()
    # A camera has a certificate of its own making, if any; FFmpeg does not check it either.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if address.user is not None:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        base = f"{address.scheme}://{address.host}/"
        passwords.add_password(None, base, address.user, address.password or "")
        handlers += [_Basic(passwords), _Digest(passwords)]
    url = urllib.parse.quote(address.plain.partition("#")[0], safe=":/?#[]@!$&'()*+,;=%~")
    request = urllib.request.Request(url, headers={"User-Agent": "lmedge", "Accept": "*/*"})
    try:
        answer: http.client.HTTPResponse = urllib.request.build_opener(*handlers).open(
            request, timeout=READ_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        reason = _REASONS.get(error.code, "the server refuses")
        raise _FailedError(f"{reason} (HTTP {error.code})") from None
    except http.client.RemoteDisconnected:
        raise _FailedError("the server ends the connection; check port and path") from None
    except http.client.BadStatusLine:
        raise _OtherProtocolError from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _FailedError(_why(error, address, port)) from None
    return answer


class _Closing:
    """A base of handlers that closes the refusal before the answer to a login is used."""

    def http_error_401(self, request: Any, refusal: Any, *details: Any) -> Any:
        """Log in; None if that is not possible."""
        try:
            answer = super().http_error_401(request, refusal, *details)  # type: ignore[misc]
        except ValueError:
            return None  # the server asks for a log-in of another kind
        except Exception:
            refusal.close()
            raise
        if answer is not None:
            refusal.close()
        return answer


class _Basic(_Closing, urllib.request.HTTPBasicAuthHandler):
    pass


class _Digest(_Closing, urllib.request.HTTPDigestAuthHandler):
    def retry_http_digest_auth(self, request: Any, challenge: str) -> Any:
        """Log in once: cameras shut out who tries a wrong password several times."""
        if request.has_header(self.auth_header) and not _STALE.search(challenge):
            return None
        return super().retry_http_digest_auth(request, challenge)

    def get_algorithm_impls(self, algorithm: str) -> Any:
        """Return the two functions of RFC 7616, section 3.3. The library's know ASCII alone."""
        make = _DIGESTS.get(algorithm.upper())
        if make is None:
            raise ValueError(algorithm)

        def digest(text: str) -> str:
            return str(make(text.encode(), usedforsecurity=False).hexdigest())

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def _why(error: Exception, address: StreamAddress, port: int) -> str:
    """Return the reason of a failed request. Texts of libraries may contain the address."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urllib.parse.urlsplit(f"//{address.host}").hostname
    if isinstance(cause, socket.gaierror):
        return f"no host is named {host!r}; check the address and the network"
    if isinstance(cause, TimeoutError):
        return f"{host}:{port} gives no answer for {READ_SECONDS:.0f} s; is the camera on?"
    if isinstance(cause, ssl.SSLError):
        return f"{host}:{port} does not speak https; try http"
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection to {host}:{port} ({cause.strerror.lower()}); is the camera on?"
    return f"{host}:{port} answers, but not in HTTP ({type(cause).__name__}); check the port"


def _head(answer: http.client.HTTPResponse) -> bytes:
    """Return the first bytes, as many as come until the server pauses."""
    head = b""
    try:
        while len(head) < _HEAD and not _is_jpeg(head):
            data = answer.read1(min(CHUNK, _HEAD - len(head)))
            if not data:
                break
            head += data
    except (OSError, http.client.HTTPException):
        pass
    return head


def _is_jpeg(head: bytes) -> bool:
    """Return True for a JPEG, and for one part of a multipart stream that is announced as none."""
    text = head.lstrip()
    return text.startswith(b"\xff\xd8\xff") or (
        text.startswith(b"--") and b"image/jpeg" in text[:512].lower()
    )


def _by_ffmpeg(address: StreamAddress, port: int) -> Any:
    be_quiet(secret=address.secret)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * OPEN_SECONDS)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * READ_SECONDS)]
    capture = cv2.VideoCapture(address.quoted, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return leaving_jpeg(capture, cv2.CAP_PROP_FORMAT, -1)
    capture.release()
    host = urllib.parse.urlsplit(f"//{address.host}").hostname
    try:
        socket.create_connection((host or "", port), timeout=3).close()
    except OSError as error:
        raise _FailedError(_why(error, address, port)) from None
    raise _FailedError(
        "the server answers, but not with a video OpenCV can read; check path, user and password"
    )
