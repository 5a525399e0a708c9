"""Teaching in the page: the closed form of `lmedge teach`, kept on the device, opened by Python."""

from __future__ import annotations

import base64
import dataclasses
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from benchmarks.studies.phone_kills import PageLesson, Profile, killed_lesson
from benchmarks.studies.screenshots import wait_until
from lmedge import __version__
from lmedge.app.folder import write_app
from lmedge.image import decode_image, prepare
from lmedge.interpreter import Interpreter
from lmedge.metadata import Card, pack
from lmedge.model_file import ModelFile, read_model
from lmedge.teach.backbone import FeatureReader
from lmedge.teach.base import Base
from lmedge.teach.features import FeatureSet, feature_set, unit
from lmedge.teach.fitting import Teaching, teach_heads
from lmedge.teach.heads import with_heads
from lmedge.teach.memory import DESCRIPTION, TAUGHT, recall, remembered
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file
from tests import kept, small_run
from tests.in_process import lmedge
from tests.lmedge.app.serving import ASK, PHONE, Watch, needs_chromium, ready, serving, site, stored
from tests.lmedge.app.test_accessibility import bare_page, needs_axe, overflow, violations
from tests.lmedge.app.test_offline import opened
from tests.lmedge.app.test_page import in_the_page, png
from tests.lmedge.teach import small

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

pytestmark = needs_chromium

CLOSE = 1e-6
SINGLE = 1e-5  # of probabilities that runtimes compute in single precision
NEW, ABOVE = "Große Brücke", "bridges"
TEACH = """async ([encoded, landmark, category, keep]) => {
  const images = [];
  for (const one of encoded) {
    const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
    images.push(await lmedge.engine.look(new Blob([bytes], { type: 'image/png' })));
  }
  try {
    const { data, ...about } = await lmedge.teacher.teach(landmark, category, images, keep);
    return about;
  } catch (error) {
    return { refused: error.problems ?? null, code: error.code ?? null, text: String(error) };
  }
}"""
LARGER = """(() => {
  const put = IDBObjectStore.prototype.put;  // a small value is in no file of its own
  IDBObjectStore.prototype.put = function (value, ...key) {
    if (key.length > 0) throw new DOMException('', 'QuotaExceededError');  // padding
    const filler = Array.from({ length: 4 }, () => crypto.getRandomValues(new Uint8Array(50000)));
    return put.call(this, { ...value, filler });
  };
})()"""
BYTES = """async () => {
  const bytes = new Uint8Array(await lmedge.teacher.file().arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 30000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 30000));
  }
  return btoa(text);
}"""


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three landmarks that remembers its photographs. Shared: not to be changed."""
    return small.write_taught(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="module")
def address(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with site(taught, tmp_path_factory.mktemp("site") / "page") as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE)
    context.add_init_script(ASK)
    watch = Watch(context)
    opened = context.new_page()
    opened.goto(address)
    ready(opened)
    yield opened
    context.close()
    assert not watch.errors


def photographs(landmark: str, numbers: Iterator[int] | range) -> list[bytes]:
    return [png(small.draw(landmark, number)) for number in numbers]


def teach(
    page: Page, landmark: str, category: str, images: list[bytes], *, keep: bool = False
) -> Any:
    encoded = [base64.b64encode(one).decode() for one in images]
    return page.evaluate(TEACH, [encoded, landmark, category, keep])


def file_of(page: Page, path: Path) -> ModelFile:
    """Save the file that the page uses."""
    path.write_bytes(base64.b64decode(page.evaluate(BYTES)))
    return read_model(path)


def in_python(file: Path, landmark: str, category: str, images: list[bytes]) -> FeatureSet:
    """Return the features that a lesson of one burst leads to."""
    base = Base.open(file)
    reader = FeatureReader(base.backbone)
    rows = [reader.read(decode_image(one, "image.png")) for one in images]
    burst = feature_set(
        {landmark: category},
        {landmark: rows},
        [],
        zero=base.backbone.zero,
        width=base.backbone.width,
        bursts={landmark: [range(len(rows))]},
    )
    return base.recalled().with_others(burst)


def constants(data: bytes) -> dict[str, np.ndarray]:
    """Return the constants of taught heads by name."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    found = {}
    for tensor in model.subgraphs[0].tensors:
        content = model.buffers[tensor.buffer].data
        if tensor.name.startswith(b"taught/") and content is not None:
            kind = np.int32 if tensor.type == schema.TensorType.INT32 else np.float32
            values = np.frombuffer(np.asarray(content, np.uint8).tobytes(), kind)
            found[tensor.name.decode()] = values.reshape(tensor.shape)
    return found


