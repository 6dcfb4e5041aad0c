"""Devices that are connected to the service itself, seen from the native door."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.native.direct import SATELLITE
from stt_mqtt.doors.native.topics import Verb
from stt_mqtt.mqtt.json import Json, encode
from stt_mqtt.types import Completion, DeviceKey
from tests.core.speech import CHUNK_S, WORDS, chunks_of, found, quiet
from tests.doors.native.peers import Wire

AVAILABILITY = "stt/tablet/availability"


class Page:
    """A directly connected device that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Json]] = []
        self.was_replaced = False

    def tell(self, kind: str, fields: Json) -> None:
        self.told.append((kind, fields))

    def replaced(self) -> None:
        self.was_replaced = True

    def fields(self, kind: str) -> list[Json]:
        return [fields for told, fields in self.told if told == kind]


def connected(wire: Wire, room: str = "tablet") -> Page:
    page = Page()
    wire.door.direct.connect(room, page)
    return page


def begin(wire: Wire, id: str, seconds: int = 1) -> None:
    wire.door.receive("tablet", Verb.START, encode({"id": id}))
    wire.door.receive("tablet", Verb.CHUNK, bytes(32_000 * seconds))


def test_a_device_is_told_what_is_published_about_it_and_nothing_about_others() -> None:
    wire = Wire()
    page, other = connected(wire), connected(wire, "hall")
    begin(wire, "a")
    wire.door.receive("tablet", Verb.STOP, b"")
    wire.answer()
    (result,) = page.fields("result")
    assert wire.results("tablet") == [json.loads(encode(result))]
    states = [fields["state"] for fields in page.fields("state")]
    assert states == ["idle", "listening", "transcribing", "idle"]
    assert [payload.decode() for payload in wire.on("stt/tablet/state")] == states
    wire.send("stt/tablet/set", b'{"language": "en"}')
    assert page.fields("settings")[-1] == json.loads(wire.on("stt/tablet/settings")[-1])
    assert [kind for kind, _ in other.told] == ["settings", "state"]


def test_what_a_satellite_of_the_same_name_says_over_mqtt_is_told_to_the_page_too() -> None:
    wire = Wire()
    page = connected(wire)
    wire.send("stt/tablet/utterance", bytes(32_000))
    wire.answer("Turn on the light.")
    (result,) = page.fields("result")
    assert result["text"] == "Turn on the light."


@pytest.mark.parametrize(
    ("completion", "kind"), [(Completion.COMPLETE, "ended"), (Completion.OPEN, "open")]
)
def test_a_page_is_told_that_its_utterance_has_ended_or_that_the_phrase_is_open(
    completion: Completion, kind: str
) -> None:
    wire = Wire()
    page, other = connected(wire), connected(wire, "hall")
    wire.door.receive("tablet", Verb.START, b'{"id":"a"}')
    for chunk in chunks_of(WORDS + quiet(0.36)):
        wire.clock.advance(CHUNK_S)
        wire.door.receive("tablet", Verb.CHUNK, chunk)
    wire.pool.answer(wire.service, found(completion))
    assert page.fields(kind) == [{"id": "a"}]
    assert page.fields("result") == []
    assert wire.on("stt/tablet/satellite/set") == [encode({kind: "a"})]
    wire.door.receive("tablet", Verb.STOP, b"")
    wire.answer()
    assert len(page.fields("result")) == len(page.fields("ended") + page.fields("open")) == 1
    assert [told for told, _ in other.told] == ["settings", "state"]


def test_a_message_of_a_page_is_checked_like_one_from_the_broker() -> None:
    wire = Wire(mqtt={"max_payload_kib": 16})
    page = connected(wire)
    wire.door.receive("tablet", Verb.CHUNK, bytes(17 * 1024))
    wire.door.receive("tablet", Verb.SET, b"no JSON")
    codes = [fields["error"]["code"] for fields in page.fields("result")]  # type: ignore[index]
    assert codes == ["payload_too_large", "bad_payload"]


def test_a_page_that_takes_over_ends_the_utterance_of_the_one_before() -> None:
    wire = Wire()
    older = connected(wire)
    begin(wire, "a")
    newer = connected(wire)
    assert older.was_replaced
    wire.door.direct.disconnect("tablet", older)
    assert wire.door.direct.is_connected("tablet")
    wire.answer("Turn")
    assert older.fields("result") == []
    (result,) = newer.fields("result")
    assert result["incomplete"]
    assert wire.on(AVAILABILITY) == [b"online", b"online"]


def test_a_page_that_leaves_is_offline_and_told_nothing_more() -> None:
    wire = Wire()
    page = connected(wire)
    begin(wire, "a")
    wire.door.direct.disconnect("tablet", page)
    told = len(page.told)
    wire.answer()
    assert len(page.told) == told
    assert wire.on(AVAILABILITY) == [b"online", b"offline"]
    assert wire.results("tablet")[0]["end"] == "disconnect"
    wire.door.direct.disconnect("tablet", page)
    assert wire.on(AVAILABILITY) == [b"online", b"offline"]


def test_its_own_publications_that_come_back_from_the_broker_change_nothing() -> None:
    wire = Wire()
    page = connected(wire)
    begin(wire, "a")
    for payload in (b"online", b"offline", b""):
        wire.send(AVAILABILITY, payload)
    wire.send("stt/tablet/satellite/state", encode(SATELLITE))
    assert wire.door.devices.is_online("tablet")
    device = wire.service.registry.find(DeviceKey("native", "tablet"))
    assert device is not None
    assert device.listening
    wire.door.direct.disconnect("tablet", page)
    for payload in (b"online", b"offline"):
        wire.send(AVAILABILITY, payload)
    assert not wire.door.devices.is_online("tablet")


