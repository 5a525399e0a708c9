"""A data set to try the toolkit on: twelve invented monuments, drawn.

Each monument is a small solid model with proportions and materials of its own, seen from somewhere
else in another light every time. Needs NumPy and OpenCV only. All images are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from .monuments import MONUMENTS, draw_monument, draw_unknown
from .output import clip, contact_sheet, write_data_set

__all__ = ["MONUMENTS", "clip", "contact_sheet", "draw_monument", "draw_unknown", "write_data_set"]
