"""The fair queue of utterances, bounded in number, seconds of audio, and age.

Pure: `now` and all deadlines are in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable
from typing import TypeAlias

from stt_mqtt.core.queue_limits import QueueLimits
from stt_mqtt.core.regulars import Regulars
from stt_mqtt.types import DeviceKey, InferenceResult, Utterance, Verdict

Name: TypeAlias = tuple[str, str]
"""Door and name of a device. The parts of a name share its turns, its places and its memory."""

MAX_UNDERSTOOD = 1000
"""Names that are remembered because words were heard in them."""
CROWD = 8
"""If so many utterances wait, nobody becomes a regular, and regulars have batches of their own."""

REGULAR_TURNS = 3
"""Of so many turns and one more, the last is for others than regulars if any of them wait."""

_STRANGER, _KNOWN, _REGULAR = range(3)
"""Ranks of names, the lowest first."""


class FairQueue:
    """Utterances that wait for an inference thread.

    Device names take turns, and the parts of a name take turns within it. While an utterance of a
    device is transcribed, its next ones wait, so that the answers of a device keep their order.

    Regulars have three of four turns. Of the other turns, names in which words were heard before
    have every second. Names of a higher rank do not lose their place to lower ones: a crowd of new
    names is no reason not to hear a room of the house, not even if it says real words.
    """

    def __init__(self, limits: QueueLimits, regulars: Regulars | None = None) -> None:
        self.regulars = regulars or Regulars()
        self._limits = limits
        self._waiting: dict[DeviceKey, deque[Utterance]] = {}
        self._turns: dict[Name, deque[DeviceKey]] = {}
        """Waiting devices that are not busy, by name. The next name and its next part are first."""
        self._busy: set[DeviceKey] = set()
        self._understood: OrderedDict[Name, None] = OrderedDict()
        """Names in which words were heard, the latest last."""
        self._regular_turns = 0
        """Turns that regulars had before others since the last turn of others."""
        self._stranger_is_next = False
        self._last_end = 0.0
        """When the latest utterance that was queued has ended."""
        self.jobs = 0
        self._audio_ms = 0

    @property
    def audio_s(self) -> float:
        """Seconds of audio that wait, estimated where only decoding could tell."""
        return self._audio_ms / 1000

    def put(self, utterance: Utterance) -> list[Utterance]:
        """Add an utterance. Return the utterances that were removed to make room for it.

        If the queue is full, the name with the most utterances loses its newest one. A name with a
        single utterance never loses it, except to a name of a higher rank. If every name has only
        one, the new utterance is refused. An empty queue accepts any utterance.
        The parts of a name count together, so an address gains nothing by opening many connections.
        """
        self._append(utterance)
        refused: list[Utterance] = []
        while self.jobs > 1 and self._is_overfull():
            own = name_of(utterance.key)
            refused.append(self._remove_newest(self._largest() or self._lower_than(own) or own))
        return refused

    def answered(self, key: DeviceKey, verdict: Verdict, released: bool) -> None:
        """An utterance that was taken has its verdict.

        Unless the device was `released` before, its next utterance may be taken now.
        """
        transcript = verdict.transcript if isinstance(verdict, InferenceResult) else None
        if transcript is not None and transcript.text:
            if self.jobs < CROWD:
                self.regulars.heard(name_of(key), self._last_end)
            self._understood[name_of(key)] = None
            self._understood.move_to_end(name_of(key))
            if len(self._understood) > MAX_UNDERSTOOD:
                self._understood.popitem(last=False)
        if not released:
            self.done(key)

    def is_expired(self, utterance: Utterance, now: float) -> bool:
        """Whether an utterance is too old to be queued."""
        return now >= self._limits.deadline(utterance)

    def evict(self, name: Name) -> Utterance | None:
        """Remove the newest utterance of a name. None: nothing of it waits."""
        waits = any(name_of(key) == name for key in self._waiting)
        return self._remove_newest(name) if waits else None

    def ready(self, but: Collection[Name] = ()) -> int:
        """How many utterances could be transcribed now: one per device that is not busy.

        Those of the names in `but` do not count.
        """
        return sum(len(keys) for name, keys in self._turns.items() if name not in but)

    def oldest_ready(self, but: Collection[Name] = ()) -> float | None:
        """When the first of those that count for `ready` ended. None: there is none."""
        ended = (
            self._waiting[key][0].ended_at
            for name, keys in self._turns.items()
            for key in keys
            if name not in but
        )
        return min(ended, default=None)

    def pop_batch(self, most: int, but: Collection[Name] = ()) -> tuple[Utterance, ...]:
        """Remove up to `most` utterances, each of another device, and mark the devices as busy.

        Those of the names in `but` stay. In a crowd, a batch is a turn, of regulars or of others.
        """
        batch: list[Utterance] = []
        names = {name for name in self._turns if name not in but}
        is_crowd = self.jobs >= CROWD
        while names and len(batch) < most:
            name = self._next_name(names)
            batch.append(self._pop(name))
            if is_crowd:
                is_regular = name in self.regulars
                names = {one for one in names if (one in self.regulars) is is_regular}
            names &= self._turns.keys()
        return tuple(batch)

    def jobs_but(self, but: Collection[Name]) -> int:
        """How many utterances wait, without those of the names in `but`."""
        return sum(len(own) for key, own in self._waiting.items() if name_of(key) not in but)

    @property
    def waiting(self) -> Counter[Name]:
        """How many utterances of each name wait."""
        jobs: Counter[Name] = Counter()
        for key, waiting in self._waiting.items():
            jobs[name_of(key)] += len(waiting)
        return jobs

    def is_busy(self, key: DeviceKey) -> bool:
        """Whether an utterance of the device is being transcribed or waits."""
        return key in self._busy or key in self._waiting

    def hold(self, key: DeviceKey) -> None:
        """Let the next utterances of a device that is not busy wait until `done`."""
        self._busy.add(key)

    def done(self, key: DeviceKey) -> None:
        """The utterance of a busy device was transcribed. Its next one may be taken."""
        self._busy.remove(key)
        if key in self._waiting:
            self._enqueue_turn(key)

    def expire(self, now: float) -> list[Utterance]:
        """Remove all utterances that have waited too long or are too old."""
        expired = [
            u for waiting in self._waiting.values() for u in waiting if self.is_expired(u, now)
        ]
        for utterance in expired:
            self._remove(utterance)
        return expired

    def withdraw(self, key: DeviceKey) -> list[Utterance]:
        """Remove all utterances of a device."""
        withdrawn = list(self._waiting.get(key, ()))
        for utterance in withdrawn:
            self._remove(utterance)
        return withdrawn

    def clear(self) -> list[Utterance]:
        """Remove all utterances."""
        everything = [u for waiting in self._waiting.values() for u in waiting]
        for utterance in everything:
            self._remove(utterance)
        return everything

    def put_back(self, taken: Iterable[Utterance], now: float) -> list[Utterance]:
        """Let utterances that were taken, each of another device, wait again, the first one first.

        Their turns are before all others. Return those that are not too old and find room: nothing
        else loses its place to them.
        """
        back: list[Utterance] = []
        for utterance in taken:
            self._count(utterance)
            if self.is_expired(utterance, now) or (self.jobs > 1 and self._is_overfull()):
                self._forget(utterance)
            else:
                back.append(utterance)
        for utterance in reversed(back):
            key, name = utterance.key, name_of(utterance.key)
            self._waiting.setdefault(key, deque()).appendleft(utterance)
            self._busy.remove(key)
            keys = self._turns.pop(name, deque())
            keys.appendleft(key)
            self._turns = {name: keys, **self._turns}
        return back

    @property
    def next_expiry(self) -> float | None:
        """When the next utterance expires."""
        deadline = self._limits.deadline
        return min(
            (deadline(u) for waiting in self._waiting.values() for u in waiting), default=None
        )

    def oldest_s(self, now: float) -> float:
        """Longest time that an utterance in the queue has waited, in seconds."""
        return max(
            (now - u.ended_at for waiting in self._waiting.values() for u in waiting), default=0.0
        )

    def _pop(self, name: Name) -> Utterance:
        keys = self._turns[name]
        key = keys.popleft()
        del self._turns[name]
        if keys:
            # The next part of this name waits until the name has its turn again.
            self._turns[name] = keys
        self._busy.add(key)
        waiting = self._waiting[key]
        utterance = waiting.popleft()
        self._forget(utterance)
        if not waiting:
            del self._waiting[key]
        return utterance

    def _next_name(self, names: Collection[Name]) -> Name:
        """Which of the names has its turn."""
        first: dict[int, Name] = {}
        for name in self._turns:
            if name in names:
                first.setdefault(self._rank(name), name)
        regular, known, stranger = (first.get(rank) for rank in (_REGULAR, _KNOWN, _STRANGER))
        if regular is not None and len(first) == 1:
            return regular
        if regular is not None and self._regular_turns < REGULAR_TURNS:
            self._regular_turns += 1
            return regular
        self._regular_turns = 0
        if known is None or (stranger is not None and self._stranger_is_next):
            self._stranger_is_next = False
            assert stranger is not None
            return stranger
        self._stranger_is_next = True
        return known

    def _rank(self, name: Name) -> int:
        if name in self.regulars:
            return _REGULAR
        return _KNOWN if name in self._understood else _STRANGER

    def _lower_than(self, name: Name) -> Name | None:
        """The name that came last of those of the lowest rank, if `name` has a higher one.

        Each name has one utterance.
        """
        lowest = min(
            (waiting[-1] for waiting in self._waiting.values()),
            key=lambda utterance: (self._rank(name_of(utterance.key)), -utterance.ended_at),
        )
        other = name_of(lowest.key)
        return other if self._rank(other) < self._rank(name) else None

    def _enqueue_turn(self, key: DeviceKey) -> None:
        self._turns.setdefault(name_of(key), deque()).append(key)

    def _append(self, utterance: Utterance) -> None:
        waiting = self._waiting.get(utterance.key)
        if waiting is None:
            waiting = self._waiting[utterance.key] = deque()
            if utterance.key not in self._busy:
                self._enqueue_turn(utterance.key)
        waiting.append(utterance)
        self._last_end = max(self._last_end, utterance.ended_at)
        self._count(utterance)

    def _largest(self) -> Name | None:
        """The name with the most utterances. None: no name has several."""
        jobs = self.waiting
        several = (name for name, count in jobs.items() if count > 1)
        return max(several, key=lambda name: jobs[name], default=None)

    def _remove_newest(self, name: Name) -> Utterance:
        """Remove the newest utterance of the part of a name that has the most."""
        parts = [waiting for key, waiting in self._waiting.items() if name_of(key) == name]
        # Among equal parts, the one that came last.
        largest = max(reversed(parts), key=lambda waiting: (len(waiting), waiting[-1].ended_at))
        utterance = largest[-1]
        self._remove(utterance)
        return utterance

    def _remove(self, utterance: Utterance) -> None:
        waiting = self._waiting[utterance.key]
        index = next(i for i, other in enumerate(waiting) if other is utterance)
        del waiting[index]
        self._forget(utterance)
        if not waiting:
            del self._waiting[utterance.key]
            if utterance.key not in self._busy:
                name = name_of(utterance.key)
                self._turns[name].remove(utterance.key)
                if not self._turns[name]:
                    del self._turns[name]

    def _count(self, utterance: Utterance) -> None:
        self.jobs += 1
        self._audio_ms += self._length_ms(utterance)

    def _forget(self, utterance: Utterance) -> None:
        self.jobs -= 1
        self._audio_ms -= self._length_ms(utterance)

    def _is_overfull(self) -> bool:
        limits = self._limits
        return self.jobs > limits.max_jobs or self._audio_ms > limits.max_audio_s * 1000

    def length_s(self, utterance: Utterance) -> float:
        """Seconds of audio in an utterance, as far as they count."""
        return self._limits.length_s(utterance)

    def _length_ms(self, utterance: Utterance) -> int:
        return int(self.length_s(utterance) * 1000)


def name_of(key: DeviceKey) -> Name:
    """Door and name of a device."""
    return key.door, key.name
