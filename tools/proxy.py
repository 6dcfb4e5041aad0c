"""A TCP connection that tests and benchmarks can cut, silence, slow down and disarrange."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

READ_BYTES = 65536
POLL_S = 0.05
"""Longest time until a stream follows a change of the proxy."""
PUBLISH = 0x30
DUP = 0x08
QOS = 0x06
QOS_1 = 0x02


class Alter(Protocol):
    """Changes the MQTT packets of one direction of one connection."""

    def push(self, packet: bytes) -> list[bytes]:
        """What to send now that a packet has come."""
        ...

    def flush(self) -> list[bytes]:
        """What to send now that none has come for `POLL_S`."""
        ...


class Proxy:
    """Passes TCP connections to `target` on, as its attributes and methods say.

    `delay_s`: how much later every byte arrives. `piece_bytes`: the most that one send has; None:
    all there is. `alter`: makes what changes the MQTT packets of one direction; None: nothing does.
    """

    host = "127.0.0.1"

    def __init__(self, target: int) -> None:
        self.delay_s = 0.0
        self.piece_bytes: int | None = None
        self.alter: Callable[[], Alter] | None = None
        self.connections = 0
        """How many there were, refused ones left out."""
        self._target = target
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._refusing = False
        self._swallowing = False
        self._open: list[_Pair] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self, *, refuse: bool = False) -> None:
        """Break all connections; with `refuse`, new ones too, until `accept`."""
        with self._lock:
            self._refusing = refuse
            for pair in self._open:
                pair.shut()
            self._open.clear()

    def accept(self) -> None:
        """Let new connections through again. What was silenced stays silent."""
        self._refusing = self._swallowing = False

    def silence(self) -> None:
        """Swallow the bytes of all connections, and of new ones until `accept`.

        They stay open for both ends, as when a router forgets them.
        """
        with self._lock:
            self._swallowing = True
            for pair in self._open:
                pair.silent = True

    def close(self) -> None:
        """Break all connections and listen no more."""
        self.cut(refuse=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                try:
                    if self._refusing:
                        raise ConnectionRefusedError
                    far = socket.create_connection((self.host, self._target))
                except OSError:
                    near.close()
                    continue
                self.connections += 1
                pair = _Pair(near, far, self._swallowing)
                self._open = [*(one for one in self._open if not one.over), pair]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=_Stream(self, pair, source, sink).run)
                self._threads.append(thread)
                thread.start()


class _Pair:
    """The two sockets of one connection."""

    def __init__(self, near: socket.socket, far: socket.socket, silent: bool) -> None:
        self.silent = silent
        self._both = (near, far)
        self._streams = 2
        self._lock = threading.Lock()
        for sock in self._both:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self._streams == 0

    def shut(self) -> None:
        """Break both sockets."""
        for sock in self._both:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stream_ended(self) -> None:
        """One direction has ended. The second one closes the sockets."""
        with self._lock:
            self._streams -= 1
            if self.over:
                for sock in self._both:
                    sock.close()


class _Stream:
    """One direction of a connection."""

    def __init__(
        self, proxy: Proxy, pair: _Pair, source: socket.socket, sink: socket.socket
    ) -> None:
        self._proxy = proxy
        self._pair = pair
        self._source = source
        self._sink = sink
        self._late: deque[tuple[float, bytes]] = deque()
        """When to send what."""
        self._alter: Alter | None = None
        self._packets = bytearray()
        """The beginning of a packet whose rest has not come."""

    def run(self) -> None:
        """Copy until one of the two ends leaves."""
        with suppress(OSError), selectors.DefaultSelector() as selector:
            selector.register(self._source, selectors.EVENT_READ)
            reading = True
            while reading or self._late:
                if not reading:
                    time.sleep(self._wait_s())
                elif selector.select(self._wait_s()):
                    data = self._source.recv(READ_BYTES)
                    reading = bool(data)
                    self._late.append((time.monotonic() + self._proxy.delay_s, data))
                elif self._alter is not None:
                    self._send(b"".join(self._alter.flush()))
                self._send_due()
        if not self._pair.silent:
            with suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)
        self._pair.stream_ended()

    def _wait_s(self) -> float:
        left_s = self._late[0][0] - time.monotonic() if self._late else POLL_S
        return max(min(left_s, POLL_S), 0.0)

    def _send_due(self) -> None:
        while self._late and time.monotonic() >= self._late[0][0]:
            self._send(self._altered(self._late.popleft()[1]))

    def _send(self, data: bytes) -> None:
        size = self._proxy.piece_bytes or max(len(data), 1)
        for at in range(0, len(data), size):
            if not self._pair.silent:
                self._sink.sendall(data[at : at + size])

    def _altered(self, data: bytes) -> bytes:
        """The packets that `data` completes, altered. Without `alter`, `data` as it is."""
        if self._alter is None:
            if self._proxy.alter is None:
                return data
            self._alter = self._proxy.alter()
        self._packets += data
        sent = [one for packet in _take_packets(self._packets) for one in self._alter.push(packet)]
        if self._proxy.alter is None:
            sent += [*self._alter.flush(), bytes(self._packets)]
            self._alter = None
            self._packets.clear()
        return b"".join(sent)


def _take_packets(data: bytearray) -> list[bytes]:
    """Remove and return the whole MQTT packets at the beginning of `data`."""
    packets = []
    while (size := _packet_bytes(data)) is not None and size <= len(data):
        packets.append(bytes(data[:size]))
        del data[:size]
    return packets


def _packet_bytes(data: bytearray) -> int | None:
    """Bytes of the packet with which `data` begins; None: its length has not come."""
    length = 0
    for at, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return 2 + at + length
    return None


def topic_of(packet: bytes) -> bytes | None:
    """The topic of a PUBLISH packet; None: it is another one."""
    if packet[0] & 0xF0 != PUBLISH:
        return None
    at = next(at for at in range(1, 5) if packet[at] < 0x80) + 1
    size = int.from_bytes(packet[at : at + 2], "big")
    return packet[at + 2 : at + 2 + size]


class Duplicated:
    """Every QoS 1 message comes twice, the second time marked as a duplicate."""

    def push(self, packet: bytes) -> list[bytes]:
        """The packet, and its duplicate."""
        if topic_of(packet) is None or packet[0] & QOS != QOS_1:
            return [packet]
        return [packet, bytes([packet[0] | DUP]) + packet[1:]]

    def flush(self) -> list[bytes]:
        """Nothing: none is held back."""
        return []


class Swapped:
    """Two messages that follow each other change places, if their topics differ.

    MQTT keeps the order within a topic only.
    """

    def __init__(self) -> None:
        self._held: bytes | None = None

    def push(self, packet: bytes) -> list[bytes]:
        """A message is held back until the next packet."""
        held, self._held = self._held, None
        topic = topic_of(packet)
        if held is None:
            if topic is None:
                return [packet]
            self._held = packet
            return []
        return [held, packet] if topic in {None, topic_of(held)} else [packet, held]

    def flush(self) -> list[bytes]:
        """The message that was held back."""
        held, self._held = self._held, None
        return [] if held is None else [held]
