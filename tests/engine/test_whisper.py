from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stt_mqtt.engine.calibration import (
    DRAFT_TAIL_STATES,
    Calibrated,
    Calibration,
    Floats,
    Window,
)
from stt_mqtt.engine.loaded import LoadedModel
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.tokenizer import MAX_TOKENS
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.engine.whisper import WhisperTranscriber, load_with
from stt_mqtt.errors import (
    InferenceFailedError,
    MissingExtraError,
    ModelError,
    NotEnoughMemoryError,
    UnsupportedLanguageError,
    UtteranceError,
)
from stt_mqtt.rungs import Rung
from stt_mqtt.stages import Stage
from stt_mqtt.types import Samples
from tests.engine.scripted import END_OF_TEXT, marked, speech, whisper_tokenizer

CALIBRATION = Calibration(
    first=Window(lead_s=0.0, pad_s=1.0, min_s=2.0, tail_states=100),
    second=Window(lead_s=0.0, pad_s=3.0, min_s=8.0, tail_states=1500),
    silence_level=-0.5,
    clear_no_speech_prob=0.25,
    timestamps_from_s=3.0,
)
SILENT = round(CALIBRATION.silence_level * 64)
"""What the fake network knows silence by."""


@dataclass
class Generated:
    """What one call to the decoder was given."""

    marks: list[int]
    states: int
    prompts: list[list[int]]
    options: dict[str, Any]


