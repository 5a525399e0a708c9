"""What README.md and docs/ name exists, the site builds, and no page loads from another host."""

from __future__ import annotations

import ast
import html.parser
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lmedge import errors
from tests.glossary import commands, misused, pages, problems
from tests.locations import ROOT

PAGES = [*pages(), ROOT / "CHANGELOG.md"]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]
# Pages that describe former states name former files and commands.
FORMER = {ROOT / "docs" / "history.md", ROOT / "CHANGELOG.md"}
TODAY = [path for path in PAGES if path not in FORMER]
ROOMS = ("lmedge", "train", "export", "benchmarks", "tests", "docs", "examples")
COMMANDS = dict(commands())
STUDIES = ROOT / "benchmarks" / "studies"


def fenced(text: str) -> Iterator[str]:
    """Yield the lines of code blocks, continued ones joined, without comments."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield re.sub(r"(^|\s)#.*", "", line)


def code(text: str) -> list[str]:
    """Return every piece of code in a page: lines of blocks, and spans in the prose."""
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [*fenced(text), *spans]


def options_of(command: click.Command) -> set[str]:
    """Return the options that the help of a command shows."""
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return {name for p in shown for name in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}


def words_of(piece: str) -> list[str]:
    """Split one command into words, as far as a shell would before a pipe."""
    try:
        return shlex.split(re.split(r"\\?\||;|&&", piece)[0])
    except ValueError:  # an apostrophe of prose
        return piece.split()


@pytest.mark.parametrize("path", TODAY, ids=lambda path: path.name)
def test_every_command_and_option_that_is_named_exists(path: Path) -> None:
    everywhere = set().union(*(options_of(command) for command in COMMANDS.values()))
    for piece in code(path.read_text("utf-8")):
        for alone in re.findall(r"^(--[a-z][\w-]*)", piece):
            assert alone in everywhere | OTHERS, f"{path.name}: {piece}"
        for call in re.findall(r"(?:^|[\s/])(lmedge\s(?!import).*)", piece):
            command, words = COMMANDS["lmedge"], words_of(call)[1:]
            for word in words:
                name = word.split("=")[0]
                if isinstance(command, click.Group) and not word.startswith("-"):
                    inner = command.get_command(click.Context(command), word.rstrip(",.:"))
                    if word.isupper():  # COMMAND stands for any
                        break
                    assert inner is not None, f"{path.name}: {call}"
                    command = inner
                elif re.fullmatch(r"--[a-z][\w-]*|-[a-z]", name):
                    assert name in options_of(command), f"{path.name}: {call}"


# Options of other programs that the prose names alone.
OTHERS = {"--no-deps", "--system-site-packages"}


@pytest.mark.parametrize("path", TODAY, ids=lambda path: path.name)
def test_every_study_and_each_of_its_options_exists(path: Path) -> None:
    for piece in code(path.read_text("utf-8")):
        found = re.search(r"python -m (benchmarks\.studies\.\w+|tests\.\w+)(.*)", piece)
        if not found:
            continue
        module = ROOT / found[1].replace(".", "/")
        sources = [module.with_suffix(".py")] if not module.is_dir() else [*module.glob("*.py")]
        if found[1].endswith(".NAME"):
            continue
        assert all(source.is_file() for source in sources), f"{path.name}: {piece}"
        text = "".join(source.read_text("utf-8") for source in [*sources, *STUDIES.glob("*.py")])
        for option in re.findall(r"\s(--[a-z][\w-]*)", found[2]):
            assert f'"{option}"' in text, f"{path.name}: {piece}"


@pytest.mark.parametrize("path", TODAY, ids=lambda path: path.name)
def test_every_file_and_module_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    rooms = "|".join(ROOMS)
    for span in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(rf"(?:{rooms})/[\w./-]*", span):
            assert (ROOT / span).exists(), f"{path.name}: {span}"
        if re.fullmatch(r"\w+\.py", span):
            assert any(list((ROOT / room).rglob(span)) for room in ROOMS), f"{path.name}: {span}"
        if re.fullmatch(r"(lmedge|benchmarks)(\.[a-z_0-9]+)+", span):
            assert _is_module_or_name(span), f"{path.name}: {span}"
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def _is_module_or_name(dotted: str) -> bool:
    """Return whether a module, or a name in one, is called `dotted`; files such as lmedge.json."""
    if dotted.endswith((".json", ".tflite")):
        return True
    parts = dotted.split(".")
    if parts[0] == "lmedge" and parts[1] in {"train", "export", "benchmarks"}:
        parts = parts[1:]
    place = ROOT.joinpath(*parts)
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    above = place.parent
    source = above / "__init__.py" if above.is_dir() else above.with_suffix(".py")
    return source.is_file() and parts[-1] in source.read_text("utf-8")


def test_the_table_of_the_recipe_has_the_defaults() -> None:
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    recipe = tomllib.loads((ROOT / "train" / "recipes" / "default.toml").read_text("utf-8"))
    seen = set()
    rows = re.findall(r"^\| ((?:`\w+\.\w+`(?:, )?)+) \| ([^|]+) \|", text, re.MULTILINE)
    for keys, values in rows:
        named = re.findall(r"`(\w+)\.(\w+)`", keys)
        if not all(section in recipe for section, _ in named):
            continue  # a row of another table
        shown = [value.strip("` ") for value in re.split(r",\s(?=`)", values)]
        for place, (section, key) in enumerate(named):
            value = shown[min(place, len(shown) - 1)]
            default = recipe[section][key]
            assert tomllib.loads(f"x = {value}")["x"] == default, f"{section}.{key}"
            seen.add((section, key))
    everything = {(section, key) for section, values in recipe.items() for key in values}
    assert {pair for pair in everything - seen if pair[0] != "second_head"} == set()


def test_the_table_of_exit_codes_is_the_tree_of_errors() -> None:
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| ((?:`\w+Error`(?:, )?)+) \|", text, re.MULTILINE)
    table = {(int(code), name) for code, names in rows for name in re.findall(r"\w+", names)}
    assert table == {(kind.exit_code, kind.__name__) for kind in errors.kinds()}


def test_every_environment_variable_of_ours_is_read_and_described() -> None:
    sources = [path for room in ROOMS[:4] for path in (ROOT / room).rglob("*.py")]
    read = set()
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= {node.value} if re.fullmatch(r"LMEDGE_[A-Z_]+", node.value) else set()
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    described = set(re.findall(r"^\| `(LMEDGE_[A-Z_]+)` \|", text, re.MULTILINE))
    assert described == {name for name in read if name != "LMEDGE_SHARED"}


def test_the_glossary_finds_a_word_and_leaves_names_of_formats_alone() -> None:
    assert list(misused("two strangers\nthe key `pictures`\nuse `--strangers DIR`")) == [
        (1, "strangers", "unknown image(s)"),
        (3, "strangers", "unknown image(s)"),
    ]
    assert list(misused("## Glossary\n\n| trunk | backbone |\n\n## Next\n\nthe trunk")) == [
        (7, "trunk", "backbone(s)")
    ]


def test_docs_and_help_use_the_words_of_the_glossary() -> None:
    assert list(problems()) == []


class References(html.parser.HTMLParser):
    """Collects the addresses that a page loads: scripts, styles, images, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"link", "script", "img", "iframe", "source", "object", "embed"}:
            values = dict(attrs)
            if tag == "link" and "canonical" in (values.get("rel") or ""):
                return
            self.loaded += [
                values[name] or "" for name in ("href", "src", "data") if name in values
            ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return folder


def test_the_site_builds_and_loads_nothing_from_another_host(site: Path) -> None:
    written = sorted(site.rglob("*.html"))
    assert len(written) >= 11
    for path in written:
        references = References()
        references.feed(path.read_text("utf-8"))
        assert references.loaded
        far = [name for name in references.loaded if re.match(r"(https?:)?//", name)]
        assert not far, f"{path.name}: {far}"
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text("utf-8")), path.name


def test_the_reference_shows_the_public_surface(site: Path) -> None:
    import lmedge
    import lmedge.camera

    for module in (lmedge, lmedge.camera):
        page = module.__name__.rpartition(".")[2]
        text = (site / "reference" / f"{page}.html").read_text("utf-8")
        for name in set(module.__all__) - {"__version__", "LmedgeError", "BgrImage", "UNSMOOTHED"}:
            assert f'id="{module.__name__}.{name}"' in text, name
    text = (site / "reference" / "evaluation.html").read_text("utf-8")
    for path in (ROOT / "lmedge" / "evaluation").glob("[!_]*.py"):
        assert f'id="lmedge.evaluation.{path.stem}"' in text, path.stem
    text = (site / "reference" / "errors.html").read_text("utf-8")
    assert all(f'id="lmedge.errors.{kind.__name__}"' in text for kind in errors.kinds())
