"""Names in plots: cut to a length that leaves room, in fonts that have their letters."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterable
from pathlib import Path

PLAIN = "DejaVu Sans"  # comes with matplotlib
LONGEST = 24  # characters of a name that is drawn
_log = logging.getLogger(__name__)


def shortened(name: str, longest: int = LONGEST) -> str:
    """Return at most `longest` characters of a name, cut in the middle."""
    if len(name) <= longest:
        return name
    tail = longest // 3  # names that share a beginning often differ at their end
    return f"{name[: longest - tail - 1].rstrip()}…{name[-tail:].lstrip()}"


def families(names: Iterable[str]) -> list[str]:
    """Return the font families to draw names with: the plain one, then what it lacks.

    Browsers find fonts by themselves; this is for the PNG. Letters that no installed font has are
    drawn as boxes, and a log line says so. Raises ImportError without matplotlib.
    """
    from matplotlib import font_manager

    missing = {
        letter for name in names for letter in name if unicodedata.category(letter)[0] not in "CZ"
    } - _letters_of(Path(font_manager.findfont(PLAIN)))
    found = [PLAIN]
    for entry in sorted(font_manager.fontManager.ttflist, key=_preference) if missing else ():
        if has := missing & _letters_of(Path(entry.fname)):
            found.append(entry.name)
            missing -= has
        if not missing:
            break
    if missing:
        _log.info(
            "no installed font has %s: the PNG plots show boxes; install a font of that script, "
            "Noto for instance",
            " ".join(sorted(missing)[:8]),
        )
    return found


def _preference(entry: object) -> tuple[bool, bool, bool, str]:
    name = str(getattr(entry, "name", ""))
    regular = getattr(entry, "style", "") == "normal" and getattr(entry, "weight", 0) in {
        400,
        "normal",
        "regular",
        "book",
    }
    useless = any(word in name.lower() for word in ("last resort", "emoji", "tofu"))
    return useless, not regular, not name.startswith("Noto Sans"), name


@functools.cache
def _letters_of(path: Path) -> frozenset[str]:
    """Return the characters of a font; none for one that cannot be read or scaled."""
    from matplotlib import ft2font

    try:
        face = ft2font.FT2Font(str(path))
        return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
