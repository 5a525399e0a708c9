"""Labelled images, metrics and intervals; needs numpy alone."""
