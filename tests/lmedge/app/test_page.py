"""The page in a real Chromium: the labels of Python, and nothing sent anywhere."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from benchmarks.studies.screenshots import wait_until
from lmedge.classifier import Classifier
from lmedge.image import decode_image, prepare, read_image
from tests import bad_images
from tests import tiny_file as tiny
from tests.hostile.corpus import joined, parts
from tests.lmedge.app.serving import Watch, needs_chromium, ready, write_file
from tests.locations import PHOTOGRAPHS, SHARED, needs

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = needs_chromium

CLASSIFY = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const { prediction, detail } = await lmedge.engine.classify(new Blob([bytes]), null, true);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', detail.input));
  const outputs = {};
  for (const [name, values] of Object.entries(detail.outputs)) outputs[name] = [...values];
  const input = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return { prediction, input, outputs };
}"""


def png(image: np.ndarray) -> bytes:
    """Encode (H, W, 3) RGB or (H, W, 4) RGBA."""
    code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(".png", cv2.cvtColor(image, code))[1].tobytes()


def in_the_page(page: Page, encoded: bytes) -> dict[str, Any]:
    """Classify the bytes of an image in the page."""
    found: dict[str, Any] = page.evaluate(CLASSIFY, base64.b64encode(encoded).decode())
    return found


def in_python(classifier: Classifier, encoded: bytes) -> dict[str, Any]:
    """Classify the bytes of an image here; the fields are those of the page."""
    image = decode_image(encoded, "image.png")
    model = classifier.model
    prepared = prepare(image, model.size, model.resize)
    outputs = classifier.interpreter.run(prepared)._asdict()
    one = classifier.classify(image)
    return {
        "input": hashlib.sha256(prepared.tobytes()).hexdigest(),
        "outputs": {name: one.tolist() for name, one in outputs.items() if one is not None},
        "prediction": {
            "joint": one.joint.tolist(),
            "agreement": one.agreement,
            "known": one.known,
            "knownProbability": one.known_probability,
            "landmark": one.landmark,
            "landmarkProbability": one.landmark_probability,
            "category": one.category,
            "categoryProbability": one.category_probability,
            "top": [dataclasses.asdict(candidate) for candidate in one.top],
        },
    }


def assert_equal(page: Page, classifier: Classifier, images: Sequence[bytes]) -> None:
    """Assert the same bytes into the network, and the same outputs and labels to the last bit."""
    for encoded in images:
        found, expected = in_the_page(page, encoded), in_python(classifier, encoded)
        assert found["input"] == expected["input"]
        assert found["outputs"] == expected["outputs"]
        there = found["prediction"]
        assert {name: there[name] for name in expected["prediction"]} == expected["prediction"]


def shapes() -> list[bytes]:
    """Return noise of many shapes, with and without halving."""
    rng = np.random.default_rng(3)
    sizes = [(48, 64), (32, 32), (1, 1), (1, 90), (301, 7), (80, 81), (640, 481), (1200, 801)]
    return [png(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_the_same_bytes_and_the_same_labels_as_python(
    resize: str, page: Page, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "a.tflite", preprocessing={"size": tiny.SIZE, "resize": resize})
    page.locator("#file").set_input_files(file)
    wait_until(page, "lmedge.file().loaded.facts.name === 'a.tflite'")
    assert_equal(page, Classifier(file), shapes())


def test_a_file_without_the_output_known(page: Page, tmp_path: Path) -> None:
    file = write_file(tmp_path / "plain.tflite", known=False)
    page.locator("#file").set_input_files(file)
    wait_until(page, "lmedge.file().loaded.facts.name === 'plain.tflite'")
    assert_equal(page, Classifier(file), shapes()[:2])


def test_transparent_images_lie_on_white_by_the_same_formula(page: Page, colours: Path) -> None:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (40, 50, 4), np.uint8)
    image[:5, :, 3] = 0
    assert_equal(page, Classifier(colours), [png(image)])


@needs(PHOTOGRAPHS, SHARED / "data" / "other")
def test_forty_photographs(page: Page, colours: Path) -> None:
    """`benchmarks.studies.phone_page` compares 500 with a real network."""
    classifier = Classifier(colours)
    found = [*sorted(PHOTOGRAPHS.rglob("*.jpg"))[::14], *(SHARED / "data" / "other").glob("*.jpg")]
    images = [png(read_image(path, classifier.model.size)) for path in found[:40]]
    assert len(images) == 40
    assert_equal(page, classifier, images)


def test_a_jpeg_is_turned_upright(page: Page, colours: Path) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :40] = tiny.COLOURS["red"]
    image[:, 40:] = tiny.COLOURS["green"]
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    found = in_the_page(page, turned)
    classifier = Classifier(colours)
    upright = classifier.classify(decode_image(turned, "turned.jpg"))
    assert found["prediction"]["landmark"] == upright.landmark
    assert found["prediction"]["joint"] == pytest.approx(upright.joint.tolist(), abs=0.02)


