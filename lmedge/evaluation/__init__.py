"""Labelled images, metrics and intervals, with numpy alone."""
