"""Minutes of household audio in four rooms, made from recorded people and noises.

A room has its own noise floor all the time, people who speak now and then, noises between what they
say, and rain under some of it. One seed makes one household. Where speech begins and ends is known
from the clean clips, independently of any voice detector.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks import sounds, speech
from benchmarks.sounds import Sound, at_level
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE

SEED = 5
UTTERANCES_PER_MINUTE = 2.8
PAUSE_S = (4.0, 40.0)
SPEECH_DBFS = (-30.0, -18.0)
PEAK = 0.9
FLOORS_DBFS = {"kitchen": -57.0, "living_room": -58.0, "bedroom": -62.0, "office": -55.0}
"""The rooms, and the level of each noise floor in dB of full scale."""

MAX_CLIP_S, MIN_SNR_DB = 15.0, 21.0
HEAD_S = {"speech_to_phrase_en": 0.42}
"""These recordings begin with the end of a wake word."""
FREE_S = 0.03
"""A word that is nearer to the end of its recording is cut off there."""
AROUND_S, FADE_S = 0.25, 0.005
"""What stays of a recording before and after the speech, and how long it fades."""

EVENTS_PER_MINUTE, EVENT_S, EVENT_AWAY_S = 1, 5.0, 1.2
"""How many noises, how long at most, and how far from what is said before and after."""
EVENTS_DBFS = (-46.0, -28.0)
RAIN, RAIN_AROUND_S, RAIN_BELOW_SPEECH_DB = "rain", 3.0, (15.0, 21.0)

FRAME = SAMPLE_RATE // 100
ABOVE_FLOOR_DB, BELOW_PEAK_DB = 8.0, 40.0
MIN_RUN, SHORT_RUN = 6, 12
"""Frames that sound lasts, and that a knock or a breath lasts at most."""
KNOCK_GAP, RELEASE_GAP = 6, 20
"""A short run so many frames before the rest is a knock, or after it a breath.

