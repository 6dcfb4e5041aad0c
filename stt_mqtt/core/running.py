"""A batch that is being transcribed."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.types import DeviceKey, Utterance, Verdict

GLIMPSE_PATIENCE_S = 5.0
"""How long a final utterance waits for its glimpse."""


@dataclass(slots=True)
class Running:
    """A batch until it is finished. `unanswered`: utterances by their index in the batch."""

    started_at: float
    unanswered: dict[int, Utterance]
    progress_at: float
    """When the batch started, or when its last verdict arrived."""
    stuck: bool = False
    is_glimpse: bool = False
    """Whether its one utterance was open when it started."""
    found: Verdict | None = None
    """The verdict of a glimpse, until its thread is free."""
    released: bool = False
    """Whether the device may use another thread before this glimpse ends."""
    excused: bool = False
    """Whether its timeout was restarted, because the process stood still or the machine slept."""
    is_remote: bool = False
    """Whether the fleet has it, which answers in time by itself."""

    def of(self, key: DeviceKey) -> bool:
        """Whether an utterance of this device is unanswered."""
        return any(utterance.key == key for utterance in self.unanswered.values())

    @property
    def holds(self) -> bool:
        """Whether the next utterance of the device waits for this glimpse."""
        return self.is_glimpse and not self.released

    @property
    def awaited_until(self) -> float:
        """When it no longer waits."""
        return self.started_at + GLIMPSE_PATIENCE_S

    def deadline(self, timeout_s: float) -> float:
        """When the batch counts as stuck. Each unanswered utterance has `timeout_s` seconds."""
        return self.progress_at + timeout_s * max(len(self.unanswered), 1)
