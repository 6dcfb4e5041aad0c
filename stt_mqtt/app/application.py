"""The application: creates the service, starts, reloads and stops it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from stt_mqtt.app.book import BookKeeper
from stt_mqtt.app.callbacks import ApplicationCallbacks, SelfCheck, no_fleet
from stt_mqtt.app.doors import Doors
from stt_mqtt.app.languages import check_languages
from stt_mqtt.app.names import NameSources
from stt_mqtt.app.preparation import prepare, start_decoders, start_kept_audio
from stt_mqtt.app.sample import read_sample
from stt_mqtt.app.sources import ConfigLoader, resolve_password
from stt_mqtt.app.systemd import Notifier
from stt_mqtt.config import Changes, Config, compare, merge
from stt_mqtt.core.background import DaemonExecutor, in_background
from stt_mqtt.core.clock import SystemClock
from stt_mqtt.core.scaling import LadderRunner
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.timer import DeadlineTimer
from stt_mqtt.engine.loading import LoadedLadder, load_ladder, model_loader, preferred_rung
from stt_mqtt.engine.resources import give_back_freed_memory
from stt_mqtt.engine.runner import Engine
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import ConfigError, SttMqttError
from stt_mqtt.mqtt.json import Json
from stt_mqtt.observe import logs
from stt_mqtt.observe.loop_lag import LoopLag
from stt_mqtt.rungs import EngineFacts, RungStatus
from stt_mqtt.types import Verdict

log = logging.getLogger(__name__)

IDLE_BEFORE_TRIM_S = 20.0
"""Idle time of the model before its working memory is returned to the system."""
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
        self._lag = LoopLag()
        self._trim: asyncio.TimerHandle | None = None
        self._fatal_error: SttMqttError | None = None
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
        self.names = NameSources(config.phrases, self._book.set_names, self._phrases_changed)
        self._book.set_names(self.names.names)
        password = resolve_password(config.mqtt)
        languages = await self._unless_stopped(partial(prepare, config, password, self._book))
        if languages is None:
            return False
        _warn(check_languages(config, languages))
        self._build(config, password, languages)
        measuring = asyncio.create_task(self._lag.measure())
        try:
            await self._doors.open_early()
            start = await self._unless_stopped(partial(load_ladder, config))
            return start is not None and await self._serve(start, languages)
        finally:
            # After a failed start there may be open utterances. Otherwise there are none left.
            self._service.shut_down()
            self._service.abandon()
            self._kept_audio.close(THREAD_CLOSE_TIMEOUT_S)
            self._timer.cancel()
            measuring.cancel()
            await self._book.close()
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
        doubts = check_languages(merged, self._service.languages)
        self._config = merged
        logs.set_up(self._config.log)
        self._engine.reconfigure(self._config)
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

    def _build(self, config: Config, password: str | None, languages: frozenset[str]) -> None:
        """Create everything except the engine."""
        status = RungStatus(
            config.rungs, config.ladder.rung, preferred_rung(config).name, "the model is loading"
        )
        self._decoders = start_decoders(config)
        facts = EngineFacts(languages, status)
        self._service = SpeechService(config, facts, self._clock, decoders=self._decoders)
        self._service.probe.recording = read_sample()
        self._service.keeper = self._kept_audio = start_kept_audio(config, self._decoders)
        checked = (self._source, self._service, self._is_connected, no_fleet)
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
        self._doors = Doors(self._service, self._clock, password, callbacks)
        loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(
            self._clock.now, loop.call_later, self._deadline, self._tick, self._doors.inbox
        )

    async def _unless_stopped(self, call: Callable[[], T]) -> T | None:
        """Run a slow step of the start in a thread. None: a stop was requested before it ended."""
        working = in_background(call)
        stopping = asyncio.ensure_future(self._stop.wait())
        either: set[asyncio.Future[Any]] = {working, stopping}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        working.cancel()
        self._notifier.stopping(CLOSING_S)
        log.info("stopping before the model is loaded")
        return None

    async def _serve(self, start: LoadedLadder, languages: frozenset[str]) -> bool:
        config = self._config
        rung = config.rungs[start.index]
        self._engine = Engine(config, rung, start.transcriber, languages, VoiceDetector.load())
        self._engine.book = self._book.current
        self._engine.decoders = self._decoders
        models = model_loader(config)
        workers = models.parallelism.workers
        self._ladder = LadderRunner(config, start, models, self._clock)
        self._ladder.attach(self._engine, self._service, self._doors.publish_info)
        self._service.rung_status = self._ladder.status
        loop = asyncio.get_running_loop()
        pool = self._engine.start(
            workers,
            verdict=partial(_call_soon, loop, self._on_verdict),
            finished=partial(_call_soon, loop, self._on_finished),
        )
        self._service.attach_pool(pool, Capacity(workers, models.largest_batch(rung)))
        self._serving = True
        self._arm()
        self._doors.connect()
        self._schedule_trim()
        self._notifier.ready()
        self._notifier.status(f"serving with model {rung.model}")
        tasks = [
            asyncio.create_task(self._stay_alive()),
            asyncio.create_task(self._publish_health()),
            asyncio.create_task(self._ladder.run()),
            asyncio.create_task(self.names.follow()),
        ]
        try:
            await self._stop.wait()
            if self._fatal_error is not None:
                raise self._fatal_error
            await self._shut_down()
        finally:
            for task in tasks:
                task.cancel()
            clean = await asyncio.to_thread(self._engine.close, THREAD_CLOSE_TIMEOUT_S)
        log.info("stopped")
        return clean and not self._ladder.loading

    # On the event loop ---------------------------------------------------------------------

    def _stop_with_error(self, error: SttMqttError) -> None:
        """Stop without publishing anything: the topics belong to another service."""
        self._fatal_error = error
        self.request_stop()

    def _phrases_status(self) -> Json | None:
        book = self._book.info
        return None if book is None else {**book, "names": self.names.info}

    def _phrases_info(self) -> Json | None:
        self._told_phrases = self._phrases_status()
        return self._told_phrases

    def _phrases_changed(self) -> None:
        if self._phrases_status() != self._told_phrases:
            self._doors.publish_info()

    def _is_connected(self) -> bool:
        return self._doors.is_connected

    def _hold_rung(self, mode: str) -> None:
        self._ladder.set_mode(mode)

    def _arm(self) -> None:
        self._timer.arm()

    def _deadline(self) -> float | None:
        both = (self._service.deadline, self._doors.deadline)
        return min((at for at in both if at is not None), default=None)

    def _on_verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        self._service.verdict(batch, index, verdict)
        self._timer.arm()
        self._note_drained()
        self._schedule_trim()

    def _on_finished(self, batch: int) -> None:
        self._service.finished(batch)
        self._timer.arm()
        self._note_drained()
        self._schedule_trim()

    def _tick(self) -> None:
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

    def _schedule_trim(self) -> None:
        """Return memory to the system when the model has been idle for a while."""
        if self._trim is not None:
            self._trim.cancel()
        loop = asyncio.get_running_loop()
        self._trim = loop.call_later(IDLE_BEFORE_TRIM_S, self._give_back_memory)

    def _give_back_memory(self) -> None:
        if self._service.scheduler.drained:
            give_back_freed_memory()

    async def _stay_alive(self) -> None:
        """Feed the watchdog of the service manager while the event loop runs."""
        interval_s = self._notifier.watchdog_interval_s
        while interval_s is not None:
            self._notifier.alive()
            await asyncio.sleep(interval_s)

    async def _publish_health(self) -> None:
        while True:
            await asyncio.sleep(self._config.service.health_interval_s)
            try:
                self._doors.publish_health()
            except Exception:
                log.exception("the health message could not be made, please report this")

    async def _shut_down(self) -> None:
        grace_s = self._config.service.shutdown_grace_s
        self._notifier.stopping(grace_s + CLOSING_S)
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


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    """Call a function on the event loop, from an inference thread."""
    # The loop may be closed. The utterance was then answered with `shutting_down`.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        log.warning("%s", sentence)
