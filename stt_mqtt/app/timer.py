"""One timer of the event loop for all the deadlines of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A call that is to come, such as an `asyncio.TimerHandle`."""

    def when(self) -> float:
        """The moment of the call, in the event loop's seconds."""

    def cancel(self) -> None:
        """Have it not happen."""


class DeadlineTimer:
    """Calls `tick` when the earliest deadline is due.

    A deadline that moves later costs nothing: the timer fires early and is set again.
    `call_at` is that of the event loop.
    """

    def __init__(
        self,
        call_at: Callable[[float, Callable[[], None]], Handle],
        deadline: Callable[[], float | None],
        tick: Callable[[], None],
    ) -> None:
        self._call_at = call_at
        self._deadline = deadline
        self._tick = tick
        self._handle: Handle | None = None

    def arm(self) -> None:
        """Look at the deadline again; to be called after anything that may bring it forward."""
        deadline = self._deadline()
        if deadline is None:
            return
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
        self._handle = self._call_at(deadline, self._fire)

    def cancel(self) -> None:
        """Never fire again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        try:
            self._tick()
        finally:
            self.arm()
