"""A worker of a fleet: a model without doors. Creates its parts, starts, reloads and stops them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from stt_mqtt.app.book import BookKeeper
from stt_mqtt.app.fleet import CLOSE_TIMEOUT_S, connect, node_of
from stt_mqtt.app.names import NameSources
from stt_mqtt.app.own_model import OwnModel
from stt_mqtt.app.preparation import start_decoders
from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.app.systemd import Notifier
from stt_mqtt.app.trim import Trim
from stt_mqtt.config import Changes, Config, FleetConfig, compare, merge
from stt_mqtt.core.background import DaemonExecutor, in_background_until
from stt_mqtt.core.clock import SystemClock
from stt_mqtt.engine.ladder import TYPICAL_AUDIO_S
from stt_mqtt.engine.loading import (
    LoadedLadder,
    load_ladder,
    model_loader,
    supported_languages,
    timed,
)
from stt_mqtt.errors import ConfigError
from stt_mqtt.fleet.names import NamesHeard
from stt_mqtt.fleet.worker import FleetWorker
from stt_mqtt.observe import logs
from stt_mqtt.types import Verdict

log = logging.getLogger(__name__)

THREAD_CLOSE_TIMEOUT_S = 2.0
RESULTS_S = 5.0
"""Time for the last results after the grace time."""
CLOSING_S = 15.0
"""Longest time to stop, beside the grace time: results, connection, inference threads."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The models, and the codes of the languages that all of them understand.

    `costs`: seconds of a thread for a second of speech, by name of the rung.
    """

    ladder: LoadedLadder
    languages: frozenset[str]
    costs: dict[str, float]


class WorkerApplication:
    """Runs a worker in a running event loop, from start to stop.

    There is no broker. The names of the home are those of its own configuration and those that the
    gateways tell.
    """

    def __init__(
        self, source: ConfigLoader, config: Config, notifier: Notifier | None = None
    ) -> None:
        assert config.fleet is not None
        self._source = source
        self._config = config
        self._fleet: FleetConfig = config.fleet
        self._notifier = notifier or Notifier({})
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._model: OwnModel | None = None
        """None: it is still being loaded."""
        self._costs: dict[str, float] = {}
        self._rung = ""
        self.failed = False
        """Whether the worker stopped by itself because all inference threads were stuck."""

    def request_stop(self) -> None:
        """Have `run` stop the worker cleanly."""
        self._stop.set()

    async def run(self) -> bool:
        """Work until `request_stop`; return whether all threads ended in time.

        Raises a subclass of `SttMqttError` if the worker cannot start.
        """
        # Work that asyncio does in threads by itself, such as a name lookup, may hang.
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        config = self._config
        self._book = BookKeeper(config, _ignore)
        self.names = NameSources(config.phrases, self._book.set_names, _ignore)
        self._book.set_names(self.names.names)
        self._connection = connection = connect(self._fleet)
        self._worker = worker = FleetWorker(
            connection, self._fleet, config.limits, node_of(self._fleet), self._clock.now
        )
        self._trim = Trim(lambda: worker.scheduler.drained)
        self._decoders = start_decoders(config)
        works = [worker.run(), self._notifier.stay_alive()]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            connection.on_ready, connection.on_lost = worker.connected, worker.lost
            await connection.hear_workers(worker.heard)
            await connection.hear_names(NamesHeard(self.names.set_published).heard)
            await connection.open()
            loaded = await in_background_until(self._stop, self._load)
            if loaded is None:
                self._notifier.stopping(CLOSING_S)
                log.info("stopping before the model is loaded")
                return False
            self._model = model = self._started(loaded)
            tasks += [
                asyncio.create_task(model.ladder.run()),
                asyncio.create_task(self.names.follow()),
                asyncio.create_task(self._end_if_stuck()),
            ]
            self._tell_ready()
            await self._stop.wait()
            await self._shut_down()
        finally:
            for task in tasks:
                task.cancel()
            await self._book.close()
            await connection.close(CLOSE_TIMEOUT_S)
            clean = self._model is None or await self._model.close(THREAD_CLOSE_TIMEOUT_S)
            self._decoders.close()
        log.info("stopped")
        return clean

    def reload(self) -> Changes:
        """Reload the configuration. If it is invalid, raise `ConfigError` and change nothing.

        The phrase files are read in the background, and mistakes in them are logged.
        """
        self._notifier.reloading()
        try:
            return self._reload()
        finally:
            self._notifier.reloaded()

    def _reload(self) -> Changes:
        if self._model is None:
            raise ConfigError(["the model is not loaded yet, reload again when it is"])
        wanted = self._source.load()
        changes = compare(self._config, wanted)
        self._config = merge(self._config, wanted)
        logs.set_up(self._config.log)
        self._model.engine.reconfigure(self._config)
        self._book.reload(self._config)
        log.info("configuration reloaded: %s", ", ".join(changes.applied) or "nothing changed")
        if changes.needs_restart:
            log.warning("a restart is needed for %s", ", ".join(changes.needs_restart))
        return changes

    def _load(self) -> _Loaded:
        """Read the phrase book and load the models. Slow; runs in a thread."""
        languages = supported_languages(self._config)
        self._book.load(languages)
        start = load_ladder(self._config)
        costs = {
            one.name: one.cost.typical_s / TYPICAL_AUDIO_S
            for one in start.candidates
            if one.cost is not None
        }
        if not costs:
            # A ladder with one rung does not need its cost. The fleet does, and corrects it soon.
            typical_s = timed(start.transcriber, TYPICAL_AUDIO_S)
            costs[start.candidates[0].name] = typical_s / TYPICAL_AUDIO_S
        return _Loaded(start, languages, costs)

    def _started(self, loaded: _Loaded) -> OwnModel:
        """The model at work."""
        models, languages = model_loader(self._config), loaded.languages
        model = OwnModel.of(self._config, loaded.ladder, models, languages, self._clock)
        model.engine.book, model.engine.decoders = self._book.current, self._decoders
        model.ladder.elsewhere = lambda: self._worker.backlog
        self._costs, self._worker.languages = loaded.costs, languages
        self._use(model)
        model.attach(self._worker, self._verdict, self._finished, partial(self._use, model))
        self._trim.schedule()
        return model

    def _use(self, model: OwnModel) -> None:
        """Tell the fleet which rung is in use, if it is another one than before."""
        rung = model.engine.rung.name
        if rung != self._rung:
            self._rung = rung
            self._worker.use(model.engine.transcriber.model, self._costs[rung])

    def _verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        self._worker.verdict(batch, index, verdict)
        self._trim.schedule()

    def _finished(self, batch: int) -> None:
        self._worker.finished(batch)
        self._trim.schedule()

    def _tell_ready(self) -> None:
        assert self._model is not None
        model, fleet = self._model.engine.rung.model, self._fleet.name
        self._notifier.ready()
        self._notifier.status(f"working for the fleet {fleet} with model {model}")
        log.info("working for the fleet %s with model %s", fleet, model)
        if (failure := self._connection.failure) is not None:
            log.warning("no jobs yet: %s", failure)

    async def _end_if_stuck(self) -> None:
        await self._worker.stuck.wait()
        log.error("all inference threads hang: the worker ends, to be started afresh")
        self.failed = True
        self.request_stop()

    async def _shut_down(self) -> None:
        grace_s = self._config.service.shutdown_grace_s
        self._notifier.stopping(grace_s + CLOSING_S)
        log.info("stopping: the jobs that are being done get %g s, others do the rest", grace_s)
        await self._worker.leave(grace_s, RESULTS_S)


def _ignore() -> None:
    """Nobody is told of the phrase book of a worker."""
