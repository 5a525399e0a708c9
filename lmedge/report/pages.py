"""Pages from the templates. jinja2 is imported when one is made: a device may lack it."""

from __future__ import annotations

from importlib import resources

import click


def render(name: str, **values: object) -> str:
    """Return templates/`name`.jinja with `values`; raises ImportError without jinja2.

    What is not in `values` is an error, and in .html everything is escaped.
    """
    import jinja2

    folder = resources.files("lmedge.benchmarks") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": lambda value: f"{value:.2f}",
        "mb": lambda value: f"{value / 1e6:.2f}",
        "share": lambda value: f"{value:.3f}",
        "signed": lambda value: f"{value:+.3f}",
        "percent": lambda value: f"{100 * value:.1f}\N{NO-BREAK SPACE}%",
        "filename": click.format_filename,
    }
    return environment.get_template(f"{name}.jinja").render(**values)
