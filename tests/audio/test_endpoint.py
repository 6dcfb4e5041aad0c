"""The end of a spoken command, with samples that the package ships and noise that it makes."""

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
from stt_mqtt.audio.endpoint import EndpointConfig, Endpointer, EndpointState
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.types import EncodedAudio, Samples
from tests.audio.synth import tone

SPEECH = os.environ.get("STT_MQTT_SPEECH")
needs_speech = pytest.mark.skipif(not SPEECH, reason="STT_MQTT_SPEECH names no speech data")
CONFIG = EndpointConfig()
PATIENT = EndpointConfig(no_speech_ms=60_000)


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


def hear(samples: Samples, config: EndpointConfig = CONFIG) -> tuple[EndpointState, int]:
    """The state after `samples` or when it was final, and after how many milliseconds."""
    endpointer, data, step = Endpointer(config), pcm(samples), 2 * 16 * FRAME_MS
    for at in range(0, len(data), step):
        state = endpointer.push(data[at : at + step])
        if state in {EndpointState.ENDED, EndpointState.NO_SPEECH}:
            return state, at // 32 + FRAME_MS
    return endpointer.state, len(samples) // 16


def test_words_and_a_pause_are_the_end() -> None:
    state, at_ms = hear(np.concatenate([silence(0.5), WORDS, silence(2.0)]))
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(500 + WORDS_MS + 800, abs=150)


def test_without_a_pause_there_is_no_end() -> None:
    assert hear(np.concatenate([silence(0.5), WORDS, silence(0.4)]))[0] is EndpointState.SPEAKING


def test_nothing_is_waiting() -> None:
    endpointer = Endpointer(CONFIG)
    assert endpointer.push(b"") is EndpointState.WAITING
    assert endpointer.push(bytes(100)) is EndpointState.WAITING


@pytest.mark.parametrize("pause_ms", [300, 500, 1500, 4000, 6000])
def test_the_pause_is_as_long_as_asked_for(pause_ms: int) -> None:
    config = EndpointConfig(pause_ms=pause_ms)
    state, at_ms = hear(np.concatenate([WORDS, silence(8.0)]), config)
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(WORDS_MS + pause_ms, abs=150)


@pytest.mark.parametrize("pause_s", [0.2, 0.4, 0.6])
def test_a_shorter_pause_does_not_cut_a_command_in_two(pause_s: float) -> None:
    samples = np.concatenate([silence(0.5), WORDS, silence(pause_s), WORDS, silence(2.0)])
    state, at_ms = hear(samples)
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(500 + 2 * WORDS_MS + 1000 * pause_s + 800, abs=150)


def test_who_speaks_from_the_first_moment_is_heard() -> None:
    state, at_ms = hear(np.concatenate([WORDS, noise(2.0, -60)]))
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(WORDS_MS + 800, abs=150)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
@pytest.mark.parametrize("below_db", [10, 15, 25])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_the_end_is_found_under_steady_noise(
    sample: Sample, below_db: float, colour: float
) -> None:
    words = spoken(sample)
    samples = np.concatenate([silence(0.7), words, silence(3.0)])
    level = float(10 * np.log10(np.mean(np.square(words)))) - below_db
    state, at_ms = hear(samples + noise(len(samples) / 16_000, level, colour))
    assert state is EndpointState.ENDED
    assert 700 + len(words) / 16 + 350 < at_ms < 700 + len(words) / 16 + 1500


@pytest.mark.parametrize("level", [-90, -70, -50, -30, -20])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_steady_noise_alone_is_nobody_however_loud(level: float, colour: float) -> None:
    assert hear(noise(9.0, level, colour)) == (EndpointState.NO_SPEECH, 8010)


def test_silence_is_nobody_after_the_time_asked_for() -> None:
    assert hear(silence(5.0), EndpointConfig(no_speech_ms=3000)) == (EndpointState.NO_SPEECH, 3000)


def test_hum_and_clicks_are_nobody() -> None:
    samples = noise(9.0, -65) + tone(50.0, 9.0, level=0.05)
    samples[::16_000] = 0.9
    samples[8_000::24_000] = -0.9
    assert hear(samples)[0] is EndpointState.NO_SPEECH


