"""The satellite as a program: a thread for the source, one for the network, and one loop."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.audio.activity import Activity
from stt_mqtt.config import MqttConfig, SatelliteConfig
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound, Will
from stt_mqtt.satellite.answers import ANSWER_TIMEOUT_S, ServiceAnswer
from stt_mqtt.satellite.control import SatelliteTopics, one_line
from stt_mqtt.satellite.satellite import Satellite
from stt_mqtt.satellite.segmenter import ListenState
from stt_mqtt.satellite.sleep import SleepDetector
from stt_mqtt.satellite.source_reader import Mailbox, SourceReader
from stt_mqtt.satellite.sources import OpenSource
from stt_mqtt.satellite.spool import DroppedUtterances

TICK_S = 0.1
CONNECT_TIMEOUT_S = 15.0
OVERDUE_S = 15.0
FLUSH_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 2.0
STOPPED = "stopped"
"""Reason in the last state of a satellite that was stopped in good order."""
KEEPALIVE_S = 10
"""Short enough to notice a dead connection before speech gets too old."""
MAX_HINTS = 20
MAX_UNANSWERED = 2
"""Utterances of a `fast` recording that may wait for answers, so that no queue overflows."""

log = logging.getLogger(__name__)


class Display(Protocol):
    """Shows levels and answers to the person at the satellite."""

    def level(self, activity: Activity, satellite: Satellite, now: float) -> None:
        """A frame was processed; `now` is monotonic seconds."""

    def answer(self, answer: ServiceAnswer) -> None:
        """An answer came in."""


@dataclass(frozen=True, slots=True)
class SatelliteSettings:
    """Settings of one run.

    `recording`: begin only when the broker is connected. `fast`: read as fast as answers come in.
    """

    config: SatelliteConfig
    topics: SatelliteTopics
    mqtt: MqttConfig
    password: str | None
    recording: bool = False
    fast: bool = False


class HintLog:
    """Logs each hint of the service about the audio of this satellite once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def add(self, answer: ServiceAnswer) -> None:
        """Log the hint of an answer, if it has a new one."""
        hint = answer.hint
        if not hint or not answer.ours or hint in self._logged or len(self._logged) >= MAX_HINTS:
            return
        self._logged.add(hint)
        log.warning("the service says about what this satellite sends: %s", one_line(hint, 300))


