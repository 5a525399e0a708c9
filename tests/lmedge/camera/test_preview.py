from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge import Classifier, LmedgeError
from lmedge.camera import Absence, Frame, FrameResult
from lmedge.camera.preview import LONGEST, Preview
from lmedge.camera.preview_token import is_own
from lmedge.errors import MissingDependencyError
from tests.lmedge.camera.streams import bgr


@pytest.fixture(scope="module")
def result(tiny_file: Path) -> FrameResult:
    image = bgr("green", 1080, 1920)
    prediction = Classifier(tiny_file).classify(image, color="bgr")
    return FrameResult(
        frame=Frame(image=image, index=7, seconds=0.5),
        prediction=prediction,
        frames_per_second=12.34,
    )


@pytest.fixture
def preview() -> Iterator[Preview]:
    page = Preview("127.0.0.1", 0)
    yield page
    page.close()


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_the_page_and_the_newest_image_with_its_figures(
    preview: Preview, result: FrameResult
) -> None:
    status, headers, page = get(preview.url)
    assert status == 200 and b"viewport" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert get(preview.url + "newest")[0] == 204  # nothing yet
    preview.take(result)
    status, headers, jpeg = get(preview.url + "newest")
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (LONGEST * 9 // 16, LONGEST, 3)
    assert image[..., 1].min() > 200  # without the overlay, the page has the labels
    figures = json.loads(headers["X-Figures"])
    assert figures["landmark"] == result.prediction.landmark and figures["known"] is True
    assert figures["frame"] == 7 and figures["rate"] == 12.3
    assert get(preview.url + f"newest?after={headers['X-Number']}")[0] == 204
    assert get(preview.url + "newest?after=nonsense")[0] == 200


def test_a_camera_that_is_away_is_said_in_place_of_the_image(
    preview: Preview, result: FrameResult
) -> None:
    preview.take(result)
    preview.absent(Absence(message="camera 0: no frames for 4 s"))
    _, headers, jpeg = get(preview.url + "newest")
    assert json.loads(headers["X-Figures"]) == {"message": "camera 0: no frames for 4 s"}
    assert np.median(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)) < 40


def test_images_are_drawn_once_for_all_and_never_by_the_loop(
    preview: Preview, result: FrameResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def render(*_: object) -> tuple[np.ndarray, str]:
        drawn.append(threading.get_ident())
        return np.zeros((48, 64, 3), np.uint8), "{}"

    monkeypatch.setattr("lmedge.camera.preview._render", render)
    got: list[int] = []

    def watch() -> None:
        number, until = "0", time.monotonic() + 1.0
        while time.monotonic() < until:
            status, headers, _ = get(preview.url + f"newest?after={number}")
            if status == 200:
                number = headers["X-Number"]
                got.append(int(number))

    viewers = [threading.Thread(target=watch) for _ in range(4)]
    for viewer in viewers:
        viewer.start()
    start = time.monotonic()
    while any(viewer.is_alive() for viewer in viewers):
        preview.take(result)
        time.sleep(0.005)
    for viewer in viewers:
        viewer.join()
    # 15 a second, whatever the viewers and whatever else the machine does
    assert 3 <= len(drawn) <= 15 * (time.monotonic() - start) + 5
    assert len(got) > len(drawn)
    assert threading.get_ident() not in drawn


def test_other_addresses_check_a_token(result: FrameResult) -> None:
    page = Preview("0.0.0.0", 0, token="pässpässpässpäss")
    try:
        page.take(result)
        right = "?token=" + 4 * "p%C3%A4ss"
        assert page.url.endswith("/" + right)
        base = f"http://127.0.0.1:{page.port}/"
        for wrong in ("", "?token=", "?token=other", "newest", "newest?token=p"):
            assert get(base + right)[0] == 200  # forgets the wrong ones before
            status, _, body = get(base + wrong)
            assert status == 403 and b"token" in body, wrong
        assert get(base + "newest", Authorization="Bearer no")[0] == 403
        assert get(base + right)[0] == 200
        assert get(base + "newest" + right)[0] == 200
    finally:
        page.close()


def test_a_page_elsewhere_cannot_read_it_under_another_name(preview: Preview) -> None:
    assert get(preview.url, Host="evil.example:80")[0] == 403
    assert get(preview.url, Host=f"localhost:{preview.port}")[0] == 200
    assert is_own("::1") and is_own("127.8.0.1") and not is_own("192.168.0.2")


def test_an_address_that_is_taken_and_a_package_that_is_missing(
    preview: Preview, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LmedgeError, match=r"cannot listen there \(Address already in use\)"):
        Preview("127.0.0.1", preview.port)
    monkeypatch.setitem(sys.modules, "waitress", None)
    with pytest.raises(MissingDependencyError, match=r"needs waitress.*lmedge\[camera\]"):
        Preview("127.0.0.1", 0)


def test_after_closing_nobody_listens(result: FrameResult) -> None:
    page = Preview("127.0.0.1", 0)
    page.take(result)
    assert get(page.url)[0] == 200
    page.close()
    with pytest.raises(urllib.error.URLError):
        get(page.url)
