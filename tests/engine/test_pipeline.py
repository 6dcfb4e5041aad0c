from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from stt_mqtt.config import GateConfig
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.errors import CorruptAudioError, TooLongError, TooShortError
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Transcript,
    Utterance,
)

ANYTHING = GateConfig(enabled=False)


@dataclass
class Scripted:
    """A model that hears what the test says."""

    text: str = "Turn on the light."
    model: str = "scripted"
    languages: frozenset[str] = frozenset({"en"})
    heard: list[Speech] = field(default_factory=list)

    def transcribe(
        self, speech: Speech, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        self.heard.append(speech)
        if progress is not None:
            progress(0.5)
        return Transcript(self.text, "en", 0.9, 0.1)

    def close(self) -> None: ...


def utterance(seconds: float, codec: Codec = Codec.PCM_S16LE, reject: bool = False) -> Utterance:
    noise = np.random.default_rng(1).normal(0, 3000, int(seconds * 16_000)).astype("<i2")
    return Utterance(
        key=DeviceKey("native", "kitchen"),
        id="a",
        audio=EncodedAudio(AudioFormat(codec), noise.tobytes()),
        language="en",
        prompt="lamp",
        end=EndReason.STOP,
        ended_at=0.0,
        reject_over_cap=reject,
    )


def test_what_the_device_asked_for_reaches_the_model() -> None:
    model = Scripted()
    heard = Pipeline(model, ANYTHING, 30.0).run(utterance(1.0))
    (speech,) = model.heard
    assert (speech.language, speech.prompt, len(speech.samples)) == ("en", "lamp", 16_000)
    assert heard.audio_s == 1.0
    assert heard.transcript is not None
    assert heard.transcript.text == "Turn on the light."
    assert heard.infer_s is not None


def test_silence_never_reaches_the_model() -> None:
    model = Scripted()
    silence = utterance(1.0)
    silence = Utterance(
        silence.key, "a", EncodedAudio(AudioFormat(), bytes(32_000)), None, None,
        EndReason.STOP, 0.0,
    )  # fmt: skip
    heard = Pipeline(model, GateConfig(), 30.0).run(silence)
    assert model.heard == []
    assert (heard.transcript, heard.infer_s, heard.audio_s) == (None, None, 1.0)


def test_a_transcript_without_words_is_handed_on_with_what_the_model_says() -> None:
    heard = Pipeline(Scripted(text=""), ANYTHING, 30.0).run(utterance(1.0))
    assert heard.transcript is not None
    assert heard.transcript.text == ""
    assert heard.infer_s is not None


@pytest.mark.parametrize("seconds", [0.0, 0.0999])
def test_under_100_ms_is_too_short(seconds: float) -> None:
    with pytest.raises(TooShortError, match="100 needed"):
        Pipeline(Scripted(), ANYTHING, 30.0).run(utterance(seconds))


def test_100_ms_is_enough() -> None:
    assert Pipeline(Scripted(), ANYTHING, 30.0).run(utterance(0.1)).transcript is not None


def test_what_is_over_the_cap_is_cut_off_or_refused_as_the_device_is_set() -> None:
    pipeline = Pipeline(Scripted(), ANYTHING, 1.0)
    heard = pipeline.run(utterance(1.5))
    assert (heard.audio_s, heard.truncated) == (1.0, True)
    with pytest.raises(TooLongError):
        pipeline.run(utterance(1.5, reject=True))


def test_bytes_that_are_no_audio_are_an_error_of_the_utterance() -> None:
    with pytest.raises(CorruptAudioError):
        Pipeline(Scripted(), ANYTHING, 30.0).run(utterance(1.0, Codec.OGG))


def test_progress_says_how_much_of_the_speech_is_done() -> None:
    told: list[tuple[float, float]] = []
    Pipeline(Scripted(), ANYTHING, 30.0).run(utterance(2.0), lambda *done: told.append(done))
    assert told == [(0.5, 2.0)]
