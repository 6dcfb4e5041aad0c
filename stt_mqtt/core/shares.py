"""Which names leave the free threads to others.

An utterance that is being transcribed cannot be stopped. So a name with many parts, such as a host
with hundreds of connections, must not have all threads when somebody else is about to need one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stt_mqtt.core.queue import Name, name_of
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
