"""The client of nats-py for one connection, without its surprises.

It logs no tracebacks, ends instead of falling silent, never speaks in the clear where TLS is
demanded, and can be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from stt_mqtt.core.background import hang_up
from stt_mqtt.errors import FleetError, is_old_tls
from stt_mqtt.fleet.identity import Identity
from stt_mqtt.mqtt.tls import is_lasting

log = logging.getLogger(__name__)


class RefusedError(FleetError):
    """The server refuses the login, until a person acts."""


class TlsError(FleetError):
    """TLS fails until a certificate or the configuration of a side is changed."""


class PlainServerError(errors.Error):
    """The server speaks no TLS, or not with everybody."""


class QuietClient(Client):
    """The client of nats-py, which tells what happens to nobody but its link."""

    def __init__(self, address: str, identity: Identity) -> None:
        super().__init__()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cause: Exception | None = None
        self.refused: str | None = None
        self._address = address
        self._identity = identity
        self._sends_rest = False
        """Whether this process ends the connection, and what waits is to be sent before."""
        if identity.key is not None:
            # nats-py would need a library for keys that has no wheel.
            self._auth_configured = True
            self._public_nkey = identity.key.public

    @property
    def greeting(self) -> dict[str, Any]:
        """How the server presented itself."""
        return self._server_info

    def sign(self, nonce: str) -> bytes:
        """Show that this process has its key."""
        assert self._identity.key is not None
        return self._identity.key.sign(nonce).encode()

    async def close_within(self, timeout_s: float) -> None:
        """Send what waits, and close. After that time, what still waits is dropped."""
        self._sends_rest = True
        try:
            with suppress(errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self.close()
        finally:
            self._drop()

    def watch(self) -> None:
        """End the connection when nobody reads from it any more, for whatever reason."""
        assert self._reading_task is not None
        self._reading_task.add_done_callback(self._reading_ended)

    def _reading_ended(self, _: asyncio.Task[None]) -> None:
        if not self.is_closed:
            self._ending = asyncio.ensure_future(self.close())

    async def note(self, error: Exception) -> None:
        """Something went wrong in the background."""
        self.cause = error
        text = str(error).removeprefix("nats: ")
        if "permissions violation" in text:
            level = logging.DEBUG if text == self.refused else logging.WARNING
            self.refused = text
            log.log(level, "%s refuses: %s; check the rights of this process", self._address, text)
        elif isinstance(error, errors.SlowConsumerError):
            log.warning("messages of the fleet come faster than they are handled and are dropped")
        else:
            log.debug("%s: %s", self._address, text or type(error).__name__)

    async def end(self) -> None:
        """The connection is closed."""
        if not self.lost.done():
            said = self._err or self.cause
            self.lost.set_result(
                f"the connection to {self._address} was lost"
                + (f": {str(said).removeprefix('nats: ')}" if said is not None else "")
            )

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # nats-py would first wait until the server has taken what waits, and with TLS until it has
        # said goodbye. A server that is dead does neither.
        if not self._sends_rest:
            self._drop()
        try:
            await super()._close(status, do_cbs)
        finally:
            await self.end()

    def _drop(self) -> None:
        """Close the socket without sending what waits."""
        self._pending = []
        self._pending_data_size = 0
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:
            hang_up(transport._io_writer.transport)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        # nats-py swallows the cancellation of a task that sends.
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        sent = await super()._flush_pending(force_flush)
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError
        return sent

    def _build_message(self, *parts: Any) -> Msg | None:
        # Bytes that are no text would end the connection.
        try:
            return super()._build_message(*parts)  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            return None

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except UnicodeDecodeError:
            return None

    def _connect_command(self) -> bytes:
        # nats-py encrypts if the server wants it, and would send everything in the clear if not.
        if self._identity.tls is not None and not self._server_info.get("tls_required"):
            raise PlainServerError
        return super()._connect_command()


class _NatsLog(logging.Handler):
    """Says that nats-py logged something, and never what: its tracebacks may quote messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line."""
        error = record.exc_info and record.exc_info[1]
        log.warning("nats-py failed at what a server sent: %s", type(error or record.msg).__name__)


def quieten_nats() -> None:
    """Keep the log of nats-py out of that of the program."""
    logger = logging.getLogger("nats")
    logger.propagate = False
    logger.handlers = [_NatsLog()]


def explained(error: Exception, address: str, identity: Identity) -> FleetError:
    """Why the connection failed, in a sentence without secrets."""
    text = str(error).removeprefix("nats: ").strip("'\"")
    if "authorization" in text.lower() or "authentication" in text.lower():
        if identity.key is not None:
            return RefusedError(
                f"{address} refuses the key of this process; check fleet.nkey_file or "
                "fleet.credentials_file, and the users in the configuration of the server"
            )
        return RefusedError(
            f"{address} demands a login; set fleet.nkey_file or fleet.credentials_file"
        )
    lasts = isinstance(error, PlainServerError) or is_lasting(error)
    return (TlsError if lasts else FleetError)(_reason(error, text, address))


def _reason(error: Exception, text: str, address: str) -> str:
    if isinstance(error, PlainServerError):
        return (
            f"{address} does not demand TLS, as fleet.tls and tls:// do; give the server a `tls` "
            "section, without allow_non_tls"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        what_to_do = "check the clock of this machine, or renew the certificate"
        if is_lasting(error):
            what_to_do = (
                "check fleet.tls.ca_file and that fleet.servers has the name in the certificate"
            )
        return f"the certificate of {address} is not accepted: {error.verify_message}; {what_to_do}"
    if is_old_tls(error):
        return f"{address} speaks only versions of TLS before 1.2; update the server"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {address} failed ({error.reason or text}); check fleet.tls"
    text = getattr(error, "strerror", None) or text or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return f"{address} cannot be reached: {text}"
    return f"{address} does not answer like a NATS server: {text}"
