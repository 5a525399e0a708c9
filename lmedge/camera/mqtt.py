"""`--mqtt`: the label of a stream on a broker, retained, and a heartbeat.

Messages have quality of service 0. After each connection the newest state is published again, so
that nothing newer is lost with a connection. With quality 1, paho would send what was under way
when a connection ended behind the newest state, and an old label would stay on the broker.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

from ..errors import LmedgeError, MissingDependencyError
from ..harmless import harmless
from ..machine import processor_celsius
from .choice import Choice
from .discovery import discovery_messages
from .frames import Absence
from .label_state import LabelFollower, LabelState
from .mqtt_address import MqttAddress
from .sinks import FrameResult

HEARTBEAT = 60.0  # seconds between two messages on TOPIC/heartbeat
KEEPALIVE = 30  # seconds without a word after which the broker publishes the last will
WAITING = 64  # changes that wait for the broker; of more, the oldest are left out
_WRITTEN = 5.0  # seconds until a message has to be on its way
_AT_THE_END = 2.0
_log = logging.getLogger(__name__)


class Mqtt:
    """Publish each change of the label.

    `TOPIC/state` is retained and has the label. `TOPIC/availability` is `online`, and `offline`
    after the end, whichever it is. `TOPIC/heartbeat` has the figures of the last minute. The loop
    only leaves states here; a thread publishes them, and paho has another one.
    """

    goes_on = True

    def __init__(
        self,
        address: MqttAddress,
        choice: Choice,
        *,
        password: str | None = None,
        ca: Path | None = None,
        discovery: str | None = None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """Begin to connect; a broker that is away is tried again, after 1 to 30 s.

        Args:
            address: Broker and topic.
            choice: The file in use, whose name the device of Home Assistant has.
            password: Password of the address's user.
            ca: Certificates in PEM that sign the broker's, with TLS; None takes the system's.
            discovery: Topic of Home Assistant's discovery; None publishes nothing there.
            heartbeat: Seconds between two heartbeats.

        Raises:
            LmedgeError: The certificates cannot be used, or there is a password without a user.
            MissingDependencyError: paho-mqtt is not installed.
        """
        self.address = address
        self._choice, self._discovery, self._heartbeat = choice, discovery, heartbeat
        self._follower = LabelFollower()
        self._changed = threading.Condition()
        self._waiting: collections.deque[LabelState] = collections.deque(maxlen=WAITING)
        self._state: LabelState | None = None
        self._present = False
        self._connected = self._again = self._closing = False
        self._frames = self._unknown = 0
        self._before = (0, 0)  # both at the last heartbeat
        self._begun = self._newest = time.monotonic()
        self._trouble: str | None = None  # the last one that was logged
        self._client = self._make_client(password, ca)
        self._client.connect_async(address.host, address.port, keepalive=KEEPALIVE)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)
        self._thread.start()

    def take(self, result: FrameResult) -> bool:
        """Count the frame, and leave its state for the thread if the label changed."""
        self._frames += 1
        self._unknown += not result.known
        self._newest = time.monotonic()
        state = self._follower.update(result)
        if state is not None or not self._present:
            with self._changed:
                self._state, self._present = state or self._state, True
                if self._state is not None:
                    self._waiting.append(self._state)
                self._changed.notify()
        return True

    def absent(self, absence: Absence) -> bool:
        """Publish once that the camera is away."""
        if self._present:
            with self._changed:
                self._present = False
                if self._state is not None:
                    self._waiting.append(self._state)
                self._changed.notify()
        return True

    def close(self) -> None:
        """Publish what waits and the end, if the broker takes it within a moment."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_AT_THE_END)
        self._client.disconnect()
        # It joins a thread, which may be looking up a name
        stopping = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopping.start()
        stopping.join(_AT_THE_END)

    def _make_client(self, password: str | None, ca: Path | None) -> Any:
        try:
            from paho.mqtt import client as paho
        except ImportError as error:
            raise MissingDependencyError(
                f"--mqtt needs {error.name}: run `pip install 'lmedge[mqtt]'`"
            ) from error
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if self.address.user:
            client.username_pw_set(self.address.user, password)
        elif password is not None:
            raise LmedgeError("--mqtt: a password needs a user, as mqtt://USER@HOST/TOPIC")
        if self.address.tls:
            try:
                client.tls_set(ca_certs=None if ca is None else str(ca))
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise LmedgeError(
                    f"{ca}: cannot be used as certificates ({reason}); pass them in PEM"
                ) from error
        elif ca is not None:
            raise LmedgeError("--mqtt-ca needs an address that begins with mqtts://")
        client.will_set(self._topic("availability"), "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = lambda *_: self._report("is not reached")
        return client

    def _topic(self, name: str) -> str:
        return f"{self.address.topic}/{name}"

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self._report(f"refuses the connection ({harmless(reason)})")
            return
        _log.info("%s: connected", self.address)
        self._trouble = None
        with self._changed:
            self._connected = self._again = True
            self._waiting.clear()  # older than what is published now
            self._changed.notify()

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            was, self._connected = self._connected, False
        if was and not self._closing:
            self._report("is gone")

    def _report(self, trouble: str) -> None:
        """Log the beginning of a trouble."""
        if trouble != self._trouble:
            _log.warning("%s: the broker %s; it is tried again", self.address, trouble)
        self._trouble = trouble

    def _work(self) -> None:
        beat = time.monotonic() + self._heartbeat
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, max(0.0, beat - time.monotonic()))
                closing, connected = self._closing, self._connected
                again, self._again = self._again and connected, False
                states = list(self._waiting) if connected else []
                if connected:
                    self._waiting.clear()
            if again:
                self._publish_all()
            for state in [] if again else states:
                self._publish_state(state)
            if time.monotonic() >= beat:
                beat = time.monotonic() + self._heartbeat
                if connected:
                    self._publish("heartbeat", self._figures(), retain=False)
            if closing:
                if connected:
                    self._publish("availability", "offline")
                return

    def _is_due(self) -> bool:
        return self._closing or (self._connected and (self._again or bool(self._waiting)))

    def _publish_all(self) -> None:
        self._publish("availability", "online")
        if self._discovery is not None:
            model = self._choice.current.model.path.name
            for topic, value in discovery_messages(self._discovery, self.address.topic, model):
                self._send(topic, json.dumps(value), retain=True)
        if self._state is not None:
            self._publish_state(self._state)

    def _publish_state(self, state: LabelState) -> None:
        camera = "present" if self._present else "away"
        self._publish("state", {**state.as_dict(), "camera": camera})

    def _figures(self) -> dict[str, Any]:
        """Return the figures since the last heartbeat."""
        now = time.monotonic()
        counts = (self._frames, self._unknown)
        frames, unknown = counts[0] - self._before[0], counts[1] - self._before[1]
        begun, self._begun, self._before = self._begun, now, counts
        return {
            "frames": frames,
            "rate": round(frames / max(now - begun, 1e-9), 2),
            "unknown_share": round(unknown / frames, 4) if frames else None,
            "frame_age": round(now - self._newest, 1),
            "temperature": processor_celsius(),
            "camera": "present" if self._present else "away",
        }

    def _publish(self, name: str, value: object, *, retain: bool = True) -> None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        self._send(self._topic(name), text, retain=retain)

    def _send(self, topic: str, text: str, *, retain: bool) -> None:
        """Send one message and wait until it is on its way, so that none gather in paho."""
        with contextlib.suppress(ValueError, RuntimeError):  # the connection has just ended
            self._client.publish(topic, text, qos=0, retain=retain).wait_for_publish(_WRITTEN)
