"""Lists beside the photographs: in any editor's form, and no line that names nothing passes."""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmedge.cli import cli
from lmedge.errors import DataError, RecipeError
from lmedge.evaluation.folders import scan
from lmedge.evaluation.names import ImageNames
from lmedge.exclude import Exclusion, match_exclusions, read_exclusions
from lmedge.image import Resize
from lmedge.train.data.preparation import SplitOptions, prepare_split
from lmedge.train.data.split_file import SPLIT_FILE, as_portable_csv
from lmedge.train.data.store import ImageStore
from lmedge.train.recipes import load_recipe
from lmedge.train.run import Run
from tests import small_run
from tests.train.data.conftest import kinds, run_check

LONG = Path("bridges") / "Große Brücke"
TOWER = Path("tower") / "tower"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(32, Resize.SQUASH, tmp_path_factory.mktemp("cache"))


def train(data: Path, store: ImageStore) -> set[str]:
    """Return the names of all images that a training uses."""
    split, _ = prepare_split(data, store, SplitOptions(seed=0, val_fraction=0.2, test_fraction=0.2))
    return {
        entry.image.path.relative_to(data).as_posix()
        for entries in split.parts.values()
        for entry in entries
    }


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.jpg"))[0]


FORMS: dict[str, Callable[[str, Path], str]] = {
    "as it is": lambda name, data: name,
    "backslashes": lambda name, data: name.replace("/", "\\"),
    "dot": lambda name, data: f"./{name}",
    "dot and backslashes": lambda name, data: ".\\" + name.replace("/", "\\"),
    "doubled slashes": lambda name, data: name.replace("/", "//"),
    "absolute": lambda name, data: str(data / name),
    "absolute, elsewhere": lambda name, data: f"/home/me/{data.name}/{name}",
    "absolute, on Windows": lambda name, data: (
        f"C:\\Users\\me\\{data.name}\\" + name.replace("/", "\\")
    ),
    "decomposed accents": lambda name, data: unicodedata.normalize("NFD", name),
    "blanks at the ends": lambda name, data: f"  {name} ",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_names_its_image_in_every_form(
    form: str, encoding: str, photographs: Path, store: ImageStore
) -> None:
    name = first(photographs / LONG).relative_to(photographs).as_posix()
    written = FORMS[form](name, photographs)
    (photographs / "exclude.txt").write_bytes(f"path\r\n{written}\r\n".encode(encoding))
    used = train(photographs, store)
    assert name not in used
    assert len(used) == 23
    assert kinds(run_check(photographs)) == []


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_of_a_spreadsheet(separator: str, photographs: Path) -> None:
    path = photographs / "exclude.txt"
    path.write_text(f"sep={separator}\npath,sha256,reason\na b.jpg,,dark\n".replace(",", separator))
    assert read_exclusions(path) == (Exclusion("a b.jpg", "", "dark"),)


@pytest.mark.parametrize("written", ["tower/tower/typo.jpg", "tower/tower", "x;y", "tower/tower/1"])
def test_a_line_that_names_nothing_is_refused_by_its_number(
    written: str, photographs: Path, store: ImageStore
) -> None:
    exclude = photographs / "exclude.txt"
    exclude.write_text(f"# seen by me\n\n{written}\nnothing either\n", "utf-8")
    with pytest.raises(DataError, match=r"exclude\.txt: line 3: '.*' is no image .*and 1 more"):
        train(photographs, store)
    called = CliRunner().invoke(cli, ["data", "check", str(photographs), "--strict"])
    assert called.exit_code == 1
    assert f"line 3: {written!r} is no image" in called.output
    assert "line 4: 'nothing either' is no image" in called.output


def test_a_renamed_image_stays_left_out_and_a_removed_one_is_no_error(
    photographs: Path, store: ImageStore
) -> None:
    renamed, removed = sorted((photographs / TOWER).glob("*.jpg"))[:2]
    lines = [
        f"{path.relative_to(photographs).as_posix()},{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (renamed, removed)
    ]
    (photographs / "exclude.txt").write_text("\n".join(["path,sha256", *lines]) + "\n", "utf-8")
    renamed.rename(renamed.with_name("other name.jpg"))
    removed.unlink()
    used = train(photographs, store)
    assert len(used) == 22
    assert "tower/tower/other name.jpg" not in used
    assert kinds(run_check(photographs)) == []


def test_a_name_that_two_images_share_names_none(tmp_path: Path) -> None:
    names = ["a/" + unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    both = ImageNames(names, tmp_path)
    assert [both.find(name) for name in names] == names
    assert both.find(" a/é.jpg") is None


def test_a_new_landmark_beside_a_split_is_named_even_quietly(
    photographs: Path, store: ImageStore, caplog: pytest.LogCaptureFixture
) -> None:
    split, _ = prepare_split(
        photographs, store, SplitOptions(seed=0, val_fraction=0.2, test_fraction=0.2)
    )
    (photographs / SPLIT_FILE).write_text(as_portable_csv(split, photographs), "utf-8")
    for index in range(3):
        path = photographs / "tower" / "new tower" / f"{index}.jpg"
        small_run.save(path, small_run.draw((10, 20, 200), 900 + index))
    assert not any("new tower" in name for name in train(photographs, store))
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]  # shown with -q too
    assert len(errors) == 1
    assert "none of the 3 images of new tower, which is not learnt" in errors[0]
    found = run_check(photographs)
    assert [(one.kind, one.landmarks) for one in found.findings if one.kind == "not-in-split"] == [
        ("not-in-split", ("new tower",))
    ]


def test_a_split_with_backslashes_and_semicolons(photographs: Path, store: ImageStore) -> None:
    before = train(photographs, store)
    split, _ = prepare_split(
        photographs, store, SplitOptions(seed=0, val_fraction=0.2, test_fraction=0.2)
    )
    text = as_portable_csv(split, photographs).replace(",", ";").replace("/", "\\")
    (photographs / SPLIT_FILE).write_bytes(unicodedata.normalize("NFD", text).encode("utf-16"))
    assert train(photographs, store) == before
    assert kinds(run_check(photographs)) == []
    (photographs / SPLIT_FILE).write_text(text.replace("image 01", "image x1"), "utf-8")
    first(photographs / TOWER).unlink()
    with pytest.raises(DataError, match=r"1 of its 24 images are not in .*, line \d+: tower"):
        train(photographs, store)
    assert "unmatched" in kinds(run_check(photographs))


def test_training_check_and_split_keep_one_list_of_rules(
    photographs: Path, store: ImageStore, tmp_path: Path
) -> None:
    (photographs / TOWER).rename(photographs / "tower" / "tower\r")  # by a script with CR LF
    with pytest.raises(DataError, match=r"'tower\\r' cannot be .* \(U\+000D\); rename the folder"):
        train(photographs, store)
    split = CliRunner().invoke(cli, ["data", "split", str(photographs)])
    assert isinstance(split.exception, DataError)
    assert not (photographs / SPLIT_FILE).exists()
    assert kinds(run_check(photographs)) == ["bad-name"]


def test_one_landmark_alone_is_a_finding_and_no_split(photographs: Path, store: ImageStore) -> None:
    shutil.rmtree(photographs / "bridges")
    shutil.rmtree(photographs / "tower" / "white tower")
    assert kinds(run_check(photographs)) == ["one-landmark"]
    split = CliRunner().invoke(cli, ["data", "split", str(photographs)])
    assert "at least two landmarks" in str(split.exception)


def test_similar_names_of_categories(photographs: Path) -> None:
    (photographs / "Tower ").mkdir()
    (photographs / "tower" / "white tower").rename(photographs / "Tower " / "white tower")
    (finding,) = run_check(photographs).findings
    assert (finding.kind, finding.landmarks) == ("similar-names", ())
    assert "category 'Tower ' and 'tower'" in finding.message


def test_a_line_of_taxonomy_without_a_folder_is_a_finding(photographs: Path) -> None:
    for folder in list(photographs.glob("*/*")):
        folder.rename(photographs / f"{folder.name} flat")
    shutil.rmtree(photographs / "tower")
    shutil.rmtree(photographs / "bridges")
    lines = [f"{folder.name};all" for folder in photographs.iterdir()]
    text = "\n".join(["landmark;category", *lines, "hill;all"])
    (photographs / "taxonomy.csv").write_text(text, "utf-8")
    (finding,) = run_check(photographs).findings
    assert finding.kind == "unmatched"
    assert finding.message.endswith("taxonomy.csv: line 6: there is no folder 'hill'")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_recipe_saved_by_notepad(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_bytes("# für die Nacht\r\n[head]\r\nepochs = 7\r\n".encode(encoding))
    assert load_recipe(str(path)).head.epochs == 7


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(RecipeError, match="not a recipe .*zero bytes"):
        load_recipe(str(tmp_path / "binary.toml"))


def test_what_is_not_read_is_a_finding_and_what_lmedge_wrote_is_none(photographs: Path) -> None:
    (photographs / TOWER / "1.cr2").touch()
    (photographs / "@eaDir").mkdir()
    for _ in range(2):
        words = ["data", "check", str(photographs), "--report", str(photographs / "checked")]
        called = CliRunner().invoke(cli, [*words, "--min-side", "16"])
        assert called.exit_code == 0
    (finding,) = run_check(photographs).findings
    assert finding.kind == "left-out"
    assert finding.message.endswith("1.cr2: .cr2 is not read; save it as JPEG")


def test_a_real_run_folder_is_no_data(
    photographs: Path, finished_run: Run, store: ImageStore
) -> None:
    """`cd photographs; lmedge train .` makes runs/ there."""
    before = train(photographs, store)
    shutil.copytree(finished_run.folder, photographs / "runs" / "photographs")
    assert train(photographs, store) == before


def test_nothing_is_hashed_unless_a_line_names_nothing(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = scan(photographs)
    listed = [Exclusion(images[0].path.relative_to(photographs).as_posix(), "0" * 64)]
    monkeypatch.setattr("lmedge.exclude.read_encoded", None)
    assert match_exclusions(listed, images, photographs).found == tuple(listed)
