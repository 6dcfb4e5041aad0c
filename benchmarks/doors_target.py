"""Where the attacks of `doors_attacks` go, and what they have opened there."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from benchmarks import frames

TIMEOUT_S = 2.0
START_TOPIC = "hermes/asr/startListening"
STOP_TOPIC = "hermes/asr/stopListening"
Steps: TypeAlias = Generator[int, None, None]
"""An attack as it goes on: what each step has sent, in bytes."""


def session_name(run: str, attack: str, number: int) -> str:
    """The id of a session that an attack opened."""
    return f"attack-{run}-{attack}-{number}"


@dataclass(slots=True)
class Attack:
    """One attack of one run, and the Hermes sessions that it opened: ids by site."""

    name: str
    run: str
    sessions: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Target:
    """A broker and a Wyoming door; whatever cannot be sent raises OSError."""

    host: str
    port: int
    wyoming_port: int
    attack: Attack
    _held: list[socket.socket] = field(default_factory=list)
    _mqtt: socket.socket | None = None

    def wyoming(self) -> socket.socket:
        """A new connection to the Wyoming door."""
        return socket.create_connection(("127.0.0.1", self.wyoming_port), TIMEOUT_S)

    def hold(self, sock: socket.socket) -> None:
        """Keep a connection open until `let_go`."""
        self._held.append(sock)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 0; return the bytes that were sent."""
        if self._mqtt is None:
            name = f"{self.attack.name}-{self.attack.run}"
            self._mqtt = frames.open_connection(self.host, self.port, name)
        frame = frames.publish(topic, payload)
        try:
            self._mqtt.sendall(frame)
        except OSError:
            self._mqtt.close()
            self._mqtt = None
            raise
        return len(frame)

    def open_session(self, **fields: object) -> tuple[str, str, int]:
        """Open a Hermes session at a site of its own; its site, its id and the bytes sent."""
        number = len(self.attack.sessions)
        site = f"{self.attack.name}-{number}"
        session = session_name(self.attack.run, self.attack.name, number)
        self.attack.sessions.append((site, session))
        start = {"siteId": site, "sessionId": session, "stopOnSilence": False, **fields}
        return site, session, self.publish(START_TOPIC, json.dumps(start).encode())

    def stop_session(self, site: str, session: str) -> int:
        """Have a session end; return the bytes sent."""
        stop = {"siteId": site, "sessionId": session}
        return self.publish(STOP_TOPIC, json.dumps(stop).encode())

    def let_go(self) -> None:
        """Close everything."""
        for sock in self._held:
            sock.close()
        if self._mqtt is not None:
            self._mqtt.close()
