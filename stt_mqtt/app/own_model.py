"""The model of this process: its inference threads, and the ladder that exchanges it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from stt_mqtt.config import Config
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.scaling import Climber, LadderRunner
from stt_mqtt.core.scheduler import Capacity, Pool
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.runner import Engine, OnFinished, OnVerdict
from stt_mqtt.engine.voice import VoiceDetector


class Transcribing(Climber, Protocol):
    """What a model works for: the speech service, or a worker of a fleet."""

    def attach_pool(self, pool: Pool, capacity: Capacity) -> None:
        """The model is loaded: start to transcribe."""


@dataclass(frozen=True, slots=True)
class OwnModel:
    """An engine and the ladder that moves it. Call the methods on the event loop."""

    engine: Engine
    ladder: LadderRunner
    models: ModelLoader

    @classmethod
    def of(
        cls,
        config: Config,
        start: LoadedLadder,
        models: ModelLoader,
        languages: frozenset[str],
        clock: Clock,
    ) -> OwnModel:
        """The model with which the ladder starts. `languages`: codes of the allowed ones."""
        rung = config.rungs[start.index]
        engine = Engine(config, rung, start.transcriber, languages, VoiceDetector.load())
        return cls(engine, LadderRunner(config, start, models, clock), models)

    def attach(
        self,
        service: Transcribing,
        verdict: OnVerdict,
        finished: OnFinished,
        changed: Callable[[], None],
    ) -> None:
        """Start the threads and let the service use them.

        `verdict` and `finished`: see `InferencePool`; they are called on the event loop. `changed`:
        called after a change of the rung.
        """
        self.ladder.attach(self.engine, service, changed)
        service.rung_status = self.ladder.status
        workers = self.models.parallelism.workers
        loop = asyncio.get_running_loop()
        pool = self.engine.start(
            workers,
            verdict=partial(_call_soon, loop, verdict),
            finished=partial(_call_soon, loop, finished),
        )
        largest = self.models.largest_batch(self.engine.rung)
        service.attach_pool(pool, Capacity(workers, largest))

    async def close(self, timeout_s: float) -> bool:
        """Stop the threads and free the model; return whether every thread ended in time."""
        clean = await asyncio.to_thread(self.engine.close, timeout_s)
        return clean and not self.ladder.loading


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    """Call a function on the event loop, from an inference thread."""
    # The loop may be closed. The utterance was then answered with `shutting_down`.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)
