"""Measures the rate of arriving speech, for the choice of the rung."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

STEADY_S = 30.0
"""Time constant of the steady rate. It averages over a series of commands."""
BURST_S = 5.0
"""Time constant of the quick rate. It rises at once when many devices send speech."""


@dataclass(frozen=True, slots=True)
class ArrivalRate:
    """Arriving speech: utterances per second, and seconds of their audio per second."""

    utterances_per_s: float
    audio_s_per_s: float


@dataclass(slots=True)
class LoadMeter:
    """Measures arrivals with exponential decay, as the larger of a quick and a steady rate.

    `now`: seconds of a monotonic clock. If it goes back, it counts as standing still.
    """

    _quick: _Decaying = field(default_factory=lambda: _Decaying(BURST_S))
    _steady: _Decaying = field(default_factory=lambda: _Decaying(STEADY_S))

    def note(self, now: float, audio_s: float) -> None:
        """Count an utterance of `audio_s` seconds that arrived."""
        for rate in (self._quick, self._steady):
            rate.add(now, audio_s)

    def read(self, now: float) -> ArrivalRate:
        """The rate at `now`."""
        quick, steady = self._quick.at(now), self._steady.at(now)
        return ArrivalRate(
            max(quick.utterances_per_s, steady.utterances_per_s),
            max(quick.audio_s_per_s, steady.audio_s_per_s),
        )


@dataclass(slots=True)
class _Decaying:
    """Rates that decay to 1/e in `memory_s`."""

    memory_s: float
    last: ArrivalRate = ArrivalRate(0.0, 0.0)
    noted_at: float = 0.0

    def add(self, now: float, audio_s: float) -> None:
        before = self.at(now)
        self.last = ArrivalRate(
            before.utterances_per_s + 1.0 / self.memory_s,
            before.audio_s_per_s + audio_s / self.memory_s,
        )
        self.noted_at = max(self.noted_at, now)

    def at(self, now: float) -> ArrivalRate:
        left = exp(-max(0.0, now - self.noted_at) / self.memory_s)
        return ArrivalRate(self.last.utterances_per_s * left, self.last.audio_s_per_s * left)
