"""The benchmark of the satellite counts what it should."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import sounds
from benchmarks.household import Room, Spoken
from benchmarks.satellite import (
    LEAD_S,
    Segment,
    cleaned,
    coded,
    compared,
    costs,
    in_a_quiet_room,
    is_found,
    judge,
    scene,
    score,
    segments,
    utterances_found,
)
from benchmarks.speech import Clip
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE, Codec
from tests.audio.synth import s16, tone

CLIP = Clip("a/tone", "a", "dim the lamp", Path("tone.wav"), s16(tone(seconds=1.0)))
COMMAND = Clip("a/command", "a", SAMPLES[0].text, Path(), SAMPLES[0].pcm())
LAMP = Spoken("turn on the lamp", 1.0, 2.5)


def test_bytes_are_counted_and_the_same_samples_are_heard_once(tmp_path: Path) -> None:
    found = costs(partial(coded, codec=Codec.PCM_S16LE), [CLIP.pcm] * 2, tmp_path)
    assert (found["utterances"], found["bytes"], found["bytes_per_s"]) == (2, 64_000, 32_000)
    assert found["cpu_ms_per_s"] > 0
    (file,) = tmp_path.iterdir()
    assert found["files"] == [[file], [file]]


def test_a_command_in_a_quiet_room_is_one_segment_that_holds_all_of_it() -> None:
    pcm = in_a_quiet_room(COMMAND.pcm)
    (cut,) = segments(pcm)
    assert cut.end_s - cut.start_s == pytest.approx(0.03 * len(cut.frames))
    assert 2.0 - 0.5 < cut.start_s < cut.end_s
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 1000) / SAMPLE_RATE
    assert cut.start_s < loud[0]
    assert loud[-1] < cut.end_s


def test_what_the_satellite_cuts_in_two_is_joined_and_what_it_does_not_hear_has_no_words(
    tmp_path: Path,
) -> None:
    clips = [
        Clip("twice", "a", "dim the lamp dim the lamp", Path(), COMMAND.pcm * 2),
        Clip("silence", "a", "stop", Path(), bytes(32_000)),
    ]
    heard = [COMMAND.pcm + bytes(64_000) + COMMAND.pcm, bytes(32_000)]
    row = costs(partial(coded, codec=Codec.FLAC, cut=True), heard, tmp_path)
    assert list(map(len, row["files"])) == [2, 0]
    texts = dict.fromkeys(tmp_path.iterdir(), "dim the lamp")
    assert judge({"FLAC": row}, clips, texts) == {"FLAC": [(0, 6, True), (1, 1, False)]}
    assert (row["right"], row["right_difference"][0]) == (1, 0)


def test_a_sentence_is_right_with_every_word_and_an_order_with_every_slot() -> None:
    order = Clip("o", "o", "", Path(), b"", "", {"size": "twenty ounce", "shots": "double shot"})
    assert score(CLIP, "Dim the lamp!") == (0, 3, True)
    assert score(CLIP, "Dim the lamb") == (1, 3, False)
    assert score(order, "A 20 ounce latte, please, double shot.") == (0, 0, True)
    assert score(order, "A 120 ounce latte with a double shot.") == (0, 0, False)


def test_a_row_is_compared_with_the_baseline_on_the_same_recordings() -> None:
    clips = [Clip(str(number), "a", "", Path(), b"") for number in range(20)]
    theirs = [(0, 4, True), (1, 4, False), (0, 0, True), (0, 0, True)] * 5
    ours = [(2, 4, False), (1, 4, False), (0, 0, True), (0, 0, False)] * 5
    found = compared(clips, ours, theirs)
    assert (found["right"], found["wer"]) == (5, 0.375)
    value, low, high = found["wer_difference"]
    assert value == 0.25
    assert 0 < low < value < high
    assert found["right_difference"][0] == -0.5
    assert compared(clips, theirs, theirs)["wer_difference"] == (0, 0, 0)


@pytest.mark.parametrize("snr_db", [20, 5])
def test_a_scene_has_its_noise_so_far_below_the_speech(snr_db: float) -> None:
    noise = sounds.pink(np.random.default_rng(1), 2.0)
    sound = sounds.from_pcm(scene(COMMAND, noise, snr_db, -30.0))
    lead = sound[: int(LEAD_S * SAMPLE_RATE)]
    assert sounds.level_dbfs(lead) == pytest.approx(-30 - snr_db, abs=0.5)
    spoken = sound[len(lead) : len(lead) + len(COMMAND.pcm) // 2]
    assert sounds.level_dbfs(spoken) == pytest.approx(-30, abs=1.5)


def test_a_satellite_sends_a_scene_from_its_pre_roll_on() -> None:
    pcm = scene(CLIP, sounds.pink(np.random.default_rng(1), 2.0), None, None)
    ((heard, size),) = cleaned(pcm, CleanupConfig(high_pass=False))
    assert size == len(heard)
    assert len(heard) / 2 / SAMPLE_RATE == pytest.approx(0.3 + CLIP.seconds + 0.66, abs=0.03)
    assert heard == pcm[2 * int((LEAD_S - 0.3) * SAMPLE_RATE) :][: len(heard)]


def test_an_utterance_is_found_if_half_of_it_was_sent() -> None:
    assert is_found(LAMP, [Segment(1.1, 2.7, ())])
    assert is_found(LAMP, [Segment(0.9, 1.4, ()), Segment(2.0, 2.7, ())])
    assert not is_found(LAMP, [Segment(1.9, 2.7, ())])
    assert not is_found(LAMP, [])


def test_what_is_sent_without_speech_or_without_its_ends_is_counted() -> None:
    pcm = in_a_quiet_room(COMMAND.pcm)
    found = utterances_found([Room("kitchen", pcm, (), ())])
    assert (found["utterances"], found["without_speech"]) == (0, 1)
    (cut,) = segments(pcm)
    late = Spoken("", cut.start_s - 0.1, cut.end_s + 0.1)
    found = utterances_found([Room("kitchen", pcm, (late,), ())])
    assert (found["clipped_onsets"], found["clipped_ends"], found["split"]) == (1, 1, 0)
    assert (found["found"], found["without_speech"]) == (1, 0)