def test_the_golden_answers_are_verified_here(page: Page) -> None:
    verification = page.evaluate("lmedge.file().loaded.verification")
    assert verification["identical"] and verification["passed"]
    page.click("#more")
    assert "verified on this device" in page.inner_text("#facts")


def test_wrong_golden_answers_are_reported(page: Page, tmp_path: Path, colours: Path) -> None:
    import json

    body, entries = parts(colours.read_bytes())
    info = json.loads(entries["lmedge.json"])
    info["golden"]["landmark"][2] = info["golden"]["landmark"][2][::-1]
    entries["lmedge.json"] = json.dumps(info).encode()
    (tmp_path / "other.tflite").write_bytes(joined(body, entries))
    page.locator("#file").set_input_files(tmp_path / "other.tflite")
    page.wait_for_selector(".notice.bad")
    assert "Do not trust its labels" in page.inner_text("#notices")


def show(page: Page, path: Path) -> None:
    page.locator("#images").set_input_files(path)


def test_one_photograph_is_shown_with_its_labels(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(png(tiny.image("red", 300, 400)))
    show(page, path)
    wait_until(page, "document.getElementById('landmark').textContent === 'red'")
    assert page.inner_text("#category") == "towers"
    assert page.locator("#still").is_visible()
    page.click("#top summary")
    with page.expect_download() as saved:
        page.click("#share")
    image = cv2.imread(str(saved.value.path()))
    assert image is not None and image.shape == (300, 400, 3)
    assert image[20, 20, 2] > 200 > image[290, 4, 2]  # the panel lies below


def test_not_a_landmark_is_shown_as_such(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    path.write_bytes(png(np.full((50, 50, 3), 90, np.uint8)))
    file = write_file(tmp_path / "b.tflite", rejection={"threshold": 1.0, "score": "known"})
    page.locator("#file").set_input_files(file)
    wait_until(page, "lmedge.file().loaded.facts.name === 'b.tflite'")
    show(page, path)
    wait_until(page, "document.getElementById('landmark').textContent === 'not a landmark'")
    assert page.locator("#row-category").is_hidden()


def test_several_photographs_are_a_table_and_csv(page: Page, tmp_path: Path, colours: Path) -> None:
    paths = []
    for name in tiny.COLOURS:
        paths.append(tmp_path / f"{name}.png")
        paths[-1].write_bytes(png(tiny.image(name)))
    paths.append(bad_images.text(tmp_path / "bad.jpg"))
    page.locator("#images").set_input_files(paths)
    wait_until(page, "document.querySelectorAll('#rows tr').length === 5")
    assert "damaged" in page.inner_text("#rows tr.bad")
    with page.expect_download() as saved:
        page.click("#csv")
    rows = saved.value.path().read_text("utf-8").splitlines()
    assert rows[0] == (
        "path,landmark,landmark_probability,category,category_probability,known,milliseconds"
    )
    assert len(rows) == 5
    classifier = Classifier(colours)
    for row, name in zip(rows[1:], tiny.COLOURS, strict=True):
        one = classifier.classify(tiny.image(name))
        start = f"{name}.png,{one.landmark},{one.landmark_probability:.6f},{one.category},"
        assert row.startswith(f"{start}{one.category_probability:.6f},{one.known},")


def bad_files(good: bytes) -> dict[str, bytes]:
    """Return ten files that cannot be used, each in its own way."""
    import json

    body, entries = parts(good)

    def with_info(**more: Any) -> bytes:
        info = {**json.loads(entries["lmedge.json"]), **more}
        return joined(body, {**entries, "lmedge.json": json.dumps(info).encode()})

    without = {name: data for name, data in entries.items() if name != "lmedge.json"}
    broken = bytearray(body)
    broken[len(body) // 2 :] = bytes(len(body) - len(body) // 2)
    return {
        "cut.tflite": good[: len(good) // 2],
        "flipped.tflite": bytes([*good[:2000], good[2000] ^ 1, *good[2001:]]),
        "text.tflite": b"not a network\n" * 10,
        "empty.tflite": b"",
        "stripped.tflite": joined(body, without),
        "newer.tflite": with_info(schema=99),
        "int8.tflite": with_info(io="int8"),
        "hierarchy.tflite": with_info(hierarchy={"red": "towers"}),
        "graph.tflite": joined(bytes(broken), entries),
        "size.tflite": with_info(preprocessing={"size": 64, "resize": "crop"}),
        "labels.tflite": joined(body, {**entries, "landmark_labels.txt": b"red\n"}),
        "nan.tflite": with_info(rejection={"threshold": 7}),
    }


def assert_goes_on(page: Page) -> None:
    found = in_the_page(page, png(tiny.image("green")))
    assert found["prediction"]["landmark"] == "green"


def test_bad_files_are_one_sentence_each_and_the_page_goes_on(
    page: Page, colours: Path, tmp_path: Path
) -> None:
    for name, data in bad_files(colours.read_bytes()).items():
        (tmp_path / name).write_bytes(data)
        page.evaluate("document.getElementById('notices').replaceChildren()")
        page.locator("#file").set_input_files(tmp_path / name)
        page.wait_for_selector(".notice.bad", timeout=15_000)
        text = page.inner_text(".notice.bad p")
        assert ": " in text and text.endswith("."), name
        assert_goes_on(page)


@pytest.mark.slow  # two of them run until the time limit
@needs(SHARED / "hostile")
def test_hostile_files_end_in_a_sentence_or_are_run(page: Page) -> None:
    for path in sorted((SHARED / "hostile").glob("*.tflite")):
        page.evaluate("document.getElementById('notices').replaceChildren()")
        before = page.evaluate("lmedge.file().loaded.facts.name")
        page.locator("#file").set_input_files(path)
        wait_until(
            page,
            "document.querySelector('.notice.bad') !== null || (lmedge.file().loaded.facts.name"
            f" === '{path.name}' && '{path.name}' !== '{before}')",
        )
    page.reload()
    ready(page)
    assert_goes_on(page)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("delete globalThis.WebAssembly", "refuses WebAssembly"),
        (
            "WebAssembly.compileStreaming = WebAssembly.compile ="
            " () => Promise.reject(new RangeError('out of memory'))",
            "memory of this device does not suffice",
        ),
    ],
)
def test_a_browser_without_wasm_or_memory_is_one_sentence(
    script: str, words: str, context: BrowserContext, url: str
) -> None:
    context.add_init_script(script)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-key=file].bad")
    assert words in page.inner_text("[data-key=file] p")


def test_bad_images_are_one_sentence_each_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    good = png(tiny.image("red"))
    jpeg = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    images = {
        "text.jpg": b"not an image\n",
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "header.png": good[:20],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "start.jpg": b"\xff\xd8\xff",
        "marks.jpg": b"\xff\xd8" + b"\xff" * 500,
        "webp.webp": b"RIFF\x10\0\0\0WEBPVP8X",
        "zero.bmp": b"BM" + bytes(60),
        "noise.gif": b"GIF89a" + bytes(range(200)),
        "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    }
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    bad_images.enormous_png(tmp_path / "enormous.png")
    bad_images.truncated_jpeg(tmp_path / "truncated.jpg")
    for path in sorted(tmp_path.iterdir()):
        page.evaluate("document.getElementById('notices').replaceChildren()")
        show(page, path)
        page.wait_for_selector(".notice.bad", timeout=15_000)
        assert page.inner_text(".notice.bad p").endswith("."), path.name
    assert_goes_on(page)


def test_nothing_is_loaded_from_or_sent_to_another_host(context: BrowserContext, url: str) -> None:
    watch = Watch(context)
    page = context.new_page()
    page.goto(url)
    ready(page)
    in_the_page(page, png(tiny.image("red")))
    outside = [one for one in watch.requests if not one.startswith((url, f"blob:{url}"))]
    assert len(watch.requests) > 5 and not outside
    refused = page.evaluate(
        "async () => { const seen = []; document.addEventListener('securitypolicyviolation',"
        " (event) => seen.push(event.effectiveDirective));"
        " await fetch('https://example.org/').catch(() => 0);"
        " new Image().src = 'https://example.org/a.png';"
        " await new Promise((done) => setTimeout(done, 200)); return seen; }"
    )
    assert set(refused) == {"connect-src", "img-src"}


def test_the_worker_too_may_connect_to_its_own_host_alone(page: Page, url: str) -> None:
    """A worker made of a blob is bound to the page's policy."""
    found = page.evaluate(
        """async () => {
          const script = `fetch('https://example.org/').then(
            () => postMessage('sent'), () => postMessage('refused'));
            self.addEventListener('securitypolicyviolation',
              (event) => postMessage(event.effectiveDirective));`;
          const worker = new Worker(URL.createObjectURL(new Blob([script])));
          const seen = [];
          await new Promise((done) => {
            worker.onmessage = (event) => seen.push(event.data) === 2 && done();
            setTimeout(done, 10000);
          });
          return seen;
        }"""
    )
    assert sorted(found) == ["connect-src", "refused"]
    workers = [one.url for one in page.workers]
    assert workers and all(one.startswith(f"blob:{url}") for one in workers)
