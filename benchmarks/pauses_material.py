"""What `pauses` has heard: pairs of clips with a pause between them, and hesitations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.speech import Clip
from stt_mqtt.audio.gate import find_speech
from stt_mqtt.config import GateConfig
from stt_mqtt.types import SAMPLE_RATE, Samples

MOST_QUIETER_DB = 10.0
BESIDE_S = 0.15
"""What stays of a clip beside its speech; two of them are part of a pause."""
LEAD_S = 0.3
TONE_S = 0.17
FADE_S = 0.02


@dataclass(frozen=True, slots=True)
class Said:
    """The speech of a clip, its words, and the quietest moment of the clip."""

    corpus: str
    text: str
    samples: Samples
    moment: Samples

    def quieter(self, level_db: float) -> Said:
        """The same, said so much more quietly."""
        gain = np.float32(10 ** (-max(level_db, 0.0) / 20))
        return replace(self, samples=self.samples * gain, moment=self.moment * gain)

    def tone(self, seconds: float) -> Samples:
        """The room: its quietest moment again and again, cross-faded."""
        length, fade = len(self.moment), round(FADE_S * SAMPLE_RATE)
        moment = self.moment.copy()
        moment[:fade] *= np.sqrt(np.linspace(0, 1, fade))
        moment[-fade:] *= np.sqrt(np.linspace(1, 0, fade))
        wanted = round(max(seconds, 0.0) * SAMPLE_RATE)
        filled = np.zeros(wanted + 2 * length, np.float32)
        for at in range(0, wanted + length, length - fade):
            filled[at : at + length] += moment
        return filled[fade : fade + wanted]


def said(clip: Clip) -> Said | None:
    """The clip; None where the gate hears nothing in it."""
    samples = np.frombuffer(clip.pcm, "<i2").astype(np.float32) / np.float32(32768)
    span = find_speech(samples, GateConfig(margin_ms=round(BESIDE_S * 1000)))
    if span is None:
        return None
    length, step = round(TONE_S * SAMPLE_RATE), SAMPLE_RATE // 100
    moments = [samples[at : at + length] for at in range(0, len(samples) - length, step)]
    moment = min(moments, key=lambda some: float(np.square(some).mean()))
    return Said(clip.corpus, clip.text, samples[span.start : span.end], moment)


def alone(one: Said) -> Samples:
    """As a satellite would send it."""
    beside = one.tone(LEAD_S)
    return np.concatenate([beside, one.samples, beside])


def joined(one: Said, other: Said, pause_s: float) -> Samples:
    """One after the other in one utterance, in the room of the first."""
    pause = one.tone(pause_s - 2 * BESIDE_S)
    return np.concatenate([one.tone(LEAD_S), one.samples, pause, other.samples, other.tone(LEAD_S)])


def hesitating(one: Said, pause_s: float) -> Samples:
    """A pause at the quietest place in the middle third, which may be within a word."""
    third, width = len(one.samples) // 3, round(0.06 * SAMPLE_RATE)
    power = np.convolve(np.square(one.samples[third : 2 * third]), np.ones(width), "valid")
    place = third + int(power.argmin()) + width // 2
    before, after = one.samples[:place], one.samples[place:]
    return alone(replace(one, samples=np.concatenate([before, one.tone(pause_s), after])))


def pairs(clips: Sequence[Said], count: int, seed: int) -> list[tuple[Said, Said]]:
    """Drawn by corpus, so that a large one has no more than others; one of each is quieter."""
    draw, corpora = random.Random(seed), sorted({clip.corpus for clip in clips})
    found: list[tuple[Said, Said]] = []
    while len(found) < count:
        level_db = draw.uniform(-MOST_QUIETER_DB, MOST_QUIETER_DB)
        one, other = (
            draw.choice([clip for clip in clips if clip.corpus == draw.choice(corpora)] or clips)
            for _ in range(2)
        )
        if one is not other:
            found.append((one.quieter(level_db), other.quieter(-level_db)))
    return found
