"""Messages in lanes that take turns, so that a crowd of senders does not delay a quiet one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from stt_mqtt.mqtt.routing import Senders

TURN_COST = 16
"""What a lane may spend in its turn. It always gets one message."""
MESSAGE_COST = 16
"""A message that opens or ends an utterance costs ten times as much as a chunk."""
BYTES_FOR_COST = 2048
"""A chunk costs one, and one more for so many bytes."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane of a sender at a door. Order is kept only within a lane."""

    senders: Senders
    sender: str

    @property
    def is_favoured(self) -> bool:
        """Whether a crowd of others must not delay it."""
        return self.senders.is_favoured(self.sender)


class Lanes(Generic[_Item]):
    """Items that wait, first in and first out in each lane. Lanes take turns by cost.

    Favoured lanes have every second turn. Whether a lane is one is asked when it begins to wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[tuple[_Item, int]]] = {}
        self._turns: tuple[deque[Lane], deque[Lane]] = (deque(), deque())
        """Lanes that wait for their turn, the next one first: others, favoured."""
        self._next_is_favoured = True
        self._current: tuple[Lane, bool] | None = None
        """The lane that has its turn, and whether it is favoured."""
        self._left = 0
        """What it may still spend."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, lane: Lane, item: _Item, cost: int) -> None:
        """Add an item at the end of a lane."""
        waiting = self._waiting.get(lane)
        if waiting is None:
            waiting = self._waiting[lane] = deque()
            self._turns[lane.is_favoured].append(lane)
        waiting.append((item, cost))

    def take(self, most: int) -> list[_Item]:
        """Remove up to `most` items, the next one first."""
        taken: list[_Item] = []
        while self._waiting and len(taken) < most:
            taken.append(self._take_one())
        return taken

    def _take_one(self) -> _Item:
        lane, is_favoured = self._current or self._next()
        waiting = self._waiting[lane]
        item, cost = waiting.popleft()
        self._left -= cost
        if not waiting:
            del self._waiting[lane]
            self._current = None
        elif self._left <= 0:
            self._turns[is_favoured].append(lane)
            self._current = None
        else:
            self._current = (lane, is_favoured)
        return item

    def _next(self) -> tuple[Lane, bool]:
        others, favoured = self._turns
        is_favoured = bool(favoured) and (self._next_is_favoured or not others)
        self._next_is_favoured = not is_favoured
        self._left = TURN_COST
        return self._turns[is_favoured].popleft(), is_favoured


def cost_of(nbytes: int, is_audio: bool) -> int:
    """What a message costs: about how long it takes to handle it."""
    return 1 + nbytes // BYTES_FOR_COST if is_audio else MESSAGE_COST
