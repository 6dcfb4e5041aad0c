"""The benchmark of the codecs runs and counts what it should; its numbers are not judged."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path

import numpy as np
import pytest

from benchmarks.codecs import LATE_SAMPLES, PCM, ROOM, Said, Way, believed, compared, measure
from benchmarks.speech import Clip
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import Codec
from tests.audio.synth import s16, tone
from tests.benchmarks.test_quick import quick

CLIP = Clip("a/tone", "a", "dim the lamp", Path("tone.wav"), s16(tone(seconds=1.0)))
ORDER = Said(CLIP, ("double shot", "twenty ounce"))


class TwoPieces:
    """Hears two pieces, and has its belief in what was said."""

    def texts(self, samples: Sequence[bytes]) -> list[str]:
        assert len(samples) == 2
        return ["Dim", "the lamp."]

    def beliefs(self, samples: Sequence[bytes], said: Sequence[str]) -> list[float]:
        assert [bool(data) for data in samples] == [text != "stop" for text in said]
        return [-0.5 if data else nan for data in samples]


def test_codecs_compares_codecs_with_pcm_and_the_ear_with_the_room(tmp_path: Path) -> None:
    data = quick("codecs", tmp_path)
    assert (data["recordings"], data["orders"]) == (2, 1)
    ways = data["ways"]
    for name in (PCM, ROOM):
        assert ways[name]["understood_points"] == ways[name]["wer_points"] == 0
        assert ways[name]["understood"] == 2
        assert (ways[name]["bytes_per_s"], ways[name]["silk_share"]) == (32_000, None)
    assert ways["FLAC"]["bytes_per_s"] < 20_000
    assert ways["FLAC"]["lost"] == ways["FLAC"]["gained"] == 0
    (opus,) = (row for name, row in ways.items() if name.startswith("Opus"))
    assert opus["bytes_per_s"] < 4_000
    assert opus["silk_share"] == 1
    low, high = opus["nats_95"]
    assert -1 < low <= opus["nats"] <= high < 1
    ears = [row for name, row in ways.items() if name.startswith("room, ear")]
    assert [row["segments"] for row in ears] == [2] * 3
    assert all(row["bytes_per_s"] <= 32_000 for row in ears)


def test_a_sentence_is_right_with_every_word_and_an_order_with_every_value() -> None:
    assert Said(CLIP).judge("Dim the lamp!") == (0, 3, True)
    assert Said(CLIP).judge("Dim the lamb") == (1, 3, False)
    assert ORDER.judge("A 20 ounce latte, please, double shot.") == (0, 0, True)
    assert ORDER.judge("A 20 ounce latte, please, double shots.") == (0, 0, False)
    assert ORDER.judge("A 120 ounce latte with a double shot.") == (0, 0, False)


def test_a_difference_counts_sentences_and_orders_and_knows_its_chance() -> None:
    theirs = np.array([(0, 4, 1), (1, 4, 0), (0, 0, 1), (0, 0, 1)])
    ours = np.array([(2, 4, 0), (1, 4, 0), (0, 0, 1), (0, 0, 0)])
    found = compared(ours, theirs, orders=2)
    assert (found["understood"], found["sentences_exact"], found["orders_right"]) == (1, 0, 1)
    assert (found["gained"], found["lost"]) == (0, 2)
    assert (found["wer"], found["wer_points"]) == (0.375, 25.0)
    assert found["understood_points"] == -50
    low, high = found["understood_points_95"]
    assert -100 <= low < -50 < high <= 0
    same = compared(theirs, theirs, orders=2)
    assert same["wer_points_95"] == same["understood_points_95"] == [0, 0]


def test_beliefs_are_compared_where_both_are_known() -> None:
    found = believed(np.array([-1.0, -2.0, nan, -9.0]), np.array([-1.5, -1.7, -1.0, nan]))
    assert found["nats"] == pytest.approx(0.1)
    assert found["nats_95"] == pytest.approx([-0.3, 0.5])


@pytest.mark.parametrize(("late", "samples"), [(0, 16_000), (LATE_SAMPLES, 16_320)])
def test_late_pcm_is_as_long_as_opus_makes_it(late: int, samples: int) -> None:
    way = Way("late", PCM, lambda: make_encoder(Codec.PCM_S16LE, 0), late)
    (audio,) = way.audio(CLIP)
    assert len(decode(audio, 30.0).samples) == samples
    assert audio.data[: 2 * late] == bytes(2 * late)
    assert audio.data[2 * late :][: len(CLIP.pcm)] == CLIP.pcm


def test_what_the_ear_cuts_in_two_is_joined_and_what_it_does_not_hear_has_no_words() -> None:
    command = SAMPLES[0].pcm()
    twice = Clip(
        "a/twice", "a", "dim the lamp", Path("twice.wav"), command + bytes(64_000) + command
    )
    silent = Clip("a/silence", "a", "stop", Path("silence.wav"), bytes(32_000))
    ear = Way("ear", "ear", lambda: make_encoder(Codec.FLAC, 0), room=True, ear=True)

    found = measure(ear, [Said(twice), Said(silent)], TwoPieces())
    assert found.judged.tolist() == [[0, 3, 1], [1, 1, 0]]
    assert (found.beliefs[0], len(found.beliefs)) == (-0.5, 2)
    assert (found.figures["segments"], found.figures["without_words"]) == (2, 1)
