"""Labelled images, metrics and intervals; needs numpy alone."""

PARTS = ("train", "val", "test")  # of a data set, and of the folders it may come in
CROSS_VALIDATED = "cross_validated"  # figures of networks that had not seen the image


def part_name(part: str) -> str:
    """Return the name that people read."""
    return "cross-validated" if part == CROSS_VALIDATED else part
