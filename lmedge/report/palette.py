"""Colours of plots: the palette of Okabe and Ito (2008), for every kind of colour vision.

On a page each colour becomes a CSS variable, which has a lighter value in the dark scheme.
"""

from __future__ import annotations

BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
INK, GREY, GRID = "#333333", "#666666", "#888888"  # axes and text; notes; lines behind the data
VARIABLES = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    SKY: "var(--sky)",
    INK: "currentColor",
    GREY: "var(--dim)",
}
