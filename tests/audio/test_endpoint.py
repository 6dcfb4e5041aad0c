"""Speech and silence in live audio, with samples that the package ships and noise that it makes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.activity import FRAME_MS
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.endpoint import SETTLED_MS, SpeechMeter, end_of_speech
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.types import EncodedAudio, Samples
from tests.audio.synth import tone
from tests.thorough import examples

SPEECH = os.environ.get("STT_MQTT_SPEECH")
needs_speech = pytest.mark.skipif(not SPEECH, reason="STT_MQTT_SPEECH names no speech data")
PAUSE_MS = 800
"""Silence after speech that is the end of a command, unless a test says otherwise."""


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * 16_000), np.float32)


def noise(seconds: float, level_dbfs: float, colour: float = 0.5) -> Samples:
    """Noise whose spectrum falls with frequency to the power of `colour`."""
    count = round(seconds * 16_000)
    spectrum = np.fft.rfft(np.random.default_rng(11).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** colour
    sound = np.fft.irfft(spectrum, count)
    sound *= 10 ** (level_dbfs / 20) / sound.std()
    return sound.astype(np.float32)


def spoken(sample: Sample) -> Samples:
    """The words of a sample, without the silence around them."""
    sound: Samples = np.frombuffer(sample.pcm(), "<i2").astype(np.float32) / np.float32(32768)
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    return sound[loud[0] : loud[-1]]


WORDS = spoken(SAMPLES[1])
WORDS_MS = len(WORDS) // 16
LOUDNESS_DBFS = float(10 * np.log10(np.mean(np.square(WORDS))))


def pcm(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def measured(samples: Samples) -> SpeechMeter:
    meter = SpeechMeter()
    meter.push(pcm(samples))
    return meter


def end_ms(samples: Samples, pause_ms: int = PAUSE_MS) -> int | None:
    """After how many milliseconds a silence after speech is as long as `pause_ms`; None: never."""
    meter, data, step = SpeechMeter(), pcm(samples), 2 * 16 * FRAME_MS
    for at in range(0, len(data), step):
        meter.push(data[at : at + step])
        if meter.spoke and meter.silence_ms >= pause_ms:
            return at // 32 + FRAME_MS
    return None


def test_words_and_a_pause_are_the_end() -> None:
    assert end_ms(np.concatenate([silence(0.5), WORDS, silence(2.0)])) == pytest.approx(
        500 + WORDS_MS + 800, abs=150
    )


def test_without_a_pause_there_is_no_end() -> None:
    assert end_ms(np.concatenate([silence(0.5), WORDS, silence(0.4)])) is None


def test_nothing_is_no_speech() -> None:
    meter = SpeechMeter()
    meter.push(b"")
    meter.push(bytes(100))
    assert (meter.spoke, meter.silence_ms, meter.heard_ms) == (False, 0, 0)


@pytest.mark.parametrize("pause_ms", [300, 500, 1500, 4000, 6000])
def test_the_pause_is_as_long_as_asked_for(pause_ms: int) -> None:
    assert end_ms(np.concatenate([WORDS, silence(8.0)]), pause_ms) == pytest.approx(
        WORDS_MS + pause_ms, abs=150
    )


@pytest.mark.parametrize("pause_s", [0.2, 0.4, 0.6])
def test_a_shorter_pause_does_not_cut_a_command_in_two(pause_s: float) -> None:
    samples = np.concatenate([silence(0.5), WORDS, silence(pause_s), WORDS, silence(2.0)])
    assert end_ms(samples) == pytest.approx(500 + 2 * WORDS_MS + 1000 * pause_s + 800, abs=150)


def test_who_speaks_from_the_first_moment_is_heard() -> None:
    assert end_ms(np.concatenate([WORDS, noise(2.0, -60)])) == pytest.approx(
        WORDS_MS + 800, abs=150
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
@pytest.mark.parametrize("below_db", [10, 15, 25])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_the_end_is_found_under_steady_noise(
    sample: Sample, below_db: float, colour: float
) -> None:
    words = spoken(sample)
    samples = np.concatenate([silence(0.7), words, silence(3.0)])
    level = float(10 * np.log10(np.mean(np.square(words)))) - below_db
    at_ms = end_ms(samples + noise(len(samples) / 16_000, level, colour))
    assert at_ms is not None
    assert 700 + len(words) / 16 + 350 < at_ms < 700 + len(words) / 16 + 1500


@pytest.mark.parametrize("level", [-90, -70, -50, -30, -20])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_steady_noise_alone_is_nobody_however_loud(level: float, colour: float) -> None:
    assert not measured(noise(9.0, level, colour)).spoke


def test_silence_is_nobody() -> None:
    meter = measured(silence(5.01))
    assert (meter.spoke, meter.heard_ms) == (False, 5_010)


def test_hum_and_clicks_are_nobody() -> None:
    samples = noise(9.0, -65) + tone(50.0, 9.0, level=0.05)
    samples[::16_000] = 0.9
    samples[8_000::24_000] = -0.9
    assert not measured(samples).spoke


def test_clicks_in_the_pause_do_not_prolong_it() -> None:
    tail = noise(2.0, -65)
    tail[4_000::5_000] = 0.9
    assert end_ms(np.concatenate([noise(0.5, -65), WORDS, tail])) == pytest.approx(
        500 + WORDS_MS + 800, abs=150
    )


def test_noise_that_begins_with_the_pause_and_stays_does_not_hide_it() -> None:
    samples = np.concatenate([noise(1.0, -65), WORDS, noise(6.0, LOUDNESS_DBFS - 6, 0.0)])
    at_ms = end_ms(samples)
    assert at_ms is not None
    assert at_ms < 1000 + WORDS_MS + 4500


def test_lost_packets_do_not_make_noise_a_voice() -> None:
    samples = noise(12.0, -40)
    for start in range(8_000, len(samples), 16_000):
        samples[start : start + 960] = 0
    assert not measured(samples).spoke


def test_a_long_speech_without_a_pause_has_no_end_and_then_one() -> None:
    words = np.concatenate([spoken(sample) for sample in SAMPLES])
    quiet = noise(len(words) / 16_000, -60)
    assert end_ms(words + quiet, 3500) is None
    samples = np.concatenate([words + quiet, noise(5.0, -60)])
    assert end_ms(samples, 3500) == pytest.approx(len(words) / 16 + 3500, abs=150)


def test_a_sound_that_is_too_short_is_no_speech() -> None:
    assert measured(np.concatenate([silence(1.0), WORDS[:16_000], silence(3.0)])).spoke
    assert not measured(np.concatenate([silence(1.0), WORDS[4_000:6_000], silence(3.0)])).spoke


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.binary(max_size=3000) | st.sampled_from([bytes(960), b"\xff\x7f" * 480])))
def test_any_bytes_are_heard_and_speech_never_becomes_none(chunks: list[bytes]) -> None:
    meter = SpeechMeter()
    for chunk in chunks:
        before = meter.spoke
        meter.push(chunk)
        assert meter.spoke >= before
        assert 0 <= meter.silence_ms <= meter.heard_ms
    assert meter.heard_ms == sum(map(len, chunks)) // 960 * FRAME_MS


def test_before_a_command_there_is_no_silence_to_measure() -> None:
    meter = measured(noise(3.0, -50))
    assert not meter.spoke
    assert meter.silence_ms == 0
    assert meter.heard_ms == 3_000


def test_while_somebody_speaks_there_is_no_silence() -> None:
    meter = measured(np.concatenate([noise(0.5, -60), WORDS[:16_000]]))
    assert meter.spoke
    assert meter.silence_ms <= 90


@pytest.mark.parametrize("silence_s", [0.15, 0.3, 1.0, 2.5, 4.0, 12.0])
@pytest.mark.parametrize("level_dbfs", [-90, -60])
def test_silence_is_measured_from_the_last_word(silence_s: float, level_dbfs: float) -> None:
    room = noise(0.5 + len(WORDS) / 16_000 + silence_s, level_dbfs)
    meter = measured(room + np.concatenate([silence(0.5), WORDS, silence(silence_s)])[: len(room)])
    assert meter.spoke
    assert meter.silence_ms == pytest.approx(1000 * silence_s, abs=150)


def test_silence_begins_anew_after_another_word() -> None:
    meter = measured(np.concatenate([silence(0.5), WORDS, silence(1.0)]))
    assert meter.silence_ms > 800
    meter.push(pcm(WORDS[:16_000]))
    assert meter.silence_ms <= 90
    meter.push(pcm(silence(0.3)))
    assert meter.silence_ms == pytest.approx(300, abs=150)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_measures_do_not_depend_on_how_the_audio_is_cut(cuts: list[int]) -> None:
    samples = np.concatenate([noise(0.3, -60), WORDS[:20_000], noise(0.9, -60)])
    data, pieces, at = pcm(samples), SpeechMeter(), 0
    for cut in cuts:
        pieces.push(data[at : at + cut])
        at += cut
    pieces.push(data[at:])
    whole = measured(samples)
    assert (pieces.spoke, pieces.silence_ms) == (whole.spoke, whole.silence_ms)
    assert whole.silence_ms > 0


def hiss(seconds: float, level: float = 0.05) -> Samples:
    """A sound without a voice, as of an "s"."""
    sound = np.random.default_rng(5).standard_normal(round(16_000 * seconds))
    return (level * np.diff(sound, prepend=0.0)).astype(np.float32)


def test_an_unvoiced_end_of_a_word_is_no_silence_but_a_longer_hiss_is() -> None:
    spoken_words = [silence(0.5), WORDS]
    bare = measured(np.concatenate([*spoken_words, silence(0.6)])).silence_ms
    word = measured(np.concatenate([*spoken_words, hiss(0.21), silence(0.39)])).silence_ms
    assert bare - word == pytest.approx(210, abs=60)
    noisy = measured(np.concatenate([*spoken_words, hiss(2.0, 0.005)])).silence_ms
    assert noisy >= 800


@pytest.mark.parametrize("silence_s", [0.15, 0.6, 2.0])
def test_the_end_of_speech_does_not_depend_on_the_silence_after_it(silence_s: float) -> None:
    end = end_of_speech(np.concatenate([silence(0.5), WORDS, silence(silence_s)]))
    assert end == pytest.approx(8_000 + len(WORDS), abs=16 * 90)


def test_without_speech_there_is_no_end_of_it() -> None:
    assert end_of_speech(noise(2.0, -50)) is None
    assert end_of_speech(silence(0.01)) is None


def commands() -> list[Samples]:
    """Commands of several words by many people."""
    folder = Path(SPEECH or "")
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = {"an4", "speech_to_phrase_en", "picovoice_wakeword"}
    entries = [entry for entry in map(json.loads, lines) if entry["corpus"] in wanted]
    paths = [folder / entry["path"] for entry in entries]
    found = [decode(EncodedAudio(None, path.read_bytes()), 20).samples for path in paths]
    return [clip for clip in found if np.abs(clip).max() > 0.01]


@needs_speech
@pytest.mark.parametrize("below_db", [40, 20, 10])
def test_the_ends_of_real_commands_are_found_and_hardly_one_is_cut_in_two(below_db: float) -> None:
    clips = commands()
    assert len(clips) > 100
    cut = missed = 0
    for clip in clips:
        energy = np.square(clip, dtype=np.float64)
        samples = np.concatenate([silence(0.5), clip, silence(3.0)])
        level = float(10 * np.log10(energy.mean())) - below_db
        at_ms = end_ms(samples + noise(len(samples) / 16_000, level))
        missed += at_ms is None
        rest = energy[((at_ms or len(samples)) - 500) * 16 :]
        cut += bool(rest.sum() > 0.03 * energy.sum())
    assert cut <= 0.03 * len(clips)
    assert missed <= 0.05 * len(clips)


@pytest.mark.parametrize("level_dbfs", [-80.0, -50.0])
def test_silence_does_not_move_the_end_of_speech_once_it_is_settled(level_dbfs: float) -> None:
    said = np.concatenate([noise(0.5, level_dbfs), noise(len(WORDS) / 16_000, level_dbfs) + WORDS])
    meter = measured(said)
    around = noise(3.0, level_dbfs)
    settled: set[int] = set()
    for at in range(0, len(around), 480):
        meter.push(pcm(around[at : at + 480]))
        if meter.silence_ms >= SETTLED_MS:
            settled.add(meter.speech_end_ms)
    assert len(settled) == 1


def test_another_word_moves_a_settled_end_of_speech() -> None:
    said = np.concatenate([silence(0.5), WORDS, silence(SETTLED_MS / 1000 + 0.2)])
    once, twice = end_of_speech(said), end_of_speech(np.concatenate([said, WORDS]))
    assert once is not None
    assert twice is not None
    assert twice - once > len(WORDS) // 2
