"""The household is what its labels say, and the naive server hears what is said in it."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks.savings.ablation import Models, Text, final_text, liveliest, measure
from benchmarks.savings.household import Room, Spoken, make_household, samples_folder, write_wavs
from benchmarks.savings.labels import label
from benchmarks.savings.naive_client import Message, messages
from benchmarks.savings.steps import EVERYTHING, NOTHING, STEPS, TITLES, Cures, cures_of
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import needs_mosquitto

MODELS = Models(base="tiny.en", tiny="tiny.en")
MINUTES = 1.0
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="needs FFmpeg (apt install ffmpeg)"
)


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> tuple[Room, ...]:
    return make_household(samples_folder(tmp_path_factory.mktemp("speech")), MINUTES)


def a_sound(*parts: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Noise of so many seconds and of such an amplitude, one after the other."""
    rng = np.random.default_rng(1)
    pieces = [rng.standard_normal(round(s * SAMPLE_RATE)) * amplitude for s, amplitude in parts]
    return np.concatenate(pieces).astype(np.int16)


def test_the_same_seed_makes_the_same_household(
    household: tuple[Room, ...], tmp_path: Path
) -> None:
    again = make_household(samples_folder(tmp_path), MINUTES)
    other = make_household(tmp_path, MINUTES, seed=1)
    for room, same, different in zip(household, again, other, strict=True):
        assert room.samples.tobytes() == same.samples.tobytes()
        assert (room.spoken, room.noises) == (same.spoken, same.noises)
        assert room.samples.tobytes() != different.samples.tobytes()


def test_labels_lie_inside_and_in_order(household: tuple[Room, ...]) -> None:
    assert [room.name for room in household] == ["kitchen", "living_room", "bedroom", "office"]
    for room in household:
        assert len(room.samples) == MINUTES * 60 * SAMPLE_RATE
        assert len(room.spoken) == 3
        times = [at_s for one in room.spoken for at_s in (one.start_s, one.end_s)]
        assert times == sorted(times)
        assert times[0] >= 4
        assert times[-1] <= MINUTES * 60 - 4
        assert all(b - a >= 4 for a, b in zip(times[1::2], times[2::2], strict=False))


def test_speech_is_where_the_labels_say(household: tuple[Room, ...]) -> None:
    for room in household:
        levels = np.square(room.samples.astype(float))
        for one in room.spoken:
            start, end = (round(at_s * SAMPLE_RATE) for at_s in (one.start_s, one.end_s))
            before = levels[start - SAMPLE_RATE // 2 : start - SAMPLE_RATE // 10].mean()
            assert levels[start:end].mean() > 20 * before


def test_no_event_is_heard_while_somebody_speaks(household: tuple[Room, ...]) -> None:
    events = [
        (noise, one)
        for room in household
        for noise in room.noises
        for one in room.spoken
        if noise.label != "rain"
    ]
    assert events
    assert all(n.end_s <= one.start_s - 1 or n.start_s >= one.end_s + 1 for n, one in events)


def test_too_much_for_the_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pauses"):
        make_household(samples_folder(tmp_path), 0.1)


def test_a_room_is_written_as_wav(household: tuple[Room, ...], tmp_path: Path) -> None:
    files = write_wavs(household[:1], tmp_path)
    with wave.open(str(files["kitchen"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(file.getnframes()) == household[0].samples.astype("<i2").tobytes()


def test_a_label_finds_the_speech_and_not_the_knock_before_it() -> None:
    quiet, loud = 10.0, 3000.0
    found = label(a_sound((0.2, quiet), (0.08, loud), (0.2, quiet), (0.6, loud), (0.4, quiet)))
    assert found is not None
    assert found.start_s == pytest.approx(0.48, abs=0.02)
    assert found.end_s == pytest.approx(1.08, abs=0.03)
    assert found.snr_db > 40


def test_noise_alone_has_no_label() -> None:
    assert label(a_sound((1.0, 100.0))) is None


def test_each_step_is_one_cure() -> None:
    assert list(STEPS) == [NOTHING, *TITLES.values(), EVERYTHING]
    assert STEPS[NOTHING].names() == ""
    assert all(cures_of([STEPS[title].names()]) == STEPS[title] for title in TITLES.values())
    assert set(STEPS[EVERYTHING].names().split(",")) == set(TITLES)


def test_without_a_cure_every_second_is_sent(household: tuple[Room, ...]) -> None:
    said = messages({room.name: room.samples for room in household}, Cures())
    assert len(said) == 4 * 60
    assert [message.at_s for message in said[::4]] == [float(n) for n in range(1, 61)]
    assert {message.topic for message in said[:4]} == {f"naive/{r.name}/audio" for r in household}
    assert all(len(message.payload) > 32_000 * 4 / 3 for message in said)


def test_with_edge_vad_and_opus_little_more_than_speech_is_sent(
    household: tuple[Room, ...],
) -> None:
    room = household[1]
    said = messages({room.name: room.samples}, cures_of(["edge_vad", "compression"]))
    assert sum(len(message.payload) for message in said) < 60 * 32_000 / 20
    for one in room.spoken:
        last = next(m for m in said if m.is_last and m.at_s >= one.end_s)
        assert last.at_s < one.end_s + 1.5


def test_the_liveliest_stretch_cuts_no_utterance() -> None:
    spoken = tuple(Spoken(str(at), "some words", at, at + 2.0) for at in (5.0, 30.0, 36.0, 43.0))
    room = Room("office", np.arange(60 * SAMPLE_RATE).astype(np.int16), spoken, ())
    chosen = liveliest([room], 16)
    assert [one.clip_id for one in chosen.spoken] == ["30.0", "36.0"]
    assert chosen.spoken[0].start_s == pytest.approx(1.5)
    assert len(chosen.samples) / SAMPLE_RATE == pytest.approx(13.0)


def test_the_final_text_has_the_last_of_each_buffer() -> None:
    texts = [Text(9, 3, 0, "one two"), Text(1, 1, 0, "one"), Text(8, 5, 1, "three")]
    assert final_text(texts) == "one two three"


@needs_mosquitto
@pytest.mark.parametrize("step", [pytest.param(NOTHING, marks=needs_ffmpeg), EVERYTHING])
def test_the_naive_server_hears_a_command(tmp_path: Path, step: str) -> None:
    (command,) = (sample for sample in SAMPLES if sample.file == "bedroom-1.flac")
    voice = np.frombuffer(command.pcm(), "<i2")
    found = label(voice.astype(np.int16))
    assert found is not None
    samples = np.concatenate([a_sound((0.5, 10.0)), voice, a_sound((0.6, 10.0))])
    spoken = Spoken("1", command.text, 0.5 + found.start_s, 0.5 + found.end_s)
    room = Room("bedroom", samples, (spoken,), ())
    result = measure(tmp_path, room, step, STEPS[step], MODELS)
    assert result.wer == 0
    assert result.latency_s is not None
    assert 0 < result.latency_s < 30
    assert result.cpu_s > 0
    assert result.peak_mb > 50
    assert result.threads > 1
    assert (result.bytes > 2 * 32_000) == (step == NOTHING)


def test_a_message_says_where_it_goes() -> None:
    assert Message(1.0, "kitchen", b"", True).topic == "naive/kitchen/last"
