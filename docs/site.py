"""Hooks of mkdocs: the measured tables beside the pages, and links that leave docs/.

The pages are read in the repository too, where they link to files outside docs/. On the site a link
to a table leads to a copy of the table. Any other link that leaves docs/ becomes plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TABLES = "benchmarks/results"
_LEAVING = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every committed table to the site."""
    folder = Path(config.config_file_path).parent / TABLES
    for path in sorted(folder.glob("*.csv")):
        files.append(File.generated(config, f"{TABLES}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to tables to their copies; leave the text of other links out of docs/."""
    if "/" in page.file.src_uri:  # in a folder below docs/, "../" does not leave it
        return markdown
    markdown = re.sub(rf"\]\(\.\./{TABLES}/(\w+\.csv)\)", rf"]({TABLES}/\1)", markdown)
    return _LEAVING.sub(r"\1", markdown)
