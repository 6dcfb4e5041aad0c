"""The program on a real broker: what it says about itself when its microphone comes and goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest

from stt_mqtt.audio.activity import Activity
from stt_mqtt.config import MqttConfig, SatelliteConfig
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.satellite import source_reader
from stt_mqtt.satellite.answers import AnswerTracker, ServiceAnswer
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.microphone import MicrophoneError
from stt_mqtt.satellite.program import HintLog, SatelliteProgram, SatelliteSettings
from stt_mqtt.satellite.satellite import Satellite
from stt_mqtt.satellite.segmenter import FRAME_BYTES
from stt_mqtt.satellite.sources import AudioSource
from tools.brokers import Broker, eventually
from tools.program import Peer

STATE = "stt/kitchen/satellite/state"
AVAILABILITY = "stt/kitchen/availability"


class NoDisplay:
    """A display that shows nothing."""

    def level(self, activity: Activity, satellite: Satellite, now: float) -> None:
        pass

    def answer(self, answer: ServiceAnswer) -> None:
        pass


class Plug:
    """A microphone that the test plugs in and out."""

    def __init__(self, plugged: bool) -> None:
        self.plugged = plugged

    def open(self) -> AudioSource:
        if not self.plugged:
            raise MicrophoneError("There is no microphone.")
        return PluggedIn(self)


class PluggedIn:
    def __init__(self, plug: Plug) -> None:
        self._plug = plug
        self._closed = threading.Event()

    def frames(self) -> Iterator[bytes]:
        while not self._closed.wait(0.005):
            if not self._plug.plugged:
                raise MicrophoneError("'USB' gives no audio any more; was it unplugged?")
            yield b"\1\0" * (FRAME_BYTES // 2)

    def close(self) -> None:
        self._closed.set()


class Silent:
    """A source that is there and gives nothing."""

    def __init__(self) -> None:
        self._frames: SimpleQueue[bytes | None] = SimpleQueue()

    def open(self) -> AudioSource:
        return self

    def frames(self) -> Iterator[bytes]:
        while (frame := self._frames.get()) is not None:
            yield frame

    def close(self) -> None:
        self._frames.put(None)


@contextmanager
def running(broker: Broker, open_source: Callable[[], AudioSource]) -> Iterator[Peer]:
    peer = Peer(broker, STATE, AVAILABILITY)
    mqtt = MqttConfig.model_validate({"host": broker.host, "port": broker.port})
    place = SatelliteTopics(Topics("stt"), "kitchen")
    program = SatelliteProgram(
        SatelliteSettings(SatelliteConfig(), place, mqtt, None), open_source, NoDisplay()
    )
    thread = threading.Thread(target=program.run, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        program.stop()
        thread.join(60)
        peer.close()
    assert not thread.is_alive()


def states(peer: Peer) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in peer.payloads(STATE)]


def last(peer: Peer, listening: bool, reason: str | None) -> bool:
    """Whether this is what the satellite said last."""
    told = states(peer)
    return bool(told) and (told[-1]["listening"], told[-1]["reason"]) == (listening, reason)


def test_it_says_that_its_microphone_is_gone_and_that_it_is_back(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_reader, "REOPEN_S", 0.05)
    plug = Plug(plugged=False)
    with running(broker, plug.open) as peer:
        eventually(lambda: last(peer, False, "no microphone: There is no microphone."))
        assert peer.payloads(AVAILABILITY) == [b"online"]
        plug.plugged = True
        eventually(lambda: last(peer, True, None))
        plug.plugged = False
        eventually(lambda: any("was it unplugged" in str(one["reason"]) for one in states(peer)))
        eventually(lambda: last(peer, False, "no microphone: There is no microphone."))
        plug.plugged = True
        eventually(lambda: last(peer, True, None))


def test_it_says_that_no_audio_comes_in(broker: Broker) -> None:
    with running(broker, Silent().open) as peer:
        eventually(lambda: last(peer, False, "no audio came in for 2 s"))


def test_it_does_not_say_that_it_listens_when_it_has_stopped(broker: Broker) -> None:
    with running(broker, Plug(plugged=True).open) as peer:
        eventually(lambda: last(peer, True, None))
    left = Peer(broker, STATE, AVAILABILITY)
    try:
        eventually(lambda: last(left, False, "stopped"))
        eventually(lambda: left.payloads(AVAILABILITY) == [b"offline"])
    finally:
        left.close()


def test_what_the_service_says_about_the_audio_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    payload = json.dumps({"id": "a", "outcome": "no_speech", "hint": "Lower the gain."}).encode()
    answers = AnswerTracker(30.0)
    answers.begin("a")
    ours = answers.take(payload, 1.0)
    assert ours is not None
    hints = HintLog()
    for answer in (replace(ours, ours=False), replace(ours, hint=None), ours, ours):
        hints.add(answer)
    assert [record.getMessage() for record in caplog.records] == [
        "the service says about what this satellite sends: Lower the gain."
    ]
