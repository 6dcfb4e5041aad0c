"""Has utterances recognised while they are open, and passes partial results to the doors.

At a pause there is a glimpse, whose answer is used if the speaker has finished. While somebody
speaks there are drafts, for devices with `partials`. A draft needs spare capacity: nothing final
waits, nobody else is drafted, and no more people speak than there are inference threads. A glimpse
that is due while a draft or another glimpse is made waits for the thread, because both are short.
"""

from __future__ import annotations

import logging

from stt_mqtt.core.budget import Budget
from stt_mqtt.core.device import Device
from stt_mqtt.core.listening import OPEN_S
from stt_mqtt.core.observers import PartialOutlet
from stt_mqtt.core.outcomes import Ended, Glimpse
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.registry import Registry
from stt_mqtt.core.scheduler import Scheduler
from stt_mqtt.core.utterance import OpenUtterance
from stt_mqtt.observe.metrics import DropReason, Metrics
from stt_mqtt.types import (
    Completion,
    DeviceKey,
    Endpointing,
    InferenceResult,
    Transcript,
    Utterance,
)

log = logging.getLogger(__name__)

MAX_POSTPONED = 64
"""Most devices whose glimpse waits for a thread. Others have none at that pause."""


class Speculation:
    """Decides what is recognised before it has ended. `now`: monotonic seconds."""

    def __init__(
        self, registry: Registry, scheduler: Scheduler, metrics: Metrics, budget: Budget
    ) -> None:
        self.outlets: dict[str, PartialOutlet] = {}
        """The doors that take partial results, by name."""
        self._registry = registry
        self._scheduler = scheduler
        self._metrics = metrics
        self._budget = budget
        self._is_drafting = False
        """Whether a draft is being made."""
        self._running = 0
        """Drafts and glimpses that are being made."""
        self._postponed: dict[DeviceKey, None] = {}
        """Devices whose glimpse waits for the thread of a draft or another glimpse."""

    def consider(self, device: Device, now: float) -> None:
        """Have the open utterance of a device recognised, if that is due and possible."""
        utterance = device.utterance
        self._scheduler.speaking.note(device.key, utterance is not None and utterance.spoke)
        if utterance is None or self._is_postponed(device.key, utterance, now):
            return
        wanted = device.glimpse(now, self._scheduler.may_glimpse)
        if wanted is None and utterance.wants_draft() and device.key.door in self.outlets:
            wanted = self._draft(device.key, utterance, now)
        if wanted is not None:
            self._running += 1
            self._scheduler.glimpse(wanted, now)

    def found(self, glimpse: Glimpse, now: float) -> list[Ended]:
        """An open utterance was recognised. Publish what is new. A glimpse may end the turn."""
        result = glimpse.verdict if isinstance(glimpse.verdict, InferenceResult) else None
        work_s = (result and result.work_s) or 0.0
        self._running -= 1
        if glimpse.is_draft:
            self._is_drafting = False
            self._metrics.count_draft(work_s)
        else:
            self._metrics.count_glimpse(result)
        device = self._registry.find(glimpse.utterance.key)
        utterance = None if device is None else device.utterance
        if device is None or utterance is None or utterance.memo is not glimpse.utterance.memo:
            return []
        transcript = None if result is None else result.transcript
        if transcript is not None and utterance.start.partials:
            self._revise(glimpse, utterance, transcript, work_s)
        if glimpse.is_draft:
            utterance.draft_times.end(work_s)
            return []
        ended = device.glimpsed(utterance, transcript, now)
        if transcript is not None and _is_open(utterance, transcript):
            self._registry.observers.phrase_open(device.key, utterance.start.id)
        return ended

    def take_postponed(self) -> list[Device]:
        """The devices whose glimpse may no longer have to wait. A draft or a glimpse has ended."""
        devices = [self._registry.find(key) for key in self._postponed]
        self._postponed.clear()
        return [device for device in devices if device is not None]

    def _is_postponed(self, key: DeviceKey, utterance: OpenUtterance, now: float) -> bool:
        """Whether a glimpse is due, but waits until a draft or another glimpse has ended."""
        if not self._running or self._scheduler.queue.jobs or not utterance.wants_glimpse(now):
            return False
        if self._scheduler.may_glimpse(key):
            return False
        if len(self._postponed) >= MAX_POSTPONED and key not in self._postponed:
            return False
        utterance.postpone_glimpse()
        self._postponed[key] = None
        return True

    def _draft(self, key: DeviceKey, utterance: OpenUtterance, now: float) -> Utterance | None:
        """What was said so far, to be drafted. None: there is no spare capacity."""
        may_draft = not self._is_drafting and self._scheduler.may_glimpse(key)
        if not may_draft or self._is_crowded or self._budget.missing_bytes(utterance.nbytes):
            utterance.draft_times.skip()
            return None
        draft = utterance.draft(key, now)
        self._is_drafting = True
        self._budget.use(key, len(draft.audio.data))
        return draft

    @property
    def _is_crowded(self) -> bool:
        """Whether more people speak than there are threads."""
        spoken = (other.utterance is not None and other.utterance.spoke for other in self._registry)
        return sum(spoken) > self._scheduler.workers

    def _revise(
        self, glimpse: Glimpse, utterance: OpenUtterance, found: Transcript, work_s: float
    ) -> None:
        """Take a hypothesis of an open utterance, and publish a revision if there is one."""
        key, start, partials = glimpse.utterance.key, utterance.start, utterance.partials
        outlet = self.outlets.get(key.door)
        if outlet is None or not partials.revise(found, glimpse.utterance.ended_at):
            return
        partial = Partial(
            key=key,
            id=start.id,
            text=partials.text,
            language=found.language,
            confidence=found.confidence,
            work_s=work_s,
            revision=partials.revision,
            stable=len(partials.stable),
            context=start.context,
        )
        try:
            outlet.partial(partial)
        except Exception:
            self._metrics.drop(DropReason.ANSWER)
            log.exception(
                "a partial result was lost to a defect, please report this",
                extra={"device": str(key), "utterance": start.id},
            )


def _is_open(utterance: OpenUtterance, found: Transcript) -> bool:
    """Whether a device should wait for `OPEN_S` before it ends its utterance.

    `found`: what a glimpse found. A device that holds silence back must not wait longer than the
    service waits for its chunks.
    """
    turn_end = utterance.start.turn_end
    return (
        found.completion is Completion.OPEN
        and turn_end.endpointing is not Endpointing.SILENCE
        and turn_end.pause_s is None
        and utterance.stopped_at is None
        and utterance.start.quiet_timeout_s > OPEN_S
        and utterance.is_glimpsed
    )