def same_set(one: FeatureSet, other: FeatureSet) -> bool:
    return (
        one.hierarchy == other.hierarchy
        and one.bursts == other.bursts
        and all(
            np.array_equal(one.landmarks[name], other.landmarks[name]) for name in one.hierarchy
        )
        and np.array_equal(one.unknown, other.unknown)
    )


def test_the_same_photographs_give_the_heads_of_python(
    page: Page, taught: Path, tmp_path: Path
) -> None:
    """A new landmark, one of a new category, and more photographs of one than there are features.

    The regression is solved by the products of photographs at first, by those of features at last.
    """
    lessons = [(NEW, ABOVE, range(20, 25)), ("gate", "gates", range(20, 23))]
    for landmark, category, numbers in [*lessons, ("tower", "towers", range(20, 60))]:
        images = photographs(landmark, numbers)
        told = teach(page, landmark, category, images)
        assert told.get("code") is None and told["problems"] == [], told
        model = file_of(page, tmp_path / "saved.tflite")
        expected = in_python(taught, landmark, category, images)
        found = recall(model)
        assert found is not None and same_set(found, expected)
        teaching = teach_heads(expected)
        assert_same_heads(model, teaching, taught)
        assert_same_probabilities(page, model, teaching, taught, landmark)
        page.evaluate("async () => lmedge.teacher.undo()")


def assert_same_heads(model: ModelFile, teaching: Teaching, taught: Path) -> None:
    """Compare the constants of the graph, and what was fitted to honest answers."""
    graph = with_heads(Base.open(taught).backbone.data, teaching.heads)
    here, there = constants(graph), constants(model.data)
    assert here.keys() == there.keys()
    for name, values in here.items():
        if "inside" not in name:  # any orthonormal basis of the plane is right
            scale = max(1.0, float(np.abs(values).max()))
            assert np.abs(values - there[name]).max() <= CLOSE * scale, name
    assert model.info["decoding"]["category_weight"] == teaching.decoding.category_weight
    rejection = teaching.rejection.as_dict()
    assert model.info["rejection"]["threshold"] == pytest.approx(rejection["threshold"], abs=CLOSE)
    for head, one in teaching.scores.items() if teaching.judged else ():
        scores = model.info["metrics"]["cross_validated"]["file"]
        assert scores[head]["macro_f1"] == pytest.approx(one.macro_f1)


def assert_same_probabilities(
    page: Page, model: ModelFile, teaching: Teaching, taught: Path, landmark: str
) -> None:
    """Compare the graph of the page in both runtimes with the sums of Python."""
    backbone = Base.open(taught).backbone
    reader, interpreter = FeatureReader(backbone), Interpreter(model)
    for one in photographs(landmark, range(70, 72)) + photographs("old bridge", range(30, 32)):
        image = decode_image(one, "image.png")
        prepared = prepare(image, model.size, model.resize)
        wanted = teaching.heads.outputs(unit(reader.read(image)[None], backbone.zero))
        here = interpreter.run(prepared)._asdict()
        there = in_the_page(page, one)["outputs"]
        for name, values in wanted.items():
            assert np.abs(here[name] - values[0]).max() <= SINGLE, name
            assert np.abs(np.array(there[name]) - values[0]).max() <= SINGLE, name


