"""Whisper through CTranslate2: a loaded model as a `Transcriber`.

Each piece of speech is encoded separately in a short window. States of the same length are decoded
together.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stt_mqtt.engine.calibration import Calibrated, Floats, calibration_of
from stt_mqtt.engine.encoded import Encoded, max_length
from stt_mqtt.engine.int8_weights import weights_folder
from stt_mqtt.engine.loaded import LONG_S, LoadedModel, as_view
from stt_mqtt.engine.log_mel import LogMel
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.tokenizer import (
    ENGLISH,
    MAX_TOKENS,
    WhisperTokenizer,
    relative_token_rate,
    wanted_language,
)
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, ScoredText, Speech
from stt_mqtt.errors import (
    InferenceFailedError,
    MissingExtraError,
    ModelError,
    NotEnoughMemoryError,
    UtteranceError,
)
from stt_mqtt.rungs import Rung
from stt_mqtt.stages import Stage
from stt_mqtt.types import SAMPLE_RATE, Samples, normalise_language

WIDE_BEAM = 5
SENTENCE_S = 2.0
"""Shorter speech, including margins, is a word or two. There the mean log-probability would prefer
a repeated word."""
MAX_INITIAL_TIMESTAMP = 50
"""Latest start of the first word in a pass with timestamps, in states of 20 ms."""
TOKENS_PER_S = 30
"""Most English tokens per second. A longer answer is a loop."""
SPARE_TOKENS = 16
DRAFT_TOKENS_PER_S, DRAFT_SPARE_TOKENS = 6, 3
"""The same for drafts. Speech that stops in a word often makes loops, which would take long."""
STATES_PER_S = 50
SILENCE_AFTER_S = 0.5
"""Silence after the speech that is kept to find phrases."""
MIN_PROBABILITY = 1e-9
OUT_OF_MEMORY = ("failed to allocate", "bad_alloc", "Cannot allocate memory", "bad allocation")
"""Words of CTranslate2, its libraries and the system, in place of a MemoryError."""
USUAL_TOKENS_PER_S = 3.5


def load(model: ResolvedModel, rung: Rung, parallelism: Parallelism) -> WhisperTranscriber:
    """Load `model` for `rung` and warm it up. Raises ModelError or MissingExtraError."""
    return load_with(calibration_of(model), model, rung, parallelism)


def load_with(
    calibrated: Calibrated | None, model: ResolvedModel, rung: Rung, parallelism: Parallelism
) -> WhisperTranscriber:
    """As `load`, with a given calibration. None: every pass reads the full window."""
    # huggingface_hub reads it once, when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from ctranslate2.models import Whisper
    except ImportError as error:
        raise MissingExtraError(error.name) from error
    try:
        with weights_folder(model.folder, rung.compute_type) as folder:
            network = Whisper(
                str(folder),
                device="cpu",
                compute_type=rung.compute_type,
                intra_threads=parallelism.threads,
                inter_threads=parallelism.workers,
            )
        languages = network.num_languages if network.is_multilingual else 1
        tokenizer = WhisperTokenizer.of(model.folder, languages)
        transcriber = WhisperTranscriber(
            LoadedModel(model.name, network, LogMel(network.n_mels), tokenizer, calibrated),
            rung.beam_size,
        )
        (warm,) = transcriber.transcribe([Speech(_quiet_noise())])
    except Exception as error:
        raise _unusable(model, rung, error) from error
    if isinstance(warm, UtteranceError):
        raise _unusable(model, rung, warm)
    return transcriber


def _unusable(model: ResolvedModel, rung: Rung, error: Exception) -> ModelError:
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return NotEnoughMemoryError(f"there is not enough memory for model {model.name} ({error})")
    return ModelError(
        f"model {model.name} in {model.folder} cannot be used "
        f"with compute_type {rung.compute_type}: {error}"
    )


class WhisperTranscriber:
    """A `Transcriber`: a loaded model with the beam of a rung."""

    def __init__(self, model: LoadedModel, beam_size: int) -> None:
        self.loaded = model
        self._beam_size = beam_size

    @property
    def model(self) -> str:
        """Name for results."""
        return self.loaded.name

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model supports."""
        return self.loaded.tokenizer.languages

    @property
    def clear_no_speech_prob(self) -> float:
        """A hypothesis with a `no_speech_prob` below this is certainly speech."""
        return self.loaded.calibration.clear_no_speech_prob

    @property
    def takes_names(self) -> bool:
        """Whether names of the home as hotwords improve the transcripts."""
        return self.loaded.calibration.takes_names

    def with_beam(self, beam_size: int) -> WhisperTranscriber:
        """The same loaded model with another beam."""
        return WhisperTranscriber(self.loaded, beam_size)

    def transcribe(
        self, speeches: Sequence[Speech], decode_pass: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        """Transcribe pieces of speech; see `Transcriber`."""
        answers: dict[int, Hypothesis | UtteranceError] = {}
        groups: defaultdict[tuple[int, int, float, bool, int], list[Encoded]] = defaultdict(list)
        for index, speech in enumerate(speeches):
            started = time.perf_counter()
            try:
                encoded = self._encode(index, speech, decode_pass)
            except Exception as error:
                answers[index] = self._failed(error)
            else:
                encode_s = time.perf_counter() - started
                groups[encoded.group].append(replace(encoded, encode_s=encode_s))
        for group in groups.values():
            answers.update(self._decode_safely(group, decode_pass))
        return [answers[index] for index in range(len(speeches))]

    def decode_states(self, states: Floats, speech: Speech) -> Hypothesis:
        """Decode encoder states of `speech` as in the first pass. Does not catch errors."""
        asked = wanted_language(speech, self.languages, self.model)
        encoded = self._prompted(0, replace(speech, language=asked), states, DecodePass.FIRST)
        ((_, hypothesis),) = self._decode([encoded], DecodePass.FIRST)
        return hypothesis

    def draft(self, speech: Speech, after: str) -> Hypothesis:
        """Transcribe speech that goes on; see `Transcriber`."""
        model, tokenizer = self.loaded, self.loaded.tokenizer
        asked = wanted_language(speech, self.languages, self.model)
        states = model.states(speech.samples, model.calibration.draft)
        language = asked or self._detected(states, speech)
        prompt = [*tokenizer.prompt(speech, language, timestamps=False), *tokenizer.encode(after)]
        tokens_per_s = DRAFT_TOKENS_PER_S * relative_token_rate(language)
        most = DRAFT_SPARE_TOKENS + round(len(speech.samples) / SAMPLE_RATE * tokens_per_s)
        (answer,) = model.network.generate(
            as_view(states[np.newaxis]),
            [prompt],
            beam_size=1,
            max_length=min(max(2 * most, len(prompt) + most), MAX_TOKENS),
            suppress_blank=not after,
            return_scores=True,
            return_no_speech_prob=True,
        )
        if not (math.isfinite(answer.scores[0]) and math.isfinite(answer.no_speech_prob)):
            raise InferenceFailedError(f"model {self.model} answered what is not a number")
        text, count = tokenizer.decode(answer.sequences_ids[0])
        return Hypothesis(text, language, count, answer.scores[0], answer.no_speech_prob)

    def rehearse(self, speech_s: float) -> None:
        """Transcribe `speech_s` seconds of noise with as many tokens as speech has."""
        samples = np.tile(_quiet_noise(), math.ceil(speech_s))[: round(speech_s * SAMPLE_RATE)]
        encoded = self._encode(0, Speech(samples, next(iter(self.languages))), DecodePass.FIRST)
        tokens = round(speech_s * USUAL_TOKENS_PER_S)
        self.loaded.network.generate(
            as_view(encoded.states[np.newaxis]),
            [encoded.prompt],
            beam_size=self._beam_size,
            max_length=2 * max(tokens, len(encoded.prompt)),
            suppress_tokens=[-1, self.loaded.tokenizer.end],
        )

    def close(self) -> None:
        """Free the model, also for other transcribers that share it."""
        self.loaded.close()

    def _encode(self, index: int, speech: Speech, decode_pass: DecodePass) -> Encoded:
        model = self.loaded
        calibration = model.calibration
        window = calibration.second if decode_pass is DecodePass.SECOND else calibration.first
        asked = wanted_language(speech, model.tokenizer.languages, model.name)
        states = model.states(speech.samples, window)
        return self._prompted(index, replace(speech, language=asked), states, decode_pass)

    def _prompted(
        self, index: int, speech: Speech, states: Floats, decode_pass: DecodePass
    ) -> Encoded:
        language = speech.language or self._detected(states, speech)
        speech_s = len(speech.samples) / SAMPLE_RATE
        is_sentence = decode_pass is DecodePass.SECOND or (
            decode_pass is DecodePass.FIRST and speech_s >= SENTENCE_S
        )
        timestamps = self._has_timestamps(speech_s, language, decode_pass)
        tokens_per_s = TOKENS_PER_S * relative_token_rate(language)
        return Encoded(
            index,
            states,
            language,
            self.loaded.tokenizer.prompt(speech, language, timestamps),
            length_penalty=1.0 if is_sentence else 0.0,
            max_tokens=SPARE_TOKENS + round(speech_s * tokens_per_s),
            spoken=self._spoken_states(speech_s) if speech.for_phrases else None,
            for_end=speech.for_end,
            # The many tokens of long speech take memory for each beam.
            alone=speech_s > LONG_S,
        )

    def _spoken_states(self, speech_s: float) -> int:
        """The number of states of the lead, the speech, and a little silence after it."""
        lead_s = self.loaded.calibration.first.lead_s
        return math.ceil((lead_s + speech_s + SILENCE_AFTER_S) * STATES_PER_S)

    def _has_timestamps(self, speech_s: float, language: str, decode_pass: DecodePass) -> bool:
        """Whether to decode with timestamps. In French the model would leave out words."""
        from_s = self.loaded.calibration.timestamps_from_s
        first = decode_pass is DecodePass.FIRST and from_s is not None and speech_s >= from_s
        return language == ENGLISH and (first or decode_pass is DecodePass.SECOND)

    def _detected(self, states: Floats, speech: Speech) -> str:
        """The most probable language among the allowed ones."""
        (ranked,) = self.loaded.network.detect_language(as_view(states[np.newaxis]))
        allowed = {normalise_language(tag) for tag in speech.languages}
        codes = [str(token)[2:-2] for token, _ in ranked]
        return next((code for code in codes if code in allowed), codes[0])

    def _decode_safely(
        self, group: Sequence[Encoded], decode_pass: DecodePass
    ) -> dict[int, Hypothesis | UtteranceError]:
        """Decode a group together; if that fails, one by one, so that only one piece fails."""
        try:
            return dict(self._decode(group, decode_pass))
        except Exception as error:
            if len(group) == 1:
                return {group[0].index: self._failed(error)}
        return {
            encoded.index: answer
            for encoded in group
            for answer in self._decode_safely([encoded], decode_pass).values()
        }

    def _decode(
        self, group: Sequence[Encoded], decode_pass: DecodePass
    ) -> Iterator[tuple[int, Hypothesis]]:
        beam_size = self._beam_size if decode_pass is DecodePass.FIRST else WIDE_BEAM
        started = time.perf_counter()
        answers = self.loaded.network.generate(
            as_view(np.stack([encoded.states for encoded in group])),
            [encoded.prompt for encoded in group],
            beam_size=beam_size,
            num_hypotheses=1 if group[0].spoken is None else beam_size,
            length_penalty=group[0].length_penalty,
            max_length=max_length(group),
            max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP,
            return_scores=True,
            return_no_speech_prob=True,
        )
        share_s = (time.perf_counter() - started) / len(group)
        for encoded, answer in zip(group, answers, strict=True):
            if not (math.isfinite(answer.scores[0]) and math.isfinite(answer.no_speech_prob)):
                raise InferenceFailedError(f"model {self.model} answered what is not a number")
            tokens = answer.sequences_ids[0]
            text, count = self.loaded.tokenizer.decode(tokens)
            # The probability includes the end token, but the length of the mean excludes it.
            log_prob = answer.scores[0] * len(tokens) ** encoded.length_penalty
            yield (
                encoded.index,
                Hypothesis(
                    text=text,
                    language=encoded.language,
                    tokens=count,
                    mean_log_prob=log_prob / (len(tokens) + 1),
                    no_speech_prob=answer.no_speech_prob,
                    alternatives=self._alternatives(answer.sequences_ids[1:], text),
                    states=None if encoded.spoken is None else encoded.states[: encoded.spoken],
                    window=encoded.states if encoded.for_end else None,
                    stages={Stage.ENCODE: encoded.encode_s, Stage.DECODE_TEXT: share_s},
                ),
            )

    def _alternatives(self, sequences: Sequence[Sequence[int]], best: str) -> tuple[str, ...]:
        """The texts of other hypotheses that differ from the best one and from each other."""
        texts = dict.fromkeys(self.loaded.tokenizer.decode(tokens)[0] for tokens in sequences)
        return tuple(text for text in texts if text and text != best)

    def score(self, states: Floats, texts: Sequence[str], language: str) -> list[ScoredText]:
        """How probable each text is; see `Transcriber`."""
        tokenizer, network = self.loaded.tokenizer, self.loaded.network
        tokens = [tokenizer.encode(text) for text in texts]
        copies = as_view(np.repeat(states[np.newaxis], len(texts), axis=0))
        results = network.align(copies, tokenizer.start(language), tokens, len(states))
        return [
            ScoredText(tuple(text), tuple(_log(one) for one in result.text_token_probs))
            for text, result in zip(tokens, results, strict=True)
        ]

    def _failed(self, error: Exception) -> UtteranceError:
        if isinstance(error, UtteranceError):
            return error
        reason = str(error)[:200] or type(error).__name__
        return InferenceFailedError(f"model {self.model} failed: {reason}")


def _log(probability: float) -> float:
    if not math.isfinite(probability):
        raise InferenceFailedError("a probability is not a number")
    return math.log(max(probability, MIN_PROBABILITY))


def _quiet_noise() -> Samples:
    noise = np.random.default_rng(seed=0).standard_normal(SAMPLE_RATE)
    return (noise * 1e-3).astype(np.float32)