A word can end with a release long after its last vowel; it cannot begin with one.
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What somebody says, and where the speech itself starts and ends in its room."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What else is heard, and when."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """A room: its audio, 16-bit mono, and what is in it in the order of time."""

    name: str
    pcm: bytes
    spoken: tuple[Spoken, ...]
    noises: tuple[Noise, ...]

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.pcm) / 2 / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech in a clip: from, to, its level in dB of full scale, and how far above the floor."""

    start_s: float
    end_s: float
    dbfs: float
    snr_db: float


def make_household(
    clips: Sequence[Clip], noises: Sequence[Clip], minutes: float = 10, seed: int = SEED
) -> list[Room]:
    """Four rooms, so many minutes each. Raises ValueError if too much is said for the time."""
    each = max(1, round(UTTERANCES_PER_MINUTE * minutes))
    found = [(clip, spoken) for clip in clips if (spoken := _suitable(clip))]
    order = itertools.cycle(np.random.default_rng(seed).permutation(len(found)))
    by_label: dict[str, list[Sound]] = {}
    for noise in noises:
        by_label.setdefault(noise.corpus, []).append(sounds.from_pcm(noise.pcm))
    rooms = []
    for number, name in enumerate(FLOORS_DBFS):
        said = [found[next(order)] for _ in range(each)]
        rooms.append(_room(name, minutes * 60, said, by_label, (seed, number)))
    return rooms


def quick_material(folder: Path) -> tuple[list[Clip], list[Clip]]:
    """The demo's samples, and noises that are made, for where no recordings are."""
    ticks = np.zeros(4 * SAMPLE_RATE, np.float32)
    ticks[:: SAMPLE_RATE // 2] = 0.5
    rain = at_level(sounds.pink(np.random.default_rng(SEED), 4.0), -20.0)
    made: dict[str, Sound] = {"clock tick": ticks, RAIN: rain}
    noises = [Clip(name, name, "", folder, sounds.pcm(sound)) for name, sound in made.items()]
    return speech.samples(folder), noises


def _room(
    name: str,
    seconds: float,
    said: Sequence[tuple[Clip, Speech]],
    noises: Mapping[str, Sequence[Sound]],
    seed: tuple[int, int],
) -> Room:
    rng = np.random.default_rng(seed)
    audio = at_level(sounds.pink(rng, seconds), FLOORS_DBFS[name])
    spoken, levels, at_s = [], [], 0.0
    silent_s = seconds - sum(one.end_s - one.start_s for _, one in said)
    pauses = _pauses(silent_s, len(said) + 1, rng)
    for (clip, found), pause_s in zip(said, pauses, strict=False):
        first_s = max(0.0, found.start_s - AROUND_S)
        piece = sounds.from_pcm(clip.pcm)[_at(first_s) : _at(found.end_s + AROUND_S)]
        piece = sounds.faded(piece, FADE_S)
        gain = 10 ** ((rng.uniform(*SPEECH_DBFS) - found.dbfs) / 20)
        gain = min(gain, PEAK / float(np.abs(piece).max()))
        start_s = _at(at_s + pause_s) / SAMPLE_RATE
        sounds.add(audio, piece * np.float32(gain), _at(start_s - found.start_s + first_s))
        at_s = start_s + found.end_s - found.start_s
        spoken.append(Spoken(clip.text, start_s, at_s))
        levels.append(found.dbfs + 20 * float(np.log10(gain)))
    heard = list(_events(audio, spoken, noises, rng))
    first = int(rng.integers(max(1, len(spoken) - 1)))
    under = slice(first, first + 2)
    start_s = max(spoken[first].start_s - RAIN_AROUND_S, 0.0)
    end_s = spoken[under][-1].end_s + RAIN_AROUND_S
    level = min(levels[under]) - rng.uniform(*RAIN_BELOW_SPEECH_DB)
    rain = np.resize(noises[RAIN][int(rng.integers(len(noises[RAIN])))], _at(end_s - start_s))
    sounds.add(audio, sounds.faded(at_level(rain, level), 1.0), _at(start_s))
    heard = sorted([*heard, Noise(RAIN, start_s, end_s)], key=lambda noise: noise.start_s)
    return Room(name, sounds.pcm(audio), tuple(spoken), tuple(heard))


def _events(
    audio: Sound, spoken: Sequence[Spoken], noises: Mapping[str, Sequence[Sound]], rng: Generator
) -> Iterator[Noise]:
    """Noises in some of the gaps between what is said."""
    ends = [0.0, *(one.end_s for one in spoken)]
    starts = [*(one.start_s for one in spoken), len(audio) / SAMPLE_RATE]
    gaps = [
        (end_s + EVENT_AWAY_S, start_s - EVENT_AWAY_S)
        for end_s, start_s in zip(ends, starts, strict=True)
        if start_s - end_s > 2 * EVENT_AWAY_S + 1
    ]
    rng.shuffle(gaps)
    labels = sorted(label for label in noises if label != RAIN and "silence" not in label)
    for start_s, end_s in gaps[: round(len(audio) / SAMPLE_RATE / 60 * EVENTS_PER_MINUTE)]:
        label = str(rng.choice(labels))
        sound = noises[label][int(rng.integers(len(noises[label])))]
        length_s = min(EVENT_S, len(sound) / SAMPLE_RATE, end_s - start_s)
        at_s = rng.uniform(start_s, end_s - length_s)
        piece = at_level(sound[: _at(length_s)], float(rng.uniform(*EVENTS_DBFS)))
        piece *= np.float32(min(1.0, PEAK / float(np.abs(piece).max())))
        sounds.add(audio, sounds.faded(piece, 0.05), _at(at_s))
        yield Noise(label, at_s, at_s + length_s)


def _suitable(clip: Clip) -> Speech | None:
    """Where the speech is, if the recording is clean and has its beginning and its end."""
    head_s = HEAD_S.get(clip.corpus, 0.0)
    found = label(np.frombuffer(clip.pcm, "<i2")[_at(head_s) :])
    if found is None or clip.seconds > MAX_CLIP_S:
        return None
    is_whole = found.start_s >= FREE_S and found.end_s <= clip.seconds - head_s - FREE_S
    if clip.corpus != "samples" and not (is_whole and found.snr_db >= MIN_SNR_DB):
        return None
    return replace(found, start_s=found.start_s + head_s, end_s=found.end_s + head_s)


def _pauses(total_s: float, count: int, rng: Generator) -> NDArray[np.float64]:
    """So many pauses of that length together, mostly short ones."""
    least_s, most_s = PAUSE_S
    if not least_s * count < total_s < most_s * count:
        raise ValueError(f"{total_s:.0f} s are not {count} pauses of {least_s:g} to {most_s:g} s")
    while True:
        weights = rng.gamma(1.5, size=count)
        pauses: NDArray[np.float64]
        pauses = least_s + (total_s - least_s * count) * weights / weights.sum()
        if pauses.max() <= most_s:
            return pauses


def _at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def label(samples: NDArray[np.int16]) -> Speech | None:
    """The span from the first sound of speech to the last; None where there is none.

    It has the whole clip at once, so it can compare each moment with the clip's own floor and peak.
    """
    levels = frame_levels(samples)
    if len(levels) < MIN_RUN:
        return None
    floor = float(np.quantile(levels, 0.1))
    loud = levels > max(floor + ABOVE_FLOOR_DB, float(levels.max()) - BELOW_PEAK_DB)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(np.int8), [0]))))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2) if end - start >= MIN_RUN]
    while len(runs) > 1 and _is_knock(runs[0], runs[1][0] - runs[0][1], KNOCK_GAP):
        runs.pop(0)
    while len(runs) > 1 and _is_knock(runs[-1], runs[-1][0] - runs[-2][1], RELEASE_GAP):
        runs.pop()
    if not runs:
        return None
    voiced = np.concatenate([levels[start:end] for start, end in runs])
    active = np.concatenate([samples[start * FRAME : end * FRAME] for start, end in runs])
    snr_db = 10 * float(np.log10(np.mean(10 ** (voiced / 10)))) - floor
    level = sounds.level_dbfs(sounds.from_pcm(active.astype("<i2").tobytes()))
    return Speech(runs[0][0] / 100, runs[-1][1] / 100, level, snr_db)


def frame_levels(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level of each 10 ms in dB, smoothed, with rumble taken out and hiss sounds lifted."""
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    lift = (hz / (hz + 80.0)) ** 2 * np.sqrt(1 + (hz / 1000) ** 2)
    lifted = np.fft.irfft(np.fft.rfft(samples / 32768.0) * lift, len(samples))
    frames = lifted[: len(lifted) // FRAME * FRAME].reshape(-1, FRAME)
    energy = np.pad(np.mean(np.square(frames), axis=1), 1, mode="edge")
    levels: NDArray[np.float64]
    levels = 10 * np.log10(np.convolve(energy, np.ones(3) / 3, "valid") + 1e-12)
    return levels


def _is_knock(run: tuple[int, int], gap: int, far: int) -> bool:
    return run[1] - run[0] <= SHORT_RUN and gap >= far
