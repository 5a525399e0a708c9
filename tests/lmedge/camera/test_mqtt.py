"""`--mqtt`: the label on a broker, a real mosquitto that dies and returns included."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmedge import LmedgeError
from lmedge.camera import Absence, Choice
from lmedge.camera.discovery import discovery_messages
from lmedge.camera.mqtt import Mqtt
from lmedge.camera.mqtt_address import MqttAddress, find_password
from lmedge.cli import main
from tests import quick
from tests.lmedge.camera.results import result_of
from tests.processes import free_port

paho = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto (Debian)")


class Broker:
    """A real mosquitto on a port of its own, which a test may kill and start again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._settings = folder / "mosquitto.conf"
        text = ("user root", f"listener {self.port} 127.0.0.1", *lines)
        self._settings.write_text("\n".join(text) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        words = [MOSQUITTO, "-c", str(self._settings)]
        self._process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Reader:
    """A client that keeps every message, retained ones apart."""

    def __init__(self, port: int, user: str = "", password: str = "") -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_message = lambda _, __, one: self.messages.append(
            (one.topic, one.payload.decode(), bool(one.retain))
        )
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def last(self, topic: str) -> Any:
        found = [text for name, text, _ in self.messages if name == topic]
        if not found:
            return None
        return json.loads(found[-1]) if found[-1].startswith("{") else found[-1]

    def states(self) -> list[str | None]:
        """Return the landmarks of all states."""
        return [json.loads(t)["landmark"] for name, t, _ in self.messages if name == "hall/state"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    quick.needs_process()
    found = Broker(tmp_path, "allow_anonymous true", "persistence false")
    found.start()
    yield found
    found.kill()


@contextlib.contextmanager
def connected(tiny_file: Path, broker: Broker, **options: Any) -> Iterator[tuple[Mqtt, Reader]]:
    address = MqttAddress.parse(f"mqtt://127.0.0.1:{broker.port}/hall")
    reader = Reader(broker.port)
    sink = Mqtt(address, Choice([tiny_file], 1), **options)
    try:
        wait_for(lambda: reader.last("hall/availability") == "online")
        yield sink, reader
    finally:
        sink.close()
        reader.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def heartbeats(reader: Reader) -> list[dict[str, Any]]:
    messages = [text for name, text, _ in reader.messages if name == "hall/heartbeat"]
    return [json.loads(text) for text in messages]


@needs_mosquitto
def test_changes_the_last_known_label_absences_and_the_end(tiny_file: Path, broker: Broker) -> None:
    with connected(tiny_file, broker, heartbeat=0.3) as (sink, reader):
        for name, known in (("red", True), ("red", True), ("blue", True), ("blue", False)):
            sink.take(result_of(tiny_file, name, known=known))
        wait_for(lambda: reader.states() == ["red", "blue", None])
        state = reader.last("hall/state")
        assert state["known"] is False and state["last_landmark"] == "blue"
        assert state["camera"] == "present"
        wait_for(lambda: sum(beat["frames"] for beat in heartbeats(reader)) == 4)
        unknown = sum(beat["frames"] * (beat["unknown_share"] or 0) for beat in heartbeats(reader))
        assert unknown == pytest.approx(1, abs=1e-3)
        for _ in range(2):
            sink.absent(Absence(message="away"))
        wait_for(lambda: reader.last("hall/state")["camera"] == "away")
        later = Reader(broker.port)  # what is retained
        wait_for(lambda: later.last("hall/state") is not None)
        assert ("hall/availability", "online", True) in later.messages
        assert later.last("hall/state")["camera"] == "away"
        later.close()
        sink.close()
        wait_for(lambda: reader.last("hall/availability") == "offline")


@needs_mosquitto
def test_a_broker_that_dies_and_returns_has_the_newest_label(
    tiny_file: Path, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(tiny_file, broker) as (sink, reader):
        sink.take(result_of(tiny_file, "red"))
        wait_for(lambda: reader.states() == ["red"])
        broker.kill()
        wait_for(lambda: "is gone" in caplog.text)
        results = [result_of(tiny_file, name) for name in ("green", "blue") * 500]
        begun = time.perf_counter()
        for result in results:
            sink.take(result)
        assert time.perf_counter() - begun < 0.5
        assert len(sink._waiting) <= 64
        broker.start()
        wait_for(lambda: reader.last("hall/state")["landmark"] == "blue")
        time.sleep(0.3)
        assert reader.states() == ["red", "blue"]  # nothing older comes behind it
        later = Reader(broker.port)
        wait_for(lambda: later.last("hall/state") is not None)
        assert later.states() == ["blue"] and later.last("hall/availability") == "online"
        later.close()


@needs_mosquitto
@pytest.mark.slow
def test_a_camera_that_is_killed_is_offline(
    tiny_file: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(tiny_file, broker) as (sink, reader):
        sink._client._sock_close()  # as the system does for a process that is killed
        wait_for(lambda: "offline" in [text for _, text, _ in reader.messages])
        wait_for(lambda: reader.last("hall/availability") == "online")  # and it comes back


@needs_mosquitto
@pytest.mark.slow
def test_a_password_is_used_and_never_logged(
    tiny_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick.needs_process()
    caplog.set_level("DEBUG")
    passwords = tmp_path / "passwords"
    made = ["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "open sesame"]
    subprocess.run(made, check=True, capture_output=True)
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    address = MqttAddress.parse(f"mqtt://ann@127.0.0.1:{broker.port}/hall")
    choice = Choice([tiny_file], 1)
    try:
        wrong = Mqtt(address, choice, password="open barley")
        wait_for(lambda: "refuses the connection" in caplog.text)
        wrong.close()
        reader = Reader(broker.port, "ann", "open sesame")
        right = Mqtt(address, choice, password="open sesame", discovery="homeassistant")
        wait_for(lambda: reader.last("hall/availability") == "online")
        topic = "homeassistant/sensor/lmedge_hall/landmark/config"
        wait_for(lambda: reader.last(topic) is not None)
        assert reader.last(topic)["state_topic"] == "hall/state"
        right.close()
        reader.close()
    finally:
        broker.kill()
    assert "sesame" not in caplog.text and "barley" not in caplog.text


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a socket of paho
def test_tls_checks_the_certificate(
    tiny_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick.needs_process()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words, *about, "-keyout", key, "-out", cert], check=True, capture_output=True)
    broker = Broker(tmp_path, "allow_anonymous true", f"certfile {cert}", f"keyfile {key}")
    broker.start()
    address = MqttAddress.parse(f"mqtts://127.0.0.1:{broker.port}/hall")
    choice = Choice([tiny_file], 1)
    try:
        caplog.set_level("INFO")
        stranger = Mqtt(address, choice)
        wait_for(lambda: "is not reached" in caplog.text)
        stranger.close()
        assert "connected" not in caplog.text
        known = Mqtt(address, choice, ca=cert)
        wait_for(lambda: "connected" in caplog.text)
        known.close()
    finally:
        broker.kill()
    with pytest.raises(LmedgeError, match="cannot be used as certificates"):
        Mqtt(address, choice, ca=tmp_path / "none.pem")


def test_a_broker_that_is_not_there_holds_nothing_up(tiny_file: Path) -> None:
    address = MqttAddress.parse(f"mqtt://127.0.0.1:{free_port()}/hall")
    begun = time.perf_counter()
    sink = Mqtt(address, Choice([tiny_file], 1))
    sink.take(result_of(tiny_file, "red"))
    sink.close()
    assert time.perf_counter() - begun < 5


class TestAddress:
    def test_parts(self) -> None:
        address = MqttAddress.parse("mqtts://an%40n@[::1]/hall/door/")
        assert (address.host, address.port, address.topic) == ("::1", 8883, "hall/door")
        assert address.user == "an@n" and address.tls
        assert str(address) == "mqtts://[::1]:8883/hall/door"
        assert MqttAddress.parse("mqtt://broker/x").port == 1883

    @pytest.mark.parametrize(
        "text",
        [
            *("http://broker/x", "mqtt://broker", "mqtt:///x", "mqtt://b/a+b", "mqtt://b/%23"),
            *("mqtt://b/$SYS/x", "mqtt://b:99999/x", "mqtt://ann:open-sesame@b/x", "mqtt://b/a%0a"),
        ],
    )
    def test_others_are_mistakes_and_no_password_is_repeated(
        self, text: str, tiny_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["camera", str(tiny_file), "--mqtt", text])
        assert caught.value.code == 2
        assert "sesame" not in capsys.readouterr().err

    def test_the_password_comes_from_a_file_or_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv("LMEDGE_MQTT_PASSWORD", raising=False)
        assert find_password(None) is None
        monkeypatch.setenv("LMEDGE_MQTT_PASSWORD", "sesame")
        assert find_password(None) == "sesame"
        file = tmp_path / "password"
        file.write_text("barley\n")
        file.chmod(0o644)
        assert find_password(file) == "barley" and "chmod 600" in caplog.text
        for broken in (tmp_path / "none", tmp_path):
            with pytest.raises(LmedgeError, match="cannot be read"):
                find_password(broken)
        file.write_text("")
        with pytest.raises(LmedgeError, match="holds no password"):
            find_password(file)


def test_options_of_a_missing_broker_are_a_mistake(tiny_file: Path) -> None:
    for option in ("--mqtt-password-file", "--mqtt-ca", "--mqtt-discovery"):
        with pytest.raises(SystemExit) as caught:
            main(["camera", str(tiny_file), option, "x"])
        assert caught.value.code == 2


def test_each_entity_of_home_assistant_has_a_name_of_its_own() -> None:
    found = dict(discovery_messages("homeassistant", "hall/door 1", "x.tflite"))
    assert len(found) == 4
    assert len({value["unique_id"] for value in found.values()}) == 4
    assert all(" " not in topic and topic.endswith("/config") for topic in found)
    assert {value["availability_topic"] for value in found.values()} == {"hall/door 1/availability"}
