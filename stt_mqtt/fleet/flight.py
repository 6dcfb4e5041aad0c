"""A job of a gateway from its publication to its verdict, and what publishes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from stt_mqtt.audio.compact import SMALL_BYTES, compact
from stt_mqtt.core.background import in_background
from stt_mqtt.fleet.wire import Job
from stt_mqtt.types import Utterance


class JobConnection(Protocol):
    """What a gateway needs of its connection to the NATS servers. See `FleetConnection`."""

    on_ready: Callable[[], None]
    on_lost: Callable[[], None]

    @property
    def connected(self) -> bool: ...  # noqa: D102

    @property
    def failure(self) -> str | None: ...  # noqa: D102

    async def publish_job(self, job: Job) -> int | None: ...  # noqa: D102

    async def forget_job(self, job_id: str, sequence: int | None) -> None: ...  # noqa: D102

    async def answer_results(self, handle: Callable[[bytes], bool]) -> None: ...  # noqa: D102

    async def hear_workers(self, handle: Callable[[bytes], None]) -> None: ...  # noqa: D102

    async def hear_failures(self, handle: Callable[[int], None]) -> None: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class Flight:
    """A job that has no verdict yet. Times are in monotonic seconds.

    `batch`, `index`: of its utterance. `due_at`: when it ends without a result.
    """

    number: int
    batch: int
    index: int
    utterance: Utterance
    may_retry: bool
    due_at: float
    attempts: int = 0
    """How often it was published, or that was tried."""
    sequence: int | None = None
    """Its place in the stream; None: it is not known to be there."""
    retry_at: float | None = None
    """When it is to be published again, because that failed."""
    is_publishing: bool = False
    is_over: bool = False

    @property
    def place(self) -> dict[str, str]:
        """Its device and utterance, for the log."""
        return {"device": str(self.utterance.key), "utterance": self.utterance.id}

    async def compact(self) -> None:
        """Make PCM that is large FLAC. In a thread, because that takes some milliseconds."""
        audio = self.utterance.audio
        if len(audio.data) > SMALL_BYTES:
            audio = await in_background(partial(compact, audio))
            self.utterance = replace(self.utterance, audio=audio)
