"""Partial results on the topic `partial` of a device."""

from __future__ import annotations

import json
from typing import Any

from tests.core.speech import WORDS
from tests.doors.native.peers import Wire
from tests.doors.native.test_ended import say
from tests.fakes import heard

PARTIAL = "stt/kitchen/partial"
HEARD = "Turn on the kitchen"


def spoken(*found: str, **settings: Any) -> Wire:
    """A wire where somebody speaks, and each draft finds so much."""
    wire = Wire(devices={"kitchen": {"partials": True, **settings}})
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    for text in found:
        say(wire, WORDS)
        wire.pool.answer(wire.service, heard(text))
    return wire


def test_each_revision_of_the_text_is_published() -> None:
    wire = spoken(HEARD, HEARD)
    assert [json.loads(payload) for payload in wire.on(PARTIAL)] == [
        {"id": "a", "text": HEARD, "revision": 1, "stable": 0},
        {"id": "a", "text": HEARD, "revision": 2, "stable": len("Turn on")},
    ]


def test_it_is_neither_kept_nor_repeated_and_soon_out_of_date() -> None:
    wire = spoken(HEARD)
    (message,) = [item for item in wire.published if item.topic == PARTIAL]
    assert (message.qos, message.retain) == (0, False)
    assert message.expires_at is not None


def test_all_of_them_come_before_the_result() -> None:
    wire = spoken(HEARD)
    say(wire, WORDS)
    wire.send("stt/kitchen/audio/stop")
    while wire.pool.submitted:
        wire.pool.answer(wire.service, heard("Turn on the light."))
    topics = [item.topic for item in wire.published]
    assert topics.index("stt/kitchen/result") > topics.index(PARTIAL)
    assert topics.count(PARTIAL) == 1
    assert wire.on("stt/kitchen/text") == [b"Turn on the light."]


def test_without_partials_nothing_is_drafted() -> None:
    wire = spoken(partials=False)
    say(wire, WORDS)
    assert wire.pool.submitted == []
    assert wire.on(PARTIAL) == []


def test_the_health_counts_drafts_and_their_work() -> None:
    wire = spoken(HEARD, HEARD)
    wire.bridge.publish_health()
    speculation = json.loads(wire.on("stt/bridge/health")[-1])["speculation"]
    assert (speculation["drafts"], speculation["drafts_s"]) == (2, 0.16)
    assert (speculation["glimpses"], speculation["wasted_s"]) == (0, 0)
