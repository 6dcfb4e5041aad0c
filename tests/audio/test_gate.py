from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.gate import Pause, SpeechSpan, find_parts, find_speech
from stt_mqtt.config import GateConfig
from stt_mqtt.types import EncodedAudio, Samples
from tests.audio.synth import tone

GATE = GateConfig()
SPEECH = os.environ.get("STT_MQTT_SPEECH")
needs_speech = pytest.mark.skipif(not SPEECH, reason="STT_MQTT_SPEECH names no speech data")


def noise(level_dbfs: float, colour: float = 0.0, seconds: float = 3.0) -> Samples:
    """Noise whose spectrum falls with frequency to the power of `colour`, in 16-bit steps."""
    count = round(seconds * 16_000)
    spectrum = np.fft.rfft(np.random.default_rng(7).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** colour
    sound = np.fft.irfft(spectrum, count)
    sound *= 10 ** (level_dbfs / 20) / sound.std()
    return (np.round(sound * 32768) / 32768).astype(np.float32)


def voice(seconds: float, level: float = 0.2) -> Samples:
    """A hum of 140 Hz with the overtones of a vowel, four syllables a second."""
    overtones = [tone(140.0 * n, seconds, level=1 / (1 + abs(n - 4))) for n in range(1, 24)]
    sound = np.sum(overtones, axis=0, dtype=np.float32)
    syllables = np.maximum(0.1, np.abs(tone(2.0, seconds, level=1.0)))
    return np.asarray(level * sound / np.abs(sound).max() * syllables, np.float32)


def test_nothing_is_not_speech() -> None:
    assert find_speech(np.empty(0, np.float32), GATE) is None
    assert find_speech(np.ones(100, np.float32), GATE) is None


def test_digital_silence_is_not_speech() -> None:
    assert find_speech(np.zeros(48_000, np.float32), GATE) is None


@pytest.mark.parametrize("level", [-85, -75, -65, -55, -45])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0])
def test_steady_noise_of_a_room_is_not_speech(level: float, colour: float, seconds: float) -> None:
    assert find_speech(noise(level, colour, seconds), GATE) is None


def test_mains_hum_is_not_speech() -> None:
    hum = tone(50, 3.0, level=0.005) + tone(100, 3.0, level=0.003) + noise(-65)
    assert find_speech(hum, GATE) is None


@pytest.mark.parametrize("background", [-85, -70, -55])
@pytest.mark.parametrize("width", [1, 16, 160])
def test_a_click_is_not_speech(background: float, width: int) -> None:
    samples = noise(background)
    samples[20_000 : 20_000 + width] += 0.5 * np.linspace(1, 0, width, dtype=np.float32)
    assert find_speech(samples, GATE) is None


def test_a_voice_is_found_with_its_margin() -> None:
    silence = noise(-70, seconds=1.0)
    speech = find_speech(np.concatenate([silence, voice(1.0), silence]), GATE)
    assert speech is not None
    assert 16_000 - 4_800 - 480 <= speech.start <= 16_000 - 4_800 + 2_400
    assert 32_000 + 4_800 - 2_400 <= speech.end <= 32_000 + 4_800 + 3_200


def test_the_margin_ends_at_the_audio() -> None:
    samples = voice(0.5)
    speech = find_speech(samples, GATE)
    assert speech is not None
    assert (speech.start, speech.end) == (0, len(samples))


def test_a_margin_of_nothing_trims_to_the_voice() -> None:
    samples = np.concatenate([noise(-70, seconds=1.0), voice(1.0)])
    close = find_speech(samples, GateConfig(margin_ms=0))
    wide = find_speech(samples, GateConfig(margin_ms=500))
    assert close is not None
    assert wide is not None
    assert close.start - wide.start == 8_000


@pytest.mark.parametrize("margin_ms", [0, 300, 2000])
def test_the_length_of_the_speech_is_told_without_its_margin(margin_ms: int) -> None:
    silence = noise(-70, seconds=1.0)
    samples = np.concatenate([silence, voice(1.2), silence])
    speech = find_speech(samples, GateConfig(margin_ms=margin_ms))
    assert speech is not None
    assert speech.speech_s == pytest.approx(1.2, abs=0.2)
    margins = 2 * margin_ms / 1000
    assert (speech.end - speech.start) / 16_000 == pytest.approx(
        min(speech.speech_s + margins, 3.2), abs=0.001
    )


