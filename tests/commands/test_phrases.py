"""`phrases`: the sentences of the book counted, drawn, checked, and heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stt_mqtt.cli import main
from stt_mqtt.commands import phrases_hear, transcribe
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, ScoredText, Speech, States
from stt_mqtt.errors import EXIT_CONFIG
from tests.audio.synth import container, tone
from tests.engine.scripted import Scripted

BOOK = """
language: en
intents:
  On: {data: [{sentences: ["(turn|switch) on [the] {lamp}"]}]}
  Here: {data: [{sentences: ["brighten here"], requires_context: {area: {slot: true}}}]}
  Say: {data: [{sentences: ["say {text}"], slots: {kind: speech}}]}
lists: {text: {wildcard: true}}
"""
GERMAN = "language: de\nintents: {Los: {data: [{sentences: [los, geht los]}]}}\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "en.yaml").write_text(BOOK)
    (tmp_path / "book" / "de.yaml").write_text(GERMAN)
    file = tmp_path / "settings.yaml"
    phrases = f"{{paths: ['{tmp_path}/book'], names: {{lamp: [Mood Lighting, spot]}}}}"
    devices = "{bedroom: {area: Bedroom}, office: {phrases: false}}"
    file.write_text(f"phrases: {phrases}\ndevices: {devices}\ngate: {{enabled: false}}\n")
    return str(file)


class Judge(Scripted):
    """A model that hears `text`, and finds the texts in `probable` probable."""

    def __init__(self, text: str, *likely: str) -> None:
        super().__init__(self._answer)
        self.text = text
        self.probable = {text, *likely}

    def _answer(self, speech: Speech, decode_pass: DecodePass) -> Hypothesis:
        states = np.ones((50, 4), np.float32) if speech.for_phrases else None
        language = speech.language or "en"
        return Hypothesis(self.text, language, 4, -0.3, 0.01, alternatives=("Hm.",), states=states)

    def score(self, states: States, texts: Sequence[str], language: str) -> list[ScoredText]:
        tokens = [tuple(map(ord, text)) for text in texts]
        # Without sound, all texts are equally probable.
        unlikely = -30.0 if states.any() else -0.1
        each = [-0.1 if text in self.probable else unlikely for text in texts]
        return [ScoredText(one, (p,) * len(one)) for one, p in zip(tokens, each, strict=True)]


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.flac"
    path.write_bytes(container("flac", "flac", tone()))
    return str(path)


def hears(monkeypatch: pytest.MonkeyPatch, model: Judge) -> None:
    monkeypatch.setattr(phrases_hear, "load_rung", lambda *_: model)
    monkeypatch.setattr(transcribe, "load_rung", lambda *_: model)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(["phrases", *arguments]) == code
    return capsys.readouterr().out.splitlines()


def considered(
    capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0
) -> dict[str, Any]:
    (line,) = printed(capsys, "hear", "--json", *arguments, code=code)
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


# The files ---------------------------------------------------------------------------------


def test_the_sentences_of_each_intent_are_counted(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, "count", "-c", config)
    assert [line.split() for line in lines] == [
        ["de", "Los", "2"],
        ["de", "in", "all", "2"],
        ["en", "Here", "1"],
        ["en", "On", "8"],
        ["en", "Say", "1"],
        ["en", "in", "all", "10"],
    ]
    assert len(printed(capsys, "count", "-c", config, "--language", "de-DE")) == 2


def test_random_sentences_are_drawn(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("sample", "-c", config, "-n", "40", "--seed", "3")
    lines = printed(capsys, *arguments)
    assert len(lines) == 40
    assert {line.split()[1] for line in lines} == {"On", "Here", "Say", "Los"}
    assert printed(capsys, *arguments) == lines
    lines = printed(capsys, "sample", "-c", config, "--intent", "Say", "--language", "en")
    assert lines == ["en  Say  say …"] * 10


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sample", "--intent", "Nothing"], "no sentence has intent Nothing"),
        (["count", "--language", "fr"], "no sentence in fr; it has de, en"),
    ],
)
def test_what_the_book_does_not_have_is_said(
    config: str, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["phrases", *arguments, "-c", config]) == EXIT_CONFIG
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "x", "100001", "9" * 5000])
def test_a_number_of_sentences_that_is_not_possible_is_refused(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["phrases", "sample", "-n", number])
    assert "1 to 100000 are possible" in capsys.readouterr().err


def test_a_book_with_warnings_only_is_usable(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, "lint", "-c", config) == ["templates: 5, warnings: 0"]
    file = tmp_path / "book" / "de.yaml"
    file.write_text(GERMAN.replace("geht los", "Los"))
    assert printed(capsys, "lint", "-c", config) == [
        f"{file}:2:42: warning: this sentence is already in {file}:2:37",
        "templates: 5, warnings: 1",
    ]


def test_a_faulty_book_is_refused_with_all_its_mistakes(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("en.yaml", BOOK), ("de.yaml", GERMAN)):
        (tmp_path / "book" / name).write_text(text.replace("[{sentences: [", "[{sentences: [<x>, "))
    for action in ("lint", "count", "sample"):
        assert main(["phrases", action, "-c", config]) == EXIT_CONFIG
        complaint = capsys.readouterr().err
        assert complaint.count("there is no expansion rule <x>") == 4


@pytest.mark.parametrize("arguments", [["lint"], ["count"], ["hear", "a.wav"]])
def test_without_a_book_the_command_says_how_to_set_one_up(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["phrases", *arguments]) == EXIT_CONFIG
    assert "phrases.builtin: true" in capsys.readouterr().err


# Recordings --------------------------------------------------------------------------------


def test_a_phrase_that_is_accepted_is_shown_with_its_evidence(
    config: str, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hears(monkeypatch, Judge("Turn on food lighting.", "Turn on mood lighting."))
    found = considered(capsys, "-c", config, clip)
    assert (found["text"], found["heard"]) == ("Turn on Mood Lighting.", "Turn on food lighting.")
    (one,) = found["considered"]
    assert (one["text"], one["alternatives"]) == ("Turn on food lighting.", ["Hm."])
    assert (one["accepted"], one["chosen"]) == (True, "Turn on Mood Lighting.")
    best = next(each for each in one["candidates"] if each["text"] == one["chosen"])
    assert (best["id"], best["slots"], best["score"]) == ("On", {"lamp": "Mood Lighting"}, -0.1)
    assert best["total"] == pytest.approx(-0.1 * len("Turn on mood lighting."))
    assert one["evidence"]["score"] == pytest.approx(-0.1)
    lines = printed(capsys, "hear", "-c", config, clip)
    assert lines[1:4] == [
        "  heard: Turn on food lighting. (en)",
        "  or:    Hm.",
        "    cost  per token    total  phrase",
    ]
    assert any("Turn on Mood Lighting. (On lamp=Mood Lighting)" in line for line in lines)
    assert lines[-1].startswith("  accepted: ")


def test_a_phrase_that_is_not_accepted_is_shown_with_the_reason(
    config: str, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hears(monkeypatch, Judge("Turn on food lighting."))
    found = considered(capsys, "-c", config, clip)
    assert (found["text"], found["phrase"]) == ("Turn on food lighting.", None)
    (one,) = found["considered"]
    assert not one["accepted"]
    assert "not probable enough" in one["reason"]
    assert one["candidates"]
    assert printed(capsys, "hear", "-c", config, clip)[-1].startswith("  left as heard: ")


def test_words_of_the_book_and_words_far_from_it_need_no_judgement(
    config: str,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hears(monkeypatch, Judge("Turn on the spot."))
    (one,) = considered(capsys, "-c", config, clip)["considered"]
    assert (one["accepted"], one["evidence"]) == (True, None)
    assert one["candidates"][0]["score"] is None
    (tmp_path / "book" / "en.yaml").write_text(BOOK.replace("say {text}", "speak"))
    hears(monkeypatch, Judge("Eleven zebras quietly overthrew a mathematician."))
    (one,) = considered(capsys, "-c", config, clip)["considered"]
    assert (one["accepted"], one["candidates"]) == (False, [])
    assert one["reason"] == "nothing in the book sounds like this"
    (one,) = considered(capsys, "-c", config, "--language", "fr", clip)["considered"]
    assert one["reason"] == "the book has no sentence in fr"


def test_the_settings_of_a_device_count(
    config: str, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hears(monkeypatch, Judge("Brighten here."))
    assert considered(capsys, "-c", config, clip)["phrase"] is None
    phrase = considered(capsys, "-c", config, "--device", "bedroom", clip)["phrase"]
    assert (phrase["id"], phrase["slots"]) == ("Here", {"area": "Bedroom"})
    hears(monkeypatch, Judge("Turn on the spot."))
    found = considered(capsys, "-c", config, "--device", "office", clip)
    assert (found["phrase"], found["considered"]) == (None, [])


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_heard(
    config: str,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hears(monkeypatch, Judge("Turn on the spot."))
    absent = str(tmp_path / "absent.wav")
    lines = printed(capsys, "hear", "-c", config, absent, clip, code=EXIT_CONFIG)
    assert lines[:3] == [absent, "  unreadable_file: No such file or directory", clip]
    assert considered(capsys, "-c", config, absent, code=EXIT_CONFIG)["error"] == {
        "code": "unreadable_file",
        "detail": "No such file or directory",
    }


def test_transcribe_gives_the_words_of_the_service(
    config: str,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hears(monkeypatch, Judge("Turn on food lighting.", "Turn on mood lighting."))
    assert main(["transcribe", "-c", config, "--json", clip]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["text"], found["heard"]) == ("Turn on Mood Lighting.", "Turn on food lighting.")
    assert found["phrase"]["slots"] == {"lamp": "Mood Lighting"}
    without = tmp_path / "without.yaml"
    without.write_text("gate: {enabled: false}")
    assert main(["transcribe", "-c", str(without), "--json", clip]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == "Turn on food lighting."
    assert not {"heard", "phrase"} & set(found)


def test_the_real_model_hears_a_phrase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = next(one for one in SAMPLES if "timer" in one.text)
    recording, settings = tmp_path / "a.flac", tmp_path / "settings.yaml"
    recording.write_bytes(sample.read())
    settings.write_text("phrases: {builtin: true}")
    phrase = considered(capsys, "-c", str(settings), str(recording))["phrase"]
    assert (phrase["id"], phrase["slots"]) == ("HassStartTimer", {"minutes": 10})
