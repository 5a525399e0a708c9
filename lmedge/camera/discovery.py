"""Messages by which Home Assistant finds a camera of lmedge on a broker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .. import __version__
from ..harmless import harmless

PREFIX = "homeassistant"  # the default of Home Assistant
_ENTITIES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sensor", "landmark", {"name": "Landmark", "icon": "mdi:map-marker"}),
    ("sensor", "category", {"name": "Category", "icon": "mdi:shape"}),
    ("sensor", "last_landmark", {"name": "Last known landmark", "icon": "mdi:history"}),
    (
        "binary_sensor",
        "camera",
        {
            "name": "Camera",
            "device_class": "connectivity",
            "payload_on": "present",
            "payload_off": "away",
        },
    ),
)


def discovery_messages(prefix: str, topic: str, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield topic and content of each retained message.

    https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. A label that is not known is
    null, which Home Assistant shows as unknown.

    Args:
        prefix: The topic that Home Assistant listens to.
        topic: The topic of the camera.
        file: Name of the .tflite file.
    """
    name = re.sub(r"[^A-Za-z0-9_-]", "_", topic)
    device = {
        "identifiers": [f"lmedge_{name}"],
        "name": f"lmedge {topic}",
        "manufacturer": "lmedge",
        "model": harmless(file),
        "sw_version": __version__,
    }
    for kind, field, more in _ENTITIES:
        yield (
            f"{prefix}/{kind}/lmedge_{name}/{field}/config",
            {
                **more,
                "unique_id": f"lmedge_{name}_{field}",
                "state_topic": f"{topic}/state",
                "value_template": f"{{{{ value_json.{field} }}}}",
                "availability_topic": f"{topic}/availability",
                "device": device,
                "origin": {"name": "lmedge", "sw_version": __version__},
                **({"json_attributes_topic": f"{topic}/state"} if field == "landmark" else {}),
            },
        )
