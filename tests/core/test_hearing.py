"""How much audio is listened to per second, of one device and of all."""

from __future__ import annotations

import numpy as np
import pytest

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.decoders import IN_THIS_PROCESS
from stt_mqtt.audio.encode import OpusEncoder
from stt_mqtt.config import DeviceConfig
from stt_mqtt.core.hearing import (
    BURST_S,
    BURSTS_S,
    CATCH_UP_RATE,
    MOST_PER_S,
    PIECE_S,
    SHORTEST_WAIT_S,
    Allowance,
    Hearing,
)
from stt_mqtt.core.settings import Overrides
from stt_mqtt.core.start import ResolvedStart
from stt_mqtt.core.utterance import OpenUtterance
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    DeviceKey,
    Endpointing,
    EndReason,
    TurnEnd,
    UtteranceStart,
)
from tests.audio.synth import container
from tests.core.speech import WORDS, found, quiet
from tests.core.test_glimpses import Bench
from tools.clients import wav

KITCHEN = DeviceKey("native", "kitchen")
SECOND = bytes(32_000)


def test_a_device_alone_is_heard_at_once_and_then_some_times_as_fast_as_it_speaks() -> None:
    alone = Allowance(Hearing(), KITCHEN)
    assert alone.left_s(0.0) == BURST_S
    alone.use(BURST_S)
    assert alone.left_s(0.0) == 0.0
    assert alone.left_s(1.0) == pytest.approx(CATCH_UP_RATE)
    assert alone.left_s(100.0) == BURST_S


def test_who_waits_is_heard_again_when_there_is_enough_to_hear() -> None:
    alone = Allowance(Hearing(), KITCHEN)
    alone.use(BURST_S - PIECE_S)
    assert alone.wait_s == SHORTEST_WAIT_S
    alone.use(PIECE_S + 1.0)
    assert alone.wait_s == pytest.approx((PIECE_S + 1.0) / CATCH_UP_RATE)


def heard_in(devices: list[DeviceKey], seconds: int) -> dict[DeviceKey, float]:
    """What is listened to of devices that all send as much as they can."""
    hearing = Hearing()
    all_of_them = [Allowance(hearing, key) for key in devices]
    heard_s = dict.fromkeys(devices, 0.0)
    for tick in range(seconds * 10):
        for key, one in zip(devices, all_of_them, strict=True):
            left_s = one.left_s(tick / 10)
            one.use(left_s)
            heard_s[key] += left_s
    return heard_s


def test_all_devices_together_have_a_bound_and_equal_shares() -> None:
    seconds = 20
    heard_s = heard_in([DeviceKey("native", f"{number}") for number in range(300)], seconds)
    assert sum(heard_s.values()) < MOST_PER_S * seconds + 10 * BURSTS_S
    assert max(list(heard_s.values())[50:]) < 2 * min(heard_s.values())


def test_the_connections_of_one_address_share_the_part_of_a_room() -> None:
    rooms = [DeviceKey("wyoming", "10.0.0.9", f"{number}") for number in range(200)]
    heard_s = heard_in([*rooms, KITCHEN], 20)
    assert heard_s[KITCHEN] > 20 * CATCH_UP_RATE * 0.9
    assert sum(heard_s[room] for room in rooms) < MOST_PER_S * 20 / 2 + 10 * BURSTS_S


def test_who_is_silent_for_a_second_leaves_the_others_its_share() -> None:
    hearing = Hearing()
    for number in range(99):
        hearing.note(DeviceKey("native", f"{number}"), 0.0)
    for part in "12":
        hearing.note(DeviceKey("wyoming", "10.0.0.9", part), 0.0)
    hearing.note(KITCHEN, 0.5)
    assert hearing.share(KITCHEN, 0.5) == pytest.approx(1 / 101)
    assert hearing.share(KITCHEN, 1.2) == 1.0


FORMATS = {
    "pcm": AudioFormat(),
    "resampled": AudioFormat(Codec.PCM_S16LE, 48_000, 2),
    "wav": AudioFormat(Codec.WAV),
}


def wav_head() -> bytes:
    return wav(b"")[:40] + (2**31 - 1).to_bytes(4, "little")


def opened(name: str, pause_s: float | None = 0.7) -> OpenUtterance:
    return opened_as(FORMATS[name], pause_s)


def opened_as(audio_format: AudioFormat, pause_s: float | None = 0.7) -> OpenUtterance:
    config = DeviceConfig()
    turn_end = TurnEnd(Endpointing.SILENCE, pause_s=pause_s)
    start = UtteranceStart(format=audio_format, turn_end=turn_end)
    resolved = ResolvedStart.of(start, "a", config, Overrides().over(config), 30.0)
    allowance = Allowance(Hearing(), KITCHEN)
    return OpenUtterance(resolved, AudioCap(30.0, 2**22), IN_THIS_PROCESS, allowance, 0.0)


def sent(name: str, pcm: bytes) -> bytes:
    """16 kHz mono, as the format has it."""
    if name == "resampled":
        return b"".join(pcm[at : at + 2] * 6 for at in range(0, len(pcm), 2))
    return pcm


