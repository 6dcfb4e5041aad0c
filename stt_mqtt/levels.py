"""How loud an utterance is: an immutable value that `audio` measures and the service passes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels in dBFS (0: full scale). `speech_dbfs` None: there is no speech.

    `clipped`: share of samples at full scale.
    """

    speech_dbfs: float | None
    noise_dbfs: float
    clipped: float

    @property
    def snr_db(self) -> float | None:
        """How far the speech is above the background, in dB."""
        return None if self.speech_dbfs is None else self.speech_dbfs - self.noise_dbfs
