"""What a device keeps in mind while another gateway of the fleet has its utterances.

If the device becomes one of this gateway, no utterance is then opened or answered twice. Pure:
`now` is in monotonic seconds.
"""

from __future__ import annotations

from stt_mqtt.core.device import Device
from stt_mqtt.types import Outcome


def overhear_start(device: Device, now: float) -> None:
    """It has opened an utterance at the other gateway. The chunks that follow belong to that."""
    device.late_chunks.until_pause(now, device.config.idle_timeout_ms / 1000)


def overhear_chunk(device: Device, now: float) -> None:
    """It has sent audio to the other gateway. Until it pauses, its chunks belong there."""
    if not device.late_chunks.drops_chunk(now):
        device.late_chunks.until_pause(now, device.config.gap_timeout_ms / 1000)


def overhear_result(device: Device, outcome: Outcome, now: float) -> bool:
    """The other gateway has answered an utterance. Return whether that is news."""
    before = device.recent.find(outcome.id, now)
    is_news = before is None or before.outcome is None
    if is_news:
        device.recent.expect(outcome.id, now)
        device.recent.note(outcome, now)
    return is_news
