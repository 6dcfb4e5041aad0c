"""The order in which subscriptions and publications leave."""

from __future__ import annotations

from typing import Any

from paho.mqtt.enums import MQTTErrorCode

from stt_mqtt.mqtt.client_state import ClientState
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.sender import Sender


class Info:
    rc = MQTTErrorCode.MQTT_ERR_SUCCESS
    mid = 1


class FakeClient:
    """A paho client that remembers what it is given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def publish(self, topic: str, *_: Any) -> Info:
        self.given.append(f"publish {topic}")
        return Info()

    def subscribe(self, filters: list[tuple[str, int]]) -> tuple[int, int]:
        self.given += [f"subscribe {name}" for name, _ in filters]
        return 0, 1

    def want_write(self) -> bool:
        return False

    def socket(self) -> object:
        return self


class OutboxOfTwoThreads(Outbox):
    """Another thread subscribes and publishes while the network thread sends."""

    state: ClientState

    def take(self, max_in_flight: int) -> Publication | None:
        if "late" not in self.state.filters:
            self.state.filters = {**self.state.filters, "late": 1}
            self.put(Publication("after", b""))
        return super().take(max_in_flight)


def test_a_publication_does_not_overtake_the_subscription_before_it() -> None:
    client, outbox = FakeClient(), OutboxOfTwoThreads()
    outbox.state = state = ClientState("me", outbox, filters={"early": 1})
    outbox.connection_began()
    paho: Any = client
    sender = Sender(paho, False, state)
    sender.send_waiting()
    state.wakeup.close()
    assert client.given == ["subscribe early", "subscribe late", "publish after"]