def test_nothing_judges_a_file_of_one_burst_a_landmark(
    page: Page, taught: Path, tmp_path: Path
) -> None:
    base = Base.open(taught)
    folder = small.write_bursts(tmp_path / "photographs", small.HIERARCHY)
    read, path = read_photographs(folder, base.backbone), tmp_path / "bursts.tflite"
    path.write_bytes(teach_file(base, read, Lesson(), path).file.data)
    choose(page, path)
    images = photographs(NEW, range(20, 25))
    told = teach(page, NEW, ABOVE, images)
    assert (told["problems"], told["macroF1"]) == ([], None), told
    model = file_of(page, tmp_path / "saved.tflite")
    teaching = teach_heads(in_python(path, NEW, ABOVE, images))
    assert not teaching.judged
    assert model.info["metrics"] == {}
    assert_same_heads(model, teaching, path)


def choose(page: Page, file: Path) -> None:
    """Let the page use another file."""
    page.locator("#file").set_input_files(file)
    wait_until(page, f"lmedge.file().loaded.facts.name === '{file.name}'")


def assert_taught_as_in_python(
    page: Page, file: Path, landmark: str, category: str, images: list[bytes]
) -> ModelFile:
    """Teach a file in the page, compare it with Python, and return what the page saves."""
    choose(page, file)
    assert teach(page, landmark, category, images).get("problems") == []
    model = file_of(page, file.with_name("saved.tflite"))
    found, expected = recall(model), in_python(file, landmark, category, images)
    assert found is not None and same_set(found, expected)
    assert_same_heads(model, teach_heads(expected), file)
    return model


def write_trained(taught: Path, path: Path, macro_f1: float) -> Path:
    """Write a file as an export does: trained heads, their figure, and what they have learned."""
    model, found = read_model(taught), Base.open(taught).recalled()
    entry, files = remembered(found, forget=False)
    graph = with_heads(Base.open(taught).backbone.data, teach_heads(found).heads)
    kept = {name: model.info[name] for name in ("format", "preprocessing", "temperatures")}
    info = {
        **kept,
        "metrics": {"test": {"file": {"landmark": {"macro_f1": macro_f1}}}},
        "provenance": {"strategy": "landmarks-first", "backbone": "efficientnetb0"},
        TAUGHT: entry,
    }
    card = Card(
        name="trained",
        description="trained heads",
        version=__version__,
        taxonomy=model.taxonomy,
        size=model.size,
        info=info,
        files={name: (content, DESCRIPTION) for name, content in files.items()},
    )
    path.write_bytes(pack(graph, card))
    return path


def test_a_file_that_was_trained_and_exported(page: Page, taught: Path, tmp_path: Path) -> None:
    file = write_trained(taught, tmp_path / "trained.tflite", 0.9)
    model = assert_taught_as_in_python(page, file, "gate", "gates", photographs("gate", range(5)))
    origin = model.info["provenance"]
    assert origin["base_sha256"] == read_model(file).sha256
    assert origin["base_landmarks"] == list(small.HIERARCHY)


def test_trained_heads_that_are_better_stay(page: Page, taught: Path, tmp_path: Path) -> None:
    choose(page, write_trained(taught, tmp_path / "better.tflite", 1.01))
    told = teach(page, "gate", "gates", photographs("gate", range(5)))
    assert told["refused"] == [{"kind": "worse", "most": 1, "trained": 1.01}]


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_features_that_are_no_int8(page: Page, tmp_path: Path, kind: str) -> None:
    file = small.write_taught(tmp_path, kind)
    assert_taught_as_in_python(page, file, "gate", "gates", photographs("gate", range(5)))


@pytest.mark.slow
def test_every_format_of_an_export(page: Page, tmp_path: Path) -> None:
    run = kept.folder("run") / "run"
    result = small_run.lmedge("export", run, "--format", "all", "-o", tmp_path / "a.tflite")
    assert result.returncode == 0, result.stderr
    images = [png(small_run.draw((120, 30, 130), number)) for number in range(5)]
    files = sorted(tmp_path.glob("a-*.tflite"))
    assert len(files) == 6
    for file in files:
        assert_taught_as_in_python(page, file, "new", "news", images)


