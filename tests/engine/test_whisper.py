from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import InferenceFailedError, UnsupportedLanguageError
from stt_mqtt.types import SAMPLE_RATE, Samples, Transcript


@dataclass
class Piece:
    """A segment as the library gives it."""

    text: str
    tokens: list[int] = field(default_factory=lambda: [1, 2, 3, 4])
    avg_logprob: float = -0.1
    no_speech_prob: float = 0.01
    end: float = 1.0


class FakeTokenizer:
    """One token per character; 50256 upwards are control tokens."""

    def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        assert not add_special_tokens
        parts = text.split("<|endoftext|>")
        ids = [50256] * (len(parts) - 1)
        return SimpleNamespace(ids=[*ids, *(ord(letter) for part in parts for letter in part)])

    def token_to_id(self, token: str) -> int:
        assert token == "<|endoftext|>"
        return 50256


class FakeLibrary:
    """Stands in for faster-whisper's model."""

    def __init__(self, *pieces: Piece | Exception, languages: tuple[str, ...] = ("en",)) -> None:
        self.pieces = pieces
        self.supported_languages = languages
        self.hf_tokenizer = FakeTokenizer()
        self.options: dict[str, Any] = {}
        self.fails_at_once: Exception | None = None

    def transcribe(self, samples: Samples, **options: Any) -> tuple[Iterator[Piece], Any]:
        if self.fails_at_once is not None:
            raise self.fails_at_once
        self.options = options
        return self._stream(), SimpleNamespace(language=options["language"] or "de")

    def _stream(self) -> Iterator[Piece]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), dtype=np.float32)


def hear(library: FakeLibrary, speech: Speech | None = None) -> Transcript:
    transcriber = WhisperTranscriber("fake.en", library, beam_size=3)
    return transcriber.transcribe(speech or Speech(silence(1.0), "en"))


def test_the_text_is_all_segments_stripped() -> None:
    assert hear(FakeLibrary(Piece(" Turn on"), Piece(" the light. "))).text == "Turn on the light."


def test_the_numbers_are_means_over_tokens() -> None:
    heard = hear(
        FakeLibrary(
            Piece(" a", tokens=[1, 2, 3], avg_logprob=-0.4, no_speech_prob=0.4),
            Piece(" b", tokens=[1], avg_logprob=-0.8, no_speech_prob=0.0),
        )
    )
    assert heard.confidence == pytest.approx(math.exp(-0.5))
    assert heard.no_speech_prob == pytest.approx(0.3)


def test_a_confidence_never_exceeds_one() -> None:
    assert hear(FakeLibrary(Piece(" a", avg_logprob=0.001))).confidence == 1.0


@pytest.mark.parametrize("text", ["", " ", " ...", " - ♪ !", "。、", "\n"])
def test_text_without_a_letter_or_digit_is_no_text(text: str) -> None:
    assert hear(FakeLibrary(Piece(text))).text == ""


@pytest.mark.parametrize("text", ["7", "ok", "да", "はい", "نعم", "네", "ไม่"])
def test_a_letter_or_digit_of_any_script_is_text(text: str) -> None:
    assert hear(FakeLibrary(Piece(f" {text}."))).text == f"{text}."


def test_no_segments_is_no_speech() -> None:
    assert hear(FakeLibrary()) == Transcript("", "en", confidence=0.0, no_speech_prob=1.0)


def test_a_segment_that_is_silence_leaves_no_text_but_its_numbers() -> None:
    heard = hear(FakeLibrary(Piece(" Thank you.", avg_logprob=-1.2, no_speech_prob=0.7)))
    assert heard.text == ""
    assert heard.no_speech_prob == pytest.approx(0.7)


@pytest.mark.parametrize(("log_prob", "no_speech"), [(-0.5, 0.9), (-1.5, 0.5)])
def test_one_sign_of_silence_alone_takes_no_words_away(log_prob: float, no_speech: float) -> None:
    piece = Piece(" Stop.", avg_logprob=log_prob, no_speech_prob=no_speech)
    assert hear(FakeLibrary(piece)).text == "Stop."


