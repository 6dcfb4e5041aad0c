"""Decides which utterances a fleet gets: those that would wait too long for a thread.

Where this process has no threads, everything would wait for ever, so the fleet gets all. `now` and
all moments are in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import Protocol, TypeAlias

from stt_mqtt.core.queue import FairQueue, Name
from stt_mqtt.core.running import Running
from stt_mqtt.types import Batch, InferenceResult, Utterance, Verdict

_NEWEST = 0.2
"""Weight of the newest utterance in the mean cost."""

Utterances: TypeAlias = tuple[Utterance, ...]
"""What is transcribed together."""


class Fleet(Protocol):
    """Other machines that transcribe. Their verdicts come as those of a `Pool`, in bounded time."""

    def submit(self, batch: Batch) -> None:
        """Have a batch transcribed by the fleet."""

    @property
    def absence(self) -> str:
        """Why it has no lanes, as a sentence."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether nobody there does what was submitted any more."""
        ...

    def forget(self, batch: int) -> None:
        """Withdraw a batch. It gets no verdict any more, and is not finished."""


class Pace:
    """The cost of speech in this process, as a mean of what was transcribed before."""

    def __init__(self) -> None:
        self.cost: float | None = None
        """Seconds of a thread for a second of audio; None: nothing was transcribed yet."""

    def note(self, verdict: Verdict) -> None:
        """Take the cost of an utterance, unless it was remembered or had no speech."""
        if not isinstance(verdict, InferenceResult) or not verdict.work_s or not verdict.audio_s:
            return
        cost = verdict.work_s / verdict.audio_s
        self.cost = cost if self.cost is None else self.cost + _NEWEST * (cost - self.cost)

    def wait_s(self, threads: int, at_work: Iterable[tuple[float, float]], audio_s: float) -> float:
        """Seconds until everything that waits would be done.

        `threads`: those that work. `at_work`: for each of them, seconds of audio that it has and
        seconds since it began. `audio_s`: seconds of audio that wait. 0 as long as the cost is
        unknown.
        """
        if threads <= 0:
            return inf
        if self.cost is None:
            return 0.0
        rest_s = sum(max(self.cost * audio - spent_s, 0.0) for audio, spent_s in at_work)
        return (rest_s + self.cost * audio_s) / threads


class Overflow:
    """Takes utterances from the queue for the fleet, one by one."""

    def __init__(self, queue: FairQueue) -> None:
        self.fleet: Fleet | None = None
        self.lanes = 0
        """Utterances that the fleet can hold at the same time."""
        self.promised_wait_s = 0.0
        """How long an utterance may wait for a thread of this process."""
        self.pace = Pace()
        self.next_at: float | None = None
        """When the fleet gets an utterance for which no thread became free; None: none waits."""
        self._queue = queue

    def take(
        self,
        threads: int,
        running: Collection[Running],
        starting: Sequence[Utterances],
        held_back: Callable[[Iterable[Utterances]], Collection[Name]],
        now: float,
    ) -> list[Utterances]:
        """Take what the fleet gets now.

        `threads`: those of this process. `starting`: what these are about to begin. `held_back`:
        the names that may have no more, given what is about to begin.
        """
        self.next_at = None
        taken: list[Utterances] = []
        free = self.lanes - sum(one.is_remote for one in running)
        own = [one for one in running if not one.is_remote]
        at_work = [
            (self._audio_s(one.unanswered.values()), now - one.started_at)
            for one in own
            if not one.stuck
        ]
        at_work += [(self._audio_s(utterances), 0.0) for utterances in starting]
        threads -= sum(one.stuck for one in own)
        while len(taken) < free:
            but = held_back([*starting, *taken])
            oldest = self._queue.oldest_ready(but)
            if oldest is None:
                break
            wait_s = self.pace.wait_s(threads, at_work, self._queue.audio_s)
            if wait_s <= self.promised_wait_s and now - oldest < self.promised_wait_s:
                self.next_at = oldest + self.promised_wait_s
                break
            taken.append(self._queue.pop_batch(1, but))
        return taken

    def take_back(self, threads: int, running: dict[int, Running], now: float) -> None:
        """Put back into the queue what a fleet has that is gone, if this process can do it.

        What is too old or finds no room in the queue stays with the fleet, which ends it in time.
        `threads`: those of this process that work. `running`: by batch; the fleet has one utterance
        in each.
        """
        if self.fleet is None or threads <= 0 or not self.fleet.is_gone:
            return
        remote = [
            (number, utterance)
            for number, one in running.items()
            if one.is_remote
            for utterance in one.unanswered.values()
        ]
        batches = {utterance.key: number for number, utterance in remote}
        for utterance in self._queue.put_back((utterance for _, utterance in remote), now):
            del running[batches[utterance.key]]
            self.fleet.forget(batches[utterance.key])

    def _audio_s(self, utterances: Iterable[Utterance]) -> float:
        return sum(map(self._queue.length_s, utterances))