def test_numbers_of_four_bits_are_those_of_python(page: Page, taught: Path, tmp_path: Path) -> None:
    """A file with more photographs than it has room for keeps them coarsely."""
    coarse = tmp_path / "coarse.tflite"
    write_coarse(taught, coarse)
    images = photographs("gate", range(20, 24))
    found = recall(assert_taught_as_in_python(page, coarse, "gate", "gates", images))
    assert found is not None and found.bits == 4


def write_coarse(taught: Path, path: Path) -> None:
    """Teach the photographs of a file again with 4 bits a number."""
    base = Base.open(taught)
    kept = dataclasses.replace(base, remembered=base.recalled().coarsened())
    path.write_bytes(teach_file(kept, None, Lesson(add=True), path).file.data)


def notice(page: Page) -> str:
    """Wait for a sentence about a lesson that is no progress, and return it."""
    place = "document.querySelector('[data-key=teach] p')?.textContent ?? ''"
    wait_until(page, f"/^(Taught|Not taught|This|The)/.test({place})", 60)
    text: str = page.inner_text("[data-key=teach] p")
    return text


def hold(page: Page, condition: str) -> None:
    """Hold the button that teaches until something is true."""
    box = page.locator("#teach").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    wait_until(page, condition)
    page.wait_for_timeout(450)  # a shorter touch would be a tap
    page.mouse.up()


def test_hold_the_button_name_it_done_and_undo(page: Page) -> None:
    before = page.evaluate("lmedge.file().loaded.facts.sha256")
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    hold(page, "parseInt(document.querySelector('[data-key=teach]')?.innerText) >= 3")
    page.wait_for_selector("#lesson[open]")
    assert page.locator("#lesson-teach").is_disabled()
    page.fill("#lesson-landmark", "tower")
    assert page.input_value("#lesson-category") == "towers"
    assert page.locator("#lesson-category").get_attribute("readonly") is not None
    page.fill("#lesson-landmark", " test\u2028pattern ")
    page.fill("#lesson-category", "patterns")
    page.click("#lesson-teach")
    assert notice(page).startswith("Taught testpattern from ")
    facts = page.evaluate("lmedge.file().loaded.facts")
    assert "testpattern" in facts["landmarks"] and "patterns" in facts["categories"]
    assert page.evaluate("lmedge.file().loaded.verification.identical")
    wait_until(page, "document.getElementById('landmark').textContent === 'testpattern'", 30)
    assert page.evaluate("lmedge.teacher.photographs") == 0  # nobody agreed to keep them
    page.locator("[data-key=teach] button").first.click()
    wait_until(page, "lmedge.teacher.lessons.length === 0")
    assert page.evaluate("lmedge.file().loaded.facts.sha256") == before


@pytest.mark.slow
def test_a_tap_or_a_screen_reader_takes_a_whole_burst(page: Page) -> None:
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    page.evaluate("document.getElementById('teach').click()")
    page.wait_for_selector("#lesson[open]", timeout=20_000)
    assert int(page.inner_text("#lesson-count").split()[0]) >= 2
    page.click("#lesson-cancel")
    assert page.evaluate("lmedge.teacher.lessons.length") == 0


def test_lessons_survive_a_restart_without_the_server(
    playwright: Playwright, taught: Path, tmp_path: Path
) -> None:
    write_app(read_model(taught), tmp_path / "site", name="a", title="first")
    images, profile = photographs("gate", range(4)), tmp_path / "profile"
    context = opened(playwright, profile)
    with serving(tmp_path / "site") as server:
        url = server.url
        page = context.new_page()
        page.goto(url)
        ready(page)
        stored(page)
    told = teach(page, "gate", "gates", images, keep=True)  # the server is gone
    assert told["problems"] == [] and told["photographs"] == 4
    context.close()
    context = opened(playwright, profile)
    page = context.new_page()
    page.goto(url)
    ready(page)
    assert "gate" in page.evaluate("lmedge.file().loaded.facts.landmarks")
    assert page.evaluate("[lmedge.teacher.lessons.length, lmedge.teacher.photographs]") == [1, 4]
    assert (
        in_the_page(page, photographs("gate", range(9, 10))[0])["prediction"]["landmark"] == "gate"
    )
    page.click("#more")
    assert "1 lesson, 4 photographs kept" in page.inner_text("#facts")
    page.click("#forget")
    page.locator("[data-key=teach] button").first.click()
    wait_until(page, "lmedge.teacher.lessons.length === 0")
    assert "gate" not in page.evaluate("lmedge.file().loaded.facts.landmarks")
    context.close()


