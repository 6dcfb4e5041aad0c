"""Changes the rung with the load: loads another model beside the present one, then swaps them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Protocol

from stt_mqtt.config import AUTO, Config
from stt_mqtt.core.background import in_background
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.scheduler import Scheduler
from stt_mqtt.engine.ladder import Choice, LadderState, Load, Policy, choose, shares_model
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import free_mb
from stt_mqtt.engine.runner import Engine
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import ModelError, NotEnoughMemoryError, RequestError
from stt_mqtt.observe.metrics import Metrics
from stt_mqtt.rungs import Rung, RungStatus

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
ASKED_FOR = "asked for"


class Climber(Protocol):
    """What is moved between the rungs: the speech service, or a worker of a fleet."""

    scheduler: Scheduler
    metrics: Metrics
    rung_status: RungStatus


def _nothing() -> tuple[int, float]:
    return 0, 0.0


class LadderRunner:
    """Moves the service between its rungs. Runs on the event loop."""

    def __init__(
        self, config: Config, start: LoadedLadder, models: ModelLoader, clock: Clock
    ) -> None:
        self._candidates = list(start.candidates)
        self._rungs = config.rungs
        self._mode = config.ladder.rung
        self._policy = Policy(config.ladder.promised_wait_ms / 1000, config.ladder.min_stay_s)
        self._models = models
        self._clock = clock
        self._state = LadderState(start.index, clock.now())
        self._reason = _first_reason(self._mode, len(self._rungs))
        self._woken = asyncio.Event()
        self._retry_at = -inf
        self._broken = False
        self.loading = False
        """Whether a thread loads a model. Loading cannot be interrupted."""
        self.elsewhere: Callable[[], tuple[int, float]] = _nothing
        """Utterances that wait for this machine in other processes, and their seconds of audio."""

    def attach(self, engine: Engine, service: Climber, changed: Callable[[], None]) -> None:
        """Set the engine and the service to move, and the callback after a change."""
        self._engine, self._service, self._changed = engine, service, changed

    @property
    def status(self) -> RungStatus:
        """The current state of the ladder."""
        return RungStatus(
            self._rungs, self._mode, self._rungs[self._state.index].name, self._reason
        )

    def set_mode(self, mode: str) -> None:
        """Hold the rung called `mode`, or with `auto` let the load choose.

        Raises RequestError for a rung that does not exist or cannot be used.
        """
        if self._broken:
            raise RequestError("the ladder broke and stays where it is, see the log")
        reason = "chosen by load"
        if mode != AUTO:
            index = self._index_of(mode)
            candidate = self._candidates[index]
            if candidate.cost is None and len(self._rungs) > 1:
                raise RequestError(f"rung {mode} cannot be used: {candidate.reason}")
            moves = index != self._state.index
            reason = f"{ASKED_FOR}, as soon as it is loaded" if moves else ASKED_FOR
        self._mode = mode
        self._reason = reason
        self._retry_at = -inf
        self._tell_status()
        self._woken.set()

    async def run(self) -> None:
        """Check the load every second until cancelled."""
        while len(self._rungs) > 1:
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                await self.step()
            except Exception:
                log.exception("the ladder broke and stays where it is, please report this")
                self._broken = True
                self._reason = "the ladder broke, see the log"
                self._tell_status()
                return

    async def step(self) -> None:
        """Move to another rung if the load or the held rung requires it."""
        choice = self._wanted()
        if choice.index == self._state.index:
            return
        rung, mode = self._rungs[choice.index], self._mode
        self.loading = True
        try:
            working = in_background(partial(self._prepared, rung))
        except RuntimeError as error:
            self.loading = False
            reason = f"{error} to load it; raise the limits of memory or tasks of the service"
            self._postpone(rung, NotEnoughMemoryError(reason))
            return
        try:
            transcriber, max_batch = await working
        except NotEnoughMemoryError as error:
            self._postpone(rung, error)
            return
        except ModelError as error:
            self._give_up(choice.index, error)
            return
        if self._mode != mode:
            # The mode was changed while the model was loading.
            if transcriber.loaded is not self._engine.transcriber.loaded:
                transcriber.close()
            self._woken.set()
            return
        self._engine.exchange(rung, transcriber)
        self._service.scheduler.max_batch = max_batch
        self._state = self._state.after(choice, self._clock.now(), self._policy)
        self._service.metrics.rung_changes += 1
        self._reason = choice.reason
        log.info("rung %s: %s", rung.name, choice.reason)
        self._tell_status()

    def _postpone(self, rung: Rung, error: NotEnoughMemoryError) -> None:
        """Try the rung again later: there may be enough memory then."""
        self._retry_at = self._clock.now() + self._policy.min_stay_s
        self._reason = f"{rung.name} has to wait: {error}"
        log.warning("staying on %s, %s", self.status.active, self._reason)
        self._tell_status()

    def _give_up(self, index: int, error: ModelError) -> None:
        """Do not try a rung again that cannot be loaded. The load chooses among the others."""
        name = self._rungs[index].name
        log.warning(
            "staying on %s, rung %s cannot be used until a restart: %s",
            self.status.active,
            name,
            error,
        )
        self._candidates[index] = replace(self._candidates[index], cost=None, reason=str(error))
        # The mode may have been changed while the model was loading.
        if self._mode in (AUTO, name):
            self._mode = AUTO
            self._reason = f"{name} cannot be used: {error}"
        self._tell_status()

    def _wanted(self) -> Choice:
        now = self._clock.now()
        if now < self._retry_at:
            return Choice(self._state.index, self._reason)
        if self._mode != AUTO:
            return Choice(self._index_of(self._mode), ASKED_FOR)
        scheduler = self._service.scheduler
        waiting, waiting_s = self.elsewhere()
        load = Load(
            scheduler.arrivals.read(now),
            scheduler.queue.jobs + waiting,
            scheduler.queue.audio_s + waiting_s,
            self._models.parallelism.workers,
            free_mb(),
        )
        return choose(self._candidates, self._policy, self._state, load, now)

    def _prepared(self, rung: Rung) -> tuple[WhisperTranscriber, int]:
        """The model of a rung, loaded if needed, and its largest batch. Runs in a thread."""
        try:
            if shares_model(self._rungs[self._state.index], rung):
                transcriber = self._engine.transcriber.with_beam(rung.beam_size)
            else:
                transcriber = self._models.load_beside(rung)
            return transcriber, self._models.largest_batch(rung)
        finally:
            self.loading = False

    def _index_of(self, name: str) -> int:
        for index, rung in enumerate(self._rungs):
            if rung.name == name:
                return index
        known = ", ".join([AUTO, *(rung.name for rung in self._rungs)])
        raise RequestError(f"no rung is called {name[:64]!r}: {known}")

    def _tell_status(self) -> None:
        self._service.rung_status = self.status
        self._changed()


def _first_reason(mode: str, rungs: int) -> str:
    if rungs == 1:
        return "the only rung"
    return "the start" if mode == AUTO else ASKED_FOR
