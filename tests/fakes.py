"""Small stand-ins for the parts that have time, threads or a network."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Protocol

from stt_mqtt.audio.decoders import InThisProcess
from stt_mqtt.audio.demux import Coding
from stt_mqtt.audio.streams import LiveDecoder
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.rungs import EngineFacts, Rung, RungStatus
from stt_mqtt.types import (
    Batch,
    DeviceKey,
    DeviceState,
    InferenceResult,
    Outcome,
    Transcript,
    Utterance,
    Verdict,
)


@dataclass
class FakeClock:
    """A clock that goes only when the test says so."""

    monotonic_s: float = 1000.0
    epoch_s: float = 1_795_000_000.0

    def now(self) -> float:
        return self.monotonic_s

    def epoch(self) -> float:
        return self.epoch_s

    def advance(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.epoch_s += seconds


class Answered(Protocol):
    """Who waits for what the inference threads find: a speech service."""

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None: ...

    def finished(self, batch: int) -> None: ...


@dataclass
class FakePool:
    """Inference threads that answer when the test says so."""

    submitted: list[Batch] = field(default_factory=list)
    """What was not answered yet."""

    def submit(self, batch: Batch) -> None:
        self.submitted.append(batch)

    def answer(self, service: Answered, verdict: Verdict) -> None:
        """Answer all of the oldest batch alike and finish it."""
        batch = self.submitted.pop(0)
        for index in range(len(batch.utterances)):
            service.verdict(batch.number, index, verdict)
        service.finished(batch.number)

    @property
    def utterances(self) -> list[Utterance]:
        """All utterances of what was not answered yet."""
        return [utterance for batch in self.submitted for utterance in batch.utterances]


class ScarceDecoders(InThisProcess):
    """Decoders that fail to begin with a stream in a way that nobody expects."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = True

    def live(self, coding: Coding) -> LiveDecoder:
        if self.fails:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().live(coding)


@dataclass
class RecordingOutlet:
    """A door that remembers what it was told, in order."""

    told: list[tuple[str, object]] = field(default_factory=list)
    fails_on: str | None = None
    """Id of the utterance whose outcome it cannot take."""

    def outcome(self, outcome: Outcome) -> None:
        if outcome.id == self.fails_on is not None:
            raise RuntimeError(f"no room for {outcome.id}")
        self.told.append(("outcome", outcome))

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        self.told.append((f"state {key.name}", state))

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
        self.told.append((f"settings {key.name}", settings))

    def forget(self, key: DeviceKey) -> None:
        self.told.append((f"forget {key.name}", None))

    @property
    def outcomes(self) -> list[Outcome]:
        return [value for _, value in self.told if isinstance(value, Outcome)]

    @property
    def states(self) -> list[DeviceState]:
        return [value for _, value in self.told if isinstance(value, DeviceState)]


def heard(text: str = "Turn on the light.", audio_s: float = 1.0) -> InferenceResult:
    """What a model that understood gives back."""
    transcript = Transcript(text, "en", confidence=0.9, no_speech_prob=0.01)
    return InferenceResult(
        audio_s, transcript, infer_s=0.1, work_s=0.08, model="tiny.en", rung="default"
    )


def nothing_heard(audio_s: float = 1.0) -> InferenceResult:
    """What the speech gate gives back for silence."""
    return InferenceResult(audio_s)


ONE_THREAD = Capacity(workers=1, max_batch=1)


def engine_facts() -> EngineFacts:
    """An engine with a single rung that speaks English."""
    rungs = RungStatus((Rung("default", "tiny.en", 5, "int8"),), "auto", "default", "the only rung")
    return EngineFacts(frozenset({"en"}), rungs)
