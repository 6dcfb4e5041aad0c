"""What a microphone hears: clips among household noise, or from far away; the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE

Signal: TypeAlias = npt.NDArray[np.float64]

SEED = 7
FRAME_BYTES = 960
FULL_SCALE = 32768.0
SNRS_DB = (20, 10, 5)
LEVELS_DBFS = (-30, -40, -50)
MICROPHONE_DBFS = -80.0
"""Noise of the microphone itself, white."""
LEAD_S = 3.0
"""Noise before anybody speaks: a satellite listens all day, its clean-up knows the room."""
SPOKEN_BEFORE_S = 30.0
"""Speech before the clip where gain is measured: nobody's first words count."""
PRE_ROLL_S, HANGOVER_S = 0.3, 0.6
"""What a satellite sends around the speech."""
LOWEST_HZ = 40
"""Microphones hear little below; pink noise has as much in each octave down there as above."""
_ACTIVE_DB = 25.0
"""Frames so far below the loudest one are no speech, when the level of speech is taken."""
_HUM = {1: 1.0, 2: 0.5, 3: 0.35, 5: 0.2, 7: 0.1}
"""Harmonics of the mains and their amplitudes."""
RECORDED = {
    "dishes": "doing the dishes",
    "rain": "rain",
    "music": "music/sfx: ",
    "exercise bike": "exercise bike",
    "voice satellite": "background noise from a voice satellite",
}
"""How the labels of recorded noise begin."""
_NO_MUSIC = "vinyl_hiss"
MADE = ("pink noise", "hum of 60 Hz")


@dataclass(frozen=True, slots=True)
class Condition:
    """`noise` at `snr_db` below the speech, which is at `level_dbfs`; None: as recorded."""

    noise: str | None = None
    snr_db: int | None = None
    level_dbfs: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """16-bit mono at `SAMPLE_RATE`, whole frames, and the bytes of it that a satellite sends."""

    pcm: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Noises:
    """The recorded noises by kind; a kind without any is left out."""

    recorded: Mapping[str, Sequence[Signal]]

    @staticmethod
    def of(clips: Sequence[Clip]) -> Noises:
        """Those of the kinds in `RECORDED`."""
        found = {
            kind: [
                _signal(clip.pcm)
                for clip in clips
                if clip.corpus.startswith(label) and not clip.corpus.endswith(_NO_MUSIC)
            ]
            for kind, label in RECORDED.items()
        }
        return Noises({kind: some for kind, some in found.items() if some})

    @property
    def kinds(self) -> list[str]:
        """Recorded and made."""
        return [*self.recorded, *MADE]

    def make(self, kind: str, samples: int, seed: int) -> Signal:
        """So much of it, from a place of its own for each seed."""
        draw = np.random.default_rng([SEED, self.kinds.index(kind), seed])
        if kind == "pink noise":
            spectrum = np.fft.rfft(draw.normal(size=samples))
            hertz = np.arange(len(spectrum)) * SAMPLE_RATE / samples
            audible = hertz >= LOWEST_HZ
            pink = spectrum * audible / np.sqrt(np.maximum(hertz, LOWEST_HZ))
            return np.asarray(np.fft.irfft(pink, samples))
        if kind == "hum of 60 Hz":
            turns = 60 * np.arange(samples) / SAMPLE_RATE
            phases = draw.uniform(size=len(_HUM))
            tones = [
                amplitude * np.sin(2 * np.pi * (number * turns + phase))
                for (number, amplitude), phase in zip(_HUM.items(), phases, strict=True)
            ]
            return np.asarray(np.sum(tones, axis=0))
        some = self.recorded[kind]
        recording = some[int(draw.integers(len(some)))]
        return np.resize(np.roll(recording, -int(draw.integers(len(recording)))), samples)


def noisy_conditions(number: int, kinds: Sequence[str]) -> list[Condition]:
    """Clean, and one kind of noise for each SNR; the kinds take turns from clip to clip."""
    offsets = range(len(SNRS_DB))
    mixed = [
        Condition(kinds[(number + number // len(kinds) + offset) % len(kinds)], SNRS_DB[offset])
        for offset in offsets
    ]
    return [Condition(), *mixed]


def quiet_conditions() -> list[Condition]:
    """As recorded, further and further away, and far away among noise."""
    return [
        Condition(),
        *(Condition(level_dbfs=level) for level in LEVELS_DBFS),
        Condition("pink noise", 10, -40),
    ]


def make_scene(
    clip: Clip, number: int, condition: Condition, noises: Noises, spoken_before_s: float = 0.0
) -> Scene:
    """The clip after some seconds of its noise, and after so much speech of the same voice."""
    speech = _signal(clip.pcm)
    if condition.level_dbfs is not None:
        speech = speech * FULL_SCALE * 10 ** (condition.level_dbfs / 20) / _speech_rms(speech)
    pause = np.zeros(int((PRE_ROLL_S + HANGOVER_S) * SAMPLE_RATE))
    often = -int(-spoken_before_s * SAMPLE_RATE // (len(speech) + len(pause)))
    before = chain.from_iterable(repeat((speech, pause), often))
    lead = np.concatenate([np.zeros(int(LEAD_S * SAMPLE_RATE)), *before])
    after = np.zeros(int(HANGOVER_S * SAMPLE_RATE) + FRAME_BYTES)
    heard = np.concatenate([lead, speech, after])
    draw = np.random.default_rng([SEED, number])
    heard += draw.normal(size=len(heard)) * FULL_SCALE * 10 ** (MICROPHONE_DBFS / 20)
    if condition.noise is not None and condition.snr_db is not None:
        noise = noises.make(condition.noise, len(heard), number)
        beside = noise[len(lead) : len(lead) + len(speech)]
        wanted = _speech_rms(speech) * 10 ** (-condition.snr_db / 20)
        heard += noise * wanted / max(_rms(beside), 1e-9)
    heard *= min(1.0, 32767 / float(np.abs(heard).max()))
    start = len(lead) - int(PRE_ROLL_S * SAMPLE_RATE)
    end = len(lead) + len(speech) + int(HANGOVER_S * SAMPLE_RATE)
    pcm = np.rint(heard).astype("<i2").tobytes()
    return Scene(pcm[: len(pcm) // FRAME_BYTES * FRAME_BYTES], 2 * start, 2 * end)


def _signal(pcm: bytes) -> Signal:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def _rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))


def _speech_rms(speech: Signal) -> float:
    frame = FRAME_BYTES // 2
    whole = speech[: len(speech) // frame * frame].reshape(-1, frame)
    power = np.mean(np.square(whole), axis=1)
    return float(np.sqrt(power[power >= power.max() / 10 ** (_ACTIVE_DB / 10)].mean()))
