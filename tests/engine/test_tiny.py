"""The real tiny.en, from its package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from stt_mqtt.app.book import read_phrases
from stt_mqtt.audio.decode import decode
from stt_mqtt.config import GateConfig, PhrasesConfig
from stt_mqtt.core.partials import Partials
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.engine.calibration import Calibrated
from stt_mqtt.engine.models import ResolvedModel, resolve
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Memo, Recognizer
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.engine.whisper import WhisperTranscriber, load, load_with
from stt_mqtt.errors import InferenceFailedError, ModelError, UnsupportedLanguageError
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.rungs import Rung
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Batch,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Samples,
    Transcript,
    Utterance,
)
from tests.phrases.books import book
from tools import near_phrases

RUNG = Rung("best", "tiny.en", beam_size=5, compute_type="int8")
GREEDY = Rung("least", "tiny.en", beam_size=1, compute_type="int8")
TWO_THREADS = Parallelism(workers=1, threads=2)
NORMALISE = EnglishTextNormalizer()
COMMANDS = [
    Speech(decode(EncodedAudio(None, sample.read()), 10.0).samples, "en") for sample in SAMPLES
]
WORDS = [NORMALISE(sample.text) for sample in SAMPLES]
STARTER = read_phrases(
    PhrasesConfig(builtin=True), near_phrases.home_of(near_phrases.sentences()["home"])
)
SINGLE_WORDS = book(
    "language: en\n"
    "intents: {Word: {data: [{sentences: [stop, 'yes', 'off', 'on', 'no', go, up, down, left,"
    " right, one, two, four, eight, bed, cat, dog, wow, play, thanks]}]}}\n"
)
BOOKS = [
    pytest.param(STARTER, id="starter book"),
    pytest.param(SINGLE_WORDS, id="single words"),
]
WITH_A_VOICE = ("baby cry", "person sneeze")
"""Noises that tiny.en takes for words, also without a book."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    return resolve("tiny.en", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tiny(model: ResolvedModel) -> WhisperTranscriber:
    return load(model, RUNG, TWO_THREADS)


@pytest.fixture(scope="module")
def one_by_one(tiny: WhisperTranscriber) -> list[Hypothesis]:
    """The demo's commands, each transcribed alone."""
    return [transcribe(tiny, command) for command in COMMANDS]


@pytest.fixture(scope="module")
def pipeline(tiny: WhisperTranscriber) -> Pipeline:
    """Without the speech gate: everything goes to the model and its judge."""
    listener = Recognizer(tiny, VoiceDetector.load())
    return Pipeline(
        listener, GateConfig(enabled=False), 120.0, "best", listener.transcriber.languages
    )


@pytest.fixture(scope="module")
def speech_folder() -> Path:
    folder = os.environ.get("STT_MQTT_SPEECH")
    if not folder:
        pytest.skip("STT_MQTT_SPEECH names no folder with recordings")
    return Path(folder)


def read(folder: Path, corpus: str) -> tuple[Samples, str]:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    clip = next(entry for line in lines if (entry := json.loads(line))["corpus"] == corpus)
    with wave.open(str(folder / clip["path"])) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return pcm.astype(np.float32) / np.float32(32768), clip["text"]


def recording(folder: Path, path: str) -> Samples:
    return decode(EncodedAudio(None, (folder / "speech" / path).read_bytes()), 30.0).samples


def transcribe(
    transcriber: WhisperTranscriber, speech: Speech, decode_pass: DecodePass = DecodePass.FIRST
) -> Hypothesis:
    (answer,) = transcriber.transcribe([speech], decode_pass)
    assert isinstance(answer, Hypothesis)
    return answer


def utterance(samples: Samples) -> Utterance:
    pcm = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    key, audio = DeviceKey("native", "kitchen"), EncodedAudio(AudioFormat(), pcm)
    return Utterance(key, "a", audio, "en", None, EndReason.STOP, ended_at=0.0)


def text_of(verdict: object) -> str:
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is not None
    return verdict.transcript.text


def noise(seconds: float, level_dbfs: float = -40.0, colour: float = 0.0) -> Samples:
    """Noise whose spectrum falls with frequency to the power of `colour`."""
    count = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed=7).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** colour
    sound = np.fft.irfft(spectrum, count)
    sound *= 10 ** (level_dbfs / 20) / sound.std()
    return sound.astype(np.float32)


