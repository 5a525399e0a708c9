"""`lmedge label`: a page on this machine that sorts collected images into the photographs."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import click

from ..camera.parameters import Address
from ..camera.preview_server import open_server
from ..camera.preview_token import find_token, shown_address
from ..harmless import echo
from ..writers import held
from .collected import check_collected
from .label_pages import BODY_BYTES, LabelPages
from .labelling import DISCARD, LABEL, UNKNOWN_IMAGE, Labeller

SERVE = "127.0.0.1:8001"
_log = logging.getLogger(__name__)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="PHOTOGRAPHS",
    help="The photographs that the labelled images are added to.",
)
@click.option(
    "--serve",
    type=Address(),
    default=SERVE,
    show_default=True,
    help="Address of the page; any but 127.0.0.1 has the token of `lmedge camera --preview`.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the token that browsers must know  [default: LMEDGE_TOKEN, or one is made]",
)
def label(folder: Path, data: Path, serve: tuple[str, int], token_file: Path | None) -> None:
    """Label the images of `lmedge camera --collect`, in a browser.

    Images with the same prediction that look alike stand together, the prediction first. Enter
    confirms it for all that are selected. A digit takes another candidate, letters find a landmark,
    `x` is none of them, `d` discards, `n` names a new landmark, `u` undoes. Copies go to
    <category>/<landmark>/ and unknown/ of PHOTOGRAPHS, and nothing there is overwritten. DIR stays
    as it is; what was decided is in DIR/labels.jsonl. Ctrl-C ends, and the command continues there.

    \b
    lmedge label field --data photographs
    """  # noqa: D301 - click's mark, the character itself
    token = find_token(serve[0], file=token_file)
    check_collected(folder)  # the lock would make it
    with held(folder / "labels.jsonl"):
        labeller = Labeller(folder, data)
        for problem in labeller.problems:
            _log.warning("left out: %s", problem)
        server = open_server(
            LabelPages(labeller, token), *serve, option="--serve", body_bytes=BODY_BYTES
        )
        try:
            _log.info("%d of %d images to label", len(labeller.left()), labeller.total)
            host = f"[{serve[0]}]" if ":" in serve[0] else serve[0]
            address = shown_address(f"http://{host}:{server.port}/", token)
            echo(address)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.close()
        _summarize(labeller)


def _summarize(labeller: Labeller) -> None:
    counts = labeller.counts()
    _log.info(
        "%d labelled, %d of anything else, %d discarded, %d left",
        counts[LABEL],
        counts[UNKNOWN_IMAGE],
        counts[DISCARD],
        len(labeller.left()),
    )
    if (found := labeller.accuracy()) is not None:
        _log.info(
            "of the random share %d of %d predictions were right: %.3f, 95 %% %.3f to %.3f "
            "(%d scenes)",
            found.right,
            found.images,
            found.right / found.images,
            *found.interval,
            found.bursts,
        )