def test_after_a_lost_connection_to_the_broker_pages_are_announced_again() -> None:
    wire = Wire()
    connected(wire)
    wire.published.clear()
    wire.door.on_connected()
    assert wire.on(AVAILABILITY) == [b"online"]
    assert wire.on("stt/tablet/satellite/state") == [encode(SATELLITE)]


def test_a_lost_connection_to_the_broker_makes_a_part_of_what_ends_without_a_stop() -> None:
    wire = Wire()
    connected(wire)
    begin(wire, "a")
    wire.send("stt/kitchen/audio/start", b'{"id":"b"}')
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.door.on_disconnected()
    wire.clock.advance(6.0)
    wire.service.tick()
    wire.answer()
    wire.answer()
    # The page has lost nothing: it does not speak over the broker.
    assert wire.results("tablet")[0]["end"] == "gap"
    (result,) = wire.results("kitchen")
    assert (result["end"], result["incomplete"]) == ("disconnect", True)
    assert wire.on("stt/kitchen/text") == []


def retained(wire: Wire, *messages: tuple[str, Any]) -> None:
    for topic, payload in messages:
        wire.send(f"stt/tablet/{topic}", payload, retain=True)


def test_a_browser_that_a_killed_service_left_online_is_offline() -> None:
    for first in (0, 1):
        wire = Wire()
        left = [("availability", b"online"), ("satellite/state", encode(SATELLITE))]
        retained(wire, left[first], left[1 - first])
        assert wire.on(AVAILABILITY) == [b"offline"]
        assert not wire.door.devices.is_online("tablet")


def test_a_browser_that_is_back_before_the_retained_messages_are_read_stays_online() -> None:
    wire = Wire()
    connected(wire)
    retained(wire, ("availability", b"online"), ("satellite/state", encode(SATELLITE)))
    assert wire.on(AVAILABILITY) == [b"online"]
    assert wire.door.devices.is_online("tablet")


def test_a_satellite_that_is_online_stays_so() -> None:
    wire = Wire()
    satellite = encode({"model": "satellite", "muted": False})
    retained(wire, ("satellite/state", encode(SATELLITE)), ("satellite/state", satellite))
    retained(wire, ("availability", b"online"))
    assert wire.on(AVAILABILITY) == []
    assert wire.door.devices.is_online("tablet")


def test_only_so_many_browsers_are_remembered_as_there_are_places_for_devices() -> None:
    wire = Wire(limits={"max_devices": 1})
    wire.send("stt/one/satellite/state", encode(SATELLITE), retain=True)
    wire.send("stt/two/satellite/state", encode(SATELLITE), retain=True)
    for room in ("one", "two"):
        wire.send(f"stt/{room}/availability", b"online", retain=True)
    assert wire.on("stt/one/availability") == [b"offline"]
    assert wire.on("stt/two/availability") == []


def test_a_page_without_a_place_for_its_device_is_told_why_its_start_fails() -> None:
    wire = Wire(limits={"max_devices": 1}, devices={"kitchen": {}})
    wire.door.devices.register_configured()
    page = connected(wire)
    wire.door.receive("tablet", Verb.START, b"")
    assert [fields["error"]["code"] for fields in page.fields("result")] == [  # type: ignore[index]
        "too_many_devices"
    ]


class Home:
    """A room with a page and, by mistake, a satellite of the same name."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.page = connected(self.wire)
        self.started: list[str] = []

    def page_starts(self) -> None:
        self._say(Verb.START, encode({"id": self._new_id()}))

    def page_speaks(self) -> None:
        self._say(Verb.CHUNK, bytes(6400))

    def page_stops(self) -> None:
        self._say(Verb.STOP, b"")

    def page_aborts(self) -> None:
        self._say(Verb.ABORT, b"")

    def page_mutes(self) -> None:
        self._say(Verb.SET, encode({"enabled": False}))

    def page_unmutes(self) -> None:
        self._say(Verb.SET, encode({"enabled": True}))

    def page_connects(self) -> None:
        self.page = connected(self.wire)

    def page_leaves(self) -> None:
        self.wire.door.direct.disconnect("tablet", self.page)

    def satellite_starts(self) -> None:
        self.wire.send("stt/tablet/audio/start", encode({"id": self._new_id()}))

    def satellite_speaks(self) -> None:
        self.wire.send("stt/tablet/audio", bytes(6400))

    def satellite_leaves(self) -> None:
        self.wire.send(AVAILABILITY, b"offline")

    def time_passes(self) -> None:
        self.wire.clock.advance(1)
        self.wire.service.tick()

    def model_answers(self) -> None:
        if self.wire.pool.submitted:
            self.wire.answer()

    def _say(self, verb: Verb, payload: bytes) -> None:
        self.wire.door.receive("tablet", verb, payload)

    def _new_id(self) -> str:
        self.started.append(f"u{len(self.started)}")
        return self.started[-1]


EVENTS = [event for name, event in vars(Home).items() if not name.startswith("_")]


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_every_utterance_of_a_page_has_exactly_one_result_whatever_else_happens(
    events: list[Callable[[Home], None]],
) -> None:
    home = Home()
    for event in events:
        event(home)
    home.wire.service.shut_down()
    while home.wire.pool.submitted:
        home.wire.answer()
    ids = Counter(result["id"] for result in home.wire.results("tablet"))
    assert {id: ids[id] for id in home.started} == dict.fromkeys(home.started, 1)
    assert max(ids.values(), default=1) == 1