def beep(hz: float, seconds: float = 2.0) -> Samples:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def loudest(samples: Samples, seconds: float) -> Samples:
    """A cut around the loudest moment."""
    count = round(seconds * SAMPLE_RATE)
    start = int(np.argmax(np.abs(samples))) - count // 4
    return samples[max(0, start) : max(0, start) + count]


def texts_with(book: PhraseBook, pipeline: Pipeline, sounds: Sequence[Samples]) -> list[str]:
    """The text of each sound if the home has this book."""
    recognizer = replace(pipeline.recognizer, current=CurrentBook(book))
    batch = Batch(1, tuple(map(utterance, sounds)), may_retry=True, together=4)
    verdicts = dict(replace(pipeline, recognizer=recognizer).run(batch))
    return [text_of(verdicts[index]) for index in range(len(sounds))]


def word_error_rate(reference: str, heard: str) -> float:
    return float(jiwer.wer(NORMALISE(reference), NORMALISE(heard)))


def test_its_calibration_is_found_by_its_weights(tiny: WhisperTranscriber) -> None:
    assert tiny.loaded.is_calibrated
    assert tiny.clear_no_speech_prob > 0


def test_the_short_window_hears_every_command(one_by_one: list[Hypothesis]) -> None:
    assert [NORMALISE(heard.text) for heard in one_by_one] == WORDS


def test_the_second_look_hears_the_same(tiny: WhisperTranscriber) -> None:
    heard = tiny.transcribe(COMMANDS[:3], DecodePass.SECOND)
    assert [NORMALISE(h.text) for h in heard if isinstance(h, Hypothesis)] == WORDS[:3]


def test_a_batch_gives_the_words_that_each_gives_alone(
    tiny: WhisperTranscriber, one_by_one: list[Hypothesis]
) -> None:
    together = tiny.transcribe(COMMANDS)
    assert [heard.text for heard in together if isinstance(heard, Hypothesis)] == [
        heard.text for heard in one_by_one
    ]
    for alone, heard in zip(one_by_one, together, strict=True):
        assert isinstance(heard, Hypothesis)
        assert heard.tokens == alone.tokens
        assert heard.mean_log_prob == pytest.approx(alone.mean_log_prob, abs=0.01)
        assert heard.no_speech_prob == pytest.approx(alone.no_speech_prob, abs=0.01)


def test_prompts_in_a_batch_do_not_mix(tiny: WhisperTranscriber) -> None:
    prompts = ("Kia ora lamp.", "Good day lamp.", None, "Kia ora lamp.")
    speeches = [
        Speech(command.samples, "en", prompt=prompt)
        for command, prompt in zip(COMMANDS, prompts, strict=False)
    ]
    together = tiny.transcribe(speeches)
    assert together == [transcribe(tiny, speech) for speech in speeches]


def test_an_uncalibrated_model_hears_the_same_over_the_full_window(model: ResolvedModel) -> None:
    full = load_with(None, model, RUNG, TWO_THREADS)
    assert not full.loaded.is_calibrated
    assert NORMALISE(transcribe(full, COMMANDS[0]).text) == WORDS[0]
    full.close()


def test_the_shipped_silence_is_what_the_encoder_makes_of_it(
    tiny: WhisperTranscriber, model: ResolvedModel
) -> None:
    asked = load_with(Calibrated(tiny.loaded.calibration), model, RUNG, TWO_THREADS)
    samples = COMMANDS[1].samples
    window = tiny.loaded.calibration.first
    shipped, fresh = (used.loaded.states(samples, window) for used in (tiny, asked))
    assert shipped.shape == fresh.shape
    likeness = np.sum(shipped * fresh, axis=1) / (
        np.linalg.norm(shipped, axis=1) * np.linalg.norm(fresh, axis=1)
    )
    assert likeness.min() > 0.95
    assert transcribe(asked, COMMANDS[1]).text == transcribe(tiny, COMMANDS[1]).text


def test_the_english_model_speaks_english_only(tiny: WhisperTranscriber) -> None:
    assert tiny.languages == {"en"}
    (answer,) = tiny.transcribe([Speech(noise(0.5), "de")])
    assert isinstance(answer, UnsupportedLanguageError)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1])
