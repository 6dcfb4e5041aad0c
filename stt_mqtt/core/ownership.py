"""Which names this process answers for: all of them, or its share among the gateways of a fleet.

Several gateways of a fleet get the same messages. For each name one of them opens utterances and
publishes. Names are those of devices and of Hermes sites.
"""

from __future__ import annotations

from typing import Final, Protocol


class Ownership(Protocol):
    """The share of this process. Its methods are called on the event loop, in order of arrival.

    The share changes only inside `heard`, `connected`, `disconnected` and `tick`.
    """

    @property
    def shared(self) -> bool:
        """Whether there may be other gateways."""

    @property
    def gateway(self) -> str | None:
        """The name of this gateway; None: there is no fleet."""

    @property
    def leads(self) -> bool:
        """Whether this process speaks for the service: state, info, health, requests, discovery."""

    @property
    def alone(self) -> bool:
        """Whether no other gateway goes on when this process ends."""

    def owns(self, name: str) -> bool:
        """Whether this process opens the utterances of a name, and publishes about it."""

    def is_live(self, gateway: str) -> bool:
        """Whether a gateway with this name serves."""

    def connected(self) -> None:
        """The broker accepted the connection, and the subscriptions to the input are queued."""

    def disconnected(self) -> None:
        """The connection to the broker is lost."""

    def heard(self, payload: bytes) -> None:
        """Handle a message on the topic that the gateways share."""

    def said_offline(self) -> bool:
        """Somebody published that the service is offline.

        Return whether this process must say at once that it is online. Otherwise the gateways find
        out first which of them live.
        """

    def say_goodbye(self) -> None:
        """This process has nothing open any more, and ends."""

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""

    def tick(self) -> None:
        """Do what is due."""


class OwnershipObserver(Protocol):
    """Is told when the share of this process has changed."""

    def ownership_changed(self, lost: bool) -> None:
        """The share has changed. `lost`: a gateway is gone, and with it what it had open."""

    def speak(self) -> None:
        """This process leads, and all that the service is said to be now is true: say it."""


class _Everything(Ownership):
    """The share of a process without a fleet."""

    shared = False
    gateway = None
    leads = True
    alone = True
    deadline = None

    def owns(self, name: str) -> bool:  # noqa: ARG002
        return True

    def is_live(self, gateway: str) -> bool:  # noqa: ARG002
        return False

    def connected(self) -> None:
        return

    def disconnected(self) -> None:
        return

    def heard(self, payload: bytes) -> None:  # noqa: ARG002
        return

    def said_offline(self) -> bool:
        return True

    def say_goodbye(self) -> None:
        return

    def tick(self) -> None:
        return


EVERYTHING: Final[Ownership] = _Everything()
"""The share of a process without a fleet."""
