"""`lmedge app`: a folder with the page of a file, for phones."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ..camera.parameters import Address
from ..camera.preview_token import is_own
from ..harmless import echo
from ..model_file import read_model
from ..trial import survive
from .folder import check_app_folder, write_app
from .server import AppServer

FOLDER = Path("site")
SERVE = "127.0.0.1:8000"
_log = logging.getLogger(__name__)
_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    metavar="FOLDER",
    help="The folder to write.",
)
@click.option("--name", help="Name under the icon, at most 12 letters are shown. [default: FILE]")
@click.option("--title", help="Title of the page. [default: the name]")
@click.option(
    "--serve",
    type=Address(),
    is_flag=False,
    flag_value=SERVE,
    help=f"Serve the folder afterwards; {SERVE} unless an address is given.",
)
@click.option("--cert", type=_PEM, help="Serve with https: the certificate, PEM.")
@click.option("--key", type=_PEM, help="The private key of the certificate, PEM.")
def app(
    file: Path,
    output: Path,
    name: str | None,
    title: str | None,
    serve: tuple[str, int] | None,
    cert: Path | None,
    key: Path | None,
) -> None:
    """Write a page that classifies with FILE.tflite in a phone's browser, also offline.

    Any static host serves the folder. A browser opens the camera only with https or on localhost.
    Images never leave the phone. To replace the file, run the command again: phones offer the new
    version.

    \b
    lmedge app landmarks.tflite -o site
    lmedge app landmarks.tflite --serve
    lmedge app landmarks.tflite --serve 0.0.0.0:8443 --cert cert.pem --key key.pem
    """  # noqa: D301 - click's mark, the character itself
    if serve is None and (cert or key):
        raise click.UsageError("--cert and --key need --serve")
    if key is not None and cert is None:
        raise click.UsageError("--key needs --cert")
    check_app_folder(output)
    model = read_model(file)
    survive(model)
    name = name or file.stem
    server = None if serve is None else AppServer(output, *serve, cert=cert, key=key)
    try:
        write_app(model, output, name=name, title=title or name)
        _log.info("wrote %s: serve it with https, or on localhost", output)
        if server is not None:
            _print_address(server.url)
            server.serve_forever()
    except KeyboardInterrupt:
        _log.info("ended")
    finally:
        if server is not None:
            server.server_close()


def _print_address(url: str) -> None:
    """Print the address, and as a QR code if segno is installed."""
    echo(url)
    try:
        import segno
    except ImportError:
        _log.info("`pip install 'lmedge[app]'` adds a QR code of the address")
        return
    segno.make(url, error="l").terminal(compact=True)
    if is_own(url.split("//")[1].rpartition(":")[0].strip("[]")):
        _log.info("only this machine reaches this address; a phone needs --cert and --key")
