"""The inference threads. They take utterances, run the pipeline and hand back what was found."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.types import Heard, Utterance

log = logging.getLogger(__name__)

Verdict: TypeAlias = Heard | UtteranceError
"""What an inference thread answers: what it found, or why it could not."""

Work: TypeAlias = Callable[[Utterance], Heard]


class InferencePool:
    """A fixed number of daemon threads.

    `deliver(job, verdict)` is called in an inference thread, once for every `submit`.
    """

    def __init__(self, work: Work, workers: int, deliver: Callable[[int, Verdict], None]) -> None:
        self._work = work
        self._deliver = deliver
        self._jobs: SimpleQueue[tuple[int, Utterance] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"inference-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: int, utterance: Utterance) -> None:
        """Have an utterance transcribed; `job` comes back with the verdict."""
        self._jobs.put((job, utterance))

    def replace_work(self, work: Work) -> None:
        """Use another pipeline from the next utterance on."""
        self._work = work

    def close(self, timeout_s: float) -> bool:
        """End the threads; return whether all ended within the time."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, utterance = item
            del item
            self._deliver(job, self._judge(utterance))
            del utterance

    def _judge(self, utterance: Utterance) -> Verdict:
        try:
            return self._work(utterance)
        except UtteranceError as error:
            return error
        except Exception as error:
            log.exception(
                "inference failed unexpectedly",
                extra={"device": str(utterance.key), "utterance": utterance.id},
            )
            return InferenceFailedError(f"unexpected {type(error).__name__}, see the log")
