"""`transcribe`: nothing guessed, nothing left out."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.decode import decode
from stt_mqtt.cli import main
from stt_mqtt.commands import transcribe
from stt_mqtt.commands.recording import Recording, join, stretches
from stt_mqtt.commands.transcribe import encoded
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.errors import InferenceFailedError, TooShortError, UnsupportedFormatError
from stt_mqtt.hints import Hint
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Transcript,
    Utterance,
)
from tests.audio.synth import container, is_tone, s16, tone
from tests.engine.scripted import FakeVoice, Scripted, hypothesis

ASKED = Utterance(
    key=DeviceKey("file", "a"),
    id="a",
    audio=EncodedAudio(None, b""),
    language="en",
    prompt=None,
    end=EndReason.SINGLE,
    ended_at=0.0,
)
AIFF = container("aiff", "pcm_s16be", tone())


def pipeline(model: Scripted, max_s: float = 10.0) -> Pipeline:
    gate = GateConfig(enabled=False)
    return Pipeline(Recognizer(model, FakeVoice()), gate, max_s, "best", frozenset({"en"}))


def recording(seconds: float, stretch_s: float = 2.0) -> Recording:
    return Recording(EncodedAudio(AudioFormat(), s16(tone(seconds=seconds))), ASKED, stretch_s)


class Counting(Scripted):
    """A model that numbers what it hears."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.heard_s: list[float] = []

    def _count(self, speech: Speech, decode_pass: DecodePass) -> Hypothesis:
        if decode_pass is DecodePass.FIRST:
            self.heard_s.append(len(speech.samples) / SAMPLE_RATE)
        return hypothesis(f"Part {len(self.heard_s)}.")


def test_what_is_no_known_file_is_not_guessed_to_be_pcm() -> None:
    with pytest.raises(UnsupportedFormatError, match="--raw RATE"):
        encoded(s16(tone()), None)
    with pytest.raises(UnsupportedFormatError, match="--raw RATE"):
        encoded(b"", None)


def test_with_a_rate_it_is_pcm_of_16_bits_and_one_channel() -> None:
    audio = encoded(s16(tone(rate=8_000)), 8_000)
    assert audio.format == AudioFormat(Codec.PCM_S16LE, 8_000, 1)
    assert is_tone(decode(audio, 30.0).samples)


@pytest.mark.parametrize("raw", [None, 44_100])
def test_a_known_file_is_what_it_is_whatever_the_rate_says(raw: int | None) -> None:
    assert encoded(container("flac", "flac", tone()), raw).format == AudioFormat(Codec.FLAC)
    with pytest.raises(UnsupportedFormatError, match="AIFF"):
        encoded(AIFF, raw)


def test_all_of_a_recording_is_heard_however_long() -> None:
    model = Counting()
    told: list[tuple[float, float]] = []
    heard = recording(9.5).transcribe(pipeline(model), lambda done, of: told.append((done, of)))
    assert heard.audio_s == pytest.approx(9.5)
    assert sum(model.heard_s) == pytest.approx(9.5)
    assert max(model.heard_s) <= 2.0
    assert heard.transcript is not None
    parts = len(model.heard_s)
    assert heard.transcript.text == " ".join(f"Part {n + 1}." for n in range(parts))
    assert not heard.truncated
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == pytest.approx(9.5)


def test_a_short_one_is_heard_in_one_piece() -> None:
    model = Counting()
    heard = recording(2.0).transcribe(pipeline(model))
    assert model.heard_s == [2.0]
    assert (heard.audio_s, heard.model, heard.rung) == (2.0, "scripted", "best")


def test_milliseconds_of_audio_are_too_short() -> None:
    with pytest.raises(TooShortError):
        recording(0.05).transcribe(pipeline(Counting()))


@pytest.mark.parametrize("over_ms", [1, 10, 100])
def test_no_stretch_is_too_short_to_be_heard(over_ms: int) -> None:
    """A cut is in the middle of a pause, so something stays behind it."""
    loud = tone(seconds=2.0 + over_ms / 1000)
    loud[27_000:32_000] = 0
    assert min(map(len, stretches([loud], 2.0))) > 0.1 * SAMPLE_RATE


def test_a_failure_in_any_stretch_is_told() -> None:
    error = InferenceFailedError("broken")
    model = Scripted(lambda *_: error if len(model.asked) == 3 else hypothesis())
    with pytest.raises(InferenceFailedError, match="broken"):
        recording(9.0).transcribe(pipeline(model))


