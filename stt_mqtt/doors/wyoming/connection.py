"""One client: a state machine from its events to calls of the service, and back from outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.ping import Pong
from wyoming.server import AsyncEventHandler

from stt_mqtt.audio.frames import Converter
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.bounds import Bounds
from stt_mqtt.doors.wyoming.outgoing import Outgoing, Peer, encode
from stt_mqtt.doors.wyoming.reader import EventReader, Reserve
from stt_mqtt.doors.wyoming.requests import (
    PcmFormat,
    Wanted,
    parse_audio_format,
    parse_transcribe,
)
from stt_mqtt.errors import DisabledError, TooShortError, UnsupportedFormatError, UtteranceError
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind, UtteranceStart

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What all connections share."""

    service: SpeechService
    settled: Callable[[], None]
    """To be called after calls of the line."""
    info: Callable[[], bytes]
    """The encoded answer to `describe`."""
    bounds: Bounds
    reserve: Reserve


class WyomingConnection(AsyncEventHandler):
    """Serves one client until it leaves or is sent away. Each is a device of its own."""

    def __init__(
        self, peer: Peer, key: DeviceKey, house: ServerContext, left: Callable[[DeviceKey], None]
    ) -> None:
        super().__init__(peer.reader, peer.writer)
        self.key = key
        self._peer = peer
        self._service = house.service
        self._house = house
        self._left = left
        self._out = Outgoing(peer, house.bounds)
        self._clock = asyncio.get_running_loop().time
        self._events = EventReader(
            peer.reader, house.bounds, house.reserve, lambda: self.quiet_since
        )
        self._wanted = Wanted()
        self._format: PcmFormat | None = None
        """Of the audio that the client is sending; None between its utterances."""
        self._converter: Converter | None = None
        self._unanswered = 0
        self._answered = asyncio.Event()
        """Set while nothing is unanswered, or once nobody waits for answers any more."""
        self._answered.set()
        self._taking_back = False
        self._over = False
        """Whether nothing that the client says is heeded any more."""
        self._active_at = self._clock()

    @property
    def quiet_since(self) -> float | None:
        """Since when, in the event loop's seconds, there is nothing to do; None: there is.

        A client whose end is the end of the program may be silent for as long as it likes.
        """
        return None if self._unanswered or self._peer.finishes else self._active_at

    async def run(self) -> None:
        """Serve the client to the end. Never raises for what it sends."""
        try:
            await self._serve()
        except Exception:
            log.exception("a Wyoming connection was lost to a defect, please report this")
        finally:
            self._over = True
            self._service.leave(self.key)
            self._house.settled()
            self._out.close()
            self._left(self.key)

    def finish(self) -> None:
        """Heed nothing more; let out what is to be sent, then hang up."""
        self._over = True
        self._answered.set()
        self._out.finish()

    def send_away(self, error: UtteranceError) -> None:
        """Tell the client why it is heeded no more, and hang up."""
        if not self._over:
            self._fail(error)

    def hang_up(self) -> None:
        """Cut the client off."""
        self._over = True
        self._answered.set()
        self._peer.hang_up()

    async def handle_event(self, event: Event) -> bool:
        """Act on one event; False: the connection is over."""
        self._active_at = self._clock()
        try:
            self._act(event)
        except UtteranceError as error:
            self._refuse(error)
        self._house.settled()
        return not self._over

    def answer(self, outcome: Outcome) -> None:
        """Tell the client what became of an utterance."""
        self._unanswered -= 1
        if not self._unanswered:
            self._answered.set()
        self._active_at = self._clock()
        error = outcome.error
        if self._over or self._taking_back:
            return
        if outcome.kind is OutcomeKind.ABORTED:
            # Not by the client, who would wait for an answer for ever.
            self._fail(DisabledError("the device was disabled while it spoke"))
        elif error is None or isinstance(error, TooShortError):
            self._tell(outcome)
        else:
            self._fail(error)

    async def _serve(self) -> None:
        try:
            while (event := await self._events.next()) is not None and not self._over:
                if not await self.handle_event(event):
                    break
                await self._out.drained()
                # One event at a time, also of a client whose next ones are already here.
                await asyncio.sleep(0)
        except UtteranceError as error:
            self._refuse(error)
            self._house.settled()
        if self._over:
            await self._events.discard()
        elif self._peer.finishes:
            self._service.disconnect(self.key)
            self._house.settled()
            await self._answered.wait()
        elif self._events.finished and self._format is None:
            await self._last_answers()

    async def _last_answers(self) -> None:
        """Stay for a client that has said everything and still listens."""
        bounds = self._house.bounds
        with suppress(TimeoutError):
            async with asyncio.timeout(bounds.last_answers_s):
                while not (self._answered.is_set() or self._out.gone):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._answered.wait(), bounds.gone_s)

    def _act(self, event: Event) -> None:
        match event.type:
            case "audio-chunk":
                self._chunk(event)
            case "audio-start":
                self._start(parse_audio_format(event.data))
            case "audio-stop":
                self._stop()
            case "transcribe":
                self._wanted = parse_transcribe(event.data)
            case "describe":
                self._out.send(self._house.info())
            case "ping":
                self._out.send(encode(Pong(_encodable(event.data.get("text"))).event()))
            case _:
                pass

    def _start(self, format: PcmFormat) -> None:
        self._take_back()
        wanted, self._wanted = self._wanted, Wanted()
        self._format = format
        self._converter = format.converter()
        self._owe()
        start = UtteranceStart(
            format=format.handed_on, language=wanted.language, hotwords=wanted.hotwords
        )
        self._service.start(self.key, start)

    def _chunk(self, event: Event) -> None:
        format = parse_audio_format(event.data)
        if self._format is None:
            self._start(format)
        elif format != self._format:
            raise UnsupportedFormatError(
                f"the format changes within an utterance, from {self._format} to {format}"
            )
        if self._is_open:
            audio = event.payload or b""
            if self._converter is not None:
                audio = self._converter.push(audio)
            self._service.chunk(self.key, audio, None, None)
        else:
            # It has ended by itself, by its cap or a pause: what follows is not a new one.
            self._service.count_dropped_chunk(self.key)

    def _stop(self) -> None:
        if self._converter is not None and self._is_open:
            self._service.chunk(self.key, self._converter.finish(), None, None)
        self._service.stop(self.key, None, None)
        nothing_said = self._format is None and not self._unanswered
        self._format = None
        if nothing_said:
            self._out.send(_transcript("", None))

    @property
    def _is_open(self) -> bool:
        device = self._service.registry.find(self.key)
        return device is not None and device.listening

    def _take_back(self) -> None:
        """Forget what the client is saying; nobody waits for the answer."""
        self._taking_back = True
        self._service.abort(self.key, None)
        self._taking_back = False
        self._format = None

    def _refuse(self, error: UtteranceError) -> None:
        """Have an event that cannot be obeyed noted and answered like an utterance."""
        if self._over:
            return
        self._take_back()
        self._owe()
        self._service.refuse(self.key, UtteranceStart(), error)

    def _owe(self) -> None:
        self._unanswered += 1
        self._answered.clear()

    def _tell(self, outcome: Outcome) -> None:
        transcript = outcome.transcript
        text = transcript.text if transcript and outcome.kind is OutcomeKind.TRANSCRIPT else ""
        self._out.send(_transcript(text, transcript.language if transcript else None))

    def _fail(self, error: UtteranceError) -> None:
        """Free the client at once: Home Assistant has no timeout and heeds no `error`."""
        self._out.send(encode(Error(error.detail, error.code).event()))
        self.finish()


def _encodable(text: object) -> str | None:
    """A text from JSON, which can hold halves of surrogate pairs that UTF-8 cannot."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else None


def _transcript(text: str, language: str | None) -> bytes:
    """The streaming events in their order, with the whole text in one chunk."""
    return encode(
        TranscriptStart(language=language).event(),
        *([TranscriptChunk(text).event()] if text else []),
        Transcript(text, language=language).event(),
        TranscriptStop().event(),
    )
