"""Two satellites with one name."""

from __future__ import annotations

import pytest

from stt_mqtt.doors.native import clashes
from stt_mqtt.doors.native.clashes import CLASHES_BEFORE_WARNING, NameClashes
from stt_mqtt.observe.metrics import Metrics
from tests.doors.native.peers import Wire


def utter(wire: Wire, verb: str, id: str) -> None:
    wire.send(f"stt/kitchen/audio/{verb}", f'{{"id":"{id}"}}'.encode())


def test_two_satellites_that_cut_each_other_off_are_counted_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    for number in range(CLASHES_BEFORE_WARNING + 2):
        utter(wire, "start", f"one-{number}")
        utter(wire, "start", f"two-{number}")
        utter(wire, "stop", f"one-{number}")
        utter(wire, "stop", f"two-{number}")
    assert wire.service.metrics.dropped["name_clash"] == CLASHES_BEFORE_WARNING + 2
    assert caplog.text.count("two satellites use the name kitchen") == 1


def test_a_satellite_that_begins_anew_or_repeats_itself_is_no_second_one() -> None:
    wire = Wire()
    utter(wire, "start", "a")
    utter(wire, "start", "b")
    utter(wire, "start", "b")
    utter(wire, "stop", "b")
    utter(wire, "stop", "b")
    wire.send("stt/kitchen/audio/start")
    wire.send("stt/kitchen/audio/stop")
    assert wire.service.metrics.dropped["name_clash"] == 0


def test_the_ids_of_any_number_of_devices_take_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clashes, "MAX_DEVICES", 2)
    metrics = Metrics()
    seen = NameClashes(metrics)
    for room in ("kitchen", "bath", "den"):
        seen.started(room, "a")
        seen.started(room, "b")
    for room in ("kitchen", "bath", "den"):
        seen.stopped(room, "a")
    assert metrics.dropped["name_clash"] == 2
