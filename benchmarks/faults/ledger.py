"""What became of every utterance of every room."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stt_mqtt.types import SAMPLE_RATE
from tools.words import words

LENGTH_S = 0.15
"""The service may count so much more or less: Opus pads its last packet."""


class Recording(NamedTuple):
    """What is said: the words, and 16-bit mono at `SAMPLE_RATE`."""

    text: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer. `kind`: the outcome. `code`: of an error.

    `incomplete`: the service says that it heard only a part. `cut`: it ended by itself what had a
    start and would have had a stop, so it may be a part.
    """

    at: float
    kind: str
    text: str = ""
    code: str | None = None
    repeated: bool = False
    incomplete: bool = False
    cut: bool = False
    payload: bytes = b""

    @property
    def facts(self) -> dict[str, Any]:
        """What the result tells beside the words."""
        result = json.loads(self.payload or b"{}")
        keys = ("end", "audio_s", "age_s", "lost_chunks", "truncated", "wait_s")
        return {key: result[key] for key in keys if result.get(key)}


@dataclass(slots=True)
class Spoken:
    """An utterance. Times are of `time.monotonic`.

    `said`: how often it was sent. `first`: whether it is no repetition of another utterance.
    `lost`: why there will be no answer.
    """

    room: str
    id: str
    recording: Recording
    opened_at: float
    first: bool = True
    said: int = 0
    ended_at: float | None = None
    answers: list[Heard] = field(default_factory=list)
    lost: str | None = None
    settled_at: float | None = None

    @property
    def answer(self) -> Heard | None:
        """The first answer to the whole, else the first one."""
        whole = [heard for heard in self.answers if not heard.incomplete]
        return next(iter(whole or self.answers), None)

    @property
    def right(self) -> bool:
        """Whether all of it was heard with the very words."""
        heard = self.answer
        if heard is None or heard.cut or heard.incomplete:
            return False
        return words(heard.text) == words(self.recording.text)

    @property
    def arrived(self) -> bool:
        """Whether the service had all of the sound, as far as its result tells."""
        facts = {} if self.answer is None else self.answer.facts
        length_s = len(self.recording.pcm) / 2 / SAMPLE_RATE
        is_whole = abs(facts.get("audio_s", length_s) - length_s) < LENGTH_S
        return is_whole and not (facts.get("lost_chunks") or facts.get("truncated"))

    @property
    def latency_s(self) -> float | None:
        """From the end mark to the answer, of what was said once; None: it was not."""
        if self.answer is None or self.ended_at is None or self.said > 1 or not self.first:
            return None
        return self.answer.at - self.ended_at

    @property
    def outcomes(self) -> int:
        """How many outcomes came. A repeated one, or a second copy, is the same one.

        After an incomplete one, the whole may be sent again under the same id.
        """
        whole = [heard for heard in self.answers if not heard.incomplete]
        return len({heard.payload for heard in whole if not heard.repeated}) or bool(self.answers)

    @property
    def copies(self) -> int:
        """How many answers came that MQTT delivered twice."""
        new = [heard.payload for heard in self.answers if not heard.repeated]
        return len(new) - len(set(new))


class Ledger:
    """Every utterance of all rooms."""

    def __init__(self) -> None:
        self.spoken: list[Spoken] = []
        self.strangers: list[Heard] = []
        """Answers to ids that nobody used: what came of the pieces of an utterance."""
        self.refused = 0
        """Attempts to speak that did not even get a connection."""
        self._changed = threading.Condition()
        self._by_id: dict[str, Spoken] = {}

    def open(self, room: str, id: str, recording: Recording, first: bool = True) -> Spoken:
        """Note that an utterance begins."""
        spoken = Spoken(room, id, recording, time.monotonic(), first)
        with self._changed:
            self.spoken.append(spoken)
            self._by_id[id] = spoken
        return spoken

    def heard(self, room: str, id: str | None, heard: Heard) -> None:
        """Note an answer. One to another room of the same name is not for this one."""
        with self._changed:
            spoken = self._by_id.get(id or "")
            if spoken is None:
                self.strangers.append(heard)
            elif spoken.room == room:
                spoken.answers.append(heard)
                if not heard.incomplete:
                    spoken.settled_at = spoken.settled_at or heard.at
            self._changed.notify_all()

    def lose(self, spoken: Spoken, why: str) -> None:
        """Note that no answer will come."""
        with self._changed:
            spoken.lost, spoken.settled_at = why, time.monotonic()
            self._changed.notify_all()

    def await_(self, predicate: Callable[[], Any], timeout_s: float) -> bool:
        """Wait until `predicate` is true, which is asked after each change and every 0.2 s."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not predicate():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, 0.2))
        return True
