"""One browser: a WebSocket that is the native device of its room."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from aiohttp import WSMessage, WSMsgType, web

from stt_mqtt.core.background import hang_up
from stt_mqtt.doors.native.topics import DOOR, Verb
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.socket_messages import (
    NO_START,
    PROTOCOL,
    REPLACED,
    VERBS,
    CloseCode,
    Farewell,
    FarewellError,
    encode_message,
    parse_message,
    pong_fields,
    too_large,
)
from stt_mqtt.mqtt.json import Json
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SocketBounds:
    """Bounds of WebSockets. Times in seconds."""

    sockets: int = 256
    """Most at once."""
    of_one_address: int = 128
    """Most of one address. Behind a proxy all browsers have the same one."""
    frame_bytes: int = 64 * 1024
    """Largest frame: 2 s of PCM as pages send it."""
    queued_messages: int = 256
    queued_bytes: int = 256 * 1024
    """Most that waits for a browser that reads slowly. Then its connection is cut."""
    send_s: float = 10.0
    """Longest time for a message to be taken."""
    heartbeat_s: float = 20.0
    """After this time without a message the browser is asked whether it is there, and has half as
    long for its answer."""
    close_s: float = 2.0
    """How long a browser has to confirm the end of the connection."""
    messages_per_s: float = 200.0
    """Most that is taken of one browser. What comes faster waits in its socket. Speech needs 50."""
    burst_messages: float = 500.0
    """What may come at once: speech that waited for the connection."""
    message_bytes: int = 4096
    """A frame counts as one more message for each of these bytes."""
    turn_messages: int = 64
    turn_bytes: int = 32 * 1024
    """What is taken of one browser before the others have their turn. So many that a browser with
    small chunks keeps up beside many that send as much as they can."""


class Pace:
    """Says how long to wait before the next message is taken. `now` is in monotonic seconds."""

    def __init__(self, bounds: SocketBounds, now: float) -> None:
        self._bounds = bounds
        self._left = bounds.burst_messages
        self._turn = 0.0
        """The part of this turn that is used."""
        self._at = now

    def spend(self, nbytes: int, now: float) -> float | None:
        """A message came. Returns the seconds to wait; 0: let others run; None: go on."""
        bounds = self._bounds
        self._left += (now - self._at) * bounds.messages_per_s
        self._left = min(self._left, bounds.burst_messages) - 1 - nbytes / bounds.message_bytes
        self._at = now
        self._turn += 1 / bounds.turn_messages + nbytes / bounds.turn_bytes
        if self._left >= 0 and self._turn < 1:
            return None
        self._turn = 0.0
        return max(-self._left / bounds.messages_per_s, 0.0)


class WebSocket(web.WebSocketResponse):
    """A WebSocket whose close frame says why, also after a frame that was too large."""

    def __init__(self, bounds: SocketBounds, frame_bytes: int) -> None:
        super().__init__(
            protocols=(PROTOCOL,),
            heartbeat=bounds.heartbeat_s,
            timeout=bounds.close_s,
            # A flood of pings must be slowed down like other messages.
            autoping=False,
            # A small frame could unpack to a huge one.
            compress=False,
            max_msg_size=frame_bytes,
        )
        self._too_large = too_large(frame_bytes)

    async def close(
        self, *, code: int = CloseCode.STOPPING, message: bytes = b"", drain: bool = True
    ) -> bool:
        """Close the connection with a code and a reason."""
        if code == CloseCode.TOO_LARGE and not message:
            message = self._too_large.reason
        return await super().close(code=code, message=message, drain=drain)


class BrowserSocket:
    """Takes what a browser sends, and sends what it is told. Runs on the event loop.

    All messages of the browser are those of its device on MQTT. Audio without an open utterance is
    dropped: the service may have ended it before the browser knew.
    """

    def __init__(
        self,
        room: str,
        socket: WebSocket,
        transport: asyncio.Transport,
        parts: WebParts,
        bounds: SocketBounds,
    ) -> None:
        self._room = room
        self._key = DeviceKey(DOOR, room)
        self._socket = socket
        self._transport = transport
        self._parts = parts
        self._bounds = bounds
        self._clock = asyncio.get_running_loop().time
        self._pace = Pace(bounds, self._clock())
        self._outgoing: deque[str] = deque()
        self._outgoing_bytes = 0
        self._wake = asyncio.Event()
        self._farewell: Farewell | None = None
        self._may_send_audio = False
        """Whether a start came, so that audio without an utterance is late and no mistake."""

    async def serve(self) -> None:
        """Serve the browser until the connection ends."""
        direct = self._parts.native.direct
        direct.connect(self._room, self)
        self._parts.rearm_timer()
        writing = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            direct.disconnect(self._room, self)
            self._parts.rearm_timer()
            if self._farewell is None:
                writing.cancel()
            await asyncio.wait({writing})

    async def refuse(self, farewell: Farewell) -> None:
        """Say why the browser is not served, and close."""
        self.finish(farewell)
        await self._write()

    def tell(self, kind: str, fields: Json) -> None:
        """Send a message. If too many wait, cut the connection: the browser does not read."""
        if self._farewell is None:
            self._put(encode_message(kind, fields))

    def replaced(self) -> None:
        """Another connection speaks for the room now."""
        self.finish(REPLACED)

    def finish(self, farewell: Farewell) -> None:
        """Send what waits, then close for this reason."""
        if self._farewell is None:
            self._put(farewell.message)
            self._farewell = farewell
            self._wake.set()

    def cut(self) -> None:
        """End the connection at once."""
        hang_up(self._transport)

    async def _read(self) -> None:
        while self._farewell is None:
            message = await self._socket.receive()
            try:
                nbytes = await self._take(message)
            except FarewellError as error:
                self._parts.service.metrics.drop(DropReason.BAD_FRAME)
                self.finish(error.farewell)
                return
            if nbytes is None:
                return
            self._parts.rearm_timer()
            wait_s = self._pace.spend(nbytes, self._clock())
            if wait_s is not None:
                await asyncio.sleep(wait_s)

    async def _take(self, message: WSMessage) -> int | None:
        """Handle a frame; return its size. None: the connection has ended."""
        match message.type:
            case WSMsgType.BINARY:
                self._chunk(bytes(message.data))
            case WSMsgType.TEXT:
                self._message(message.data.encode())
            case WSMsgType.PING:
                await self._pong(bytes(message.data))
            case WSMsgType.PONG:
                pass
            case _:
                return None
        return len(message.data)

    def _chunk(self, audio: bytes) -> None:
        device = self._parts.service.registry.find(self._key)
        if device is not None and device.listening:
            self._parts.native.receive(self._room, Verb.CHUNK, audio)
            return
        self._parts.service.count_dropped_chunk(self._key)
        if not self._may_send_audio:
            self._may_send_audio = True
            self.tell("error", NO_START)

    def _message(self, payload: bytes) -> None:
        kind, fields = parse_message(payload)
        if kind == "ping":
            self.tell("pong", pong_fields(fields))
        elif kind in VERBS:
            self._may_send_audio |= kind == "start"
            self._parts.native.receive(self._room, VERBS[kind], payload)

    async def _pong(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._bounds.send_s):
                await self._socket.pong(data)
        except (TimeoutError, ConnectionError):
            self.cut()

    def _put(self, message: str) -> None:
        self._outgoing.append(message)
        self._outgoing_bytes += len(message)
        self._wake.set()
        bounds = self._bounds
        if (
            len(self._outgoing) > bounds.queued_messages
            or self._outgoing_bytes > bounds.queued_bytes
        ):
            log.info("a browser does not read, it is cut off", extra={"device": str(self._key)})
            self._outgoing.clear()
            self._outgoing_bytes = 0
            self.cut()

    async def _write(self) -> None:
        try:
            while self._outgoing or self._farewell is None:
                await self._wake.wait()
                self._wake.clear()
                while self._outgoing:
                    message = self._outgoing.popleft()
                    self._outgoing_bytes -= len(message)
                    async with asyncio.timeout(self._bounds.send_s):
                        await self._socket.send_str(message)
            async with asyncio.timeout(self._bounds.send_s):
                await self._socket.close(
                    code=self._farewell.close_code, message=self._farewell.reason
                )
        except (TimeoutError, ConnectionError):
            self.cut()
