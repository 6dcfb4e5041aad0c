"""An open utterance whose decoder is behind, because its audio came much faster than real time."""

from __future__ import annotations

import numpy as np
import pytest

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decoders import IN_THIS_PROCESS
from stt_mqtt.config import DeviceConfig
from stt_mqtt.core.hearing import Allowance, Hearing
from stt_mqtt.core.settings import Overrides
from stt_mqtt.core.start import ResolvedStart
from stt_mqtt.core.utterance import OpenUtterance
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    DeviceKey,
    Endpointing,
    Samples,
    TurnEnd,
    UtteranceStart,
)
from tests.audio.synth import framed, opus_packets

WORDS: Samples = np.frombuffer(SAMPLES[1].pcm(), "<i2").astype(np.float32) / np.float32(32768)
OPUS = AudioFormat(Codec.OPUS, 48_000, 1)
PACKET_S = 0.06


def allowance() -> Allowance:
    return Allowance(Hearing(), DeviceKey("native", "kitchen"))


def opened(pause_s: float) -> OpenUtterance:
    config = DeviceConfig()
    start = UtteranceStart(format=OPUS, turn_end=TurnEnd(Endpointing.SILENCE, pause_s))
    resolved = ResolvedStart.of(start, "a", config, Overrides().over(config), 2.0)
    return OpenUtterance(resolved, AudioCap(30.0, 2**21), IN_THIS_PROCESS, allowance(), 0.0)


def chunks_of(*parts: Samples) -> list[bytes]:
    packets = opus_packets(np.repeat(np.concatenate(parts), 3), 1, "60")
    return [framed([packet]) for packet in packets]


def silence(seconds: float) -> Samples:
    return np.zeros(round(16_000 * seconds), np.float32)


def test_what_is_not_decoded_yet_is_not_taken_for_silence() -> None:
    utterance = opened(pause_s=0.3)
    for chunk in chunks_of(WORDS[:20_000], silence(0.6), np.tile(WORDS, 3), silence(0.6)):
        utterance.add(chunk, None, 0.0)
    assert not utterance.wants_glimpse(0.5)
    assert not utterance.turn_has_ended(0.5)
    assert utterance.deadline < utterance.quiet_until


def test_when_the_decoder_has_caught_up_silence_ends_the_turn() -> None:
    utterance = opened(pause_s=0.3)
    for chunk in chunks_of(WORDS, WORDS, WORDS):
        utterance.add(chunk, None, 0.0)
    now = 3.0
    for chunk in chunks_of(silence(0.6)):
        now += PACKET_S
        utterance.add(chunk, None, now)
    assert utterance.turn_has_ended(now)


def test_hearing_that_fails_unexpectedly_is_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(buffer: AudioBuffer, to_s: float) -> None:
        raise RuntimeError("a defect")

    utterance = opened(pause_s=0.3)
    for chunk in chunks_of(*[WORDS] * 6):
        utterance.add(chunk, None, 0.0)
    now = utterance.deadline
    assert now < utterance.quiet_until
    monkeypatch.setattr(AudioBuffer, "decode", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        utterance.catch_up(now)
    assert utterance.deadline == utterance.quiet_until


@pytest.mark.parametrize("endpointing", list(Endpointing))
def test_the_end_of_a_sentence_is_judged_only_if_the_end_of_the_utterance_depends_on_it(
    endpointing: Endpointing,
) -> None:
    config = DeviceConfig(endpointing=endpointing)
    resolved = ResolvedStart.of(UtteranceStart(), "a", config, Overrides().over(config), 2.0)
    utterance = OpenUtterance(resolved, AudioCap(30.0, 2**21), IN_THIS_PROCESS, allowance(), 0.0)
    assert utterance.memo.for_end is (endpointing is Endpointing.EAGER)
