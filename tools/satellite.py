"""`stt-mqtt satellite` as a process, and what is spoken to it."""

from __future__ import annotations

import os
import signal
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stt_mqtt.demo.samples import SAMPLES, Sample
from tools.clients import Address
from tools.program import PROGRAM

LEAD_S = 3.0


def scene(folder: Path, samples: Sequence[Sample] = SAMPLES, pause_s: float = 1.5) -> Path:
    """A WAV file of a quiet room in which `samples` are spoken one after the other."""
    noise = np.random.default_rng(5)
    parts = [np.zeros(int(LEAD_S * 16_000))]
    for sample in samples:
        parts += [np.frombuffer(sample.pcm(), "<i2"), np.zeros(int(pause_s * 16_000))]
    spoken = np.concatenate(parts)
    pcm = (spoken + noise.normal(size=len(spoken)) * 8).clip(-32768, 32767).astype("<i2")
    path = folder / "scene.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm.tobytes())
    return path


class SatelliteProcess:
    """One satellite; `arguments` say what it listens to."""

    def __init__(
        self, folder: Path, broker: Address, device: str, *arguments: str, **environ: str
    ) -> None:
        self._log_file = folder / f"{device}.log"
        self._log = self._log_file.open("wb")
        settings = {f"STT_MQTT__{name}": value for name, value in environ.items()}
        self.process = subprocess.Popen(
            [
                *(str(PROGRAM), "satellite", "--device", device),
                *("--host", broker.host, "--port", str(broker.port)),
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **settings},
        )

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    def end(self, timeout_s: float = 60.0) -> list[str]:
        """Wait until it ends by itself; the lines on its standard output."""
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        finally:
            self._close()
        return output.decode().splitlines()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=60)
        finally:
            self._close()
        return self.process.returncode

    def _close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