@dataclass
class FakeNetwork:
    """Stands in for CTranslate2. It knows speech by its mark, also in a batch.

    A state has the mark first, and then a 1 where it is one of the speech.
    """

    breaks_on: dict[int, Exception] = field(default_factory=dict)
    deaf_to: dict[int, Exception] = field(default_factory=dict)
    unsure_of: frozenset[int] = frozenset()
    """Marks whose scores are no numbers."""
    ranking: tuple[str, ...] = ("cy", "de", "en")
    n_mels: int = 8
    encoded: list[tuple[int, int]] = field(default_factory=list)
    """Mark and number of frames of what the encoder was given."""
    generated: list[Generated] = field(default_factory=list)
    detections: int = 0
    on_generate: Callable[[], None] = lambda: None

    def encode(self, features: Any, to_cpu: bool) -> Floats:
        assert to_cpu
        frames = np.array(features)
        assert frames.shape[:2] == (1, self.n_mels)
        mark = round(float(frames[0, 0, 0]) * 64)
        self.encoded.append((mark, frames.shape[2]))
        if mark in self.deaf_to:
            raise self.deaf_to[mark]
        states = np.zeros((1, frames.shape[2] // 2, 4), np.float32)
        states[0, :, 0] = mark
        states[0, :, 1] = mark != SILENT
        return states

    def detect_language(self, features: Any) -> list[list[tuple[str, float]]]:
        self.detections += 1
        assert np.array(features).shape[0] == 1
        return [[(f"<|{code}|>", 1 / (n + 2)) for n, code in enumerate(self.ranking)]]

    def generate(self, features: Any, prompts: list[list[int]], **options: Any) -> list[Any]:
        states = np.array(features)
        assert len(states) == len(prompts)
        assert len({len(prompt) for prompt in prompts}) == 1
        marks = [int(mark) for mark in states[:, 0, 0]]
        self.generated.append(Generated(marks, states.shape[1], prompts, options))
        self.on_generate()
        for mark in marks:
            if mark in self.breaks_on:
                raise self.breaks_on[mark]
        return [
            SimpleNamespace(
                sequences_ids=[[*_bytes(f" Number {mark}."), END_OF_TEXT + 50]],
                scores=[math.nan if mark in self.unsure_of else -0.1 * mark],
                no_speech_prob=mark / 100,
            )
            for mark in marks
        ]

    @property
    def batches(self) -> list[list[int]]:
        return [call.marks for call in self.generated]


def _bytes(text: str) -> list[int]:
    ids: list[int] = whisper_tokenizer("en").pairs.encode(text)
    return ids


class FakeFeatures:
    """Stands in for the mel spectrogram: all of it is the loudest sample."""

    def __call__(self, samples: Samples) -> Floats:
        return np.full((8, len(samples) // 160), marked(samples) / 64, np.float32)


def transcriber(
    network: FakeNetwork, *languages: str, calibration: Calibration | None = CALIBRATION
) -> WhisperTranscriber:
    calibrated = None if calibration is None else Calibrated(calibration)
    tokenizer = whisper_tokenizer(*(languages or ("en",)))
    model = LoadedModel("fake.en", network, FakeFeatures(), tokenizer, calibrated)
    network.encoded.clear()
    return WhisperTranscriber(model, beam_size=3)


def hear(
    network: FakeNetwork, *speeches: Speech, decode_pass: DecodePass = DecodePass.FIRST
) -> list[Hypothesis | UtteranceError]:
    return transcriber(network).transcribe(speeches or [speech()], decode_pass)


def texts(answers: list[Hypothesis | UtteranceError]) -> list[str]:
    return [a.text if isinstance(a, Hypothesis) else f"error: {a.detail}" for a in answers]


def one(answers: list[Hypothesis | UtteranceError]) -> Hypothesis:
    (answer,) = answers
    assert isinstance(answer, Hypothesis)
    return answer


def test_a_hypothesis_is_the_text_with_the_numbers_of_the_network() -> None:
    heard = one(hear(FakeNetwork(), speech(3)))
    assert (heard.text, heard.language, heard.tokens) == ("Number 3.", "en", 10)
    assert heard.no_speech_prob == pytest.approx(0.03)


def test_each_piece_tells_its_time_in_the_encoder_and_its_share_of_the_decoder() -> None:
    found = hear(FakeNetwork(), speech(1, 0.5), speech(2, 0.9))
    first, second = [answer for answer in found if isinstance(answer, Hypothesis)]
    assert set(first.stages) == set(second.stages) == {Stage.ENCODE, Stage.DECODE_TEXT}
    assert first.stages[Stage.ENCODE] > 0
    assert first.stages[Stage.DECODE_TEXT] == second.stages[Stage.DECODE_TEXT] > 0


def test_the_mean_log_probability_counts_the_final_token() -> None:
    # 10 tokens of text and a timestamp; the end of the text is the 12th. The score of a sentence
    # is a mean without it, that of a word the sum.
    sentence, word = speech(3, seconds=2.0), speech(3)
    assert one(hear(FakeNetwork(), sentence)).mean_log_prob == pytest.approx(-0.3 * 11 / 12)
    assert one(hear(FakeNetwork(), word)).mean_log_prob == pytest.approx(-0.3 / 12)


def test_nothing_is_asked_where_there_is_nothing_to_transcribe() -> None:
    network = FakeNetwork()
    assert transcriber(network).transcribe([]) == []
    assert network.generated == []


def test_speech_of_one_window_is_encoded_one_by_one_and_decoded_together() -> None:
    network = FakeNetwork()
    answers = hear(network, speech(1, 0.5), speech(2, 0.9), speech(3, 0.7))
    assert texts(answers) == ["Number 1.", "Number 2.", "Number 3."]
    assert network.encoded == [(1, 200), (2, 200), (3, 200)]
    assert network.batches == [[1, 2, 3]]


def test_speech_of_different_windows_is_decoded_apart_and_answered_in_order() -> None:
    network = FakeNetwork()
    answers = hear(network, speech(1, 1.0), speech(2, 4.0), speech(3, 1.0), speech(4, 4.0))
    assert texts(answers) == [f"Number {n}." for n in (1, 2, 3, 4)]
    assert network.batches == [[1, 3], [2, 4]]
    assert [call.states for call in network.generated] == [2 * 50 + 100, 5 * 50 + 100]


def test_with_the_whole_tail_everything_is_decoded_together() -> None:
    network = FakeNetwork()
    hear(network, speech(1, 1.0), speech(2, 9.0), speech(3, 15.0), decode_pass=DecodePass.SECOND)
    assert network.batches == [[1, 2, 3]]
    assert network.generated[0].states == 1500


def test_long_pieces_are_decoded_alone_to_save_memory() -> None:
    network = FakeNetwork()
    hear(network, speech(1, 28.0), speech(2, 28.0), speech(3, 9.0), decode_pass=DecodePass.SECOND)
    assert network.batches == [[1], [2], [3]]


def test_prompts_of_different_length_are_decoded_apart() -> None:
    network = FakeNetwork()
    prompted = [replace(speech(n), prompt=text) for n, text in [(2, "ab"), (3, "cd"), (4, "abc")]]
    hear(network, speech(1), *prompted)
    assert network.batches == [[1], [2, 3], [4]]
    words = whisper_tokenizer("en")
    assert network.generated[1].prompts == [
        words.prompt(said, "en", False) for said in prompted[:2]
    ]


def test_all_states_are_kept_only_to_judge_the_end_of_a_sentence() -> None:
    network = FakeNetwork()
    for for_end in (False, True):
        (found,) = hear(network, replace(speech(), for_end=for_end))
        assert isinstance(found, Hypothesis)
        assert found.states is None
        assert (found.window is not None) == for_end
        if found.window is not None:
            assert len(found.window) == network.generated[-1].states
        assert network.generated[-1].options["num_hypotheses"] == 1


def test_the_first_look_is_quick() -> None:
    network = FakeNetwork()
    hear(network)
    (call,) = network.generated
    assert network.encoded == [(1, 200)]
    assert call.options["beam_size"] == 3
    assert call.prompts == [whisper_tokenizer("en").prompt(speech(), "en", timestamps=False)]


def test_a_word_is_the_most_probable_text_and_a_sentence_the_best_by_its_mean() -> None:
    network = FakeNetwork()
    hear(network, speech(1, 1.9), speech(2, 2.0))
    assert [call.options["length_penalty"] for call in network.generated] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("language", "seconds", "timestamps"),
    [("en", 2.9, False), ("en", 3.0, True), ("fr", 3.0, False)],
)
def test_an_english_sentence_has_timestamps_from_the_calibrated_length_on(
    language: str, seconds: float, timestamps: bool
) -> None:
    network = FakeNetwork()
    said = replace(speech(1, seconds), language=language)
    transcriber(network, "en", "fr").transcribe([said])
    words = whisper_tokenizer("en", "fr")
    assert network.generated[0].prompts == [words.prompt(said, language, timestamps)]


def test_without_a_length_for_them_there_are_no_timestamps_at_first() -> None:
    network = FakeNetwork()
    calibration = replace(CALIBRATION, timestamps_from_s=None)
    transcriber(network, calibration=calibration).transcribe([speech(1, 9.0)])
    assert network.generated[0].prompts == [
        whisper_tokenizer("en").prompt(speech(), "en", timestamps=False)
    ]


def test_a_plain_look_is_for_the_most_probable_text_without_timestamps() -> None:
    network = FakeNetwork()
    sentence = speech(1, 3.0)
    hear(network, sentence, decode_pass=DecodePass.PLAIN)
    (call,) = network.generated
    assert network.encoded == [(1, 400)]
    assert call.prompts == [whisper_tokenizer("en").prompt(sentence, "en", timestamps=False)]
    assert call.options["length_penalty"] == 0.0


def test_the_second_look_is_wide_with_timestamps() -> None:
    network = FakeNetwork()
    hear(network, decode_pass=DecodePass.SECOND)
    (call,) = network.generated
    assert network.encoded == [(1, 800)]
    assert call.options["beam_size"] == 5
    assert call.prompts == [whisper_tokenizer("en").prompt(speech(), "en", timestamps=True)]


def test_without_a_calibration_both_looks_read_the_full_window() -> None:
    network = FakeNetwork()
    uncalibrated = transcriber(network, calibration=None)
    for decode_pass in DecodePass:
        uncalibrated.transcribe([speech(1, 0.5)], decode_pass)
    assert network.encoded == [(1, 3000)] * 3
    assert [call.states for call in network.generated] == [1500] * 3
    assert not uncalibrated.loaded.is_calibrated
    assert uncalibrated.clear_no_speech_prob == 0.0


def test_a_calibrated_model_has_its_silence_from_the_encoder() -> None:
    network = FakeNetwork()
    numbers = Calibrated(CALIBRATION)
    model = LoadedModel("fake", network, FakeFeatures(), whisper_tokenizer("en"), numbers)
    assert network.encoded == [(SILENT, 3000)]
    states = model.states(speech(5).samples, CALIBRATION.first)
    assert states[:, 0].tolist() == [5] * 100 + [SILENT] * 100


def test_silence_that_is_known_is_not_asked_for() -> None:
    network = FakeNetwork()
    known = Calibrated(CALIBRATION, np.full((1500, 4), 7, np.float32))
    model = LoadedModel("fake", network, FakeFeatures(), whisper_tokenizer("en"), known)
    states = model.states(speech(5).samples, CALIBRATION.first)
    assert network.encoded == [(5, 200)]
    assert states[:, 0].tolist() == [5] * 100 + [7] * 100


@pytest.mark.parametrize(
    ("seconds", "prompt", "max_length"),
    [
        (1.0, None, 2 * (16 + 30)),
        (2.5, None, 2 * (16 + 75)),
        (28.0, None, 448),
        # " " + prompt, its announcement and two of the task: more than half of the length.
        (1.0, "a" * 99, 103 + 16 + 30),
    ],
)
def test_an_answer_may_be_as_long_as_anybody_can_speak(
    seconds: float, prompt: str | None, max_length: int
) -> None:
    network = FakeNetwork()
    hear(network, replace(speech(1, seconds), prompt=prompt))
    assert network.generated[0].options["max_length"] == max_length


def test_in_a_batch_the_longest_speech_gives_the_bound() -> None:
    network = FakeNetwork()
    hear(network, speech(1, 0.5), speech(2, 1.0), speech(3, 0.5))
    assert network.generated[0].options["max_length"] == 2 * (16 + 30)


def test_a_batch_that_breaks_is_decoded_one_by_one_and_harms_only_its_culprit() -> None:
    network = FakeNetwork(breaks_on={2: ValueError("bad\nshape")})
    answers = hear(network, speech(1), speech(2), speech(3))
    assert texts(answers) == [
        "Number 1.",
        "error: model fake.en failed: bad\nshape",
        "Number 3.",
    ]
    assert isinstance(answers[1], InferenceFailedError)
    assert network.batches == [[1, 2, 3], [1], [2], [3]]


def test_a_batch_that_breaks_harms_no_other_batch() -> None:
    network = FakeNetwork(breaks_on={2: ValueError("bad shape")})
    answers = hear(network, speech(1, 1.0), speech(2, 4.0))
    assert texts(answers) == ["Number 1.", "error: model fake.en failed: bad shape"]
    assert network.batches == [[1], [2]]


def test_what_cannot_be_encoded_harms_only_itself() -> None:
    network = FakeNetwork(deaf_to={2: RuntimeError("no memory")})
    answers = hear(network, speech(1), speech(2), speech(3))
    assert texts(answers) == ["Number 1.", "error: model fake.en failed: no memory", "Number 3."]
    assert network.batches == [[1, 3]]


def test_a_score_that_is_no_number_fails_that_piece_alone() -> None:
    answers = hear(FakeNetwork(unsure_of=frozenset({2})), speech(1), speech(2), speech(3))
    assert texts(answers) == [
        "Number 1.",
        "error: model fake.en answered what is not a number",
        "Number 3.",
    ]


def test_a_failure_without_words_is_told_by_its_kind() -> None:
    assert texts(hear(FakeNetwork(breaks_on={1: RuntimeError()}))) == [
        "error: model fake.en failed: RuntimeError"
    ]


def test_a_long_failure_is_told_in_short() -> None:
    (answer,) = hear(FakeNetwork(breaks_on={1: RuntimeError("x" * 10_000)}))
    assert isinstance(answer, InferenceFailedError)
    assert len(answer.detail) < 300


def test_a_language_is_normalised_before_it_is_used() -> None:
    network = FakeNetwork()
    used = transcriber(network, "en", "de", "cy")
    assert one(used.transcribe([replace(speech(), language="de_AT")])).language == "de"
    words = whisper_tokenizer("en", "de", "cy")
    assert network.generated[0].prompts == [words.prompt(speech(), "de", timestamps=False)]


def test_a_language_that_was_asked_for_is_not_detected() -> None:
    network = FakeNetwork()
    transcriber(network, "en", "de").transcribe([replace(speech(), language="en")])
    assert network.detections == 0


def test_an_english_model_has_nothing_to_detect() -> None:
    network = FakeNetwork()
    assert one(transcriber(network).transcribe([replace(speech(), language=None)])).language == "en"
    assert network.detections == 0


@pytest.mark.parametrize(
    ("allowed", "detected"),
    [
        (("en", "de"), "de"),
        (("en",), "en"),
        (("en-GB", "DE-at"), "de"),
        ((), "cy"),
        (("fr",), "cy"),
    ],
)
def test_a_language_is_the_most_probable_one_among_those_allowed(
    allowed: tuple[str, ...], detected: str
) -> None:
    network = FakeNetwork(ranking=("cy", "de", "en"))
    used = transcriber(network, "en", "de", "cy")
    said = replace(speech(), language=None, languages=allowed)
    assert one(used.transcribe([said])).language == detected
    words = whisper_tokenizer("en", "de", "cy")
    assert network.generated[0].prompts == [words.prompt(said, detected, timestamps=False)]


def test_only_english_is_looked_at_with_timestamps() -> None:
    network = FakeNetwork()
    french = replace(speech(), language="fr")
    transcriber(network, "en", "fr").transcribe([french], DecodePass.SECOND)
    words = whisper_tokenizer("en", "fr")
    assert network.generated[0].prompts == [words.prompt(french, "fr", timestamps=False)]


def test_where_one_language_is_allowed_there_is_nothing_to_detect() -> None:
    network = FakeNetwork(ranking=("cy", "de", "en"))
    said = replace(speech(), language=None, languages=("de-AT",))
    assert one(transcriber(network, "en", "de", "cy").transcribe([said])).language == "de"
    assert network.detections == 0


def test_a_language_with_many_tokens_has_room_for_them() -> None:
    network = FakeNetwork()
    said = replace(speech(seconds=1.0), language="ml")
    transcriber(network, "en", "ml").transcribe([said])
    assert network.generated[0].options["max_length"] == 2 * (16 + 133)


def test_speech_in_several_languages_is_decoded_together() -> None:
    network = FakeNetwork(ranking=("de", "en"))
    used = transcriber(network, "en", "de")
    answers = used.transcribe([speech(1), replace(speech(2), language=None)])
    assert [a.language for a in answers if isinstance(a, Hypothesis)] == ["en", "de"]
    assert network.batches == [[1, 2]]


def test_a_language_that_the_model_does_not_speak_is_refused_for_its_speech_only() -> None:
    network = FakeNetwork()
    answers = hear(network, replace(speech(1), language="fr-FR"), speech(2))
    assert isinstance(answers[0], UnsupportedLanguageError)
    assert texts(answers) == [
        "error: model fake.en does not speak 'fr'; it speaks English only",
        "Number 2.",
    ]
    assert network.encoded == [(2, 200)]


def test_a_multilingual_model_is_not_said_to_speak_english_only() -> None:
    used = transcriber(FakeNetwork(), "en", "de")
    assert texts(used.transcribe([replace(speech(), language="fr")])) == [
        "error: model fake.en does not speak 'fr'"
    ]


def test_states_that_are_there_already_are_only_decoded() -> None:
    network = FakeNetwork()
    used = transcriber(network)
    states = used.loaded.states(speech(4).samples, CALIBRATION.first)
    network.encoded.clear()
    assert used.decode_states(states, speech(4)).text == "Number 4."
    assert network.encoded == []


def test_name_and_languages_are_those_of_the_model() -> None:
    used = transcriber(FakeNetwork(), "en", "de")
    assert used.model == "fake.en"
    assert used.languages == {"en", "de"}


def test_a_model_that_is_loaded_once_serves_several_beams() -> None:
    network = FakeNetwork()
    used = transcriber(network)
    greedy = used.with_beam(1)
    assert greedy.loaded is used.loaded
    greedy.transcribe([speech()])
    used.transcribe([speech()])
    assert [call.options["beam_size"] for call in network.generated] == [1, 3]


def test_a_closed_model_refuses_with_every_beam() -> None:
    used = transcriber(FakeNetwork())
    other = used.with_beam(1)
    other.close()
    for closed in (used, other):
        (answer,) = closed.transcribe([speech()])
        assert isinstance(answer, InferenceFailedError)
        assert answer.detail == "model fake.en is closed"


def test_a_model_that_is_closed_while_it_decodes_still_answers() -> None:
    network = FakeNetwork()
    used = transcriber(network)
    network.on_generate = used.close
    answers = used.transcribe([speech(1, 1.0), speech(2, 4.0)])
    assert texts(answers) == ["Number 1.", "error: model fake.en is closed"]


def test_without_the_extra_a_model_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2.models", None)
    model, rung = ResolvedModel("tiny.en", tmp_path), Rung("best", "tiny.en", 5, "int8")
    with pytest.raises(MissingExtraError, match="pip install"):
        load_with(None, model, rung, Parallelism(1, 1))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), NotEnoughMemoryError),
        (RuntimeError("mkl_malloc: failed to allocate memory"), NotEnoughMemoryError),
        (RuntimeError("unexpected payload size"), ModelError),
    ],
)
def test_a_model_for_which_memory_ends_while_it_loads_may_be_tried_again(
    raised: Exception,
    expected: type[ModelError],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("ctranslate2.models.Whisper", fails)
    model, rung = ResolvedModel("tiny.en", tmp_path), Rung("best", "tiny.en", 5, "int8")
    with pytest.raises(ModelError, match=r"model tiny\.en") as caught:
        load_with(None, model, rung, Parallelism(1, 1))
    assert type(caught.value) is expected


# Drafts ----------------------------------------------------------------------------------------


def test_a_draft_reads_a_short_window_with_a_single_hypothesis() -> None:
    network = FakeNetwork()
    calibration = replace(
        CALIBRATION, first=Window(lead_s=0.5, pad_s=3.0, min_s=6.0, tail_states=500)
    )
    drafted = transcriber(network, calibration=calibration).draft(speech(3), "")
    assert (drafted.text, drafted.language) == ("Number 3.", "en")
    assert drafted.no_speech_prob == pytest.approx(0.03)
    assert [frames for _, frames in network.encoded] == [200]
    (call,) = network.generated
    assert call.states == 100 + DRAFT_TAIL_STATES
    assert call.options["beam_size"] == 1
    assert call.options["suppress_blank"] is True


def test_a_draft_of_a_model_without_calibration_reads_the_full_window() -> None:
    network = FakeNetwork()
    transcriber(network, calibration=None).draft(speech(3), "")
    assert [frames for _, frames in network.encoded] == [3000]


def test_a_draft_goes_on_after_its_stable_text_and_may_end_there() -> None:
    network = FakeNetwork()
    model = transcriber(network)
    model.draft(speech(3), "")
    model.draft(speech(3), "Num")
    plain, after = [call.prompts[0] for call in network.generated]
    assert after == [*plain, *_bytes(" Num")]
    assert network.generated[1].options["suppress_blank"] is False


def test_the_length_of_a_draft_is_bounded_by_its_speech() -> None:
    network = FakeNetwork()
    model = transcriber(network)
    for seconds in (0.5, 28.0):
        model.draft(speech(3, seconds), "")
    short, long = [call.options["max_length"] for call in network.generated]
    assert short <= 20
    assert short < long <= MAX_TOKENS


def test_the_language_of_a_draft_is_detected_only_if_nobody_knows_it() -> None:
    network = FakeNetwork()
    model = transcriber(network, "en", "de", "cy")
    assert model.draft(replace(speech(3), language="de"), "").language == "de"
    assert network.detections == 0
    unknown = replace(speech(3), language=None, languages=("de", "en"))
    assert model.draft(unknown, "").language == "de"
    assert network.detections == 1


def test_a_draft_whose_score_is_no_number_is_an_error() -> None:
    with pytest.raises(InferenceFailedError, match="not a number"):
        transcriber(FakeNetwork(unsure_of=frozenset({3}))).draft(speech(3), "")