@pytest.mark.slow
def test_a_browser_that_is_killed_in_a_lesson(
    playwright: Playwright, address: str, tmp_path: Path
) -> None:
    images = photographs("gate", range(4))
    lesson = PageLesson(landmark="gate", category="gates", images=images)
    profile = Profile(tmp_path / "profile")
    stored, found, whole = killed_lesson(playwright, profile, address, lesson, 0.4)
    assert whole and found in ("before", "after")
    assert found == "after" or not stored


def cut_short(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-100])


def zeros_behind(log: Path) -> None:
    log.write_bytes(log.read_bytes() + bytes(5000))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("damage", [cut_short, zeros_behind])
def test_lessons_outlive_the_starts_after_a_power_cut(
    playwright: Playwright,
    address: str,
    tmp_path: Path,
    damage: Callable[[Path], None],
    count: int,
) -> None:
    profile, names, found = tmp_path / "profile", ["gate", "other", "third"][:count], []
    for visit in range(5):
        context = opened(playwright, profile)
        page = context.new_page()
        page.goto(address)
        ready(page)
        found.append(page.evaluate("lmedge.teacher.lessons.map((one) => one.landmark)"))
        if visit < count:
            name = names[visit]
            told = teach(page, name, "gates", photographs(name, range(3)), keep=True)
            assert told["problems"] == []
        page.evaluate("async () => lmedge.teacher.store.padded")
        context.close()
        if visit == 1:
            logs = profile.glob("Default/IndexedDB/*.leveldb/*.log")
            damage(max(logs, key=lambda log: int(log.stem)))
    assert found == [names[:visit] for visit in range(5)]


def test_what_an_earlier_version_kept_is_read(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}version.json")
    page.evaluate(
        """() => new Promise((resolve, reject) => {
          const request = indexedDB.open(`lmedge ${new URL('./', location.href).href}`, 1);
          request.onerror = reject;
          request.onupgradeneeded = () => {
            request.result.createObjectStore('lessons', { keyPath: 'number' });
            const store = request.result.createObjectStore('photographs', { autoIncrement: true });
            store.createIndex('lesson', 'lesson');
            store.add({ lesson: 4, image: new Blob(['']) });
          };
          request.onsuccess = () => { request.result.close(); resolve(); };
        })"""
    )
    page.goto(address)
    ready(page)
    assert page.evaluate("lmedge.teacher.photographs") == 1
    assert teach(page, "gate", "gates", photographs("gate", range(3)), keep=False)["problems"] == []
    assert page.evaluate("lmedge.teacher.lessons.map((one) => one.number)") == [5]
    context.close()


