"""What has come in from the broker and waits, perhaps still in the socket."""

from __future__ import annotations

from typing import Protocol

from stt_mqtt.mqtt.intake import Intake


class Socket(Protocol):
    """The connection to the broker, as an `MqttClient` has it."""

    def look(self) -> None:
        """Have the network thread find out whether anything waits that it has not read."""

    @property
    def has_looked(self) -> bool:
        """Whether everything is read that had come in when `look` was called."""


class InboxBacklog:
    """Follows what came in until a moment, from the socket to the event loop."""

    def __init__(self, socket: Socket, intake: Intake) -> None:
        self._socket = socket
        self._intake = intake
        self._looking = False

    def mark(self, stood_still: bool) -> None:
        """Note what has come in until now. `stood_still`: some of it may not even be read."""
        self._looking = stood_still
        if stood_still:
            self._socket.look()
        self._intake.mark()

    def take_in(self) -> bool:
        """Handle some of what was marked; return whether that was not all of it yet."""
        if self._looking and self._socket.has_looked:
            self._looking = False
            self._intake.mark()
        return self._intake.take_in() or self._looking
