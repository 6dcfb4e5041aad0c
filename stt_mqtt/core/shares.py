"""Which names leave the free threads to others.

An utterance that is being transcribed cannot be stopped. So a name with many parts, such as a host
with hundreds of connections, must not have all threads when somebody else is about to need one, nor
must a crowd of names when a regular is about to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from stt_mqtt.core.queue import FairQueue, Name, name_of
from stt_mqtt.types import DeviceKey, Utterance


class Speaking:
    """The devices in whose open utterance somebody has spoken."""

    def __init__(self) -> None:
        self._devices: set[DeviceKey] = set()
        self._names: Counter[Name] = Counter()

    @property
    def names(self) -> set[Name]:
        """Their names."""
        return set(self._names)

    def note(self, key: DeviceKey, speaks: bool) -> None:
        """Whether somebody has spoken in the open utterance of a device."""
        if speaks == (key in self._devices):
            return
        name = name_of(key)
        if speaks:
            self._devices.add(key)
            self._names[name] += 1
            return
        self._devices.remove(key)
        self._names[name] -= 1
        if not self._names[name]:
            del self._names[name]


def threads_of(batches: Iterable[Iterable[Utterance]]) -> Counter[Name]:
    """How many threads each name has. `batches`: what is transcribed in each thread."""
    return Counter(name for batch in batches for name in {name_of(one.key) for one in batch})


def held_back(
    workers: int, used: Counter[Name], waiting: Counter[Name], speaking: set[Name]
) -> set[Name]:
    """The names that may take no further thread.

    They have more utterances waiting than there are threads, and already one thread or all but one
    for each other name that speaks, waits or is transcribed. `used`: threads of each name.
    `waiting`: its utterances.
    """
    active = len(used.keys() | waiting.keys() | speaking)
    share = max(workers - active + 1, 1)
    return {name for name in waiting if waiting[name] > workers and used[name] >= share}


class Shares:
    """Shares out the threads while more utterances wait than there are threads: a crowd.

    `batches`: what is transcribed in each busy thread.
    """

    def __init__(self, queue: FairQueue, speaking: Speaking) -> None:
        self._queue = queue
        self._speaking = speaking

    def held_back(self, workers: int, batches: Sequence[Collection[Utterance]]) -> set[Name]:
        """The names that may take no further thread."""
        if not self._is_crowd(workers):
            return set()
        waiting = self._queue.waiting
        held = held_back(workers, threads_of(batches), waiting, self._speaking.names)
        if self._is_reserved(workers, batches):
            held |= {name for name in waiting if name not in self._queue.regulars}
        return held

    def may_take_one(
        self, name: Name, workers: int, batches: Sequence[Collection[Utterance]]
    ) -> bool:
        """Whether a name may take a free thread for an utterance that is still open."""
        is_regular = name in self._queue.regulars
        return is_regular or not (self._is_crowd(workers) and self._is_reserved(workers, batches))

    def _is_crowd(self, workers: int) -> bool:
        return workers >= 2 and self._queue.jobs > workers

    def _is_reserved(self, workers: int, batches: Sequence[Collection[Utterance]]) -> bool:
        """Whether the last free thread is for regulars: one of them speaks or waits."""
        regulars = self._queue.regulars
        if not any(name in regulars for name in self._queue.waiting.keys() | self._speaking.names):
            return False
        others = sum(any(name_of(one.key) not in regulars for one in batch) for batch in batches)
        return others >= workers - 1