class SatelliteProgram(ClientListener):
    """One run of a satellite. It is the listener of its MQTT client."""

    def __init__(
        self, settings: SatelliteSettings, open_source: OpenSource, display: Display
    ) -> None:
        """Opens the source. Raises `SttMqttError` if that fails, but not for a microphone."""
        self._settings = settings
        self._display = display
        self._mailbox = Mailbox()
        self._reader = SourceReader(open_source, self._mailbox.put_frame, self._source_lost)
        self._stopping = threading.Event()
        self._overdue = False
        self._overflowed = False
        self._hints = HintLog()
        self._sleep = SleepDetector()
        self._client = MqttClient(_client_options(settings))
        self._satellite = Satellite(settings.config, settings.topics, self._client.publish)
        self._client.subscribe(self._satellite.filters)

    def run(self) -> bool:
        """Run until `stop` is called, or the source has ended and every utterance is answered.

        Returns False if the source ended by itself and something was not sent or not answered.
        Raises the failure of the source, and `BrokerError` if a recording finds no broker.
        """
        self._client.start(self)
        try:
            if self._settings.recording:
                self._await_broker()
            self._satellite.source_opened(time.monotonic())
            self._reader.start()
            self._listen()
            return self._finish()
        finally:
            self._mailbox.close()
            failure = self._reader.failure
            reason = STOPPED if failure is None else str(failure)
            for farewell in self._satellite.farewell(reason, time.monotonic()):
                self._client.publish(farewell)
            self._client.flush(FLUSH_TIMEOUT_S)
            self._client.stop(FLUSH_TIMEOUT_S)
            self._reader.close(CLOSE_TIMEOUT_S)

    def stop(self) -> None:
        """End the run soon. May be called from a signal handler and from any thread."""
        self._stopping.set()

    def press(self) -> None:
        """The key to talk was pressed or released. May be called from any thread."""
        self._mailbox.post(self._press)

    # The loop --------------------------------------------------------------------------------

    def _await_broker(self) -> None:
        give_up_at = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._satellite.online and not self._stopping.is_set():
            self._turn(frames=False)
            if time.monotonic() >= give_up_at:
                raise BrokerError(
                    f"not connected in {CONNECT_TIMEOUT_S:g} s; the log above says why"
                )

    def _listen(self) -> None:
        while not self._stopping.is_set() and not (
            self._reader.ended and not self._mailbox.has_frames
        ):
            unanswered = self._satellite.answers.outstanding
            # A pause would end an open utterance.
            ahead = self._settings.fast and not self._satellite.speaking
            self._turn(frames=not (ahead and unanswered >= MAX_UNANSWERED))
        if self._reader.failure is not None:
            raise self._reader.failure

    def _finish(self) -> bool:
        satellite, answers = self._satellite, self._satellite.answers
        satellite.finish(time.monotonic())
        stopped = self._stopping.is_set()

        def done() -> bool:
            return not satellite.uplink.waiting and (stopped or not answers.outstanding)

        give_up_at = time.monotonic() + (FLUSH_TIMEOUT_S if stopped else ANSWER_TIMEOUT_S)
        while not done() and time.monotonic() < give_up_at:
            self._turn(frames=False)
            if self._stopping.is_set() and not stopped:
                break
        lost = satellite.uplink.waiting + satellite.uplink.dropped + answers.unanswered
        return stopped or (lost == 0 and not answers.outstanding)

    def _turn(self, frames: bool) -> None:
        item = self._mailbox.take(TICK_S, frames)
        now = time.monotonic()
        if self._sleep.passed():
            log.warning("this machine slept: what was said before is not sent any more")
            self._satellite.slept(now)
        if not frames:
            self._satellite.source_waits()
        if isinstance(item, bytes):
            activity = self._satellite.process(item, now)
            self._display.level(activity, self._satellite, now)
        elif item is not None:
            item()
        dropped = self._satellite.tick(now)
        if dropped is not None:
            _warn_of_dropped(dropped)
        self._warn_if_unanswered(now)

    def _warn_if_unanswered(self, now: float) -> None:
        """Warn once if the broker has taken an utterance and no answer comes in."""
        since = self._satellite.answers.waiting_since
        overdue = self._satellite.online and since is not None and now - since >= OVERDUE_S
        if overdue and not self._overdue:
            log.warning(
                "no result on %s in %g s: does stt-mqtt run, with this broker and base topic, and "
                "may this user read the topic?",
                self._settings.topics.topic("result"),
                OVERDUE_S,
            )
        self._overdue = overdue

    def _receive(self, message: Inbound) -> None:
        answer = self._satellite.receive(message, time.monotonic())
        if answer is not None:
            self._hints.add(answer)
            self._display.answer(answer)

    def _press(self) -> None:
        self._satellite.listen(
            self._satellite.listen_state is not ListenState.HELD, time.monotonic()
        )

    # The thread of the source ----------------------------------------------------------------

    def _source_lost(self, reason: str) -> None:
        self._mailbox.post(lambda: self._satellite.source_lost(reason, time.monotonic()))

    # The network thread ----------------------------------------------------------------------

    def connected(self, protocol: str) -> None:  # noqa: ARG002
        """The broker accepted the connection."""
        connection, satellite = self._client.connection, self._satellite

        def announced() -> None:
            self._mailbox.post(lambda: satellite.announced(connection, time.monotonic()))

        self._mailbox.post(lambda: satellite.connected(connection, announced))

    def disconnected(self, reason: str) -> None:
        """The connection is gone; the client comes back by itself."""
        if "taken over" in reason:
            log.warning(
                "another client is called %s: give each satellite a name of its own with "
                "satellite.device or --device",
                self._settings.topics.device,
            )
        self._mailbox.post(self._satellite.disconnected)

    def message(self, message: Inbound) -> None:
        """A message came in."""
        if self._mailbox.post(lambda: self._receive(message), droppable=True) or self._overflowed:
            return
        self._overflowed = True
        log.warning("more messages come in than can be read: some are dropped from here on")


def _client_options(settings: SatelliteSettings) -> ClientOptions:
    mqtt, topics = settings.mqtt, settings.topics
    # Always the same: the broker then ends a dead connection before it accepts the next one, so
    # the last will of the dead one cannot overwrite `online`.
    client_id = f"{mqtt.client_id or 'stt-mqtt'}-{topics.device}"
    keepalive_s = min(mqtt.keepalive_s, KEEPALIVE_S)
    return ClientOptions(
        config=mqtt.model_copy(update={"client_id": client_id, "keepalive_s": keepalive_s}),
        host=mqtt.host,
        port=mqtt.effective_port,
        will=Will(topics.topic("availability"), b"offline"),
        password=settings.password,
    )


def _warn_of_dropped(dropped: DroppedUtterances) -> None:
    if dropped.old:
        log.warning(
            "dropped because too old to be sent (spool_max_age_s): %d; the broker or the service "
            "was away for longer",
            dropped.old,
        )
    if dropped.full:
        log.warning("dropped because spool_max_kib is full: the oldest %d", dropped.full)
