"""Single messages of every protocol: JSON that is nearly right, and bytes that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_mqtt.config import Config
from stt_mqtt.doors.hermes import messages as hermes
from stt_mqtt.doors.homeassistant.names import is_ours
from stt_mqtt.doors.native import messages as native
from stt_mqtt.doors.native.devices import PreviousRun
from stt_mqtt.doors.native.instances import instance_in
from stt_mqtt.doors.web.socket_messages import FarewellError, encode_message, parse_message
from stt_mqtt.doors.web.socket_messages import pong_fields as pong
from stt_mqtt.doors.wyoming import messages as wyoming
from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.json import encode, object_in, parse_object
from stt_mqtt.names import answers as home
from stt_mqtt.phrases.names import names_from_json, names_from_topic
from stt_mqtt.satellite.answers import AnswerTracker
from stt_mqtt.types import AudioFormat
from tests.fuzz.hostile_json import BROKEN, anything, encoded, nearly
from tests.fuzz.target import How, Target

text = st.text(max_size=20)
some = st.sampled_from
ids = some(["light.kitchen", "light.k", "a", "b", "sensor.x", "LIGHT.X", ""])


def structured(strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> Any:
    """A target that generates values of the strategy from the bytes of the case."""

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def generated(value: Any) -> None:
        check(value)

    return generated.hypothesis.fuzz_one_input  # type: ignore[attr-defined]


def _native(fields: dict[str, Any]) -> None:
    """All parsers of the native door take the same message."""
    payload = encoded(fields)
    for parse in (
        lambda: native.parse_start(payload, AudioFormat(), "audio/wav"),
        lambda: native.parse_stop(payload),
        lambda: native.parse_abort(payload),
        lambda: native.parse_set(payload),
        lambda: native.parse_satellite(payload),
        lambda: encode({"transaction": native.transaction_of(parse_object(payload))}),
    ):
        with suppress(UtteranceError):
            parse()


def _hermes(fields: dict[str, Any]) -> None:
    payload = encoded(fields)
    hermes.address_of(payload)
    for parse in (hermes.parse_start, hermes.parse_stop, hermes.parse_toggle):
        with suppress(UtteranceError):
            parse(payload)
    with suppress(UtteranceError):
        json.loads(hermes.text_captured(hermes.parse_start(payload), None))


def _browser(fields: dict[str, Any]) -> None:
    with suppress(FarewellError):
        kind, read = parse_message(encoded(fields))
        encode_message(kind, pong(read))


def _wyoming(fields: dict[str, Any]) -> None:
    with suppress(UtteranceError):
        wyoming.parse_transcribe(fields)
    with suppress(UtteranceError):
        read = wyoming.parse_audio_format(fields)
        converter = read.converter()
        if converter is not None:
            converter.push(bytes(range(100)))
            converter.finish()


def _retained(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """What a service reads that it or another one published before."""
    previous = PreviousRun(Config())
    for name, fields in messages:
        payload = encoded(fields)
        previous.note_info(payload)
        previous.note_health(payload)
        previous.note_device(name, payload)
        is_ours(name, payload, "stt/bridge/state")
        instance_in(object_in(payload, 1 << 20)).encode("utf-8", "replace")
    previous.devices()


def _answers(parts: tuple[Any, ...]) -> None:
    """The answers of Home Assistant, from the lists to the file of names."""
    entries, devices, states, areas, floors, exposed = parts
    ids = home.exposed_entities(exposed)
    answers = home.Answers(
        home.entries_in(entries),
        home.attributes_in(states, ids),
        home.devices_in(devices),
        areas,
        floors,
    )
    names, _ = home.names_in(answers, ids)
    assert names_from_json(names.to_json()) == names


def _result(fields: dict[str, Any]) -> None:
    """A result as the satellite program reads it."""
    tracker = AnswerTracker(30.0)
    tracker.begin("a")
    tracker.end("a", 1.0)
    tracker.sent("a", True, 1.0)
    answer = tracker.take(encoded(fields), 2.0)
    if answer is not None:
        answer.text.encode()


def _any_json(data: bytes) -> None:
    """Bytes, for every reader of JSON that takes bytes."""
    for parse in (hermes.parse_start, hermes.parse_toggle, native.parse_stop, native.parse_switch):
        with suppress(UtteranceError):
            parse(data)
    with suppress(FarewellError):
        parse_message(data)
    for read in (names_from_json, names_from_topic):
        with suppress(ValueError):
            read(data)
    hermes.address_of(data)
    hermes.parse_topic(data.decode("utf-8", "replace"))
    object_in(data, 1 << 20)
    AnswerTracker(30.0).take(data, 0.0)


native_fields = nearly(
    {
        "id": text | some(["a", "x" * 64]),
        "codec": some(["opus", "PCM_S16LE ", "wav", "mp3"]) | text,
        "rate": st.integers(7_000, 50_000),
        "channels": st.integers(0, 3),
        "language": some(["en", "en-US", "xx-"]) | text,
        "prompt": text,
        "framing": some(["seq32", "seq"]),
        "age_ms": st.integers(-1, 10**12) | st.floats(),
        "reply_to": text,
        "chunks": st.integers(-1, 2**33),
        "enabled": st.booleans(),
        "model": text,
        "version": text,
        "muted": st.booleans(),
        "transaction": text | st.floats() | st.integers(),
    }
)
hermes_fields = nearly(
    {
        "siteId": text,
        "site_id": text,
        "sessionId": text,
        "session_id": text,
        "lang": some(["en", "de-DE"]),
        "stopOnSilence": st.booleans(),
        "sendAudioCaptured": st.booleans(),
        "wakewordId": text,
        "reason": text,
    }
)
wyoming_fields = nearly(
    {
        "language": some(["en", "en-US"]) | text,
        "transcript_names": st.lists(text, max_size=5),
        "transcript_terms": st.lists(text, max_size=5),
        "rate": some([8_000, 16_000, 96_000, 192_000]) | st.integers() | st.floats(),
        "width": st.integers(0, 5),
        "channels": st.integers(0, 3),
    }
)
browser_fields = nearly(
    {"type": some(["start", "stop", "abort", "set", "ping", "pong"]) | text, "t": st.floats()}
)
retained_fields = nearly(
    {
        "instance": text,
        "config": nearly(
            {
                "device_defaults": nearly({"language": text}),
                "devices": st.dictionaries(text, anything),
            }
        ),
        "devices": st.dictionaries(text, nearly({"last_seen": st.floats() | st.integers()})),
        "enabled": st.booleans(),
        "language": text,
        "prompt": text,
        "o": nearly({"name": some(["stt-mqtt"])}),
        "avty": st.lists(nearly({"t": some(["stt/bridge/state"])})),
    }
)
entry = nearly(
    {
        "aliases": st.lists(st.none() | text, max_size=3),
        "area_id": ids,
        "device_id": ids,
        "name": text,
        "original_name": text,
        "has_entity_name": st.booleans(),
        "disabled_by": text,
        "device_class": text,
    }
)
item = nearly(
    {
        "id": ids,
        "area_id": ids,
        "floor_id": ids,
        "name": text,
        "aliases": st.lists(text, max_size=3),
    }
)
answers = st.tuples(
    st.dictionaries(ids, entry, max_size=3) | anything,
    st.lists(item, max_size=3) | anything,
    st.lists(nearly({"entity_id": ids, "attributes": entry}), max_size=3) | anything,
    st.lists(item, max_size=3) | anything,
    st.lists(item, max_size=3) | anything,
    nearly({"exposed_entities": st.dictionaries(ids, nearly({"conversation": st.booleans()}))}),
)
result_fields = nearly(
    {
        "id": some(["a", "b"]),
        "outcome": some(["transcript", "no_speech", "error"]),
        "text": text,
        "error": nearly({"code": text, "detail": text}),
        "end": some(["stop", "gap", "shutdown", "restart", "endpoint"]),
        "incomplete": st.booleans(),
        "repeated": st.booleans(),
        "hint": text,
    }
)

_JSON_SEEDS = (
    b'{"siteId": "kitchen", "sessionId": "s", "lang": "en"}', b'{"type": "ping", "t": 1.5}',
    b'{"drink": ["tea", "coffee"]}', b"ON", b"hermes/audioServer/kitchen/audioFrame",
    b'{"v":1,"entities":[["light.a",["A"],"b",null]],"areas":[["b",["B"],"c"]],"floors":[["c",["C"]]'
    b'],"lists":{"d":["e"]}}', b'{"id":"a","outcome":"transcript","text":"x","error":null}',
)  # fmt: skip


def _json_seeds() -> list[bytes]:
    return [*_JSON_SEEDS, *(seed for seed in BROKEN if len(seed) < 100)]


STRUCTURED = How.STRUCTURED
TARGETS = (
    Target("json", _any_json, 50_000, seeds=_json_seeds, max_bytes=400),
    Target("native-messages", structured(native_fields, _native), 4_000, STRUCTURED),
    Target("hermes-messages", structured(hermes_fields, _hermes), 3_000, STRUCTURED),
    Target("wyoming-messages", structured(wyoming_fields, _wyoming), 3_000, STRUCTURED),
    Target("browser-messages", structured(browser_fields, _browser), 3_000, STRUCTURED),
    Target(
        "retained", structured(st.lists(st.tuples(text, retained_fields), max_size=3), _retained),
        3_000, STRUCTURED,
    ),
    Target("home-assistant-answers", structured(answers, _answers), 3_000, STRUCTURED),
    Target("results", structured(result_fields, _result), 3_000, STRUCTURED),
)  # fmt: skip
