"""The application: creates the service, starts, reloads and stops it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from stt_mqtt.app.book import BookKeeper
from stt_mqtt.app.callbacks import ApplicationCallbacks, SelfCheck, no_fleet
from stt_mqtt.app.doors import Doors
from stt_mqtt.app.fleet import (
    ApplicationSide,
    Connection,
    Gateway,
    connect,
    first_status,
    members_of,
)
from stt_mqtt.app.languages import check_languages
from stt_mqtt.app.names import NameSources
from stt_mqtt.app.own_model import OwnModel
from stt_mqtt.app.preparation import prepare, start_decoders, start_kept_audio
from stt_mqtt.app.sample import read_sample
from stt_mqtt.app.sources import ConfigLoader, resolve_password
from stt_mqtt.app.systemd import Notifier
from stt_mqtt.app.trim import Trim
from stt_mqtt.config import Changes, Config, compare, merge
from stt_mqtt.core.background import DaemonExecutor, in_background_until
from stt_mqtt.core.clock import SystemClock
from stt_mqtt.core.ownership import EVERYTHING
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.timer import DeadlineTimer
from stt_mqtt.engine.loading import LoadedLadder, load_ladder, model_loader, preferred_rung
from stt_mqtt.errors import ConfigError, RequestError, SttMqttError
from stt_mqtt.mqtt.json import Json
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe import logs
from stt_mqtt.observe.loop_lag import LoopLag
from stt_mqtt.phrases.names import HomeNames
from stt_mqtt.rungs import EngineFacts, RungStatus
from stt_mqtt.types import Verdict

log = logging.getLogger(__name__)

THREAD_CLOSE_TIMEOUT_S = 2.0
CLOSING_S = 15.0
"""Longest time to stop, beside the grace time: last messages, connections, inference threads."""

T = TypeVar("T")


class Application:
    """Runs the service in a running event loop, from start to stop."""

    def __init__(
        self,
        source: ConfigLoader,
        config: Config,
        notifier: Notifier | None = None,
        self_check: SelfCheck | None = None,
    ) -> None:
        self._source = source
        self._self_check = self_check
        self._notifier = notifier or Notifier({})
        self._config = config
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._serving = False
        self._doors: Doors
        self._lag = LoopLag()
        self._trim = Trim(lambda: self._service.scheduler.drained)
        self._fatal_error: SttMqttError | None = None
        self._model: OwnModel | None = None
        """None: it is still being loaded, or this is a gateway of a fleet."""
        self._fleet: Gateway | None = None
        """None: this process works alone."""
        self._told_phrases: Json | None = None
        """What `info` said of the phrase book the last time."""
        self.online = asyncio.Event()
        """Set when the service has published that it is online."""
        self.failed = False
        """Whether the service stopped by itself because all inference threads were stuck."""

    def request_stop(self) -> None:
        """Have `run` stop the service cleanly."""
        self._stop.set()

    async def run(self) -> bool:
        """Serve until `request_stop`; return whether all threads ended in time.

        Raises a subclass of `SttMqttError` if the service cannot start.
        """
        # Work that asyncio does in threads by itself, such as a name lookup, may hang.
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        config = self._config
        self._book = BookKeeper(config, self._phrases_changed)
        self.names = NameSources(config.phrases, self._set_names, self._phrases_changed)
        self._book.set_names(self.names.names)
        password = resolve_password(config.mqtt)
        connection = None if config.fleet is None else connect(config.fleet)
        languages = await self._unless_stopped(partial(prepare, config, password, self._book))
        if languages is None:
            return False
        _warn(check_languages(config, languages))
        self._languages = languages
        self._build(config, password, connection)
        measuring = asyncio.create_task(self._lag.measure())
        try:
            await self._join_fleet(connection)
            await self._doors.open_early()
            if config.has_model:
                start = await self._unless_stopped(partial(load_ladder, config))
                if start is None:
                    return False
                self._model = self._started(start)
            return await self._serve()
        finally:
            # After a failed start there may be open utterances. Otherwise there are none left.
            self._service.shut_down()
            self._service.abandon()
            self._kept_audio.close(THREAD_CLOSE_TIMEOUT_S)
            self._timer.cancel()
            measuring.cancel()
            await self._book.close()
            if self._fleet is not None:
                await self._fleet.close()
            await self._doors.close()
            self._decoders.close()

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
        if not self._serving:
            raise ConfigError(["the model is not loaded yet, reload again when it is"])
        wanted = self._source.load()
        changes = compare(self._config, wanted)
        merged = merge(self._config, wanted)
        doubts = check_languages(merged, self._languages)
        self._config = merged
        logs.set_up(self._config.log)
        if self._model is not None:
            self._model.engine.reconfigure(self._config)
        self._book.reload(self._config)
        self._service.reconfigure(self._config)
        self._kept_audio.reconfigure(self._config.keep_audio)
        self._doors.reconfigured()
        self._timer.arm()
        _warn(doubts)
        log.info("configuration reloaded: %s", ", ".join(changes.applied) or "nothing changed")
        if changes.needs_restart:
            log.warning("a restart is needed for %s", ", ".join(changes.needs_restart))
        return changes

    def _build(self, config: Config, password: str | None, connection: Connection | None) -> None:
        """Create everything except the engine and the fleet."""
        preferred = preferred_rung(config).name
        status = RungStatus(config.rungs, config.ladder.rung, preferred, "the model is loading")
        self._decoders = start_decoders(config)
        facts = EngineFacts(self._languages, status if config.has_model else first_status())
        self._service = SpeechService(config, facts, self._clock, decoders=self._decoders)
        self._service.probe.recording = read_sample()
        self._service.keeper = self._kept_audio = start_kept_audio(config, self._decoders)
        checked = (self._source, self._service, lambda: self._doors.is_connected, no_fleet)
        callbacks = ApplicationCallbacks(
            self.reload,
            self._hold_rung,
            self._arm,
            self.request_stop,
            self._stop_with_error,
            self.names.set_published,
            self._phrases_info,
            self._phrases_status,
            self.online,
            self._lag,
            self._self_check and partial(self._self_check, *checked),
            no_fleet,
        )
        self._members = own = members_of(config.fleet, connection, self._clock)
        self._doors = Doors(self._service, self._clock, password, callbacks, own or EVERYTHING)
        loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(
            self._clock.now, loop.call_later, self._deadline, self._tick, self._doors.inbox
        )

    async def _unless_stopped(self, call: Callable[[], T]) -> T | None:
        """Run a slow step of the start in a thread. None: a stop was requested before it ended."""
        result = await in_background_until(self._stop, call)
        if result is None:
            self._notifier.stopping(CLOSING_S)
            log.info("stopping before the model is loaded")
        return result

    async def _join_fleet(self, connection: Connection | None) -> None:
        if connection is not None and self._members is not None:
            changed, arm = self._doors.publish_info, self._arm
            callbacks = ApplicationSide(self._on_verdict, self._on_finished, changed, arm)
            self._fleet = Gateway(connection, self._service, self._clock, callbacks, self._members)
            self._fleet.names.set(self.names.names)
            self._fleet.share(self._doors, self._stop_with_error)
            await self._fleet.open()

    def _started(self, start: LoadedLadder) -> OwnModel:
        """The model at work."""
        models = model_loader(self._config)
        model = OwnModel.of(self._config, start, models, self._languages, self._clock)
        model.engine.book, model.engine.decoders = self._book.current, self._decoders
        changed = self._doors.publish_info
        model.attach(self._service, self._on_verdict, self._on_finished, changed)
        return model

    async def _serve(self) -> bool:
        model = self._model
        self._serving = True
        self._arm()
        self._doors.connect()
        self._trim.schedule()
        self._notifier.ready()
        serving = "a fleet" if model is None else f"model {model.engine.rung.model}"
        self._notifier.status(f"serving with {serving}")
        works = [
            self._notifier.stay_alive(),
            self._doors.publish_health_repeatedly(),
            self.names.follow(),
        ]
        tasks = [asyncio.create_task(work) for work in works]
        if model is not None:
            tasks.append(asyncio.create_task(model.ladder.run()))
        try:
            await self._stop.wait()
            if self._fatal_error is not None:
                raise self._fatal_error
            await self._shut_down()
        finally:
            for task in tasks:
                task.cancel()
            clean = model is None or await model.close(THREAD_CLOSE_TIMEOUT_S)
        log.info("stopped")
        return clean

    # On the event loop ---------------------------------------------------------------------

    def _stop_with_error(self, error: SttMqttError) -> None:
        """Stop without publishing anything: the topics belong to another service."""
        self._fatal_error = error
        self.request_stop()

    def _set_names(self, names: HomeNames) -> None:
        self._book.set_names(names)
        if self._fleet is not None:
            self._fleet.names.set(names)

    def _phrases_status(self) -> Json | None:
        book = self._book.info
        return None if book is None else {**book, "names": self.names.info}

    def _phrases_info(self) -> Json | None:
        self._told_phrases = self._phrases_status()
        return self._told_phrases

    def _phrases_changed(self) -> None:
        if self._phrases_status() != self._told_phrases:
            self._doors.publish_info()

    def _hold_rung(self, mode: str) -> None:
        if self._model is None:
            raise RequestError("this gateway has no model: choose the rung at the workers")
        self._model.ladder.set_mode(mode)

    @property
    def fleet_status(self) -> FleetStatus | None:
        """The fleet as this process sees it; None: it works alone."""
        return None if self._fleet is None else self._fleet.status

    def _arm(self) -> None:
        self._timer.arm()

    def _deadline(self) -> float | None:
        fleet = None if self._fleet is None else self._fleet.deadline
        all_of_them = (self._service.deadline, self._doors.deadline, fleet)
        return min((at for at in all_of_them if at is not None), default=None)

    def _on_verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        self._service.verdict(batch, index, verdict)
        self._timer.arm()
        self._note_drained()
        self._trim.schedule()

    def _on_finished(self, batch: int) -> None:
        self._service.finished(batch)
        self._timer.arm()
        self._note_drained()
        self._trim.schedule()

    def _tick(self) -> None:
        if self._fleet is not None:
            self._fleet.tick()
        self._service.tick()
        self._doors.tick()
        self._note_drained()
        if self._service.scheduler.all_stuck and not self.failed:
            log.error("all inference threads hang: the service ends, to be started afresh")
            self.failed = True
            self.request_stop()

    def _note_drained(self) -> None:
        scheduler = self._service.scheduler
        # No thread can answer what is left where all of them hang.
        if scheduler.drained or scheduler.all_stuck:
            self._drained.set()

    async def _shut_down(self) -> None:
        grace_s = self._config.service.shutdown_grace_s
        self._notifier.stopping(2 * grace_s + CLOSING_S)
        if self._fleet is not None:
            await self._fleet.leave(grace_s)
        log.info("stopping: what is still to be transcribed gets %g s", grace_s)
        self._doors.begin_shutdown()
        self._service.shut_down()
        self._drained.clear()
        self._note_drained()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._drained.wait()
        self._doors.handle_remaining()
        self._service.abandon()
        await self._doors.send_last_messages()


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        log.warning("%s", sentence)
