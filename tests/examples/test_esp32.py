"""The ESP32 example, compiled unchanged for the PC, on a board that is only played."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.decode import decode
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio
from tests.examples.room import (
    EXAMPLES,
    LISTENING,
    Conversation,
    Publication,
    Spoken,
    conversation,
    judged,
    samples_of,
    tone,
    utterances,
)
from tests.thorough import examples
from tools.brokers import Broker
from tools.program import running
from tools.words import word_error_rate

SKETCH = EXAMPLES / "esp32" / "stt_satellite"
STUBS = Path(__file__).parent / "esp32_stubs"
DEVICE = "esp32"
SET = f"stt/{DEVICE}/satellite/set"
CODECS = ("pcm_s16le", "adpcm_ima")
FRAME_S = {"pcm_s16le": 512 / SAMPLE_RATE, "adpcm_ima": 505 / SAMPLE_RATE}
WORST = {"pcm_s16le": 0.05, "adpcm_ima": 0.15}
"""Largest word error rate: synthetic voices lose a word or two through ADPCM."""

COMPILER = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{STUBS}", f"-I{SKETCH}"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@dataclass(frozen=True)
class Run:
    """What the sketch did."""

    publications: list[Publication]
    connects: list[Publication]
    """Each with the last will."""
    light: list[tuple[int, bool]]
    ended_ms: int
    output: str

    @property
    def spoken(self) -> list[Spoken]:
        return utterances(self.publications, DEVICE)

    def on(self, name: str) -> list[Publication]:
        return [p for p in self.publications if p.topic == f"stt/{DEVICE}/{name}"]


@dataclass(frozen=True)
class Binaries:
    """The example, compiled."""

    boards: dict[str, Path]
    """By codec."""
    parts: Path

    def run(self, folder: Path, pcm: bytes, script: str = "", codec: str = "adpcm_ima") -> Run:
        """Let the board hear `pcm` while what the script says happens."""
        files = [folder / name for name in ("recording", "script", "record")]
        files[0].write_bytes(pcm)
        files[1].write_text(script)
        done = subprocess.run(
            [self.boards[codec], *files], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        publications: list[Publication] = []
        connects: list[Publication] = []
        light, ended_ms = [], 0
        for line in files[2].read_text().splitlines():
            at_ms, what, _, topic, retained, payload = line.split(",")
            message = Publication(topic, bytes.fromhex(payload), retained == "1", int(at_ms))
            if what == "end":
                ended_ms = int(at_ms)
            elif what == "light":
                light.append((int(at_ms), message.payload == b"on"))
            else:
                (connects if what == "connect" else publications).append(message)
        return Run(publications, connects, light, ended_ms, done.stdout)

    def part(self, *arguments: str, given: bytes) -> bytes:
        """What one part of the example makes of its input."""
        done = subprocess.run(
            [self.parts, *arguments], input=given, capture_output=True, timeout=60, check=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Binaries:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, which is not installed (apt install g++)")
    folder = tmp_path_factory.mktemp("esp32")
    board = folder / "board.o"

    def compile_one(arguments: list[str], made: Path) -> Path:
        command = [compiler, *COMPILER, *arguments, "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return made

    def compile_sketch(*options: str, name: str) -> Path:
        sketch = ["-x", "c++", str(SKETCH / "stt_satellite.ino"), "-x", "none", str(board)]
        return compile_one([*options, "-include", "Arduino.h", *sketch], folder / name)

    compile_one(["-c", str(STUBS / "board.cpp")], board)
    with ThreadPoolExecutor() as threads:
        # The default, adpcm_ima, is looked at more closely.
        plain = threads.submit(compile_sketch, "-DUSE_ADPCM=0", name="plain")
        small = threads.submit(compile_sketch, *SANITIZED, name="small")
        parts = threads.submit(
            compile_one, [*SANITIZED, str(STUBS / "parts.cpp")], folder / "parts"
        )
    boards = {"pcm_s16le": plain.result(), "adpcm_ima": small.result()}
    return Binaries(boards, parts.result())


@pytest.fixture(scope="module")
def talk() -> Conversation:
    return conversation()


@pytest.fixture
def hear(built: Binaries, tmp_path: Path) -> Callable[..., Run]:
    def run(pcm: bytes, script: str = "", codec: str = "adpcm_ima") -> Run:
        return built.run(tmp_path, pcm, script, codec)

    return run


def message(at_ms: int, payload: bytes, topic: str = SET) -> str:
    return f"{at_ms} message {topic} {payload.hex()}\n"


def test_the_service_understands_what_the_sketch_sends(
    hear: Callable[..., Run], talk: Conversation, tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker) as (_, peer):
        for codec in CODECS:
            for publication in hear(talk.pcm, codec=codec).publications:
                peer.publish(publication.topic, publication.payload, publication.retained)
        results = peer.json(f"stt/{DEVICE}/result", 2 * len(talk.said))
    texts = [result["text"] for result in results]
    assert {result["outcome"] for result in results} == {"transcript"}
    halves = (texts[: len(talk.said)], texts[len(talk.said) :])
    for codec, heard in zip(CODECS, halves, strict=True):
        assert word_error_rate(talk.said, heard) < WORST[codec], (codec, heard)
    assert {result["end"] for result in results} == {"stop"}
    assert {result["lost_chunks"] for result in results} == {0}


@pytest.mark.parametrize("codec", CODECS)
def test_every_utterance_has_its_marks_its_numbers_and_its_first_syllable(
    hear: Callable[..., Run], talk: Conversation, codec: str
) -> None:
    run = hear(talk.pcm, codec=codec)
    assert len({spoken.start["id"] for spoken in run.spoken}) == len(talk.said)
    for spoken, begins_s in zip(run.spoken, talk.begins_s, strict=True):
        assert spoken.start | {"id": ""} == {
            "id": "", "codec": codec, "rate": 16000, "channels": 1, "framing": "seq32",
        }  # fmt: skip
        assert spoken.end == "stop"
        assert spoken.numbers == list(range(len(spoken.chunks)))
        assert spoken.told_chunks == len(spoken.chunks)
        # The start mark is sent within the first word; what is sent with it began before.
        at_once = sum(chunk.at_ms == spoken.at_ms for chunk in run.on("audio"))
        assert spoken.at_ms / 1000 - at_once * FRAME_S[codec] < begins_s
        assert spoken.at_ms / 1000 < begins_s + 0.6
    # The light is on as long as somebody is listened to.
    assert [on for _, on in run.light] == [False] + [True, False] * len(talk.said)


def test_nothing_is_sent_of_a_room_where_nobody_speaks(hear: Callable[..., Run]) -> None:
    for noise in (tone(60), tone(60, rms=600), np.zeros(60 * SAMPLE_RATE)):
        run = hear(samples_of(noise))
        assert {p.topic for p in run.publications} == {
            f"stt/{DEVICE}/availability",
            f"stt/{DEVICE}/satellite/state",
        }


def test_the_last_will_says_that_it_is_gone(hear: Callable[..., Run]) -> None:
    run = hear(samples_of(tone(1)))
    (will,) = run.connects
    assert (will.topic, will.payload, will.retained) == (
        f"stt/{DEVICE}/availability",
        b"offline",
        True,
    )
    assert [(p.payload, p.retained) for p in run.on("availability")] == [(b"online", True)]


def test_a_mute_takes_back_what_is_being_said_and_lasts(
    hear: Callable[..., Run], talk: Conversation
) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    until_ms = round(1000 * talk.begins_s[3]) - 700
    script = message(at_ms, b'{"muted": true}') + message(until_ms, b'{"muted": false}')
    run = hear(talk.pcm, script)
    assert [spoken.end for spoken in run.spoken] == ["abort"] + ["stop"] * (len(talk.said) - 3)
    assert run.spoken[1].at_ms > until_ms
    assert [(p.json["muted"], p.retained) for p in run.on("satellite/state")] == [
        (False, True),
        (True, True),
        (False, True),
    ]


def test_it_is_deaf_while_a_sound_plays_but_not_for_ever(
    hear: Callable[..., Run], talk: Conversation
) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    run = hear(talk.pcm + talk.pcm + talk.pcm, message(at_ms, b'{"playing":true}'))
    first, second, *_ = run.spoken
    assert first.end == "stop"
    assert first.told_chunks == len(first.chunks)
    assert second.at_ms - at_ms > 60_000
    assert [p.json["playing"] for p in run.on("satellite/state")] == [False, True, False]


@pytest.mark.parametrize(
    "payload", [b"", b"true", b"{", b'{"muted":1}', b'["muted":true]', b'{"a":{"muted":true}}']
)
def test_what_is_no_order_changes_nothing(
    hear: Callable[..., Run], talk: Conversation, payload: bytes
) -> None:
    run = hear(talk.pcm[: 2 * 5 * SAMPLE_RATE], message(1000, payload))
    states = run.on("satellite/state")
    assert [p.json for p in states] == 2 * [
        LISTENING | {"model": "ESP32 example", "codec": "adpcm_ima"}
    ]
    assert len(run.spoken) == 1


def test_a_microphone_that_gives_nothing_but_zeros_is_told_until_it_gives_something(
    hear: Callable[..., Run], talk: Conversation
) -> None:
    for nothing in (np.zeros(12 * SAMPLE_RATE), np.full(12 * SAMPLE_RATE, -1.0)):
        run = hear(samples_of(nothing) + talk.pcm)
        told = [(p.json["listening"], p.json["reason"]) for p in run.on("satellite/state")]
        assert told == [(True, None), (False, "no microphone: only zeros"), (True, None)]
        assert [spoken.end for spoken in run.spoken] == ["stop"] * len(talk.said)


def test_an_order_that_was_cut_off_is_none(built: Binaries) -> None:
    for order in (b'{"muted":true}', b'{ "a" : "\\\\" , "muted" : false , "b" : [ {} ] }'):
        assert switches(built, [order]) != ["nothing"]
        cut = [order[:end] for end in range(len(order))]
        assert set(switches(built, cut)) == {"nothing"}


def test_what_was_understood_is_shown(hear: Callable[..., Run]) -> None:
    text = message(1500, b"Open the blinds.", f"stt/{DEVICE}/text")
    assert "heard: Open the blinds." in hear(samples_of(tone(2)), text).output


@pytest.mark.parametrize("how", ["{0} unreachable\n{1} reachable\n", "{0} closed\n"])
def test_a_lost_connection_ends_the_utterance_and_comes_back(
    hear: Callable[..., Run], talk: Conversation, how: str
) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    run = hear(talk.pcm, how.format(at_ms, at_ms + 4000))
    spoken = run.spoken
    assert spoken[0].end is None, "the last will ends it"
    assert {each.end for each in spoken[1:]} == {"stop"}
    assert len(run.connects) == 2
    assert len(run.on("availability")) == 2
    assert [(a.start["id"] != b.start["id"]) for a, b in pairwise(spoken)] == [True] * (
        len(spoken) - 1
    )
    # The light does not stay on.
    assert any(not on for at, on in run.light if at_ms < at < at_ms + 2000)


def test_a_broker_that_is_away_holds_the_microphone_up_less_and_less_often(
    hear: Callable[..., Run],
) -> None:
    # An attempt takes 1.5 s, in which the recording does not go on.
    seconds = 60
    run = hear(samples_of(tone(seconds)), f"0 unreachable\n{seconds * 1000} reachable\n")
    assert run.connects == []
    assert 5 <= (run.ended_ms - seconds * 1000) / 1500 <= 7
    (connected,) = hear(samples_of(tone(seconds)), "0 unreachable\n20000 reachable\n").connects
    assert 20_000 < connected.at_ms < 60_000


def test_frames_that_were_never_heard_leave_their_numbers_free(
    hear: Callable[..., Run], talk: Conversation
) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    first, second, *_ = hear(talk.pcm, f"{at_ms} overflow 3\n").spoken
    gaps = [b - a for a, b in pairwise(first.numbers)]
    assert sorted(gaps)[-2:] == [1, 4]
    assert first.told_chunks == len(first.chunks) + 3
    assert second.told_chunks == len(second.chunks)


def test_an_utterance_that_was_held_up_for_long_is_given_up(
    hear: Callable[..., Run], talk: Conversation
) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    run = hear(talk.pcm, f"{at_ms} overflow 110\n")
    assert run.spoken[0].end == "abort"
    (abort,) = run.on("audio/abort")
    assert abort.payload == b"", "whatever is open by now"


def test_no_utterance_is_longer_than_15_seconds(hear: Callable[..., Run]) -> None:
    rng = np.random.default_rng(2)
    babble = np.repeat(rng.uniform(300, 8000, 400), 1600) * rng.standard_normal(640_000)
    run = hear(samples_of(np.concatenate([tone(2), babble])))
    assert max(len(spoken.chunks) for spoken in run.spoken) == 469
    assert len(run.spoken) > 1


def test_both_examples_judge_every_frame_alike(built: Binaries, talk: Conversation) -> None:
    loud = samples_of(tone(8, rms=9000, seed=3))
    begun = talk.pcm[2 * round((talk.begins_s[0] + 0.5) * SAMPLE_RATE) :]
    for pcm in (talk.pcm, begun, loud + talk.pcm, b"\0" * 50_000 + b"\xff\x7f" * 50_000):
        heard = [
            tuple(map(int, line.split()))
            for line in built.part("vad", given=pcm).decode().splitlines()
        ]
        assert heard == list(judged(pcm))


def test_adpcm_blocks_decode_to_what_was_said(built: Binaries, talk: Conversation) -> None:
    samples, size = 505, 256
    heard = np.frombuffer(talk.pcm, "<i2")[SAMPLE_RATE : 12 * SAMPLE_RATE]
    blocks = built.part("adpcm", str(samples), given=heard.tobytes())
    framed = b"".join(
        struct.pack("<I", size) + blocks[at : at + size] for at in range(0, len(blocks), size)
    )
    audio = EncodedAudio(AudioFormat(Codec.ADPCM_IMA, SAMPLE_RATE, 1), framed)
    decoded = decode(audio, 60.0).samples
    wanted = heard[: len(heard) // samples * samples] / 32768
    assert len(decoded) == len(wanted)
    noise = float(np.mean(np.square(decoded - wanted)))
    assert 10 * np.log10(float(np.mean(np.square(wanted))) / noise) > 25


@settings(max_examples=examples(10), deadline=None)
@given(st.lists(st.sampled_from([-32768, -32767, -1, 0, 1, 300, 32767]), min_size=9, max_size=99))
def test_adpcm_survives_the_loudest_sounds(built: Binaries, values: list[int]) -> None:
    blocks = built.part("adpcm", "9", given=np.array(values, "<i2").tobytes())
    assert len(blocks) == len(values) // 9 * 8
    for at in range(0, len(blocks), 8):
        first, index, zero = struct.unpack_from("<hBB", blocks, at)
        assert first == values[at // 8 * 9]
        assert index <= 88
        assert zero == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["muted", "x", 'mu"ted', "\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(JSON, min_size=1, max_size=60), st.booleans())
def test_the_sketch_reads_a_switch_as_a_json_library_would(
    built: Binaries, values: list[object], ascii_only: bool
) -> None:
    payloads = [json.dumps(value, ensure_ascii=ascii_only).encode() for value in values]
    wanted = []
    for value in values:
        muted = value.get("muted") if isinstance(value, dict) else None
        wanted.append(str(muted).lower() if isinstance(muted, bool) else "nothing")
    assert switches(built, payloads) == wanted


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.binary(max_size=40) | st.text('{}[]":,\\ mutedrfals', max_size=40), max_size=60))
def test_no_payload_makes_the_sketch_read_beyond_it(
    built: Binaries, payloads: list[bytes | str]
) -> None:
    raw = [p.encode() if isinstance(p, str) else p for p in payloads]
    assert len(switches(built, raw)) == len(raw)


def switches(built: Binaries, payloads: list[bytes]) -> list[str]:
    given = b"".join(struct.pack("<I", len(payload)) + payload for payload in payloads)
    return built.part("switches", given=given).decode().split()
