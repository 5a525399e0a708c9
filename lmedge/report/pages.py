"""Pages from templates, with plots in them.

jinja2 and matplotlib are imported when a page is made: a device may lack them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from ..harmless import harmless, markdown
from .canvas import drawing
from .fonts import PLAIN, Fonts
from .palette import VARIABLES

if TYPE_CHECKING:
    from .canvas import Axes

PNG_DPI = 150
STYLE = "style.css"
INSTALL = "pip install 'lmedge[report]'"
_FONT = re.compile(r"(font(?:-family)?:[^;\"]*?)'" + PLAIN + r"'[^;\"]*")


def missing_package() -> str | None:
    """Return the name of a package that pages and plots need and that cannot be imported."""
    for name in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            return error.name
    return None


def render(templates: Traversable, name: str, **values: object) -> str:
    """Fill in a template; every value is escaped as its kind of page needs.

    Args:
        templates: Folder of the templates.
        name: Name of the page; the template is NAME.jinja.
        **values: Everything that the template uses; an unknown name in it is an error.

    Raises:
        ImportError: jinja2 is not installed.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _template(templates, name).read_text("utf-8")),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize(markdown if name.endswith(".md") else harmless),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": lambda value: f"{value:.2f}",
        "mb": lambda value: f"{value / 1e6:.2f}",
        "share": lambda value: f"{value:.3f}",
        "signed": lambda value: f"{value:+.3f}",
        "percent": lambda value: f"{100 * value:.1f}\N{NO-BREAK SPACE}%",
        "filename": str,
    }
    return environment.get_template(f"{name}.jinja").render(**values)


def _template(templates: Traversable, name: str) -> Traversable:
    """Return a template; the style is that of all pages and lies here."""
    return resources.files(__package__) / name if name == STYLE else templates.joinpath(name)


def _finalize(clean: Callable[[object], str]) -> Callable[[object], object]:
    """Return the function that cleans each value; SVG of our own, marked as safe, stays."""

    def finalize(value: object) -> object:
        return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value

    return finalize


def draw_for_page(
    path: Path,
    size: tuple[float, float],
    draw: Callable[[Axes, Fonts], None],
    fonts: Fonts | None = None,
) -> str:
    """Write a plot of `size` inches as `path`.png and `path`.svg; return the SVG for a page.

    Colours of the returned SVG are variables of the page, light or dark. Its text has the colour
    and the font of the text around it.
    """
    chosen = fonts or Fonts()
    png, svg = (path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg"))
    with drawing(png, size, chosen, PNG_DPI) as figure:
        draw(figure.subplots(), chosen)
    with drawing(svg, size, chosen) as figure:
        draw(figure.subplots(), chosen.without_stand_ins())
    return _embedded(svg.read_text("utf-8"))


def _embedded(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour.lower(), variable).replace(colour, variable)
    return _FONT.sub(r"\1var(--font)", svg)
