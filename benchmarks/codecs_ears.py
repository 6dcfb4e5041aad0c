"""What hears for `codecs`: the pipeline of the service, and its model asked about a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stt_mqtt.audio.gate import find_speech
from stt_mqtt.config import Config
from stt_mqtt.engine.loaded import as_view
from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.types import (
    AudioFormat,
    Batch,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
)

MAX_S = 60.0
TOGETHER = 8
"""Utterances that are decoded in one batch, to save time; the same for all ways."""
LEAST = 1e-9
"""Probability below which a token counts no worse."""


class Ears:
    """The pipeline of the service. The same samples are heard once."""

    def __init__(self) -> None:
        config = Config()
        rung = preferred_rung(config)
        self.workers = parallelism_of(config).workers
        self._transcriber = load_rung(rung, parallelism_of(config))
        self.model, self.rung = self._transcriber.model, rung.name
        listener = Recognizer(self._transcriber, VoiceDetector.load())
        languages = self._transcriber.languages
        self._gate = config.gate
        self._pipeline = Pipeline(listener, config.gate, MAX_S, rung.name, languages)
        self._known: dict[bytes, str] = {}

    def texts(self, samples: Sequence[bytes]) -> list[str]:
        """What is heard in each; all are mono float32 at `SAMPLE_RATE`."""
        new = [data for data in dict.fromkeys(samples) if data not in self._known]
        batches = [new[at : at + TOGETHER] for at in range(0, len(new), TOGETHER)]
        with ThreadPoolExecutor(self.workers) as pool:
            for batch, texts in zip(batches, pool.map(self._batch, batches), strict=True):
                self._known.update(zip(batch, texts, strict=True))
        return [self._known[data] for data in samples]

    def beliefs(self, samples: Sequence[bytes], said: Sequence[str]) -> list[float]:
        """Mean log-probability of the tokens of what was said; nan where it is not known.

        It differs between ways that give the same words, so it tells them apart with less chance.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._belief, samples, said))

    def close(self) -> None:
        """Free the model."""
        self._transcriber.close()

    def _batch(self, batch: Sequence[bytes]) -> list[str]:
        key = DeviceKey("benchmark", "codecs")
        form = AudioFormat(Codec.PCM_F32LE)
        utterances = tuple(
            Utterance(key, "", EncodedAudio(form, data), "en", None, EndReason.STOP, 0.0)
            for data in batch
        )
        texts = [""] * len(batch)
        work = Batch(0, utterances, may_retry=True, together=TOGETHER)
        for index, verdict in self._pipeline.run(work):
            if isinstance(verdict, InferenceResult) and verdict.transcript is not None:
                texts[index] = verdict.transcript.text
        return texts

    def _belief(self, data: bytes, said: str) -> float:
        samples = np.frombuffer(data, "<f4")
        span = find_speech(samples, self._gate) if said and data else None
        if span is None:
            return math.nan
        model = self._transcriber.loaded
        speech = Speech(samples[span.start : span.end], "en")
        states = model.states(speech.samples, model.calibration.first)
        prompt = model.tokenizer.prompt(speech, "en", timestamps=False)
        written = " " + said[0].upper() + said[1:].rstrip(".") + "."
        tokens = model.tokenizer.tokenizer.encode(written, add_special_tokens=False).ids
        (aligned,) = model.network.align(
            as_view(states[np.newaxis]), prompt, [tokens], len(states), median_filter_width=7
        )
        return float(np.mean(np.log(np.maximum(aligned.text_token_probs, LEAST))))