def test_hardly_any_audio_is_still_answered(tiny: WhisperTranscriber, seconds: float) -> None:
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    heard = transcribe(tiny, Speech(samples, "en"))
    assert heard.mean_log_prob <= 0.0
    assert 0.0 <= heard.no_speech_prob <= 1.0


def test_a_prompt_longer_than_the_model_takes_is_cut(tiny: WhisperTranscriber) -> None:
    long = Speech(noise(0.5), "en", prompt="kitchen lamp " * 500, hotwords=("Kiri",) * 500)
    assert transcribe(tiny, long).language == "en"


def test_a_prompt_tells_how_to_spell(tiny: WhisperTranscriber) -> None:
    timer = COMMANDS[1].samples
    heard = transcribe(tiny, Speech(timer, "en", prompt="Set a timer for ten minutes."))
    assert "10" in transcribe(tiny, COMMANDS[1]).text
    assert "ten" in heard.text


def test_control_tokens_written_out_in_a_prompt_cannot_steer_the_model(
    tiny: WhisperTranscriber,
) -> None:
    steering = "In<|endoftext|> the<|startoftranscript|> <|notimestamps|>hall.<|startofprev|>"
    for decode_pass in DecodePass:
        plain, steered = (
            transcribe(tiny, Speech(COMMANDS[0].samples, "en", prompt=text), decode_pass)
            for text in ("In the hall.", steering)
        )
        assert NORMALISE(steered.text) == NORMALISE(plain.text) == WORDS[0]
    words = tiny.loaded.tokenizer
    prompt = words.prompt(Speech(noise(0.1), prompt=steering), "en", timestamps=False)
    assert [token >= words.end for token in prompt].count(True) == 3


@pytest.mark.parametrize("seconds", [0.5, 4.0])
def test_noise_of_any_colour_and_loudness_gives_nothing(pipeline: Pipeline, seconds: float) -> None:
    utterances = tuple(
        utterance(noise(seconds, level, colour))
        for level in (-60.0, -15.0)
        for colour in (0.0, 0.5, 1.0)
    )
    verdicts = dict(pipeline.run(Batch(1, utterances, may_retry=True, together=4)))
    assert [text_of(verdicts[n]) for n in range(6)] == [""] * 6


def test_silence_clicks_and_beeps_give_nothing(pipeline: Pipeline) -> None:
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[9_000:9_020] = 0.9
    sounds = [np.zeros(SAMPLE_RATE, np.float32), click, *map(beep, (50.0, 1000.0, 3000.0))]
    batch = Batch(1, tuple(map(utterance, sounds)), may_retry=True, together=4)
    verdicts = dict(pipeline.run(batch))
    assert [text_of(verdicts[n]) for n in range(len(sounds))] == [""] * len(sounds)


@pytest.mark.parametrize("book", BOOKS)
def test_made_noise_is_no_phrase(pipeline: Pipeline, book: PhraseBook) -> None:
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[9_000:9_020] = 0.9
    sounds = [click, beep(1000.0, 0.5), beep(3000.0, 0.5)]
    sounds += [noise(0.5, -15.0, colour) for colour in (0.0, 0.5, 1.0)]
    assert texts_with(book, pipeline, sounds) == [""] * len(sounds)


@pytest.mark.parametrize("book", BOOKS)
def test_recorded_noise_is_no_phrase(
    pipeline: Pipeline, speech_folder: Path, book: PhraseBook
) -> None:
    lines = (speech_folder / "noise_manifest.jsonl").read_text(encoding="utf-8").splitlines()
    clips = [clip for line in lines if (clip := json.loads(line))["label"] not in WITH_A_VOICE]
    sounds = [
        decode(EncodedAudio(None, (speech_folder / clip["path"]).read_bytes()), 10.0).samples
        for clip in clips[::8]
    ]
    # Short cuts of them, too: a short noise sounds most like a single word.
    sounds += [loudest(sound, seconds=0.5) for sound in sounds]
    assert len(sounds) > 10
    assert texts_with(book, pipeline, sounds) == [""] * len(sounds)


def test_the_quality_gate_lets_every_command_through(pipeline: Pipeline) -> None:
    batch = Batch(1, tuple(utterance(c.samples) for c in COMMANDS), may_retry=False, together=4)
    verdicts = dict(pipeline.run(batch))
    assert [NORMALISE(text_of(verdicts[n])) for n in range(len(COMMANDS))] == WORDS


