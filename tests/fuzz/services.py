"""Whole services: hostile sequences of messages through the doors on MQTT, on a fake clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from stt_mqtt.errors import CorruptAudioError, InferenceFailedError
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.types import Verdict
from tests.core.speech import WORDS
from tests.doors.hermes.frames import BROKEN as BROKEN_FRAMES
from tests.doors.hermes.frames import classic, with_everything
from tests.fakes import heard, nothing_heard
from tests.fuzz.audio_seeds import all_seeds, seeds
from tests.fuzz.choices import Choices
from tests.fuzz.hostile_json import ODD, Fields, chosen
from tests.fuzz.house import House
from tests.fuzz.target import Target

MOST_STEPS = 60
DEVICES = ("kitchen", "bath", "bedroom", "attic", "cellar", "hall", "shed")
ILLEGAL = ("bridge", "+", "", "x" * 65, "\ud800", "a b")
SITES = ("default", "kitchen", "bath", "a b", "ü")
SESSIONS = (None, "", "s", "t", "u", "x" * 256)
TIMES = (0.0, 0.01, 0.1, 0.3, 0.9, 2.5, 6.0, 25.0)
VERDICTS: tuple[Verdict, ...] = (
    heard(), heard(), nothing_heard(), CorruptAudioError("noise"), InferenceFailedError("broken"),
)  # fmt: skip
TYPES = ("pcm_s16le;rate=8000", "opus", "application/json", "x" * 300, "wav;rate", "audio/ogg")
REPLIES = ("stt/kitchen/reply/b", "stt/bath/text", "\0", "x" * 70_000)
START: Fields = {
    "codec": (*("pcm_s16le",) * 5, "pcm_f32le", "adpcm_ima", "flac", "opus", "ogg", "webm", "wav"),
    "rate": (8000, 16000, 16000, 44100, 48000),
    "channels": (1, 1, 2),
    "language": ("en", "en-US", "en", "de"),
    "prompt": ("Words.",),
    "framing": ("seq32",),
    "age_ms": (0, 100, 5_000, 29_000),
    "reply_to": ("stt/kitchen/reply/a", "stt/bath/text"),
}
SETTINGS: Fields = {"enabled": (True, False), "language": ("en", "fr"), "prompt": ("a",)}
OF_ITSELF: Fields = {**SETTINGS, "model": ("pi", "web browser"), "muted": (True,)}
HERMES_START: Fields = {
    "stopOnSilence": (True, False),
    "sendAudioCaptured": (True,),
    "lang": ("en", "en", "en", "de"),
    "wakewordId": ("jarvis",),
}
REQUESTS = ("health_check", "devices", "reload", "rung", "forget", "nothing", "")
REQUEST: Fields = {
    "transaction": ("t", 7),
    "rung": ("auto", "default"),
    "device": DEVICES,
    "probe": ("a", "zz", "this one"),
}
INFO: Fields = {
    "instance": ("this one", "other"),
    "config": ({"device_defaults": {}, "devices": {"bath": {"language": "fr"}}},),
    "devices": ({"bath": {"last_seen": 1e9}, "attic": {"last_seen": -1}, "hall": 7},),
    "data": ({"instance": "other"},),
    "transaction": ("this one", "x"),
}
_FRAMES = (classic(WORDS[:2048]), with_everything(WORDS[:640]), *BROKEN_FRAMES.values())


def _device(choices: Choices) -> str:
    return choices.pick(ILLEGAL if choices.rarely() else DEVICES)


def _type(choices: Choices) -> str | None:
    return choices.pick(TYPES) if choices.rarely() else None


def _audio(choices: Choices) -> bytes:
    """A chunk: speech, silence, a piece of a file, or anything."""
    match choices.number(7):
        case 0:
            return bytes(choices.pick((0, 1, 320, 3200, 20_000, 70_000)))
        case 1:
            return choices.pick(all_seeds())
        case 2:
            return choices.pick((*seeds("opus"), *seeds("adpcm")))
        case 3:
            return choices.take(400)
        case _:
            start = choices.number(8) * 3200
            return WORDS[start : start + 9600]


def _start(house: House, choices: Choices) -> None:
    id = choices.pick((house.fresh_id(), house.fresh_id(), house.fresh_id(), None, "a"))
    if choices.rarely():
        id = choices.pick(ODD)
    payload = chosen(choices, START, id=id)
    _native(house, choices, "audio/start", payload)


def _chunk(house: House, choices: Choices) -> None:
    audio = _audio(choices)
    if choices.rarely():
        audio = choices.number(70_000).to_bytes(4, "little") + audio
    device, kind = _device(choices), _type(choices)
    seq = (("seq", choices.pick(("0", "1", "5", "40", "x"))),) if choices.rarely() else ()
    for _ in range(1 + choices.number(3)):
        topic = f"stt/{device}/audio"
        house.send(Inbound(topic, audio, content_type=kind, user=seq))


def _end(house: House, choices: Choices) -> None:
    known = choices.number(3) == 3
    payload = chosen(choices, {"id": ("a", "own-1"), "chunks": (0, 1, 2, 3)}) if known else b""
    _native(house, choices, choices.pick(("audio/stop", "audio/abort")), payload)


def _utterance(house: House, choices: Choices) -> None:
    _native(house, choices, "utterance", _audio(choices))


def _of_itself(house: House, choices: Choices) -> None:
    name = choices.pick(("set", "enabled/set", "availability", "satellite/state"))
    payload = choices.pick((b"online", b"offline", b"", b"ON", b"OFF", choices.take(50)))
    if name in {"set", "satellite/state"} or choices.flag():
        payload = chosen(choices, OF_ITSELF)
    _native(house, choices, name, payload)


def _native(house: House, choices: Choices, name: str, payload: bytes) -> None:
    house.send(
        Inbound(
            f"stt/{_device(choices)}/{name}",
            payload,
            retain=choices.rarely(),
            content_type=_type(choices),
            response_topic=choices.pick(REPLIES) if choices.rarely() else None,
            correlation=b"\xff" if choices.rarely() else None,
        )
    )


def _retained(house: House, choices: Choices) -> None:
    """What a previous run left, and what another service says."""
    names = ("info", "health", "state", "response/health_check", "names")
    name = choices.pick(names)
    device = choices.pick((*DEVICES, *("bridge",) * 5))
    if device != "bridge":
        name = choices.pick(("state", "settings"))
    payload = choices.pick((b"online", b"offline", b"idle", b"listening", b""))
    if choices.flag():
        payload = chosen(choices, {**INFO, **SETTINGS})
    house.send(Inbound(f"stt/{device}/{name}", payload, retain=choices.flag()))


def _request(house: House, choices: Choices) -> None:
    topic = f"stt/bridge/request/{choices.pick(REQUESTS)}"
    house.send(Inbound(topic, chosen(choices, REQUEST), retain=choices.rarely()))


def _home_assistant(house: House, choices: Choices) -> None:
    ids = (*(f"stt_mqtt_{name}" for name in DEVICES), "stt_mqtt", "other", "")
    topic = f"homeassistant/device/{choices.pick(ids)}/config"
    if choices.number(3) == 0:
        topic = "homeassistant/status"
    fields = {"o": ({"name": "stt-mqtt"}, {}), "avty": ([{"t": "stt/bridge/state"}],), "dev": ({},)}
    payload = choices.pick((b"", b"online", b"offline", chosen(choices, fields)))
    house.send(Inbound(topic, payload, retain=choices.flag()))


def _connects(house: House, choices: Choices) -> None:
    match choices.number(3):
        case 0:
            house.router.on_connected()
        case 1:
            house.native.restore_devices()
        case 2:
            house.router.clean_up()
        case _:
            house.bridge.instances.probe()


def _session(house: House, choices: Choices) -> None:
    site, session = choices.pick(SITES), choices.pick(SESSIONS)
    if choices.rarely():
        site, session = choices.pick(ILLEGAL), choices.pick(ODD)
    payload = chosen(choices, HERMES_START, siteId=site, sessionId=session)
    house.send(Inbound("hermes/asr/startListening", payload))


def _session_ends(house: House, choices: Choices) -> None:
    name = choices.pick(("stopListening", "stopListening", "toggleOn", "toggleOff"))
    fields = {"siteId": SITES, "sessionId": SESSIONS, "reason": ("", "dialogue", "x" * 65)}
    house.send(Inbound(f"hermes/asr/{name}", chosen(choices, fields)))


def _frame(house: House, choices: Choices) -> None:
    site = choices.pick(SITES)
    topics = (
        f"hermes/audioServer/{site}/audioFrame",
        f"hermes/audioServer/{site}/{choices.pick(SESSIONS)}/audioSessionFrame",
        f"hermes/voiceActivity/{site}/vadUp",
        f"hermes/voiceActivity/{site}/vadDown",
    )
    payload = choices.pick(_FRAMES[:2])
    if choices.rarely():
        payload = choices.pick((*_FRAMES, *seeds("wav"), choices.take(300)))
    topic = choices.pick((*topics, *topics[:2] * 3))
    for _ in range(1 + choices.number(7)):
        house.send(Inbound(topic, payload, retain=choices.rarely()))


def _junk(house: House, choices: Choices) -> None:
    topic = choices.take(60).decode("utf-8", "replace")
    house.send(Inbound(choices.pick(("", "stt/", "hermes/")) + topic, choices.take(200)))


def _time(house: House, choices: Choices) -> None:
    house.pass_time(choices.pick(TIMES))


def _model(house: House, choices: Choices) -> None:
    house.answer(choices.pick(VERDICTS))


Step = Callable[[House, Choices], None]

NATIVE: Mapping[Step, int] = {
    _start: 6, _chunk: 8, _end: 4, _utterance: 2, _of_itself: 1, _time: 4, _model: 3, _junk: 1,
}  # fmt: skip
HERMES: Mapping[Step, int] = {
    _session: 5, _session_ends: 3, _frame: 6, _time: 3, _model: 3, _junk: 1,
}  # fmt: skip
RESTART: Mapping[Step, int] = {
    _retained: 6, _request: 3, _home_assistant: 3, _connects: 2, _of_itself: 3, _start: 2,
    _chunk: 1, _time: 2, _model: 1,
}  # fmt: skip
ALL: Mapping[Step, int] = {**NATIVE, **HERMES, **RESTART}


def random_seeds(max_bytes: int) -> list[bytes]:
    """The same random bytes each time, of several lengths."""
    choice = random.Random(0)
    return [choice.randbytes(choice.randrange(max_bytes // 4, max_bytes)) for _ in range(24)]


def _sequence(weights: Mapping[Step, int]) -> Callable[[bytes], None]:
    """Messages of these kinds, as the bytes say. Then everything must be answered."""
    steps: Sequence[Step] = [step for step, weight in weights.items() for _ in range(weight)]

    def run(data: bytes) -> None:
        house, choices = House(), Choices(data)
        for _ in range(MOST_STEPS):
            if not choices:
                break
            choices.pick(steps)(house, choices)
        house.settle()

    return run


def _orders() -> list[bytes]:
    """Bytes that make sequences of several lengths."""
    return random_seeds(600)


TARGETS = (
    Target("service-native", _sequence(NATIVE), 4_000, seeds=_orders, max_bytes=600),
    Target("service-hermes", _sequence(HERMES), 4_000, seeds=_orders, max_bytes=600),
    Target("service-restart", _sequence(RESTART), 3_000, seeds=_orders, max_bytes=600),
    Target("service-all", _sequence(ALL), 3_000, seeds=_orders, max_bytes=800),
)
