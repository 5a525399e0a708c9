"""Labelled images, metrics and intervals; needs numpy alone."""

PARTS = ("train", "val", "test")  # of a data set, and of the folders it may come in