@pytest.mark.slow
def test_a_lesson_whose_file_the_disk_has_lost(
    playwright: Playwright, address: str, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"

    def use() -> tuple[Any, Page]:
        context = opened(playwright, profile)
        context.add_init_script(LARGER)
        page = context.new_page()
        page.goto(address)
        ready(page)
        return context, page

    context, page = use()
    for name in ("gate", "other"):
        assert teach(page, name, name, photographs(name, range(4)), keep=True)["problems"] == []
    after = page.evaluate("lmedge.teacher.lessons.map((one) => one.after)")
    context.close()
    files = sorted(
        profile.glob("Default/IndexedDB/*.blob/*/*/*"), key=lambda one: int(one.name, 16)
    )
    large = [one for one in files if one.stat().st_size > 100_000]
    assert len(large) == 2  # the files of the two lessons
    large[1].unlink()
    photograph = next(one for one in files if one not in large)
    photograph.unlink()

    context, page = use()
    assert page.evaluate("lmedge.file().loaded.facts.sha256") == after[0]
    assert "has lost a lesson" in page.inner_text("[data-key=lost]")
    with page.expect_download() as download:
        page.click("#more")
        page.click("#export-photos")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len([one for one in archive.namelist() if one != "origin.csv"]) == 7
    assert "1 photograph is missing" in page.inner_text("[data-key=teach]")
    told = teach(page, "other", "other", photographs("other", range(4)), keep=False)
    assert told["problems"] == []
    numbers = page.evaluate("lmedge.teacher.lessons.map((one) => one.number)")
    assert numbers == [1, 3]  # 2 stays that of its photographs
    context.close()

    context, page = use()
    assert page.locator("[data-key=lost]").count() == 0  # it is said once
    assert "other" in page.evaluate("lmedge.file().loaded.facts.landmarks")
    context.close()
    for path in profile.glob("Default/IndexedDB/*.blob/*/*/*"):
        path.unlink()

    context, page = use()
    assert page.evaluate("lmedge.teacher.lessons.length") == 0
    assert "has lost 2 lessons" in page.inner_text("[data-key=lost]")
    page.click("#more")
    assert "0 lessons, 8 photographs kept" in page.inner_text("#facts")
    assert not page.is_visible("#save-file")
    page.click("#forget")
    page.locator("[data-key=teach] button").first.click()
    wait_until(page, "lmedge.teacher.photographs === 0")
    assert not page.is_visible("#lesson-choices")
    context.close()


def test_python_opens_what_the_page_saves_and_exports(page: Page, tmp_path: Path) -> None:
    teach(page, "gate", "gates", photographs("gate", range(4)), keep=True)
    teach(page, NEW, ABOVE, photographs(NEW, range(3)), keep=True)
    page.click("#more")
    with page.expect_download() as saved:
        page.click("#save-file")
    file = tmp_path / "phone.tflite"
    saved.value.save_as(file)
    assert saved.value.suggested_filename == "taught.tflite"
    result = lmedge("inspect", file, "--verify")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "closed form" in result.stdout
    (tmp_path / "gate.png").write_bytes(photographs("gate", range(9, 10))[0])
    result = lmedge("predict", file, tmp_path / "gate.png")
    assert result.returncode == 0 and "gate" in result.stdout
    result = lmedge("teach", "--list", file)
    assert f"{NEW}\tbridges\t3" in result.stdout and "gate\tgates\t4" in result.stdout
    result = lmedge("teach", "--base", file, "--remove", "gate", "-o", tmp_path / "less.tflite")
    assert result.returncode == 0, result.stderr

    page.click("#more")
    with page.expect_download() as saved:
        page.click("#export-photos")
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "photographs")
    assert len(list((tmp_path / "photographs" / "gates" / "gate").glob("*.png"))) == 4
    result = lmedge("teach", tmp_path / "photographs", "-o", tmp_path / "again.tflite", "--force")
    assert result.returncode == 0, result.stderr
    assert "7 photographs in 2 bursts" in result.stdout


def test_the_gate_refuses_in_a_sentence_and_the_file_stays(page: Page) -> None:
    before = page.evaluate("lmedge.file().loaded.facts.sha256")
    told = teach(page, "copy", "towers", photographs("tower", range(4)))
    assert {one["kind"] for one in told["refused"]} >= {"copy"}
    assert (
        teach(page, "tower", "bridges", photographs("tower", range(4)))["code"] == "teach-category"
    )
    assert teach(page, "one", "towers", photographs("one", range(1)) * 2)["code"] == "teach-same"
    assert page.evaluate("lmedge.file().loaded.facts.sha256") == before
    assert page.evaluate("lmedge.teacher.lessons.length") == 0


@pytest.mark.slow
def test_refused_photographs_are_one_sentence(page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, photographs("tower", range(3)), strict=True):
        path.write_bytes(image)
    page.locator("#images").set_input_files(paths)
    wait_until(page, "document.querySelectorAll('#rows tr').length === 3")
    page.click("#teach-photos")
    page.wait_for_selector("#lesson[open]")
    page.fill("#lesson-landmark", "lighthouse")
    page.fill("#lesson-category", "towers")
    page.click("#lesson-teach")
    text = notice(page)
    assert text.startswith(
        "Not taught: a photograph is the same, or nearly, for lighthouse and tower"
    )