@pytest.mark.parametrize("pause_s", [8.0, 29.0])
def test_words_around_a_long_pause_are_kept(pipeline: Pipeline, pause_s: float) -> None:
    pause = noise(pause_s, level_dbfs=-70.0)
    samples = np.concatenate([COMMANDS[2].samples, pause, COMMANDS[8].samples])
    gated = replace(pipeline, gate=GateConfig())
    assert NORMALISE(text_of(gated.transcribe(utterance(samples)))) == f"{WORDS[2]} {WORDS[8]}"


@pytest.mark.parametrize("pause_s", [2.0, 10.0])
def test_of_two_real_commands_the_quieter_one_is_heard_too(
    pipeline: Pipeline, speech_folder: Path, pause_s: float
) -> None:
    order = recording(speech_folder, "picovoice_barista/8d89ce69-6433-47d6-8f38-5bb605bda98c.wav")
    lights = 0.25 * recording(speech_folder, "speech_to_phrase_en/activate_Mood_Lighting.wav")
    gated = replace(pipeline, gate=GateConfig())
    pause = noise(pause_s, level_dbfs=-70.0)
    both = text_of(gated.transcribe(utterance(np.concatenate([order, pause, lights]))))
    assert "light roast single shot drip coffee" in NORMALISE(both)
    assert "activate" in NORMALISE(both)


def test_a_closed_model_fails_its_utterances(model: ResolvedModel) -> None:
    transcriber = load(model, GREEDY, Parallelism(1, 1))
    transcriber.close()
    (answer,) = transcriber.transcribe([Speech(noise(0.5), "en")])
    assert isinstance(answer, InferenceFailedError)
    assert "is closed" in answer.detail


def test_a_model_that_is_closed_while_in_use_ends_what_runs_and_refuses_the_rest(
    model: ResolvedModel,
) -> None:
    transcriber = load(model, GREEDY, Parallelism(2, 1))
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(transcriber.transcribe, [COMMANDS[0]]) for _ in range(20)]
        running[0].result()
        transcriber.close()
        answers = [answer for future in running for answer in future.result()]
    for answer in answers:
        if isinstance(answer, Hypothesis):
            assert NORMALISE(answer.text) == WORDS[0]
        else:
            assert isinstance(answer, InferenceFailedError)
            assert "is closed" in answer.detail
    assert isinstance(answers[0], Hypothesis)
    assert isinstance(answers[-1], InferenceFailedError)


def test_an_unknown_compute_type_is_one_clear_sentence(model: ResolvedModel) -> None:
    with pytest.raises(ModelError, match=r"tiny\.en .*compute_type int3"):
        load(model, Rung("best", "tiny.en", 5, "int3"), Parallelism(1, 1))


def test_a_damaged_model_is_one_clear_sentence(tmp_path: Path) -> None:
    for name in ("model.bin", "tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot be used"):
        load(ResolvedModel("mine", tmp_path), RUNG, Parallelism(1, 1))


