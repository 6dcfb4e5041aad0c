"""The ways of cleaning up that are compared: ours, and packages where they are installed.

Each takes a whole recording, so that what cannot work frame by frame can be compared, too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.cleanup_scenes import FRAME_BYTES, LEAD_S
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.types import SAMPLE_RATE

Way: TypeAlias = Callable[[bytes], bytes]

NOTHING = "nothing"
OURS_NOISE = {
    "high-pass": CleanupConfig(high_pass=True, auto_gain=False, noise_suppression=False),
    "noise suppression": CleanupConfig(high_pass=False, auto_gain=False, noise_suppression=True),
    "high-pass, noise suppression": CleanupConfig(
        high_pass=True, auto_gain=False, noise_suppression=True
    ),
}
OURS_GAIN = {
    "automatic gain": CleanupConfig(high_pass=False, auto_gain=True, noise_suppression=False),
    "high-pass, automatic gain": CleanupConfig(
        high_pass=True, auto_gain=True, noise_suppression=False
    ),
}
_10_MS_BYTES = 320


@dataclass(frozen=True, slots=True)
class Package:
    """A way through a package: how it is called there, and what makes it."""

    module: str
    make: Callable[[Any], Way]


def nothing(pcm: bytes) -> bytes:
    """The recording as it is."""
    return pcm


def ours(config: CleanupConfig) -> Way:
    """What the satellite does under this configuration."""

    def clean(pcm: bytes) -> bytes:
        cleanup = Cleanup(config)
        return b"".join(cleanup.process(frame) for frame in _pieces(pcm, FRAME_BYTES))

    return clean


def webrtc(auto_gain: int, level: int) -> Package:
    """WebRTC's audio processing, as Home Assistant uses it."""

    def make(module: Any) -> Way:
        def clean(pcm: bytes) -> bytes:
            processor = module.AudioProcessor(auto_gain, level)
            return b"".join(processor.Process10ms(x).audio for x in _pieces(pcm, _10_MS_BYTES))

        return clean

    return Package("webrtc_noise_gain", make)


def speex(auto_gain: int, suppression_db: int) -> Package:
    """The preprocessor of Speex, as Home Assistant uses it."""

    def make(module: Any) -> Way:
        def clean(pcm: bytes) -> bytes:
            processor = module.AudioProcessor(auto_gain, suppression_db)
            return b"".join(processor.process_10ms(x) for x in _pieces(pcm, _10_MS_BYTES))

        return clean

    return Package("pyspeex_noise", make)


def rnnoise() -> Package:
    """A small recurrent network; it wants 48 kHz, so the audio goes there and back."""

    def make(module: Any) -> Way:
        resample = importlib.import_module("scipy.signal").resample_poly
        size = module.FRAME_SIZE

        def clean(pcm: bytes) -> bytes:
            up = np.clip(resample(np.frombuffer(pcm, "<i2").astype(float), 3, 1), -32768, 32767)
            up = np.pad(up, (0, 2 * size - len(up) % size)).astype(np.int16)
            state = module.create()
            frames = [
                module.process_mono_frame(state, up[at : at + size])[0]
                for at in range(0, len(up), size)
            ]
            module.destroy(state)
            # It answers one frame late.
            down = resample(np.concatenate(frames[1:]).astype(float), 1, 3)
            return _pcm(down)[: len(pcm)]

        return clean

    return Package("pyrnnoise.rnnoise", make)


def noisereduce() -> Package:
    """Spectral gating; it hears the noise alone first and the whole recording at once."""

    def make(module: Any) -> Way:
        def clean(pcm: bytes) -> bytes:
            samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
            alone = samples[: int(LEAD_S * SAMPLE_RATE)]
            cleaned = module.reduce_noise(y=samples, sr=SAMPLE_RATE, y_noise=alone, stationary=True)
            return _pcm(cleaned * 32768)

        return clean

    return Package("noisereduce", make)


PACKAGES_NOISE = {
    "webrtc-noise-gain, level 1": webrtc(0, 1),
    "webrtc-noise-gain, level 2": webrtc(0, 2),
    "pyspeex-noise, -6 dB": speex(0, -6),
    "pyspeex-noise, -30 dB": speex(0, -30),
    "pyrnnoise": rnnoise(),
    "noisereduce": noisereduce(),
}
PACKAGES_GAIN = {
    "webrtc-noise-gain, gain to -3 dB": webrtc(3, 0),
    "pyspeex-noise, gain to 4000": speex(4000, 0),
}


def ways(
    settings: dict[str, CleanupConfig], packages: dict[str, Package]
) -> tuple[dict[str, Way], list[str]]:
    """Nothing, ours, and the packages; and the names of what is not installed."""
    found: dict[str, Way] = {NOTHING: nothing}
    found |= {name: ours(config) for name, config in settings.items()}
    missing = []
    for name, package in packages.items():
        try:
            found[name] = package.make(importlib.import_module(package.module))
        except ImportError as error:
            missing.append(f"{name} ({error.name} is not installed)")
    return found, missing


def _pieces(pcm: bytes, size: int) -> Iterator[bytes]:
    return (pcm[at : at + size] for at in range(0, len(pcm) - size + 1, size))


def _pcm(samples: npt.NDArray[np.floating[Any]]) -> bytes:
    whole: npt.NDArray[np.int16] = np.clip(np.rint(samples), -32768, 32767).astype("<i2")
    return whole.tobytes()