@pytest.mark.parametrize(("seconds", "single"), [(0.5, True), (30.0, True), (30.1, False)])
def test_timestamps_are_asked_for_only_beyond_one_window(seconds: float, single: bool) -> None:
    library = FakeLibrary()
    hear(library, Speech(silence(seconds), "en"))
    assert library.options["without_timestamps"] is single


def test_decoding_is_deterministic_and_as_configured() -> None:
    library = FakeLibrary()
    hear(library)
    assert library.options["temperature"] == 0.0
    assert library.options["beam_size"] == 3
    assert library.options["condition_on_previous_text"] is False


def test_a_prompt_is_given_as_tokens_without_control_tokens() -> None:
    library = FakeLibrary()
    hear(library, Speech(silence(1.0), "en", " Kia<|endoftext|>ra "))
    assert library.options["initial_prompt"] == [ord(letter) for letter in " Kiara"]


@pytest.mark.parametrize("prompt", [None, "", "  "])
def test_no_prompt_is_no_tokens(prompt: str | None) -> None:
    library = FakeLibrary()
    hear(library, Speech(silence(1.0), "en", prompt))
    assert library.options["initial_prompt"] is None


def test_a_language_is_normalised_before_it_is_used() -> None:
    library = FakeLibrary(languages=("en", "fr"))
    assert hear(library, Speech(silence(1.0), "fr_CA")).language == "fr"


def test_without_a_language_it_is_detected() -> None:
    library = FakeLibrary(Piece(" Ja."), languages=("en", "de"))
    assert hear(library, Speech(silence(1.0))).language == "de"
    assert library.options["language"] is None


def test_a_language_that_the_model_does_not_speak_is_refused() -> None:
    with pytest.raises(UnsupportedLanguageError, match="does not speak 'fr'; it speaks English"):
        hear(FakeLibrary(), Speech(silence(1.0), "fr-FR"))


def test_a_failure_of_the_library_is_an_inference_that_failed() -> None:
    library = FakeLibrary()
    library.fails_at_once = ValueError("bad\nshape")
    with pytest.raises(InferenceFailedError, match=r"model fake\.en failed: bad"):
        hear(library)


def test_a_failure_between_segments_is_an_inference_that_failed() -> None:
    with pytest.raises(InferenceFailedError, match="failed: RuntimeError"):
        hear(FakeLibrary(Piece(" a"), RuntimeError()))


def test_a_long_failure_is_told_in_short() -> None:
    with pytest.raises(InferenceFailedError) as caught:
        hear(FakeLibrary(RuntimeError("x" * 10_000)))
    assert len(caught.value.detail) < 300


def test_progress_ends_at_the_length_and_never_exceeds_it() -> None:
    library = FakeLibrary(Piece(" a", end=0.8), Piece(" b", end=9.0))
    told: list[float] = []
    WhisperTranscriber("fake", library, 1).transcribe(Speech(silence(2.0), "en"), told.append)
    assert told == [0.8, 2.0, 2.0]


def test_what_the_progress_callback_raises_is_not_taken_for_a_failed_inference() -> None:
    def stop(_: float) -> None:
        raise KeyError("stop")

    transcriber = WhisperTranscriber("fake", FakeLibrary(Piece(" a")), 1)
    with pytest.raises(KeyError, match="stop"):
        transcriber.transcribe(Speech(silence(1.0), "en"), stop)


def test_name_and_languages_are_those_of_the_model() -> None:
    transcriber = WhisperTranscriber("base", FakeLibrary(languages=("en", "fr")), 1)
    assert transcriber.model == "base"
    assert transcriber.languages == {"en", "fr"}


def test_a_closed_model_refuses_and_a_running_transcription_still_ends() -> None:
    transcriber = WhisperTranscriber("fake", FakeLibrary(Piece(" a"), Piece(" b")), 1)
    heard = transcriber.transcribe(Speech(silence(1.0), "en"), lambda _: transcriber.close())
    assert heard.text == "a b"
    with pytest.raises(InferenceFailedError, match="model fake is closed"):
        transcriber.transcribe(Speech(silence(1.0), "en"))