def test_loading_is_offline_and_brings_no_onnxruntime(model: ResolvedModel) -> None:
    program = f"""
import socket, sys
from pathlib import Path
def refuse(*_):
    raise SystemExit("the network was used")
socket.socket.connect = refuse
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.engine.whisper import load
from stt_mqtt.rungs import Rung
folder, rung = Path({str(model.folder)!r}), Rung("best", "tiny.en", 5, "int8")
load(ResolvedModel("tiny.en", folder), rung, Parallelism(1, 1))
VoiceDetector.load()
import huggingface_hub.constants
print(huggingface_hub.constants.HF_HUB_OFFLINE, "onnxruntime" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "False"]


def test_a_recorded_sentence_is_understood_alike_by_several_threads(
    tiny: WhisperTranscriber, speech_folder: Path
) -> None:
    samples, reference = read(speech_folder, "jfk")
    with ThreadPoolExecutor(3) as threads:
        heard = [
            answer
            for answers in threads.map(tiny.transcribe, [[Speech(samples, "en-GB")]] * 3)
            for answer in answers
        ]
    assert isinstance(heard[0], Hypothesis)
    assert word_error_rate(reference, heard[0].text) == 0.0
    assert heard[0] == heard[1] == heard[2]
    assert heard[0].mean_log_prob > -0.7
    assert heard[0].no_speech_prob < 0.5


def test_over_a_minute_of_speech_is_transcribed_without_a_gap(
    pipeline: Pipeline, speech_folder: Path
) -> None:
    samples, reference = read(speech_folder, "ljspeech_long")
    assert len(samples) > 60 * SAMPLE_RATE
    told: list[tuple[float, float]] = []
    heard = pipeline.transcribe(utterance(samples), lambda *done: told.append(done))
    assert word_error_rate(reference, text_of(heard)) < 0.05
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == pytest.approx((len(samples) / SAMPLE_RATE,) * 2)


LISTENING = GateConfig()
ROOM_S = 0.5


@pytest.fixture(scope="module")
def starter_listener(tiny: WhisperTranscriber) -> Recognizer:
    return Recognizer(tiny, VoiceDetector.load(), CurrentBook(STARTER))


def silent(seconds: float) -> bytes:
    return bytes(2 * round(SAMPLE_RATE * seconds))


def said_in_a_room(sample: Sample, silence_s: float) -> bytes:
    """A sample between silences."""
    samples = np.frombuffer(sample.pcm(), "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 650)
    words = samples[loud[0] : loud[-1]].tobytes()
    return (
        bytes(2 * round(SAMPLE_RATE * ROOM_S)) + words + bytes(2 * round(SAMPLE_RATE * silence_s))
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_a_final_text_is_what_it_is_without_glimpses_and_costs_no_second_inference(
    starter_listener: Recognizer, sample: Sample
) -> None:
    used = Pipeline(starter_listener, LISTENING, 60.0, "best", frozenset({"en"}))

    def result(silence_s: float, memo: Memo | None) -> InferenceResult:
        audio = EncodedAudio(AudioFormat(), said_in_a_room(sample, silence_s))
        key = DeviceKey("native", "kitchen")
        return used.transcribe(
            Utterance(key, "a", audio, "en", None, EndReason.STOP, 0.0, memo=memo)
        )

    for silence_s in (0.3, 0.6, 1.5):
        memo = Memo()
        glimpse = result(0.24, memo)
        final = result(silence_s, memo)
        plain = result(silence_s, None)
        assert final.transcript is not None
        assert plain.transcript is not None
        assert final.transcript.text == plain.transcript.text
        assert (final.remembered_s, final.work_s) == (glimpse.work_s, 0)
        assert plain.remembered_s is None


def drafted(tiny: WhisperTranscriber, speech: Speech, seconds: float, after: str = "") -> str:
    """The words of a draft of the first seconds."""
    heard = replace(speech, samples=speech.samples[: round(seconds * SAMPLE_RATE)])
    return tiny.draft(heard, after).text


def test_drafts_of_a_growing_command_come_to_its_words(tiny: WhisperTranscriber) -> None:
    for number, command in enumerate(COMMANDS):
        found, partials = [], Partials()
        length_s = len(command.samples) / SAMPLE_RATE
        for share in (0.4, 0.6, 0.8, 1.0):
            text = drafted(tiny, command, share * length_s, partials.stable)
            partials.revise(Transcript(text, "en", 0.9, 0.0), share)
            found.append(text)
        assert NORMALISE(found[-1]) == WORDS[number]
        assert partials.stable
        assert WORDS[number].startswith(NORMALISE(partials.stable))


def test_a_draft_goes_on_after_the_stable_text(tiny: WhisperTranscriber) -> None:
    whole = tiny.draft(COMMANDS[0], "")
    first, second, *_ = whole.text.split()
    again = tiny.draft(COMMANDS[0], f"{first} {second}")
    assert again.text == whole.text
    assert tiny.draft(COMMANDS[0], "Yesterday").text.startswith("Yesterday")


def test_the_prompt_and_hotwords_are_no_part_of_a_draft(tiny: WhisperTranscriber) -> None:
    speech = replace(COMMANDS[0], prompt="A smart home.", hotwords=("Nguyen",))
    text = tiny.draft(speech, "").text
    assert "smart home" not in text
    assert "Nguyen" not in text
    assert NORMALISE(text) == WORDS[0]


def test_an_open_utterance_is_drafted_by_the_pipeline(pipeline: Pipeline) -> None:
    draft = replace(utterance(COMMANDS[0].samples), end=None, draft_after="")
    ((_, verdict),) = pipeline.run(Batch(1, (draft,), may_retry=True, together=1))
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is not None
    assert NORMALISE(verdict.transcript.text) == WORDS[0]
