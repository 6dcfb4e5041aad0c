"""The inference threads and the model that they use, which may be exchanged while they work."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

from stt_mqtt.config import Config
from stt_mqtt.engine.loaded import LoadedModel
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.pool import Delivery, InferencePool
from stt_mqtt.engine.recognizer import Recognizer, VoiceDetector
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.types import Rung


class Engine:
    """Runs batches on the rung in use. To be called from one thread.

    A model that was exchanged is closed when its last batch has ended. `languages` are those that
    may be spoken, whichever rung is in use.
    """

    def __init__(
        self,
        config: Config,
        rung: Rung,
        transcriber: WhisperTranscriber,
        languages: frozenset[str],
        voice: VoiceDetector,
    ) -> None:
        self._config = config
        self._rung = rung
        self._transcriber = transcriber
        self._languages = languages
        self._voice = voice
        self._lock = threading.Lock()
        self._users: Counter[LoadedModel] = Counter({transcriber.loaded: 1})
        """Pipelines that may still use a model; `_lock` guards it."""

    def start(self, workers: int, delivery: Delivery) -> InferencePool:
        """The threads, ready for batches."""
        self._pool = InferencePool(self._pipeline().run, workers, delivery)
        return self._pool

    @property
    def rung(self) -> Rung:
        """The rung in use."""
        return self._rung

    @property
    def transcriber(self) -> WhisperTranscriber:
        """The model in use, with the beam of its rung."""
        return self._transcriber

    def reconfigure(self, config: Config) -> None:
        """Take a new configuration from the next batch on."""
        self._config = config
        self._install(self._rung, self._transcriber)

    def exchange(self, rung: Rung, transcriber: WhisperTranscriber) -> None:
        """Use another rung from the next batch on, without a pause."""
        self._install(rung, transcriber)

    def close(self, timeout_s: float) -> bool:
        """End the threads and free the model; return whether all threads ended in time."""
        clean = self._pool.close(timeout_s)
        self._transcriber.close()
        return clean

    def _install(self, rung: Rung, transcriber: WhisperTranscriber) -> None:
        before = self._transcriber.loaded
        with self._lock:
            self._users[transcriber.loaded] += 1
        self._rung, self._transcriber = rung, transcriber
        self._pool.replace_work(self._pipeline().run, partial(self._leave, before))

    def _leave(self, model: LoadedModel) -> None:
        """A pipeline has ended its last batch; perhaps in an inference thread."""
        with self._lock:
            self._users[model] -= 1
            unused = self._users[model] == 0
            if unused:
                del self._users[model]
        if unused:
            model.close()

    def _pipeline(self) -> Pipeline:
        listener = Recognizer(self._transcriber, self._voice)
        return Pipeline(
            listener,
            self._config.gate,
            self._config.limits.max_decoded_s,
            self._rung.name,
            self._languages,
        )
