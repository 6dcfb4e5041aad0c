"""One client: translates its events into calls of the service, and outcomes into answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from wyoming.event import Event
from wyoming.ping import Pong
from wyoming.server import AsyncEventHandler

from stt_mqtt.audio.frames import Converter
from stt_mqtt.core.partials import Partial, rest_of
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.messages import (
    PcmFormat,
    TranscribeOptions,
    encode,
    encode_chunk,
    encode_end,
    encode_error,
    encode_transcript,
    parse_audio_format,
    parse_transcribe,
)
from stt_mqtt.doors.wyoming.reader import Bounds, EventReader, PayloadBudget, Turn
from stt_mqtt.doors.wyoming.writer import EventWriter, Peer
from stt_mqtt.errors import (
    DisabledError,
    ShuttingDownError,
    TooShortError,
    UnsupportedFormatError,
    UtteranceError,
)
from stt_mqtt.types import DeviceKey, EndReason, Outcome, OutcomeKind, TurnEnd, UtteranceStart

_DISCARD_BYTES = 64 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What all connections share."""

    service: SpeechService
    rearm_timer: Callable[[], None]
    """Must be called after calls of the service, because the next deadline may have changed."""
    info: Callable[[], bytes]
    """The encoded answer to `describe`."""
    turn_end: Callable[[DeviceKey], TurnEnd]
    """How the utterances of a client end."""
    bounds: Bounds
    payload_budget: PayloadBudget


