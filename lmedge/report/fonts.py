"""Fonts of the names in plots, which may be in any script, and stand-ins without a font.

matplotlib is imported when fonts are chosen: a device may lack it.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..harmless import harmless
from ..taxonomy import Taxonomy

PLAIN = "DejaVu Sans"  # comes with matplotlib
LONGEST = 28  # characters of a name that is drawn
# Fonts that draw a box or a code in place of every letter, and those matplotlib cannot scale.
_USELESS = ("last resort", "emoji", "tofu", "fallback")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Fonts:
    """The font families to draw names with, the first choice first; `stand_ins` by name."""

    families: tuple[str, ...] = (PLAIN,)
    stand_ins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def label(self, name: str, longest: int = LONGEST) -> str:
        """Return the text to draw for a name: at most `longest` characters, cut in the middle."""
        text = harmless(self.stand_ins.get(name, name))
        if len(text) <= longest:
            return text
        # Names that share a beginning often differ at their end.
        tail = longest // 3
        return f"{text[: longest - tail - 1].rstrip()}…{text[-tail:].lstrip()}"

    def without_stand_ins(self) -> Fonts:
        """Return the fonts of an SVG: browsers find fonts of any script by themselves."""
        return dataclasses.replace(self, stand_ins={})


@dataclasses.dataclass(frozen=True)
class Font:
    """An installed font family and the file of its regular style."""

    family: str
    path: Path


def choose_fonts(taxonomy: Taxonomy, fonts: Sequence[Font] | None = None) -> Fonts:
    """Choose fonts for the names of a taxonomy, from all that are installed unless given.

    A name with a letter that no font has is drawn as "landmark 12" or "category 3", its place in
    the taxonomy from 1; a symbol that no font has is left out of its name.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib import font_manager

    names = (*taxonomy.landmarks, *taxonomy.categories)
    missing = _letters(names) - _letters_of(Font(PLAIN, Path(font_manager.findfont(PLAIN))))
    families = [PLAIN]
    for font in (installed_fonts() if fonts is None else fonts) if missing else ():
        if found := missing & _letters_of(font):
            families.append(font.family)
            missing -= found
        if not missing:
            break
    stand_ins = {
        name: _stand_in(name, missing, f"{kind} {number}")
        for kind, group in (("category", taxonomy.categories), ("landmark", taxonomy.landmarks))
        for number, name in enumerate(group, start=1)
        if _letters([name]) & missing
    }
    numbered = [name for name, shown in stand_ins.items() if shown not in name]
    if numbered:
        logger.info(
            "no installed font has the letters of %d names, %s for one: plots show their places "
            "among the labels; install a font of that script, Noto for instance, to see the names",
            len(numbered),
            numbered[0],
        )
    return Fonts(tuple(families), stand_ins)


def _stand_in(name: str, missing: Collection[str], number: str) -> str:
    kept = "".join(character for character in name if character not in missing).strip()
    only_symbols = all(unicodedata.category(c)[0] in "SP" for c in name if c in missing)
    return kept if kept and only_symbols else number


def installed_fonts() -> tuple[Font, ...]:
    """Return the regular fonts of this system that can be scaled, Noto Sans first."""
    from matplotlib import font_manager

    found = {
        entry.name: Font(entry.name, Path(entry.fname))
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal"
        and entry.weight in (400, "normal", "regular", "book")
        and not any(word in entry.name.lower() for word in _USELESS)
    }
    return tuple(sorted(found.values(), key=_preference))


def _preference(font: Font) -> tuple[bool, bool, str]:
    name = font.family
    return not name.startswith("Noto Sans"), "Mono" in name or "Serif" in name, name


@functools.cache
def _letters_of(font: Font) -> frozenset[str]:
    """Return the characters of a font; none for one that cannot be read or scaled."""
    from matplotlib import ft2font

    try:
        face = ft2font.FT2Font(str(font.path))
        return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _letters(names: Iterable[str]) -> set[str]:
    """Return the characters that need a glyph: all but separators and invisible ones."""
    characters = {character for name in names for character in name}
    return {c for c in characters if unicodedata.category(c)[0] not in "CZ"}
