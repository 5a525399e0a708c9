"""The ways to teach: the page with its token, the keys of the window, and the options."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.camera import Choice
from lmedge.camera.overlay import with_lines
from lmedge.camera.preview_pages import PreviewPages
from lmedge.camera.teach_console import start_console
from lmedge.camera.teacher import LessonPhase, Teacher, TeacherState
from lmedge.camera.window_teach import NEWS, SHOWN, TeachKeys
from lmedge.errors import LmedgeError
from lmedge.model_file import read_model
from lmedge.teach.burst_lesson import teach_burst
from tests.in_process import lmedge
from tests.lmedge.camera import teaching
from tests.lmedge.camera.streams import bgr, write_video
from tests.lmedge.camera.teaching import Scene, running, take_burst, until

TOKEN = "a token of a test"


@pytest.fixture
def teacher(choice: Choice, file: Path, tmp_path: Path) -> Iterator[Teacher]:
    found = teaching.plain_teacher(choice, file, tmp_path / "kept", teaching=teach_burst)
    yield found
    found.close()


def ask(
    pages: PreviewPages,
    body: object = None,
    *,
    path: str = "/teach",
    token: str | None = TOKEN,
    **more: str,
) -> tuple[int, Any]:
    """Return the status and the answer of a request, a POST if there is a body."""
    content = b"" if body is None else json.dumps(body).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if body is None else "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.input": io.BytesIO(content),
        "REMOTE_ADDR": "127.0.0.1",
        **({} if token is None else {"HTTP_AUTHORIZATION": f"Bearer {token}"}),
        **more,
    }
    status: list[str] = []
    answer = b"".join(pages(environ, lambda line, _: status.append(line)))
    code = int(status[0].split()[0])
    return code, json.loads(answer) if code == 200 and path == "/teach" else answer.decode()


class TestThePage:
    def test_a_lesson(self, choice: Choice, teacher: Teacher, file: Path) -> None:
        pages = PreviewPages(lambda _: None, TOKEN, teacher)

        def wait(phase: str) -> Mapping[str, Any]:
            until(lambda: ask(pages)[1]["phase"] == phase)
            return dict(ask(pages)[1])

        with running(choice, Scene("white gate"), teacher) as seen:
            assert wait("ready")["labels"][0] == ["old bridge", "bridges"]
            assert ask(pages, {"do": "burst"})[0] == 200
            state = wait("asking")
            assert (state["taken"], state["wanted"], state["undo"]) == (4, 4, False)
            assert state["folder"].endswith("kept")
            wrong = {"do": "teach", "landmark": "a\x1b[2Jb", "category": "gates"}
            code, line = ask(pages, wrong)
            assert (code, "\x1b" in line) == (409, False)
            assert "a control character" in line
            right = {"do": "teach", "landmark": "white gate", "category": "gates", "keep": False}
            assert ask(pages, right)[0] == 200
            state = wait("ready")
            assert state["undo"]
            assert ["white gate", "gates"] in state["labels"]
            until(lambda: seen.last and seen.last.prediction.landmark == "white gate")
            assert "white gate" in read_model(file).taxonomy.landmarks
            assert not (file.parent / "kept").exists()
            assert ask(pages, {"do": "undo"})[0] == 200
            assert not wait("ready")["undo"]
            assert ask(pages, {"do": "undo"})[0] == 409

    def test_only_with_the_token(self, teacher: Teacher) -> None:
        pages = PreviewPages(lambda _: None, TOKEN, teacher)
        burst = {"do": "burst"}
        assert ask(pages, burst, token=None)[0] == 403
        assert ask(pages, burst, token="another token")[0] == 403
        assert ask(pages, burst, HTTP_SEC_FETCH_SITE="cross-site")[0] == 403
        assert ask(pages, burst, HTTP_ORIGIN="http://elsewhere")[0] == 403
        assert teacher.state.phase is LessonPhase.READY
        with pytest.raises(LmedgeError, match="needs a token"):
            PreviewPages(lambda _: None, None, teacher)

    @pytest.mark.parametrize(
        "body",
        [
            [],
            {"do": "burn"},
            {"do": 1},
            {"do": "teach", "landmark": 3},
            {"do": "teach", "landmark": "a", "keep": "yes"},
        ],
    )
    def test_what_no_page_sends(self, teacher: Teacher, body: object) -> None:
        assert ask(PreviewPages(lambda _: None, TOKEN, teacher), body)[0] == 400

    def test_without_a_teacher_there_is_nothing(self) -> None:
        pages = PreviewPages(lambda _: None, TOKEN)
        assert ask(pages)[0] == 404
        assert ask(pages, {"do": "burst"})[0] == 405
        assert "<body>" in ask(pages, path="/")[1]

    def test_the_page_shows_its_buttons(self, teacher: Teacher) -> None:
        pages = PreviewPages(lambda _: None, TOKEN, teacher)
        assert "<body class=teaching>" in ask(pages, path="/")[1]
        assert ask(pages, {"do": "burst"}, path="/")[0] == 405


class TestTheWindow:
    @staticmethod
    def type(keys: TeachKeys, text: str) -> None:
        for letter in text:
            assert keys.press(ord(letter))

    def test_a_new_landmark(self, choice: Choice, teacher: Teacher) -> None:
        keys = TeachKeys(teacher)
        with running(choice, Scene("white gate"), teacher):
            assert not keys.press(ord("q"))
            assert keys.press(ord("t"))
            until(lambda: teacher.state.phase is LessonPhase.ASKING)
            self.type(keys, "quite a gatex")  # letters, not keys of the window
            assert keys.press(8)
            assert "Landmark: quite a gate_" in keys.lines()
            assert keys.press(13)
            assert keys.lines()[1] == "Category of quite a gate: _"
            self.type(keys, "tow")
            assert keys.press(9)
            assert "> towers" in keys.lines()
            assert keys.press(10)
            until(lambda: teacher.state.phase is LessonPhase.READY)
            assert choice.current.taxonomy.category_of("quite a gate") == "towers"
            assert keys.press(ord("u"))
            until(lambda: teacher.state.message == "taken back: quite a gate")

    def test_a_known_one_is_chosen(self, choice: Choice, teacher: Teacher) -> None:
        keys = TeachKeys(teacher)
        with running(choice, Scene("tower"), teacher):
            take_burst(teacher)
            assert keys.lines()[2:5] == ["- old bridge", "- stone bridge", "- tower"]
            for _ in range(3):
                keys.press(9)
            assert "> tower" in keys.lines()
            keys.press(13)
            until(lambda: teacher.state.message.startswith("taught tower (10"))

    def test_escape_leaves_it(self, choice: Choice, teacher: Teacher) -> None:
        keys = TeachKeys(teacher)
        with running(choice, Scene("tower"), teacher):
            take_burst(teacher)
            assert keys.press(27)
            assert teacher.state.phase is LessonPhase.READY
            assert not keys.press(27)  # the window's own key again

    def test_a_name_that_is_refused(self, choice: Choice, teacher: Teacher) -> None:
        keys = TeachKeys(teacher)
        with running(choice, Scene("tower"), teacher):
            take_burst(teacher)
            self.type(keys, "../etc")
            keys.press(13)
            self.type(keys, "towers")
            keys.press(13)
            assert "cannot be names of folders" in keys.lines()[0]
            assert teacher.state.phase is LessonPhase.ASKING

    def test_the_line_about_a_lesson_goes(self) -> None:
        now = [0.0]

        class Said:
            state = TeacherState(message="taught tower")
            labels = {f"landmark {number}": "all" for number in range(SHOWN + 2)}  # noqa: RUF012

        said: Any = Said()
        keys = TeachKeys(said, clock=lambda: now[0])
        assert keys.lines() == ["taught tower"]
        now[0] = NEWS
        assert keys.lines() == []
        said.state = dataclasses.replace(said.state, phase=LessonPhase.ASKING)
        assert "and 2 more" in keys.lines()

    def test_lines_on_a_frame(self) -> None:
        image = np.full((240, 320, 3), 200, np.uint8)
        drawn = with_lines(image, ["a line that is longer than the frame is wide " * 3, "end"])
        assert drawn.shape == image.shape
        assert (drawn[:60] == 200).all()
        assert drawn[-20:].mean() < 100
        assert with_lines(np.zeros((20, 20, 3), np.uint8), ["x"] * 40).shape == (20, 20, 3)


class TestTheTerminal:
    def test_lines(
        self, choice: Choice, teacher: Teacher, file: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        before = file.read_bytes()
        lines = ["", "tower / gates", "gate", "white gate / gates\n", "undo", "undo"]
        with running(choice, Scene("white gate"), teacher):
            start_console(teacher, lines).join(teaching.PATIENCE)
            assert file.read_bytes() == before
        found = [record.getMessage().removeprefix("--teach: ") for record in caplog.records]
        assert "'tower' is in the category 'towers'; choose another name" in found
        assert "'gate' is new: name its category too" in found
        assert any(line.startswith("taught white gate (4 photographs") for line in found)
        assert "taken back: white gate" in found
        assert found[-1] == "there is no lesson to take back now"


class TestTheOptions:
    def test_what_does_not_go_together(self, file: Path, tmp_path: Path) -> None:
        for words, problem in (
            (["--teach-photographs", tmp_path], "--teach-photographs needs --teach"),
            ([file, "--teach", "--preview", "0"], "--teach takes one FILE.tflite"),
            (["--teach"], "--teach needs a window, a terminal, or --preview"),
        ):
            done = lmedge("camera", file, "--headless", *words)
            assert (done.returncode, problem in done.stderr) == (2, True)

    def test_a_file_that_remembers_nothing(self, tiny_file: Path, tmp_path: Path) -> None:
        video = write_video(tmp_path / "v.mp4", [bgr("red")] * 3)
        words = ["--source", video, "--headless", "--preview", "0", "--teach"]
        done = lmedge("camera", tiny_file, *words)
        assert done.returncode == 4
        assert "lmedge teach PHOTOGRAPHS --base" in done.stderr

    def test_images_are_no_stream(self, file: Path, made: Path) -> None:
        words = ["--source", made.parent / "photographs", "--headless", "--preview", "0", "--teach"]
        assert "needs a camera or a video" in lmedge("camera", file, *words).stderr

    def test_the_page_has_a_token_on_loopback_too(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("LMEDGE_TOKEN", raising=False)
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
        video = write_video(tmp_path / "v.mp4", [teaching.scene("tower", n) for n in range(5)])
        words = ["--source", video, "--headless", "--preview", "127.0.0.1:0", "--teach"]
        done = lmedge("camera", file, *words)
        assert "?token=..." in done.stderr
        assert (tmp_path / "cache" / "preview-token").exists()