class WyomingConnection(AsyncEventHandler):
    """Serves one client until the connection ends. Each connection is a separate device.

    `on_closed` is called when it has ended.
    """

    def __init__(
        self,
        peer: Peer,
        key: DeviceKey,
        context: ServerContext,
        on_closed: Callable[[DeviceKey], None],
    ) -> None:
        super().__init__(peer.reader, peer.writer)
        self.key = key
        self._peer = peer
        self._service = context.service
        self._context = context
        self._on_closed = on_closed
        self._out = EventWriter(peer, context.bounds)
        self._clock = asyncio.get_running_loop().time
        self._events = EventReader(
            peer.reader, context.bounds, context.payload_budget, lambda: self.idle_since
        )
        self._options = TranscribeOptions()
        self._format: PcmFormat | None = None
        """Format of the current utterance; None between utterances."""
        self._converter: Converter | None = None
        self._sent = ""
        self._sent_id: str | None = None
        """What was sent of the text of an open utterance, and its id. None: nothing."""
        self._unanswered = 0
        self._answered = asyncio.Event()
        """Set while no utterance is unanswered, and when the connection ends."""
        self._answered.set()
        self._aborting = False
        self._ending = False
        """Whether further input of the client is ignored."""
        self._active_at = self._clock()

    @property
    def idle_since(self) -> float | None:
        """Since when the connection is idle, on the clock of the event loop; None: it is not.

        A client on stdio is never idle, because its end is the end of the program.
        """
        return None if self._unanswered or self._peer.finishes else self._active_at

    async def run(self) -> None:
        """Serve the client until the connection ends. Does not raise for any input."""
        try:
            await self._serve()
        except Exception:
            log.exception("a Wyoming connection was lost to a defect, please report this")
        finally:
            self._ending = True
            self._service.leave(self.key)
            self._context.rearm_timer()
            self._out.close()
            self._on_closed(self.key)

    def finish(self) -> None:
        """Ignore further input, send what is queued, then close."""
        self._ending = True
        self._answered.set()
        self._out.finish()

    def send_away(self, error: UtteranceError) -> None:
        """Send the error and close."""
        if not self._ending:
            self._send_error(error)

    def hang_up(self) -> None:
        """Close at once."""
        self._ending = True
        self._answered.set()
        self._peer.hang_up()

    async def handle_event(self, event: Event) -> bool:
        """Handle one event. Return False if the connection ends."""
        self._active_at = self._clock()
        try:
            self._act(event)
        except UtteranceError as error:
            self._refuse(error)
        self._context.rearm_timer()
        return not self._ending

    def answer(self, outcome: Outcome) -> None:
        """Send the outcome of an utterance to the client."""
        self._unanswered -= 1
        if not self._unanswered:
            self._answered.set()
        self._active_at = self._clock()
        error = outcome.error
        if self._ending or self._aborting:
            return
        if outcome.kind is OutcomeKind.ABORTED:
            # The client did not abort the utterance, so it would wait for an answer for ever.
            self._send_error(DisabledError("the device was disabled while it spoke"))
        elif error is not None and not isinstance(error, TooShortError):
            self._send_error(error)
        elif outcome.end is EndReason.SHUTDOWN:
            # Home Assistant would act on the part that was heard.
            self._send_error(ShuttingDownError("the service stops, say it again"))
        else:
            transcript = outcome.transcript
            text = transcript.text if transcript and outcome.kind is OutcomeKind.TRANSCRIPT else ""
            language = transcript.language if transcript else None
            if self._sent and outcome.id == self._sent_id:
                self._out.send(encode_end(text, rest_of(text, self._sent), language))
            else:
                self._out.send(encode_transcript(text, language))

    def partial(self, partial: Partial) -> None:
        """Send what is new of the stable text. The client joins the parts.

        While it waits for an answer to its utterance before, that comes first.
        """
        is_first = partial.id != self._sent_id
        new = partial.text[0 if is_first else len(self._sent) : partial.stable]
        if new and self._unanswered == 1 and not self._ending:
            self._out.send(encode_chunk(new, partial.language if is_first else None))
            self._sent_id, self._sent = partial.id, partial.text[: partial.stable]

    async def _serve(self) -> None:
        try:
            turn = Turn()
            while (event := await self._events.next()) is not None and not self._ending:
                if not await self.handle_event(event):
                    break
                await self._out.drain()
                if turn.ends_with(event):
                    # Let other clients run, even if the next event has already arrived.
                    await asyncio.sleep(0)
        except UtteranceError as error:
            self._refuse(error)
            self._context.rearm_timer()
        if self._ending:
            await self._events.discard()
        elif self._peer.finishes:
            self._service.end(self.key, EndReason.DISCONNECT)
            self._context.rearm_timer()
            await self._answered.wait()
        elif self._events.finished and self._format is None:
            await self._last_answers()

    async def _last_answers(self) -> None:
        """Wait for the answers of a client that closed its sending direction."""
        bounds = self._context.bounds
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
                self._options = parse_transcribe(event.data)
            case "describe":
                self._out.send(self._context.info())
            case "ping":
                self._out.send(encode(Pong(_encodable(event.data.get("text"))).event()))
            case _:
                pass

    def _start(self, format: PcmFormat) -> None:
        self._abort()
        options, self._options = self._options, TranscribeOptions()
        self._format = format
        self._converter = format.converter()
        self._expect_answer()
        start = UtteranceStart(
            format=format.service_format,
            language=options.language,
            turn_end=self._context.turn_end(self.key),
            hotwords=options.hotwords,
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
            # A cap or a pause has ended the utterance. Its rest must not open a new one.
            self._service.count_dropped_chunk(self.key)

    def _stop(self) -> None:
        if self._converter is not None and self._is_open:
            self._service.chunk(self.key, self._converter.finish(), None, None)
        self._service.stop(self.key, None, None)
        nothing_said = self._format is None and not self._unanswered
        self._format = None
        if nothing_said:
            self._out.send(encode_transcript("", None))

    @property
    def _is_open(self) -> bool:
        device = self._service.registry.find(self.key)
        return device is not None and device.listening

    def _abort(self) -> None:
        """Abort the open utterance without an answer."""
        self._aborting = True
        self._service.abort(self.key, None)
        self._aborting = False
        self._format = None

    def _refuse(self, error: UtteranceError) -> None:
        """Answer an invalid event with an error, and count it as an utterance."""
        if self._ending:
            return
        self._abort()
        self._expect_answer()
        self._service.refuse(self.key, UtteranceStart(), error)

    def _expect_answer(self) -> None:
        self._unanswered += 1
        self._answered.clear()

    def _send_error(self, error: UtteranceError) -> None:
        """Send the error and close. Home Assistant ignores `error` and has no timeout."""
        self._out.send(encode_error(error))
        self.finish()


class RefusedConnection(AsyncEventHandler):
    """Sends a client the reason why it is refused, and closes.

    `lingering`: the clients that are waited for. If a connection is closed while something of the
    client is unread, the client may never see the reason.
    """

    def __init__(
        self, peer: Peer, bounds: Bounds, error: UtteranceError, lingering: set[Peer]
    ) -> None:
        super().__init__(peer.reader, peer.writer)
        self._peer = peer
        self._bounds = bounds
        self._out = EventWriter(peer, bounds)
        self._error = error
        self._lingering = lingering

    async def run(self) -> None:
        """Send the error and close."""
        self._out.send(encode_error(self._error))
        if len(self._lingering) < self._bounds.refused:
            self._lingering.add(self._peer)
            self._out.finish()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._bounds.linger_s):
                    while await self._peer.reader.read(_DISCARD_BYTES):
                        pass
            self._lingering.discard(self._peer)
        self._out.close()

    async def handle_event(self, _event: Event) -> bool:
        """Return False: events are not read."""
        return False


def _encodable(text: object) -> str | None:
    """A text from JSON without lone surrogates, which UTF-8 cannot encode."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else None
