"""What the doors tell of themselves, for the status page."""

from __future__ import annotations

import asyncio
from typing import Any

from stt_mqtt.app.facts import door_facts
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.wyoming.door import WyomingDoor
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientOptions
from stt_mqtt.types import DeviceKey, UtteranceStart
from tests.doors.native.peers import Wire
from tools.brokers import free_port


class Broker(MqttClient):
    """A client whose connection the test plays."""

    def __init__(self, wire: Wire) -> None:
        mqtt = wire.service.config.mqtt
        super().__init__(ClientOptions(config=mqtt, host="broker.lan", port=1883))
        self.is_up = True

    @property
    def connected(self) -> bool:
        return self.is_up


def facts_of(
    wire: Wire, broker: MqttClient | None = None, wyoming: WyomingDoor | None = None
) -> dict[str, DoorFacts]:
    client = broker or Broker(wire)
    found = door_facts(wire.service, client, wire.door, wyoming)
    client.stop(1.0)
    return {door.name: door for door in found}


def test_mqtt_names_its_broker_and_the_satellites_that_are_online() -> None:
    wire = Wire()
    wire.send("stt/kitchen/availability", b"online")
    wire.send("stt/attic/availability", b"online")
    wire.send("stt/attic/availability", b"offline")
    mqtt = facts_of(wire)["MQTT"]
    assert (mqtt.where, mqtt.problem) == ("broker.lan:1883, topics stt/…", None)
    assert mqtt.clients == ("kitchen",)


def test_without_a_connection_mqtt_says_why_and_what_to_do() -> None:
    wire = Wire()
    broker = Broker(wire)
    broker.is_up = False
    problem = facts_of(wire, broker)["MQTT"].problem
    assert problem is not None
    assert problem.startswith("not connected yet. Check that the broker runs")


def test_hermes_names_the_sites_with_a_session() -> None:
    wire = Wire()
    wire.service.start(DeviceKey("hermes", "salon", "1"), UtteranceStart())
    assert facts_of(wire)["Hermes"].clients == ("salon",)


def test_doors_that_are_off_say_so() -> None:
    off: dict[str, Any] = {
        name: {"enabled": False} for name in ("hermes", "homeassistant", "wyoming")
    }
    found = facts_of(Wire(**off))
    assert [door.name for door in found.values() if not door.on] == [
        "Wyoming", "Hermes", "Home Assistant",
    ]  # fmt: skip


def test_wyoming_names_its_clients_and_an_address_that_is_taken() -> None:
    async def scenario() -> None:
        taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        taken_port = taken.sockets[0].getsockname()[1]
        port = free_port()
        listen = [f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{taken_port}"]
        wire = Wire(wyoming={"listen": listen, "zeroconf": False})
        door = WyomingDoor(wire.service, lambda: None, lambda: None)
        await door.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'{"type": "ping"}\n')
        await reader.readline()
        wyoming = facts_of(wire, wyoming=door)["Wyoming"]
        assert wyoming.clients == ("127.0.0.1",)
        assert wyoming.problem is not None
        assert wyoming.problem.startswith(f"cannot listen on tcp://127.0.0.1:{taken_port}: ")
        assert "wyoming.listen" in wyoming.problem
        writer.close()
        await writer.wait_closed()
        await door.close()
        taken.close()
        await taken.wait_closed()

    asyncio.run(scenario())
