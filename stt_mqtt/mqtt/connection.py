"""One connection to the broker, from its CONNECT to its end.

Only the network thread calls paho, through its interface for external event loops. paho's own loops
are not used, for four reasons: they retry refused credentials for ever, they cannot change the
protocol, they send publications before the CONNACK, and their select() fails in a process with many
open files. Each connection has its own paho client, so no state leaks from an old connection into a
new one. What must outlive a connection is in `ClientState`.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import time
from contextlib import suppress
from typing import Any, NamedTuple

from paho.mqtt.client import MQTT_LOG_ERR, Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stt_mqtt.config import Protocol
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.client_state import ClientState
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound
from stt_mqtt.mqtt.properties import connect_properties, loss, max_packet_bytes, refusal
from stt_mqtt.mqtt.receiver import Receiver
from stt_mqtt.mqtt.reconnect import Cause
from stt_mqtt.mqtt.sender import MAX_IN_FLIGHT, Sender
from stt_mqtt.mqtt.tls import explain, is_lasting, tls_context

CONNECT_TIMEOUT_S = 10.0
"""Timeout for TCP and TLS together, and again for the CONNACK."""
PING_TIMEOUT_S = 10.0
"""How long the broker may take to answer a ping. paho alone would wait for another keep-alive."""
POLL_S = 1.0
"""Longest time between two checks of the keep-alive."""
READ_BATCH = 64
"""Messages that are read before waiting publications are sent."""
DEFECT_LOG_INTERVAL_S = 10.0

log = logging.getLogger(__name__)


class Ending(NamedTuple):
    """How a connection ended: the cause for the state machine, and a sentence for the log."""

    kind: Cause
    reason: str


class Connection:
    """One connection. `run` returns when it has ended; `connected` says whether it is up.

    `log_level`: level of the log message when the connection is up.
    """

    def __init__(
        self,
        options: ClientOptions,
        protocol: Protocol,
        listener: ClientListener,
        state: ClientState,
        log_level: int = logging.INFO,
    ) -> None:
        self.connected = False
        self.connected_at: float | None = None
        """When the broker accepted the connection, in monotonic seconds."""
        self._log_level = log_level
        self._options = options
        self._v5 = protocol is Protocol.V5
        self._protocol = protocol
        self._listener = listener
        self._state = state
        self._client = self._make_client()
        self._sender = Sender(self._client, self._v5, state, options.answered)
        self._ending: Ending | None = None
        self._socket_error = ""
        self._leaving = False
        self._quiet_until = 0.0

    def run(self) -> Ending:
        """Connect and run until the connection ends. If `stopping` is set, disconnect cleanly."""
        try:
            # First: the connection may take the last file descriptor.
            selector = selectors.DefaultSelector()
        except OSError as error:
            return Ending(Cause.UNREACHABLE, explain(error, self._options.address))
        with selector:
            return self._run(selector)

    def _run(self, selector: selectors.BaseSelector) -> Ending:
        try:
            self._connect()
        except (OSError, UnicodeError, BrokerError) as error:
            cause = Cause.TLS if is_lasting(error) else Cause.UNREACHABLE
            return Ending(cause, explain(error, self._options.address))
        sock = self._client.socket()
        try:
            if isinstance(sock, socket.socket):
                self._pump(sock, selector)
        finally:
            self.connected = False
            if isinstance(sock, socket.socket):
                sock.close()
        return self._ending or Ending(Cause.NO_ANSWER, self._no_answer())

    def _make_client(self) -> Receiver:
        config = self._options.config
        most_bytes = max_packet_bytes(config)
        client = Receiver(
            self._state.client_id, self._v5, most_bytes, self._on_message, self._on_too_large
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages = MAX_IN_FLIGHT
        client.username_pw_set(config.username, self._options.password)
        will = self._options.will
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_log = self._on_log
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = _without_delay
        client.on_socket_close = self._on_socket_close
        # With any such hook, paho writes only in loop_write(), not inside publish().
        client.on_socket_register_write = _write_in_the_pump
        return client

    def _connect(self) -> None:
        options = self._options
        if options.config.tls is not None:
            self._client.tls_set_context(tls_context(options.config.tls))
        address = (options.host, options.port, options.config.keepalive_s)
        if self._v5:
            properties = connect_properties(options.config)
            self._client.connect(*address, clean_start=True, properties=properties)
        else:
            self._client.connect(*address)

    def _pump(self, sock: socket.socket, selector: selectors.BaseSelector) -> None:
        client, wakeup = self._client, self._state.wakeup
        answer_by = time.monotonic() + CONNECT_TIMEOUT_S
        interest = selectors.EVENT_READ
        selector.register(sock, interest)
        selector.register(wakeup, selectors.EVENT_READ)
        while self._work(answer_by):
            self._state.heartbeat.beat()
            wanted = selectors.EVENT_READ
            if client.want_write():
                wanted |= selectors.EVENT_WRITE
            if wanted != interest:
                interest = wanted
                selector.modify(sock, interest)
            # Bytes that are buffered here or in TLS do not make the socket readable.
            waiting = client.buffered or _pending(sock)
            asked = self._state.reads_asked
            timeout_s = 0 if waiting or asked != self._state.reads_done else POLL_S
            ready = {key.fileobj for key, _ in selector.select(timeout_s)}
            if wakeup in ready:
                wakeup.clear()
            if waiting or sock in ready:
                self._read()
            else:
                self._state.reads_done = asked
                if client.unanswered_s >= PING_TIMEOUT_S:
                    self._ending = Ending(Cause.LOST, self._no_ping())
                    return

    def _work(self, answer_by: float) -> bool:
        """Send waiting publications and check the deadlines. Return False if it has ended."""
        client, state = self._client, self._state
        if state.stopping.is_set() and not self._leaving:
            self._leaving = True
            client.disconnect()
        if self.connected and not self._leaving:
            self._sender.send_waiting()
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        now = time.monotonic()
        late = (self._leaving and now >= state.stop_by) or (not self.connected and now >= answer_by)
        return client.socket() is not None and not late

    def _read(self) -> None:
        client = self._client
        for _ in range(READ_BATCH):
            before = client.received
            client.loop_read()
            if client.received == before and not client.buffered:
                break
        client.acknowledge()

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """Keep what paho logs about a failing socket. It does not report it elsewhere."""
        if level == MQTT_LOG_ERR:
            self._socket_error = text

    def _on_connect(
        self,
        client: Client,
        _data: Any,
        _flags: ConnectFlags,
        code: ReasonCode,
        more: Properties | None,
    ) -> None:
        if code.is_failure:
            self._ending = Ending(
                refusal(code), f"{self._options.address} refuses the connection: {code}"
            )
            return
        self._state.outbox.connection_began()
        self.connected = True
        self.connected_at = time.monotonic()
        # Otherwise paho would format a line for every message.
        client.on_log = None
        if more is not None:
            self._sender.limit_in_flight(vars(more).get("ReceiveMaximum", MAX_IN_FLIGHT))
        log.log(
            self._log_level,
            "connected to %s with MQTT %s",
            self._options.address,
            self._protocol.value,
        )
        self._sender.subscribe()
        try:
            self._listener.connected(self._protocol.value)
        except Exception:
            self._log_defect()

    def _on_disconnect(
        self,
        _client: Client,
        _data: Any,
        flags: DisconnectFlags,
        code: ReasonCode,
        _more: Properties | None,
    ) -> None:
        address = self._options.address
        if self._ending is not None:
            return
        if self.connected:
            said = flags.is_disconnect_packet_from_server
            verb = "was closed by the broker" if said else "broke"
            reason = f"the connection to {address} {verb} ({code})"
            self._ending = Ending(loss(code, said), reason)
        elif code.getName() == "Protocol error":
            reason = f"{address} does not speak MQTT {self._protocol.value}"
            self._ending = Ending(Cause.UNSUPPORTED, reason)
        elif self._options.config.tls is not None and self._socket_error:
            reason = f"TLS with {address} failed ({self._socket_error}); check mqtt.tls.cert_file"
            # The broker has shown its certificate, and hangs up for want of one.
            self._ending = Ending(Cause.TLS, reason)
        else:
            self._ending = Ending(Cause.NO_ANSWER, self._no_answer())

    def _on_message(self, message: Inbound | None) -> None:
        if message is None:
            self._state.undecodable += 1
            return
        try:
            self._listener.message(message)
        except Exception:
            self._log_defect()

    def _on_too_large(self, topic: str) -> None:
        self._state.too_large += 1
        try:
            self._listener.too_large(topic)
        except Exception:
            self._log_defect()

    def _on_socket_close(self, _client: Client, _data: Any, sock: Any) -> None:
        """Give the broker time to read our DISCONNECT before the socket is closed.

        Closing a socket with unread messages resets the connection. The broker may then see the
        reset first and publish the last will.
        """
        if not self._leaving:
            return
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            while (left_s := self._state.stop_by - time.monotonic()) > 0:
                sock.settimeout(left_s)
                if not sock.recv(65536):
                    return

    def _no_ping(self) -> str:
        return (
            f"the connection to {self._options.address} broke: the broker has not answered a ping "
            f"for {PING_TIMEOUT_S:.0f} s"
        )

    def _no_answer(self) -> str:
        return (
            f"{self._options.address} does not answer in MQTT {self._protocol.value}: either it is "
            "another protocol version, no MQTT broker, one that expects TLS, or one that refuses "
            "the user without saying so"
        )

    def _log_defect(self) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + DEFECT_LOG_INTERVAL_S
            log.exception(
                "%s could not handle what came in, please report this",
                type(self._listener).__name__,
            )


def _pending(sock: socket.socket) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _without_delay(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _write_in_the_pump(_client: Client, _data: Any, _sock: Any) -> None:
    return None