@pytest.mark.parametrize("name", FORMATS)
def test_audio_that_comes_too_fast_is_heard_in_time_and_transcribed_whole(name: str) -> None:
    utterance = opened(name)
    if name == "wav":
        utterance.add(wav_head(), None, 0.0)
    audio = WORDS + quiet(16.0 - len(WORDS) / 32_000)
    for at in range(0, len(audio), len(SECOND)):
        utterance.add(sent(name, audio[at : at + len(SECOND)]), None, 0.0)
    assert not utterance.turn_has_ended()
    assert not utterance.wants_glimpse(0.0)
    now = 0.0
    while not utterance.turn_has_ended():
        assert utterance.deadline > now
        now = utterance.deadline
        utterance.catch_up(now)
    assert 0.5 < now < 3.0
    heard = utterance.close(KITCHEN, EndReason.ENDPOINT, now).audio
    assert len(heard.data) >= len(audio)


def test_what_was_not_heard_is_in_no_glimpse() -> None:
    utterance = opened("pcm")
    utterance.add(WORDS + quiet(0.3), None, 0.0)
    assert utterance.wants_glimpse(0.0)
    utterance.glimpse(KITCHEN, 0.0)
    for _ in range(12):
        utterance.add(SECOND, None, 0.0)
    assert not utterance.close(KITCHEN, EndReason.STOP, 0.0).glimpsed


def test_without_glimpses_only_utterances_are_heard_whose_end_the_service_finds() -> None:
    deaf = Allowance(Hearing(for_glimpses=False), KITCHEN)
    listening = Allowance(Hearing(), KITCHEN)
    by_device = TurnEnd(Endpointing.PHRASES)
    assert not deaf.is_for(by_device)
    assert listening.is_for(by_device)
    assert deaf.is_for(TurnEnd(Endpointing.SILENCE, pause_s=0.7))
    assert deaf.is_for(TurnEnd(Endpointing.SILENCE, no_speech_s=5.0))


@pytest.mark.parametrize(("for_glimpses", "codec"), [(True, Codec.PCM_F32LE), (False, Codec.OPUS)])
def test_opus_that_nobody_listens_to_stays_as_it_came(for_glimpses: bool, codec: Codec) -> None:
    encoder = OpusEncoder(24)
    pieces = [encoder.push(WORDS[at : at + 8000]) for at in range(0, len(WORDS), 8000)]
    pieces.append(encoder.finish())
    start = UtteranceStart(format=AudioFormat(Codec.OPUS))
    config = DeviceConfig()
    resolved = ResolvedStart.of(start, "a", config, Overrides().over(config), 30.0)
    allowance = Allowance(Hearing(for_glimpses), KITCHEN)
    utterance = OpenUtterance(resolved, AudioCap(30.0, 2**22), IN_THIS_PROCESS, allowance, 0.0)
    for number, piece in enumerate(pieces):
        utterance.add(piece, None, number / 4)
    assert utterance.wants_glimpse(20.0) is for_glimpses
    audio = utterance.close(KITCHEN, EndReason.STOP, 20.0).audio
    assert audio.format == AudioFormat(codec)
    assert (audio.data == b"".join(pieces)) is not for_glimpses


def a_file(codec: Codec, pcm: bytes) -> bytes:
    sound = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    if codec is Codec.FLAC:
        return container("flac", "flac", sound, live=True)
    return container(str(codec), "libopus", np.repeat(sound, 3), 48_000, live=True)


FILES = [Codec.FLAC, Codec.OGG, Codec.WEBM]
SPOKEN = (WORDS + quiet(0.05)) * 4 + quiet(0.3)
SPOKEN_S = len(SPOKEN) / 32_000


@pytest.mark.parametrize("codec", FILES)
def test_a_file_that_comes_in_one_chunk_is_heard_to_its_end_in_time(codec: Codec) -> None:
    bench = Bench()
    bench.start(format=AudioFormat(codec))
    bench.service.chunk(KITCHEN, a_file(codec, SPOKEN), None, None)
    bench.pass_time(1.0)
    (glimpse,) = bench.pool.utterances
    assert glimpse.end is None
    audio = decode(glimpse.audio, 30.0)
    assert len(audio.samples) / 16_000 == pytest.approx(SPOKEN_S, abs=0.05)
    assert glimpse.audio.decoded
    bench.answer(found())
    bench.pass_time(0.1)
    assert bench.running == [("a", EndReason.ENDPOINT)]


@pytest.mark.parametrize("codec", FILES)
def test_a_part_of_a_file_that_was_not_heard_is_not_taken_for_silence(codec: Codec) -> None:
    utterance = opened_as(AudioFormat(codec), pause_s=None)
    utterance.add(a_file(codec, SPOKEN), None, 0.0)
    assert not utterance.wants_glimpse(1.5)


def test_a_file_that_is_given_up_is_not_taken_for_silence() -> None:
    bench = Bench()
    bench.start(format=AudioFormat(Codec.OGG))
    data = a_file(Codec.OGG, WORDS)
    bench.service.chunk(KITCHEN, data[: len(data) * 9 // 10] + b"x" * 9_000, None, None)
    bench.pass_time(1.5)
    assert bench.pool.submitted == []
    bench.stop()
    assert bench.running == [("a", EndReason.STOP)]
