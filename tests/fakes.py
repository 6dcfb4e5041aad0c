"""Small stand-ins for the parts that have time, threads or a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from stt_mqtt.devices.settings import Settings
from stt_mqtt.types import DeviceKey, DeviceState, Heard, Outcome, Transcript, Utterance


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


@dataclass
class FakePool:
    """Inference threads that answer when the test says so."""

    submitted: list[tuple[int, Utterance]] = field(default_factory=list)

    def submit(self, job: int, utterance: Utterance) -> None:
        self.submitted.append((job, utterance))


@dataclass
class RecordingOutlet:
    """A door that remembers what it was told, in order."""

    told: list[tuple[str, object]] = field(default_factory=list)

    def outcome(self, outcome: Outcome) -> None:
        self.told.append(("outcome", outcome))

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        self.told.append((f"state {key.name}", state))

    def settings(self, key: DeviceKey, settings: Settings) -> None:
        self.told.append((f"settings {key.name}", settings))

    def forget(self, key: DeviceKey) -> None:
        self.told.append((f"forget {key.name}", None))

    @property
    def outcomes(self) -> list[Outcome]:
        return [value for _, value in self.told if isinstance(value, Outcome)]

    @property
    def states(self) -> list[DeviceState]:
        return [value for _, value in self.told if isinstance(value, DeviceState)]


def heard(text: str = "Turn on the light.", audio_s: float = 1.0) -> Heard:
    """What a model that understood gives back."""
    transcript = Transcript(text, "en", confidence=0.9, no_speech_prob=0.01)
    return Heard(audio_s, transcript, infer_s=0.1)


def nothing_heard(audio_s: float = 1.0) -> Heard:
    """What the speech gate gives back for silence."""
    return Heard(audio_s, None, None)
