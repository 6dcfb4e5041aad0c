"""The benchmark of the satellite counts what it should."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import sounds
from benchmarks.household import Noise, Room, Spoken
from benchmarks.satellite import (
    LATE_SAMPLES,
    LEAD_S,
    Cut,
    Hearer,
    Sent,
    Way,
    compared,
    cuts,
    in_a_quiet_room,
    in_rooms,
    is_found,
    judge,
    scene,
)
from benchmarks.speech import Clip
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE, Codec
from tests.audio.synth import s16, tone

CLIP = Clip("a/tone", "a", "dim the lamp", Path("tone.wav"), s16(tone(seconds=1.0)))
COMMAND = Clip("a/command", "a", SAMPLES[0].text, Path(), SAMPLES[0].pcm())
LAMP = Spoken("turn on the lamp", 1.0, 2.5)


@pytest.mark.parametrize(("late", "samples"), [(0, 16_000), (LATE_SAMPLES, 16_320)])
def test_late_pcm_is_as_long_as_opus_makes_it(late: int, samples: int) -> None:
    (pcm,) = Sent().arrived(Way("PCM", Codec.PCM_S16LE, late=late), CLIP)
    assert len(pcm) == 2 * samples
    assert pcm[: 2 * late] == bytes(2 * late)
    assert pcm[2 * late :][: len(CLIP.pcm)] == CLIP.pcm


def test_what_is_sent_is_counted() -> None:
    sent = Sent()
    sent.arrived(Way("PCM", Codec.PCM_S16LE), CLIP)
    sent.arrived(Way("PCM", Codec.PCM_S16LE), CLIP)
    assert (sent.utterances, sent.size, sent.seconds) == (2, 64_000, 2.0)


def test_a_command_in_a_quiet_room_is_one_cut_that_holds_all_of_it() -> None:
    pcm = in_a_quiet_room(COMMAND)
    (cut,) = cuts(pcm, SatelliteConfig())
    assert cut.end_s - cut.start_s == pytest.approx(0.03 * len(cut.frames))
    assert 2.0 - 0.5 < cut.start_s < cut.marked_s < cut.end_s
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 1000) / SAMPLE_RATE
    assert cut.start_s < loud[0]
    assert loud[-1] < cut.end_s


def test_what_the_satellite_cuts_in_two_is_joined_and_what_it_does_not_hear_has_no_words(
    tmp_path: Path,
) -> None:
    heard: list[Path] = []

    def transcribe(files: Sequence[Path], *_: str) -> dict[Path, str]:
        heard.extend(files)
        return dict.fromkeys(files, "dim the lamp")

    twice = COMMAND.pcm + bytes(64_000) + COMMAND.pcm
    clips = [
        Clip("twice", "a", "dim the lamp dim the lamp", Path(), twice),
        Clip("silence", "a", "stop", Path(), bytes(32_000)),
    ]
    hearer, sent = Hearer(tmp_path, transcribe), Sent()
    way = Way("", Codec.FLAC, cut=True)
    taken = [hearer.files(sent.arrived(way, clip)) for clip in clips]
    assert list(map(len, taken)) == [2, 0]
    hearer.hear()
    assert hearer.judge(clips, taken) == [(0, 6, True), (1, 1, False)]
    assert list(tmp_path.iterdir()) == []
    hearer.files([SAMPLES[1].pcm()] * 2)
    hearer.hear()
    assert len(heard) == len(set(heard)) == 3


def test_a_sentence_is_right_with_every_word_and_an_order_with_every_slot() -> None:
    order = Clip("o", "o", "", Path(), b"", "", {"size": "twenty ounce", "shots": "double shot"})
    assert judge(CLIP, "Dim the lamp!") == (0, 3, True)
    assert judge(CLIP, "Dim the lamb") == (1, 3, False)
    assert judge(order, "A 20 ounce latte, please, double shot.") == (0, 0, True)
    assert judge(order, "A 120 ounce latte with a double shot.") == (0, 0, False)


def test_a_way_is_compared_with_another_on_the_same_recordings() -> None:
    clips = [Clip(str(number), "a", "", Path(), b"") for number in range(20)]
    theirs = [(0, 4, True), (1, 4, False), (0, 0, True), (0, 0, True)] * 5
    ours = [(2, 4, False), (1, 4, False), (0, 0, True), (0, 0, False)] * 5
    found = compared(clips, ours, theirs)
    assert (found["right"], found["gained"], found["lost"], found["wer"]) == (5, 0, 10, 0.375)
    value, low, high = found["wer_less"]
    assert value == 0.25
    assert 0 < low < value < high
    assert found["right_less"][0] == -0.5
    assert compared(clips, theirs, theirs)["wer_less"] == (0, 0, 0)


@pytest.mark.parametrize("snr_db", [20, 5])
def test_a_scene_has_its_noise_so_far_below_the_speech(snr_db: float) -> None:
    noise = sounds.pink(np.random.default_rng(1), 2.0)
    sound = scene(COMMAND, noise, snr_db, -30.0)
    lead = sound[: int(LEAD_S * SAMPLE_RATE)]
    assert sounds.level_dbfs(lead) == pytest.approx(-30 - snr_db, abs=0.5)
    spoken = sound[len(lead) : len(lead) + len(COMMAND.pcm) // 2]
    assert sounds.level_dbfs(spoken) == pytest.approx(-30, abs=1.5)


def test_an_utterance_is_found_if_half_of_it_was_sent() -> None:
    assert is_found(LAMP, [Cut(1.1, 1.3, 2.7, ())])
    assert is_found(LAMP, [Cut(0.9, 1.2, 1.4, ()), Cut(2.0, 2.2, 2.7, ())])
    assert not is_found(LAMP, [Cut(1.9, 2.0, 2.7, ())])
    assert not is_found(LAMP, [])


def test_what_is_sent_without_speech_is_named_after_what_was_heard() -> None:
    pcm = in_a_quiet_room(COMMAND)
    found = in_rooms([Room("kitchen", pcm, (), (Noise("radio", 2.0, 5.0),))])
    assert (found["utterances"], found["without_speech"]) == (0, {"radio": 1})
    (cut,) = cuts(pcm, SatelliteConfig())
    late = Spoken("", cut.start_s - 0.1, cut.end_s + 0.1)
    told = in_rooms([Room("kitchen", pcm, (late,), ())])
    assert (told["clipped_onsets"], told["clipped_ends"], told["found"]) == (1, 1, 1)
