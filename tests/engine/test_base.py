"""The real base: several languages, told apart and transcribed. `stt-mqtt models fetch base`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stt_mqtt.audio.gate import find_speech
from stt_mqtt.commands.manifest import Clip, Scorer, read_audio
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.tokenizer import token_counts
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.engine.whisper import WhisperTranscriber, load
from stt_mqtt.errors import ModelError
from stt_mqtt.rungs import Rung

RUNG = Rung("best", "base", beam_size=5, compute_type="int8")
EUROPEAN = ("de", "en", "es", "fr", "it")
SENTENCES = 8
WORDS = 8
"""Of each kind so many: base needs a third of a second for one."""


@dataclass(frozen=True)
class Spoken:
    clip: Clip
    speech: Speech


@pytest.fixture(scope="module")
def base() -> WhisperTranscriber:
    try:
        model = resolve("base", default_models_dir())
    except ModelError as error:
        pytest.skip(str(error))
    return load(model, RUNG, Parallelism(workers=1, threads=2))


@pytest.fixture(scope="module")
def speech_folder() -> Path:
    folder = os.environ.get("STT_MQTT_SPEECH")
    if not folder:
        pytest.skip("STT_MQTT_SPEECH names no folder with recordings")
    return Path(folder)


@pytest.fixture(scope="module")
def french(speech_folder: Path) -> list[Spoken]:
    """All commands of more than a word; each is one speaker's."""
    return [one for one in spoken(speech_folder, "speech_to_phrase_fr") if is_sentence(one)]


@pytest.fixture(scope="module")
def english(speech_folder: Path) -> list[Spoken]:
    found = [one for one in spoken(speech_folder, "speech_to_phrase_en") if is_sentence(one)]
    return found[:SENTENCES]


@pytest.fixture(scope="module")
def words(speech_folder: Path) -> list[Spoken]:
    """Single English words of many speakers, a second each."""
    found = spoken(speech_folder, "gsc_v001_sample")
    return found[:: len(found) // WORDS][:WORDS]


def spoken(folder: Path, corpus: str) -> list[Spoken]:
    found = []
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["corpus"] != corpus:
            continue
        clip = Clip(row["id"], folder / row["path"], row["text"], row["lang"], corpus)
        samples = read_audio(clip).samples
        span = find_speech(samples, GateConfig())
        assert span is not None, clip.where
        found.append(Spoken(clip, Speech(samples[span.start : span.end], clip.language)))
    return found


def is_sentence(one: Spoken) -> bool:
    return len(one.clip.text.split()) > 1


def heard(
    base: WhisperTranscriber, spoken: Sequence[Spoken], languages: tuple[str, ...]
) -> list[Hypothesis]:
    """Each clip for itself, the language among `languages`."""
    asked = [replace(one.speech, language=None, languages=languages) for one in spoken]
    answers = [answer for speech in asked for answer in base.transcribe([speech])]
    assert all(isinstance(answer, Hypothesis) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Hypothesis)]


def score(spoken: Sequence[Spoken], answers: Sequence[Hypothesis]) -> Score:
    scorer = Scorer()
    pairs = zip(spoken, answers, strict=True)
    return sum((scorer.score(one.clip, answer.text) for one, answer in pairs), Score())


def test_french_commands_are_french_and_most_of_their_words_right(
    base: WhisperTranscriber, french: list[Spoken]
) -> None:
    answers = heard(base, french, ("en", "fr"))
    assert [answer.language for answer in answers] == ["fr"] * len(french)
    # The full window gets 14 %; a clip more or less is 1 to 4 %.
    assert score(french, answers).wer < 0.25


def test_english_commands_are_english_where_french_is_allowed_and_as_well_heard(
    base: WhisperTranscriber, english: list[Spoken]
) -> None:
    answers = heard(base, english, ("en", "fr"))
    assert [answer.language for answer in answers] == ["en"] * len(english)
    assert score(english, answers).wer < 0.25


def test_sentences_are_told_apart_among_five_languages(
    base: WhisperTranscriber, french: list[Spoken], english: list[Spoken]
) -> None:
    both = [*french[:SENTENCES], *english]
    found = [answer.language for answer in heard(base, both, EUROPEAN)]
    right = sum(a == one.clip.language for a, one in zip(found, both, strict=True))
    assert right >= len(both) - 1


def test_a_short_word_is_never_in_a_language_that_is_not_allowed(
    base: WhisperTranscriber, words: list[Spoken]
) -> None:
    found = [answer.language for answer in heard(base, words, EUROPEAN)]
    assert set(found) <= set(EUROPEAN)
    assert found.count("en") >= len(words) - 2


def test_every_language_of_the_model_has_a_token_rate(base: WhisperTranscriber) -> None:
    assert base.languages <= token_counts().keys()