def test_a_voice_below_the_floor_is_not_heard() -> None:
    assert find_speech(voice(1.0, 0.01), GateConfig(floor_dbfs=-20)) is None


def test_less_voice_than_asked_for_is_not_speech() -> None:
    samples = np.concatenate([noise(-70, seconds=1.0), voice(0.4), noise(-70, seconds=1.0)])
    assert find_speech(samples, GATE) is not None
    assert find_speech(samples, GateConfig(min_speech_ms=1000)) is None


def test_with_the_gate_off_everything_is_speech() -> None:
    assert find_speech(np.zeros(8, np.float32), GateConfig(enabled=False)) == SpeechSpan(
        start=0, end=8, speech_s=0.0005
    )


def test_two_calls_do_not_influence_each_other() -> None:
    samples = np.concatenate([noise(-70, seconds=1.0), voice(1.0)])
    first = find_speech(samples, GATE)
    find_speech(voice(3.0, 0.9), GATE)
    assert find_speech(samples, GATE) == first


def at_a_second(pauses_s: Sequence[float], _: float) -> list[Pause]:
    """A rule: pauses of a second divide."""
    return [Pause.DIVIDING if pause_s >= 1.0 else Pause.KEPT for pause_s in pauses_s]


def shortens(pauses_s: Sequence[float], _: float) -> list[Pause]:
    """A rule: pauses of more than half a second are shortened, of two seconds divide."""
    judged = {0.5: Pause.SHORTENED, 2.0: Pause.DIVIDING}
    return [
        next((judged[least] for least in (2.0, 0.5) if pause_s >= least), Pause.KEPT)
        for pause_s in pauses_s
    ]