def test_clicks_in_the_pause_do_not_prolong_it() -> None:
    tail = noise(2.0, -65)
    tail[4_000::5_000] = 0.9
    state, at_ms = hear(np.concatenate([noise(0.5, -65), WORDS, tail]))
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(500 + WORDS_MS + 800, abs=150)


def test_noise_that_begins_with_the_pause_and_stays_does_not_hide_it() -> None:
    samples = np.concatenate([noise(1.0, -65), WORDS, noise(6.0, LOUDNESS_DBFS - 6, 0.0)])
    state, at_ms = hear(samples)
    assert state is EndpointState.ENDED
    assert at_ms < 1000 + WORDS_MS + 4500


def test_lost_packets_do_not_make_noise_a_voice() -> None:
    samples = noise(12.0, -40)
    for start in range(8_000, len(samples), 16_000):
        samples[start : start + 960] = 0
    assert hear(samples)[0] is EndpointState.NO_SPEECH


def test_a_long_speech_without_a_pause_has_no_end_and_then_one() -> None:
    words = np.concatenate([spoken(sample) for sample in SAMPLES])
    quiet = noise(len(words) / 16_000, -60)
    assert hear(words + quiet, EndpointConfig(pause_ms=3500))[0] is EndpointState.SPEAKING
    samples = np.concatenate([words + quiet, noise(5.0, -60)])
    state, at_ms = hear(samples, EndpointConfig(pause_ms=3500))
    assert state is EndpointState.ENDED
    assert at_ms == pytest.approx(len(words) / 16 + 3500, abs=150)


def test_less_speech_than_asked_for_is_none() -> None:
    samples = np.concatenate([silence(1.0), WORDS[:16_000], silence(3.0)])
    assert hear(samples)[0] is EndpointState.ENDED
    assert hear(samples, EndpointConfig(min_speech_ms=990))[0] is EndpointState.WAITING


@pytest.mark.parametrize("final", [EndpointState.ENDED, EndpointState.NO_SPEECH])
def test_what_is_final_stays(final: EndpointState) -> None:
    endpointer = Endpointer(CONFIG)
    first = np.concatenate([WORDS, silence(2.0)]) if final is EndpointState.ENDED else silence(8.1)
    assert endpointer.push(pcm(first)) is final
    assert endpointer.push(pcm(np.concatenate([WORDS, silence(9.0)]))) is final


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_it_does_not_matter_how_the_audio_is_cut(cuts: list[int]) -> None:
    data = pcm(np.concatenate([noise(0.3, -60), WORDS[:20_000], noise(1.2, -60)]))
    whole, pieces = Endpointer(CONFIG), Endpointer(CONFIG)
    at = 0
    for cut in cuts:
        pieces.push(data[at : at + cut])
        at += cut
    assert pieces.push(data[at:]) is whole.push(data) is EndpointState.ENDED


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=3000) | st.sampled_from([bytes(960), b"\xff\x7f" * 480])))
def test_any_bytes_are_heard_and_states_go_only_forward(chunks: list[bytes]) -> None:
    endpointer = Endpointer(EndpointConfig(pause_ms=60, min_speech_ms=30, no_speech_ms=300))
    order = [EndpointState.WAITING, EndpointState.SPEAKING, EndpointState.ENDED]
    before = EndpointState.WAITING
    for chunk in chunks:
        state = endpointer.push(chunk)
        if before is EndpointState.NO_SPEECH:
            assert state is EndpointState.NO_SPEECH
        elif state is not EndpointState.NO_SPEECH:
            assert order.index(state) >= order.index(before)
        before = state


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
        state, at_ms = hear(samples + noise(len(samples) / 16_000, level), PATIENT)
        missed += state is not EndpointState.ENDED
        cut += bool(energy[(at_ms - 500) * 16 :].sum() > 0.03 * energy.sum())
    assert cut <= 0.03 * len(clips)
    assert missed <= 0.05 * len(clips)
