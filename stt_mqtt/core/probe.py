"""Has a known recording transcribed by the running engine, to see whether it works.

The recording goes through an inference thread like a glimpse of an open utterance: it has no
outcome and no device. It never goes before real speech. While the threads are needed, the last
known state counts, and every real transcript renews that state.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from stt_mqtt.core.budget import Budget
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.registry import Registry
from stt_mqtt.core.scheduler import Scheduler
from stt_mqtt.types import DeviceKey, EncodedAudio, InferenceResult, Utterance, Verdict

PROBE = DeviceKey("probe", "sample")
"""The key of the recording. It is no device: no door has this name."""
LANGUAGE = "en"
MAX_AGE_S = 60.0
"""How long what is known of the engine counts, so that asking often costs nothing."""
TIMEOUT_S = 10.0
"""Time for the recording. Who speaks a command does not wait for longer, either."""
STALE_S = 300.0
"""Time that the threads may be needed without one transcript. After that the engine is not well."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the engine at `at`, in monotonic seconds. `problem` None: it works.

    `text`: what was heard in the recording, after `took_s` seconds. Both are None if real speech
    was transcribed instead, or if the recording was not.
    """

    at: float
    problem: str | None = None
    text: str | None = None
    took_s: float | None = None


class Probe:
    """Tells whether the engine transcribes. Runs on the event loop."""

    def __init__(
        self, scheduler: Scheduler, registry: Registry, budget: Budget, clock: Clock
    ) -> None:
        self.recording: EncodedAudio | None = None
        """English speech of a few seconds. None: only real speech tells how the engine is."""
        self._scheduler = scheduler
        self._registry = registry
        self._budget = budget
        self._clock = clock
        self._last: Evidence | None = None
        self._began_at = 0.0
        self._needed_since: float | None = None
        """When the recording was first refused since the last verdict. None: it was not refused."""
        self._refused_at = 0.0
        """When the recording was last refused."""
        self._waiting: asyncio.Future[None] | None = None
        """Done when the recording that is being transcribed has its verdict."""

    async def check(self, max_age_s: float = MAX_AGE_S) -> Evidence:
        """What is known of the engine, at most `max_age_s` old, from the recording if needed.

        Takes at most `TIMEOUT_S`. While the threads are needed for real speech, the last known
        state is returned, whatever its age, or that the engine works if nothing is known. Several
        callers share one transcription. Without own threads the live workers of the fleet are
        evidence enough.
        """
        now = self._clock.now()
        if self._scheduler.workers == 0:
            return Evidence(now, self._scheduler.absence)
        if not self._scheduler.healthy:
            return Evidence(now, "an inference thread hangs")
        if self._last is not None and now - self._last.at < max_age_s:
            return self._last
        if self._waiting is None and not self._begin(now):
            return self._while_needed(now)
        assert self._waiting is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.shield(self._waiting)
        except TimeoutError:
            self._last = Evidence(self._clock.now(), _too_late(TIMEOUT_S))
        assert self._last is not None
        return self._last

    def takes(self, key: DeviceKey, verdict: Verdict | None) -> bool:
        """A thread gave a verdict. Return whether it is on the recording, so nobody else wants it.

        A verdict on real speech tells of the engine, too, if the model was used.
        """
        if key == PROBE and verdict is not None:
            self._found(verdict)
            return True
        if isinstance(verdict, InferenceResult) and verdict.work_s is not None:
            self._last = Evidence(self._clock.now())
            self._needed_since = None
        return False

    def _found(self, verdict: Verdict) -> None:
        now = self._clock.now()
        took_s = now - self._began_at
        text, problem = None, None
        if not isinstance(verdict, InferenceResult):
            problem = f"the sample could not be transcribed: {verdict.detail}"
        elif verdict.transcript is None or not verdict.transcript.text:
            problem = "the model heard no words in the sample"
        else:
            text = verdict.transcript.text
            problem = _too_late(took_s) if took_s > TIMEOUT_S else None
        self._last = Evidence(now, problem, text, took_s)
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        waiting.set_result(None)

    def _begin(self, now: float) -> bool:
        """Have the recording transcribed. Return False if the threads are needed for others."""
        recording = self.recording
        if recording is None or self._is_needed or self._budget.missing_bytes(len(recording.data)):
            return False
        self._began_at = now
        self._needed_since = None
        self._waiting = asyncio.get_running_loop().create_future()
        self._budget.use(PROBE, len(recording.data))
        sample = Utterance(PROBE, PROBE.name, recording, LANGUAGE, None, None, now, phrases=False)
        self._scheduler.glimpse(sample, now)
        return True

    @property
    def _is_needed(self) -> bool:
        """Whether somebody speaks, or no thread is free."""
        spoken = (
            device.utterance is not None and device.utterance.spoke for device in self._registry
        )
        return not self._scheduler.may_glimpse(PROBE) or any(spoken)

    def _while_needed(self, now: float) -> Evidence:
        """What is known while the threads are needed for speech.

        Before that nobody may have spoken for hours. So only the time counts in which they were
        needed and gave no transcript.
        """
        if self._needed_since is None or now - self._refused_at > STALE_S:
            # Nobody has asked for so long that the threads may have been free in between.
            self._needed_since = now
        self._refused_at = now
        needed_s = now - self._needed_since
        if needed_s > STALE_S:
            return Evidence(now, f"people speak, but nothing was transcribed for {needed_s:.0f} s")
        return self._last or Evidence(now)


def _too_late(seconds: float) -> str:
    return f"the sample was not transcribed within {TIMEOUT_S:g} s ({seconds:.0f} s so far)"