def parts_s(samples: Samples, config: GateConfig = GATE) -> list[tuple[float, float]]:
    """When the parts begin and end."""
    spans = [span for (span,) in find_parts(samples, config, at_a_second)]
    assert all(0 <= span.start < span.end <= len(samples) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    return [(span.start / 16_000, span.end / 16_000) for span in spans]


def near(*times_s: float) -> Any:
    return pytest.approx(times_s, abs=0.16)


@pytest.mark.parametrize("background", [-85, -70, -55, -45])
@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("pause_s", [2.0, 12.0])
def test_a_long_pause_parts_speech_also_where_there_is_noise(
    background: float, colour: float, pause_s: float
) -> None:
    samples = noise(background, colour, seconds=4.5 + pause_s)
    samples[8_000:24_000] += voice(1.0)
    second_s = 1.5 + pause_s
    samples[round(second_s * 16_000) : round((second_s + 2) * 16_000)] += voice(2.0, 0.06)
    first, second = parts_s(samples, GateConfig(margin_ms=0))
    assert first == near(0.5, 1.5)
    assert second == near(second_s, second_s + 2)


def test_a_pause_of_digital_silence_parts_speech() -> None:
    silence = np.zeros(32_000, np.float32)
    first, second = parts_s(np.concatenate([voice(1.0), silence, voice(2.0)]))
    assert first == near(0.0, 1.3)
    assert second == near(2.7, 5.0)


def test_a_short_pause_is_told_to_the_rule_and_stays_where_it_is() -> None:
    told: list[float] = []

    def rule(pauses_s: Sequence[float], audio_s: float) -> list[Pause]:
        told.extend([*pauses_s, audio_s])
        return [Pause.KEPT] * len(pauses_s)

    silence = noise(-70, seconds=0.6)
    samples = np.concatenate([voice(1.0), silence, voice(1.0)])
    ((span,),) = find_parts(samples, GATE, rule)
    assert span == find_speech(samples, GATE)
    assert max(told[:-1]) == pytest.approx(0.5, abs=0.16)
    assert told[-1] == pytest.approx(2.6)


@pytest.mark.parametrize("margin_ms", [300, 2000])
def test_of_a_pause_that_is_shortened_a_little_is_left(margin_ms: int) -> None:
    silence = noise(-70, seconds=1.4)
    samples = np.concatenate([voice(1.0), silence, voice(1.0)])
    ((first, second),) = find_parts(samples, GateConfig(margin_ms=margin_ms), shortens)
    assert (first.start / 16_000, first.end / 16_000) == near(0.0, 1.2)
    assert (second.start / 16_000, second.end / 16_000) == near(2.2, 3.4)


def test_pauses_may_be_shortened_in_each_of_several_parts() -> None:
    short, long = (noise(-70, seconds=seconds) for seconds in (1.2, 3.0))
    said = [voice(1.0), short, voice(1.0), long, voice(1.0), short, voice(1.0), short, voice(1.0)]
    parts = find_parts(np.concatenate(said), GATE, shortens)
    assert [len(part) for part in parts] == [2, 3]
    spans = [span for part in parts for span in part]
    assert [span.start / 16_000 for span in spans] == near(0.0, 2.0, 5.9, 8.2, 10.4)


def test_the_margin_of_a_part_ends_in_the_middle_of_the_pause() -> None:
    samples = np.concatenate([voice(1.0), noise(-70, seconds=1.4), voice(1.0)])
    first, second = parts_s(samples, GateConfig(margin_ms=2000))
    assert first == near(0.0, 1.7)
    assert second == near(1.7, 3.4)


@pytest.mark.parametrize("at_s", [1.5, 2.5, 3.5])
def test_a_click_in_a_pause_belongs_to_no_part(at_s: float) -> None:
    samples = np.concatenate([voice(1.0), noise(-70, seconds=3.0), voice(1.0)])
    samples[round(at_s * 16_000)] += 0.5
    first, second = parts_s(samples)
    assert first == near(0.0, 1.3)
    assert second == near(3.7, 5.0)


def test_each_part_tells_the_length_of_its_own_speech() -> None:
    silence = noise(-70, seconds=2.0)
    samples = np.concatenate([voice(1.0), silence, voice(2.0), silence, voice(0.5)])
    parts = find_parts(samples, GATE, at_a_second)
    assert [span.speech_s for (span,) in parts] == near(1.0, 2.0, 0.5)


def test_where_nobody_speaks_there_are_no_parts() -> None:
    assert find_parts(noise(-60), GATE, at_a_second) == []


def test_with_the_gate_off_nothing_is_parted() -> None:
    samples = np.concatenate([voice(1.0), noise(-70, seconds=2.0), voice(1.0)])
    ((span,),) = find_parts(samples, GateConfig(enabled=False), at_a_second)
    assert (span.start, span.end) == (0, len(samples))


@cache
def clips(*manifests: str) -> dict[str, Samples]:
    """Every recording of the manifests, by its name."""
    folder = Path(SPEECH or "")
    entries = [
        json.loads(line)
        for manifest in manifests
        for line in (folder / manifest).read_text(encoding="utf-8").splitlines()
    ]
    return {
        entry["id"]: decode(EncodedAudio(None, (folder / entry["path"]).read_bytes()), 60).samples
        for entry in entries
    }


def real_speech() -> dict[str, Samples]:
    return clips("manifest.jsonl", "slots_manifest.jsonl")


def audible() -> dict[str, Samples]:
    """All but one recording at -74 dB below full scale, whose loudest peak is 72 of 32768."""
    found = {name: clip for name, clip in real_speech().items() if np.abs(clip).max() > 0.01}
    assert len(found) >= len(real_speech()) - 1
    return found


@needs_speech
def test_no_real_speech_is_lost() -> None:
    lost = [name for name, clip in real_speech().items() if find_speech(clip, GATE) is None]
    assert lost == []


@needs_speech
def test_real_speech_ten_times_quieter_is_heard() -> None:
    lost = [name for name, clip in audible().items() if find_speech(clip * 0.1, GATE) is None]
    assert lost == []


@needs_speech
def test_real_speech_in_noise_is_heard() -> None:
    generator = np.random.default_rng(1)
    lost = []
    for name, clip in audible().items():
        loudness = np.sqrt(np.mean(np.square(clip))) * 10 ** (-5 / 20)
        hiss = (loudness * generator.standard_normal(len(clip))).astype(np.float32)
        if find_speech(clip + hiss, GATE) is None:
            lost.append(name)
    assert lost == []


@needs_speech
def test_real_speech_that_an_edge_cut_closely_is_heard() -> None:
    lost = []
    for name, clip in audible().items():
        speech = find_speech(clip, GateConfig(margin_ms=0))
        assert speech is not None
        if find_speech(clip[speech.start : speech.end], GATE) is None:
            lost.append(name)
    assert lost == []
