"""The names of the home as hotwords: who gets them, and what happens if they harm."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from stt_mqtt.config import GateConfig
from stt_mqtt.engine.calibration import UNCALIBRATED, shipped
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.names import HomeNames, NamesBuilder
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Batch,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Utterance,
)
from tests.engine.scripted import FakeVoice, Scripted, hypothesis
from tests.phrases.books import book

IN_THE_KITCHEN = ("Stove Light", "Kitchen", "Bedroom", "Bed Light")
IN_THE_BEDROOM = ("Bed Light", "Bedroom", "Kitchen", "Stove Light")


def home() -> HomeNames:
    builder = NamesBuilder()
    for area in ("Kitchen", "Bedroom"):
        builder.add_area(area.lower(), [area], None)
    builder.add_entity("light.bed", ["Bed Light"], "bedroom", None)
    builder.add_entity("light.stove", ["Stove Light"], "kitchen", None)
    return builder.build()


def book_of_the_home() -> PhraseBook:
    sentences = book(
        "language: en\nintents: {Said: {data: [{sentences: ['turn on [the] {name}']}]}}"
    )
    return replace(sentences, names=home())


def said(
    area: str | None = "Kitchen",
    prompt: str | None = None,
    hotwords: tuple[str, ...] = (),
    phrases: bool = True,
) -> Utterance:
    return Utterance(
        key=DeviceKey("native", "panel"),
        id="a",
        audio=EncodedAudio(AudioFormat(), b"\x10\x20" * SAMPLE_RATE),
        language="en",
        prompt=prompt,
        end=EndReason.STOP,
        ended_at=0.0,
        hotwords=hotwords,
        phrases=phrases,
        area=area,
    )


def run(model: Scripted, *utterances: Utterance, current: PhraseBook | None) -> list[str]:
    """The text of each utterance."""
    recognizer = Recognizer(model, FakeVoice(), None if current is None else CurrentBook(current))
    used = Pipeline(recognizer, GateConfig(enabled=False), 60.0, "best", frozenset({"en"}))
    texts = [""] * len(utterances)
    for index, verdict in used.run(Batch(1, utterances, may_retry=True, together=4)):
        assert not isinstance(verdict, Exception)
        assert verdict.transcript is not None
        texts[index] = verdict.transcript.text
    return texts


def asked_first(model: Scripted) -> list[tuple[str | None, tuple[str, ...]]]:
    """Prompt and hotwords of each piece of speech in the first pass."""
    ((_, speeches), *_) = model.asked
    return [(speech.prompt, speech.hotwords) for speech in speeches]


def test_a_model_that_takes_names_gets_those_of_the_room_first() -> None:
    model = Scripted(takes_names=True)
    run(model, said("Kitchen"), said("Bedroom"), current=book_of_the_home())
    assert asked_first(model) == [(None, IN_THE_KITCHEN), (None, IN_THE_BEDROOM)]


def test_a_model_that_does_not_take_names_gets_none() -> None:
    model = Scripted()
    run(model, said(), current=book_of_the_home())
    assert asked_first(model) == [(None, ())]


@pytest.mark.parametrize(
    ("prompt", "hotwords"), [("In the hall.", ()), (None, ("Kiri",)), ("In the hall.", ("Kiri",))]
)
def test_prompt_and_hotwords_of_the_device_have_priority(
    prompt: str | None, hotwords: tuple[str, ...]
) -> None:
    model = Scripted(takes_names=True)
    run(model, said(prompt=prompt, hotwords=hotwords), current=book_of_the_home())
    assert asked_first(model) == [(prompt, hotwords)]


def test_a_device_without_phrases_gets_no_names() -> None:
    model = Scripted(takes_names=True)
    run(model, said(phrases=False), current=book_of_the_home())
    assert asked_first(model) == [(None, ())]


@pytest.mark.parametrize("current", [None, PhraseBook(), PhraseBook(names=home())])
def test_without_sentences_there_are_no_names(current: PhraseBook | None) -> None:
    model = Scripted(takes_names=True)
    run(model, said(), current=current)
    assert asked_first(model) == [(None, ())]


def repeats_names(speech: Speech, _pass: DecodePass) -> Hypothesis:
    return hypothesis("Stove Light, Kitchen" if speech.hotwords else "It is late.")


def test_what_only_repeats_the_names_is_decoded_again_without_them() -> None:
    model = Scripted(repeats_names, takes_names=True)
    assert run(model, said(), current=book_of_the_home()) == ["It is late."]
    assert [
        (decode_pass, speech.hotwords)
        for decode_pass, speeches in model.asked
        for speech in speeches
    ] == [(DecodePass.FIRST, IN_THE_KITCHEN), (DecodePass.PLAIN, ())]


def test_names_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run(Scripted(repeats_names, takes_names=True), said(), current=book_of_the_home())
    assert "Stove" not in caplog.text


def test_only_models_that_gain_from_names_get_them() -> None:
    assert {entry.model for entry in shipped() if entry.calibration.takes_names} == {"base"}
    assert not UNCALIBRATED.takes_names