def test_memory_does_not_depend_on_the_length() -> None:
    flac = container("flac", "flac", np.zeros(SAMPLE_RATE * 600, np.float32))
    tracemalloc.start()
    try:
        heard = Recording(EncodedAudio(AudioFormat(Codec.FLAC), flac), ASKED, 5.0).transcribe(
            Pipeline(
                Recognizer(Counting(), FakeVoice()), GateConfig(), 5.0, "best", frozenset("en")
            )
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert heard.audio_s == pytest.approx(600.0)
    assert peak < 10_000_000  # decoded it is 38 MB; half a minute is judged together


@given(st.lists(st.integers(0, 9_000), max_size=12), st.sampled_from([0.7, 1.0, 3.0]))
def test_stretches_are_together_what_came(lengths: list[int], max_s: float) -> None:
    audio = np.arange(sum(lengths), dtype=np.float32)
    pieces = np.split(audio, np.cumsum(lengths)[:-1]) if lengths else []
    found = list(stretches(pieces, max_s))
    assert np.array_equal(np.concatenate(found), audio)
    assert max(map(len, found)) <= max_s * SAMPLE_RATE


def test_numbers_are_weighted_by_words_and_silence_says_nothing() -> None:
    silence = InferenceResult(600.0)
    spoken = InferenceResult(
        600.0, Transcript("one two three", "en", 0.9, 0.0), model="m", rung="r"
    )
    foreign = InferenceResult(600.0, Transcript("vier", "de", 0.5, 0.4), model="m", rung="r")
    unheard = InferenceResult(600.0, Transcript("", "de", 0.1, 0.8), model="m", rung="r")
    assert join([silence, silence]) == InferenceResult(1200.0)
    together = join([silence, spoken, foreign, unheard])
    assert (together.audio_s, together.model, together.rung) == (2400.0, "m", "r")
    assert together.transcript is not None
    assert (together.transcript.text, together.transcript.language) == ("one two three vier", "en")
    assert together.transcript.confidence == pytest.approx((3 * 0.9 + 0.5 + 0.1) / 5)
    assert together.transcript.no_speech_prob == pytest.approx((0.4 + 0.8) / 5)


@pytest.mark.parametrize("rate", ["0", "7999", "48001", "fast", "16000.0", "-16000", "1" * 5000])
def test_a_rate_that_is_not_decoded_is_refused_before_anything_is_loaded(
    rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["transcribe", "--raw", rate, "a.raw"])
    assert "8000 to 48000 Hz" in capsys.readouterr().err


def test_files_of_all_kinds_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribe, "load_rung", lambda *_: Counting())
    files = {"a.raw": s16(tone()), "b.aiff": AIFF, "c.m4a": container("ipod", "aac", tone())}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in files]
    assert main(["transcribe", "--json", *paths]) == 78
    raw, aiff, m4a = map(json.loads, capsys.readouterr().out.splitlines())
    assert raw["error"]["code"] == aiff["error"]["code"] == "unsupported_format"
    assert "--raw" in raw["error"]["detail"]
    assert "AIFF" in aiff["error"]["detail"]
    assert m4a["error"] is None
    assert main(["transcribe", "--json", "--raw", "16000", paths[0]]) == 0
    assert json.loads(capsys.readouterr().out)["audio_s"] == 1.0


def test_a_recording_of_a_phone_and_raw_pcm_give_the_words_of_the_real_model(
    tmp_path: Path,
) -> None:
    sample = SAMPLES[0]
    samples = decode(EncodedAudio(None, sample.read()), 30.0).samples
    phone, raw = tmp_path / "memo.m4a", tmp_path / "memo.raw"
    phone.write_bytes(container("ipod", "alac", samples))
    raw.write_bytes(s16(samples))
    for arguments in ([str(phone)], ["--raw", "16000", str(raw)]):
        command = [sys.executable, "-m", "stt_mqtt", "transcribe", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout) == (0, sample.text + "\n")


def test_what_looks_wrong_with_a_file_is_known_when_all_of_it_is_heard() -> None:
    beside = (tone(seconds=5.0) / 4 + 0.2).astype("<f4").tobytes()
    audio = EncodedAudio(AudioFormat(Codec.PCM_F32LE), beside)
    assert Recording(audio, ASKED, 2.0).transcribe(pipeline(Scripted())).hint is Hint.OFFSET
    assert recording(5.0).transcribe(pipeline(Scripted())).hint is None


def test_the_json_of_a_file_has_the_hint_as_a_sentence() -> None:
    heard = InferenceResult(1.0, hint=Hint.CLIPPING)
    result = transcribe.FileResult(Path("a.wav"), heard, None, 0.1)
    assert transcribe.as_json(result)["hint"] == Hint.CLIPPING.sentence
    assert transcribe.as_json(replace(result, result=InferenceResult(1.0)))["hint"] is None
