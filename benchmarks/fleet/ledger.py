"""What became of every utterance: when its end was sent, its jobs and results on NATS, its answers.

All times are of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HEARD = "transcript"


class Answer(NamedTuple):
    """A result on MQTT. `kind`: the outcome, or the code of the error."""

    at: float
    kind: str
    infer_s: float | None = None
    repeated: bool = False


class Done(NamedTuple):
    """A result on NATS."""

    at: float
    worker: str


@dataclass(slots=True)
class Said:
    """An utterance. `ended_at`: when its end mark was sent; None: it was not yet.

    `published`: when its job was published. `done`: the results of workers.
    """

    id: str
    room: str
    seconds: float
    ended_at: float | None = None
    published: list[float] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Answer]:
        """Its answers without those that repeat an earlier one."""
        return [one for one in self.answers if not one.repeated]

    @property
    def answered_at(self) -> float | None:
        """When its first answer came."""
        return self.answers[0].at if self.answers else None

    @property
    def latency_s(self) -> float | None:
        """From the end mark to the answer; None without a transcript."""
        if self.ended_at is None or not self.answers or self.answers[0].kind != HEARD:
            return None
        return self.answers[0].at - self.ended_at

    @property
    def wait_s(self) -> float | None:
        """The latency without the transcription itself."""
        latency_s = self.latency_s
        return latency_s and latency_s - (self.answers[0].infer_s or 0.0)


class Ledger:
    """Every utterance. Its methods may be called in any thread."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.strangers = 0
        """Answers to ids that nobody used."""
        self._by_id: dict[str, Said] = {}
        self._changed = threading.Condition()

    def open(self, room: str, seconds: float) -> Said:
        """Note that an utterance will be sent. Its id is new: a known one is not heard again."""
        with self._changed:
            said = Said(f"{room}:{len(self.said)}", room, seconds)
            self.said.append(said)
            self._by_id[said.id] = said
        return said

    def ended(self, id: str, at: float) -> None:
        """Note that its end mark was sent."""
        with self._changed:
            self._by_id[id].ended_at = at

    def answered(self, id: str, answer: Answer) -> bool:
        """Note an answer; return whether it is the first one."""
        with self._changed:
            said = self._by_id.get(id)
            if said is None:
                self.strangers += 1
                return False
            said.answers.append(answer)
            self._changed.notify_all()
            return len(said.answers) == 1

    def published(self, id: str, at: float) -> None:
        """Note that its job was published."""
        with self._changed:
            if (said := self._by_id.get(id)) is not None:
                said.published.append(at)

    def done(self, id: str, done: Done) -> None:
        """Note the result of a worker."""
        with self._changed:
            if (said := self._by_id.get(id)) is not None:
                said.done.append(done)

    def since(self, number: int = 0) -> list[Said]:
        """Utterances without the first `number`."""
        with self._changed:
            return self.said[number:]

    def await_(self, predicate: Callable[[], Any], timeout_s: float) -> bool:
        """Wait until `predicate` is true, which is asked after each answer and every 0.1 s."""
        deadline = time.monotonic() + timeout_s
        while not predicate():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left_s, 0.1))
        return True

    def await_answers(self, number: int, timeout_s: float) -> bool:
        """Wait until all utterances but the first `number` are answered."""
        known, left = number, list[Said]()

        def all_answered() -> bool:
            nonlocal known, left
            new = self.since(known)
            known += len(new)
            left = [one for one in (*left, *new) if not one.answers]
            return not left

        return self.await_(all_answered, timeout_s)


def account(said: Sequence[Said]) -> dict[str, Any]:
    """What became of utterances.

    `silent`: without an outcome. `doubled`: with more than one. `done_twice`: transcribed by more
    than one worker, which costs time but has one outcome. `again`: published more than once.
    """
    kinds = Counter(one.answers[0].kind for one in said if one.answers)
    heard = kinds.pop(HEARD, 0)
    return {
        "sent": len(said),
        "heard": heard,
        "otherwise": dict(kinds),
        "silent": sum(not one.answers for one in said),
        "doubled": sum(len(one.outcomes) > 1 for one in said),
        "done_twice": sum(len(one.done) > 1 for one in said),
        "again": sum(len(one.published) > 1 for one in said),
        "workers": dict(Counter(one.done[0].worker for one in said if one.done)),
    }


def lost(counted: dict[str, Any]) -> int:
    """Utterances of an account that have no transcript."""
    return int(counted["sent"] - counted["heard"])


def broken_promises(counted: dict[str, Any]) -> list[str]:
    """What of an account must not be, where nothing may be lost."""
    found = [f"{counted['silent']} without an outcome"] if counted["silent"] else []
    found += [f"{number} {code}" for code, number in counted["otherwise"].items()]
    return found + ([f"{counted['doubled']} doubled"] if counted["doubled"] else [])


def open_at(said: Sequence[Said], at: float) -> list[Said]:
    """The utterances that had been said and not been answered at a time."""
    return [
        one
        for one in said
        if one.ended_at is not None
        and one.ended_at <= at
        and (one.answered_at is None or one.answered_at > at)
    ]


def longest_s(said: Sequence[Said], since: float) -> float | None:
    """Seconds from `since` to the last answer; None if one has none, or there are none."""
    answered = [one.answered_at for one in said]
    known = [at for at in answered if at is not None]
    return round(max(known) - since, 3) if known and len(known) == len(answered) else None
