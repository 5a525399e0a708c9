"""Colours of plots: Okabe and Ito's, told apart by every kind of colour vision (2008).

On a page each becomes a CSS variable with a lighter value for the dark scheme; see the template.
"""

from __future__ import annotations

BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
GREY, INK = "#888888", "#333333"  # grid; axes and text
VARIABLES = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    SKY: "var(--sky)",
    INK: "currentColor",
}
