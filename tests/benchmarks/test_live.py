"""The benchmark `live` plants each pause, and counts what became of the recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.live import complete, completions_of, figures, interrupted, page, row_of
from benchmarks.pauses import PAUSES_S, speech_span
from benchmarks.phrases import BOOKS
from benchmarks.playing import SEED, Scene
from benchmarks.sounds import from_pcm
from benchmarks.speech import Clip
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import Completion
from tests.benchmarks.played import played, sent

COMMANDS = {"paths": [str(BOOKS / "commands.yaml")], "builtin": False}


def scenes(count: int = 3) -> list[Scene]:
    made = []
    for sample in SAMPLES[:count]:
        sound = from_pcm(sample.pcm())
        span = speech_span(sound)
        assert span is not None
        clip = Clip(sample.file, "samples", sample.text, Path(), sample.pcm())
        made.append(Scene(clip, "commands", sound, *span, None))
    return made


def test_one_seed_plants_a_pause_in_every_second_recording() -> None:
    made = interrupted(scenes(), seeds=1)
    assert [one.pause is not None for one in made] == [True, False, True]
    assert {one.seed for one in made} == {SEED}


def test_a_further_seed_plays_only_the_recordings_that_now_have_a_pause() -> None:
    once, twice = interrupted(scenes(), seeds=1), interrupted(scenes(), seeds=2)
    assert [one.clip.id for one in twice[:3]] == [one.clip.id for one in once]
    (further,) = twice[3:]
    assert (further.clip.id, further.seed) == (scenes()[1].clip.id, SEED + 1)
    assert further.pause is not None


def test_in_ten_seeds_each_recording_has_each_pause_once_and_is_played_once_without() -> None:
    made = interrupted(scenes(), seeds=10)
    pauses = Counter((one.clip.id, one.pause and round(one.pause.seconds, 3)) for one in made)
    recordings = [one.clip.id for one in scenes()]
    assert {key: count for key, count in pauses.items() if key[1]} == {
        (recording, pause): 1 for recording in recordings for pause in PAUSES_S
    }
    assert sum(count for key, count in pauses.items() if key[1] is None) == 1


def test_the_last_word_comes_later_by_the_pause() -> None:
    plain, (paused, *_) = scenes(1)[0], interrupted(scenes(1), seeds=1)
    assert paused.pause is not None
    assert paused.last_word_s == pytest.approx(plain.last_word_s + paused.pause.seconds)


def test_who_is_cut_off_with_all_words_said_is_not_cut_off_with_other_words() -> None:
    found = figures(
        [
            played("dim the lamp", sent(-0.5, "Dim the lamp."), pause_s=0.3),
            played("dim the light", sent(-0.5, "Dim."), pause_s=0.3),
            played("stop the timer", sent(0.2, "Stop the timer."), pause_s=0.3),
            played("open the door", sent(-0.5, "Open.", "stop"), sent(0.1, "Door."), pause_s=0.3),
        ]
    )
    assert found["cut"][0] == pytest.approx(2 / 4)
    assert found["cut_with_other_words"][0] == pytest.approx(1 / 4)
    assert found["cut_by_satellite"][0] == pytest.approx(1 / 4)


def test_an_order_is_right_with_all_its_values_whatever_its_words_are() -> None:
    slots = {"size": "small", "drink": "latte"}
    order = played(
        "",
        sent(-0.5, "A small latte.", slots={"size": "small"}),
        sent(0.3, "Please, a small latte."),
        slots=slots,
    )
    assert row_of(order, Completion.COMPLETE)["right"] == [False, True]


def test_a_row_tells_how_complete_the_recording_is_but_not_its_words() -> None:
    row = row_of(played("dim the lamp", sent(0.2, "Dim the lamp.")), Completion.EXTENDABLE)
    assert (row["completion"], row["right"], row["seed"]) == ("EXTENDABLE", [True], SEED)
    del row["clip"]
    assert "lamp" not in str(row)


def test_a_recording_is_as_complete_as_its_text_is_in_the_book() -> None:
    texts = ("cancel all timers", "what is the weather on mars")
    clips = [Clip(text, "corpus", text, Path(), b"") for text in texts]
    assert list(completions_of(clips, COMMANDS, Path()).values()) == [
        Completion.COMPLETE,
        Completion.NONE,
    ]


@pytest.mark.parametrize(
    ("slots", "completion"),
    [({"which": "all"}, Completion.COMPLETE), ({"which": "both"}, Completion.NONE)],
)
def test_an_order_is_complete_if_its_transcript_is_and_all_values_are_right(
    monkeypatch: pytest.MonkeyPatch, slots: dict[str, str], completion: Completion
) -> None:
    def transcripts(files: list[Path], *_options: str) -> dict[Path, dict[str, Any]]:
        return {file: {"text": "Cancel all timers.", "phrase": None} for file in files}

    monkeypatch.setattr("benchmarks.live.transcripts", transcripts)
    order = Clip("order", "corpus", "", Path("order.wav"), b"", slots=slots)
    assert completions_of([order], COMMANDS, Path()) == {"order": completion}


def test_the_time_of_complete_phrases_counts_neither_other_phrases_nor_who_is_cut_off() -> None:
    recordings = [
        played("a", sent(0.2, "A.")),
        played("b", sent(0.6, "B.", "stop")),
        played("c", sent(0.3, "C."), pause_s=0.3),
        played("d", sent(-0.5, "D."), pause_s=0.3),
    ]
    completions = dict.fromkeys("abcd", Completion.COMPLETE) | {"b": Completion.EXTENDABLE}
    found = {name: figures(some) for name, some in complete(recordings, completions).items()}
    assert {name: row["clips"] for name, row in found.items()} == {
        "complete commands, no pause": 1,
        "complete all, no pause": 1,
        "complete, pause": 2,
        "complete": 3,
    }
    assert found["complete, pause"]["last_word_to_text_s"]["max"] == pytest.approx(0.3)
    assert found["complete all, no pause"]["last_word_to_text_s"]["p50"] == pytest.approx(0.2)


def test_the_page_has_a_row_of_times_for_all_kinds_and_one_of_pauses_where_there_are_any() -> None:
    recordings = [played("a", sent(0.2, "A.")), played("d", sent(-0.5, "D."), pause_s=0.3)]
    completions = dict.fromkeys("ad", Completion.COMPLETE)
    data = {
        "endpointing": "phrases",
        "rooms": 1,
        "seeds": [SEED],
        "seconds": 9.0,
        "late_s": 0.0,
        "cpu_s_per_s": {"service": 0.1},
        "speculation": None,
        "kinds": {"all": figures(recordings)},
        "complete": {n: figures(some) for n, some in complete(recordings, completions).items()},
        "pauses": {"0.3 s": figures(recordings[1:])},
        "differ": [],
        "unheard": [],
    }
    text = "\n".join(page(data))
    assert "| complete all, no pause | 1 | 0.200 | 0.200 |" in text
    assert "| complete, pause | 1 | 100.0% (100.0 to 100.0) | 0.0%" in text
    assert "| 0.3 s | 1 | 100.0% (100.0 to 100.0) |" in text
    times, pauses = text.split("## Pauses")
    assert "complete all, no pause" not in pauses
    assert "0.3 s" not in times
