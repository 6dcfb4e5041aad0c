"""The topics on which the check tries what a service may do at the broker."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.config import Config
from stt_mqtt.doors.hermes.messages import FILTERS as HERMES_FILTERS
from stt_mqtt.doors.homeassistant.names import SERVICE_ID
from stt_mqtt.doors.native.instances import PROBE
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Inbound

NOBODY = "stt-mqtt-doctor"
"""The name of a device that does not exist."""
NATIVE, HERMES, HOME_ASSISTANT = "native", "hermes", "homeassistant"
"""The doors at the broker. All but the first have a section with `enabled`."""


@dataclass(frozen=True, slots=True)
class ProbeTopics:
    """The topics that the check uses."""

    config: Config

    @property
    def native(self) -> Topics:
        """The topics of the service."""
        return Topics(self.config.mqtt.base_topic)

    @property
    def filters(self) -> dict[str, str]:
        """What a service with this configuration subscribes to, with the door that needs it."""
        config = self.config
        filters = dict.fromkeys(self.native.subscriptions, NATIVE)
        if config.hermes.enabled:
            filters |= dict.fromkeys(HERMES_FILTERS, HERMES)
        if config.homeassistant.enabled:
            configs = f"{config.homeassistant.discovery_prefix}/device/+/config"
            filters |= dict.fromkeys((self.birth, configs), HOME_ASSISTANT)
        return filters

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is online."""
        return f"{self.config.homeassistant.discovery_prefix}/status"

    def discovery(self, object_id: str) -> str:
        """A topic of discovery messages."""
        return f"{self.config.homeassistant.discovery_prefix}/device/{object_id}/config"

    @property
    def request(self) -> str:
        """Requests to which every service answers."""
        return self.native.of_bridge(f"request/{PROBE}")

    @property
    def response(self) -> str:
        """Answers to these requests."""
        return self.native.of_bridge(f"response/{PROBE}")

    @property
    def state(self) -> str:
        """The state of the service."""
        return self.native.of_bridge("state")

    @property
    def heard(self) -> str:
        """What a satellite may send and the service must be able to read."""
        return self.native.of_device(NOBODY, "audio/abort")

    @property
    def said(self) -> tuple[str, str]:
        """Two topics below which the service must be able to write, and which nobody reads."""
        return (
            self.native.of_device(NOBODY, "reply/doctor"),
            self.native.of_device(NOBODY, "satellite/set"),
        )

    def is_wanted(self, message: Inbound) -> bool:
        """Whether a message is kept. Everything else is of satellites and other programs."""
        return message.topic in {
            self.request,
            self.response,
            self.state,
            self.heard,
            *self.said,
            self.birth,
            self.discovery(SERVICE_ID),
        }