def test_a_file_without_features_says_what_to_do(page: Page, tmp_path: Path) -> None:
    choose(page, small.write_base(tmp_path / "base.tflite"))
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    hold(page, "document.querySelector('[data-key=teach].bad') !== null")
    page.wait_for_selector("[data-key=teach].bad")
    assert "holds no features" in page.inner_text("[data-key=teach] p")
    assert teach(page, "a", "b", photographs("gate", range(3)))["code"] == "teach-nothing"


@pytest.mark.slow
def test_three_lessons_can_be_taken_back_and_the_oldest_leave_no_file(page: Page) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        assert (
            teach(page, name, "letters", photographs(f"letter {name}", range(3)))["problems"] == []
        )
    kept = page.evaluate("lmedge.teacher.lessons.map((one) => one.file !== null)")
    assert kept == [False, True, True, True, True]
    for name in reversed(names[2:]):
        page.evaluate("async () => lmedge.teacher.undo()")
        assert name not in page.evaluate("lmedge.file().loaded.facts.landmarks")
    assert (
        not page.evaluate("lmedge.teacher.canUndo")
        or page.evaluate("lmedge.teacher.lessons.length") == 2
    )
    assert {"a", "b"} <= set(page.evaluate("lmedge.file().loaded.facts.landmarks"))


@pytest.mark.slow
def test_a_lesson_that_cannot_be_kept_leaves_the_file_of_before(page: Page) -> None:
    before = page.evaluate("lmedge.file().loaded.facts.sha256")
    page.evaluate(
        "() => { IDBObjectStore.prototype.put = () => {"
        " throw new DOMException('', 'QuotaExceededError'); }; }"
    )
    images = photographs("gate", range(3))
    assert teach(page, "gate", "gates", images, keep=True)["code"] == "teach-stored"
    assert page.evaluate("lmedge.file().loaded.facts.sha256") == before
    page.reload()
    ready(page)
    assert page.evaluate("[lmedge.teacher.lessons.length, lmedge.teacher.photographs]") == [0, 0]


@pytest.mark.slow
def test_what_cannot_be_read_or_written_now_can_be_later(page: Page) -> None:
    images = photographs("gate", range(3))
    page.evaluate("async () => (await lmedge.teacher.store.opened).close()")
    assert teach(page, "gate", "gates", images, keep=False)["code"] == "teach-stored"
    assert teach(page, "gate", "gates", images, keep=False)["problems"] == []
    page.add_init_script(
        """for (const name of ['get', 'getAll']) {
          const own = IDBObjectStore.prototype[name];
          IDBObjectStore.prototype[name] = function (...words) {
            if (sessionStorage.again) return own.apply(this, words);
            throw new DOMException('busy', 'DataError');
          };
        }"""
    )
    page.reload()
    ready(page)
    assert page.evaluate("[lmedge.teacher.lessons.length, lmedge.teacher.lost]") == [0, 0]
    page.evaluate("() => { sessionStorage.again = 'yes'; }")
    page.reload()
    ready(page)
    assert page.evaluate("[lmedge.teacher.lessons.length, lmedge.teacher.lost]") == [1, 0]


@pytest.mark.slow
@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_while_teaching(scheme: Any, browser: Browser, address: str) -> None:
    page = bare_page(browser, address, scheme, 320, 568)
    page.click("#start")
    wait_until(page, "document.getElementById('figures').textContent !== ''")
    assert overflow(page) == 0
    page.evaluate("document.getElementById('teach').click()")
    page.wait_for_selector("#lesson[open]", timeout=20_000)
    assert violations(page) == [] and overflow(page) == 0
    page.fill("#lesson-landmark", "pattern")
    page.fill("#lesson-category", "patterns")
    page.check("#lesson-keep")
    page.click("#lesson-teach")
    notice(page)
    assert violations(page) == [] and overflow(page) == 0
    page.click("#more")
    assert violations(page) == [] and overflow(page) == 0
    assert page.locator("#export-photos").is_visible()
    page.context.close()
