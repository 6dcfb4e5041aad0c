"""The Wyoming door: opens its listeners, and is the line's outlet for all connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stt_mqtt import __version__
from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.announce import Announcer, Responder, machine_id
from stt_mqtt.doors.wyoming.bounds import Bounds
from stt_mqtt.doors.wyoming.connection import ServerContext
from stt_mqtt.doors.wyoming.guests import DOOR, Connections
from stt_mqtt.doors.wyoming.info import describe
from stt_mqtt.doors.wyoming.outgoing import encode
from stt_mqtt.doors.wyoming.reader import Reserve
from stt_mqtt.doors.wyoming.server import WyomingListener
from stt_mqtt.doors.wyoming.stdio import Stdio
from stt_mqtt.types import Outcome, RungStatus

__all__ = ["DOOR", "WyomingDoor"]


class WyomingDoor:
    """Wyoming on every address of `wyoming.listen`. Lives on the event loop.

    `settled` is called after calls of the service, `ended` when the client on standard input has
    said everything and was answered. It needs no model to be opened.
    """

    def __init__(
        self,
        service: SpeechService,
        settled: Callable[[], None],
        ended: Callable[[], None],
        bounds: Bounds | None = None,
    ) -> None:
        bounds = Bounds() if bounds is None else bounds
        self._service = service
        self._info: tuple[RungStatus, bytes] | None = None
        reserve = Reserve(bounds.large_payloads_bytes)
        self._guests = Connections(
            ServerContext(service, settled, self._encoded_info, bounds, reserve)
        )
        self._announcer = Announcer(machine_id(), open_zeroconf)
        self._listeners = [
            Stdio(self._guests, ended)
            if address.scheme is Scheme.STDIO
            else WyomingListener(address, self._guests, bounds, self._announce)
            for address in service.config.wyoming.addresses
        ]
        service.attach(DOOR, self)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._guests)

    async def open(self) -> None:
        """Listen. An address that cannot be had yet is an error in the log and tried again."""
        for listener in self._listeners:
            await listener.open()

    async def close(self) -> None:
        """Let the last answers out and end all connections; may be called twice."""
        # First of all nobody tries to listen any more, and to announce that.
        for listener in self._listeners:
            await listener.give_up()
        await asyncio.gather(self._guests.close(), self._announcer.close())
        for listener in self._listeners:
            await listener.close()

    def outcome(self, outcome: Outcome) -> None:
        """Give a connection the one outcome of its utterance."""
        self._guests.answer(outcome)

    def _announce(self, address: ListenAddress) -> None:
        if self._service.config.wyoming.zeroconf:
            self._announcer.announce(address)

    def _encoded_info(self) -> bytes:
        """Encoded once for each state of the ladder, so that it leaves at once."""
        status = self._service.rungs
        if self._info is None or self._info[0] is not status:
            info = describe(status, self._service.languages, __version__)
            self._info = (status, encode(info.event()))
        return self._info[1]


def open_zeroconf() -> Responder:
    """The responder of the `zeroconf` package. Raises ModuleNotFoundError without it."""
    from stt_mqtt.doors.wyoming.responder import ZeroconfResponder

    return ZeroconfResponder()
