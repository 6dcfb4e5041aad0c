"""How much audio of open utterances is listened to per second.

Listening costs the event loop milliseconds per second of audio. A device that sends faster than it
speaks would take the time of the others. What is not listened to now waits. If it still waits when
the utterance ends, it is transcribed all the same. Pure: `now` is in monotonic seconds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from math import inf

from stt_mqtt.core.queue import Name, name_of
from stt_mqtt.types import DeviceKey, TurnEnd

BURST_S = 10.0
"""Most audio of one device that is listened to at once: a command that comes in one message."""
BURSTS_S = 20.0
"""Most audio that all devices together have listened to at once, about."""
CATCH_UP_RATE = 4.0
"""Most seconds of audio per second of one device, so that it catches up after a bad connection."""
MOST_PER_S = 100.0
"""Most seconds of audio per second of all devices: a tenth to a third of the event loop's time."""
ACTIVE_S = 1.0
"""A device that was listened to within this time shares in that."""
PIECE_S = 0.25
"""Least audio for which one is listened to again when no more of it arrives."""
SHORTEST_WAIT_S = 0.1
SHARE_S = 0.25
"""How long a device goes on with its share before it is worked out again."""


class Hearing:
    """Shares out what is listened to: among names, and within a name among its parts.

    `for_glimpses`: open utterances are recognised here. Otherwise only those are listened to whose
    end the service has to find, and coded audio stays as it came.
    """

    def __init__(self, for_glimpses: bool = True) -> None:
        self.for_glimpses = for_glimpses
        self._heard_at: OrderedDict[DeviceKey, float] = OrderedDict()
        """The devices that were listened to lately. The last one is the newest."""
        self._parts: Counter[Name] = Counter()
        """How many of them each name has."""

    def share(self, key: DeviceKey, now: float) -> float:
        """The share of an active device: equal for all names, and for all parts of a name."""
        while now - self._heard_at[oldest := next(iter(self._heard_at))] >= ACTIVE_S:
            self._forget(oldest)
        return 1 / (len(self._parts) * self._parts[name_of(key)])

    def note(self, key: DeviceKey, now: float) -> None:
        """A device is listened to."""
        if key not in self._heard_at:
            self._parts[name_of(key)] += 1
        self._heard_at[key] = now
        self._heard_at.move_to_end(key)

    def _forget(self, key: DeviceKey) -> None:
        del self._heard_at[key]
        self._parts[name_of(key)] -= 1
        if not self._parts[name_of(key)]:
            del self._parts[name_of(key)]


class Allowance:
    """How much of one device may be listened to now."""

    __slots__ = ("_at", "_hearing", "_key", "_left_s", "_most_s", "_rate", "_shared_at")

    def __init__(self, hearing: Hearing, key: DeviceKey) -> None:
        self._hearing = hearing
        self._key = key
        self._left_s = BURST_S
        self._most_s = BURST_S
        self._rate = CATCH_UP_RATE
        self._shared_at = self._at = -inf

    def is_for(self, turn_end: TurnEnd) -> bool:
        """Whether an utterance with this end is listened to at all."""
        ends_it = turn_end.pause_s is not None or turn_end.no_speech_s is not None
        return self._hearing.for_glimpses or ends_it

    def left_s(self, now: float) -> float:
        """Seconds of audio that may be listened to now."""
        if now - self._shared_at >= SHARE_S:
            self._shared_at = now
            self._hearing.note(self._key, now)
            share = self._hearing.share(self._key, now)
            self._rate = min(CATCH_UP_RATE, MOST_PER_S * share)
            self._most_s = min(BURST_S, BURSTS_S * share)
        self._left_s = min(self._left_s + self._rate * (now - self._at), self._most_s)
        self._at = now
        return max(self._left_s, 0.0)

    def use(self, seconds: float) -> None:
        """So much was listened to."""
        self._left_s -= seconds

    @property
    def wait_s(self) -> float:
        """Time until it is worth while to listen again."""
        return max((PIECE_S - self._left_s) / self._rate, SHORTEST_WAIT_S)
