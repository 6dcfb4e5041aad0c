"""What `hearing` speaks: the speech data where it is installed, else the samples of the demo."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import noises, noises_made, speech
from benchmarks.noises_made import Sound
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE

SEED = 3
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
PAIRS = 42
COMMAND_S = 4.0
"""A command of a pair is no longer, so that two with the longest pause fit under the cap."""
CLIPS_OF_A_SPEAKER = 4
ROOM_UTTERANCES = 160
QUICK_CLIPS = 3
QUICK_ROOM_UTTERANCES = 8
FRAME = SAMPLE_RATE // 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands of one speaker in one utterance."""

    first: Clip
    second: Clip
    pause_s: float
    clip: Clip


@dataclass(frozen=True, slots=True)
class Material:
    """All that is spoken. `together`: what many rooms speak at once; `other`: French."""

    spoken: list[Clip]
    orders: list[Clip]
    pairs: list[Pair]
    noises: list[Clip]
    together: list[Clip]
    other: list[Clip]

    @property
    def english(self) -> list[Clip]:
        """All that is heard one after the other, shuffled."""
        clips = [*self.spoken, *self.orders, *(pair.clip for pair in self.pairs), *self.noises]
        random.Random(SEED).shuffle(clips)
        return clips

    @property
    def single_words(self) -> list[Clip]:
        """The clips in which one word is said."""
        return [clip for clip in self.spoken if len(clip.text.split()) == 1]


def gathered(built_noises: Path, most: int | None) -> Material:
    """The speech data and a folder of noises; of each part `most` clips by chance, if given."""
    spoken = speech.recordings()
    pairs = paired(spoken)
    orders = speech.orders()
    talk = [*spoken, *orders]
    random.Random(SEED).shuffle(talk)
    rooms = ROOM_UTTERANCES if most is None else min(ROOM_UTTERANCES, 4 * most)
    pairs = _some(pairs, most)
    commands = [clip for pair in pairs for clip in (pair.first, pair.second)]
    heard = {clip.id: clip for clip in (*_some(spoken, most), *commands)}
    return Material(
        list(heard.values()),
        _some(orders, most),
        pairs,
        _some(speech.noises(built_noises), most),
        list(itertools.islice(itertools.cycle(talk), rooms)),
        _some(speech.recordings("fr"), most),
    )


def quick(folder: Path) -> Material:
    """The samples of the demo, written to `folder`, with a pair and some noises that are made."""
    clips = speech.samples(folder)[:QUICK_CLIPS]
    rng = noises.rng_for("quick")
    beep, steady = noises_made.beep(rng), noises_made.steady(rng)
    made = [_noise("beep", beep, folder), _noise("steady", steady, folder)]
    rooms = list(itertools.islice(itertools.cycle(clips), QUICK_ROOM_UTTERANCES))
    return Material(clips, [], [joined(clips[0], clips[1], 1.0)], made, rooms, [])


def paired(clips: Sequence[Clip]) -> list[Pair]:
    """Short clips two by two: the same speaker, different texts, all pauses as often."""
    rng = random.Random(SEED)
    speakers: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.seconds <= COMMAND_S:
            speakers[clip.speaker].append(clip)
    known = [some for some in speakers.values() if len(some) >= CLIPS_OF_A_SPEAKER]
    if not known:
        return []
    # Sentences are likelier than single words.
    weights = [sum(len(clip.text.split()) for clip in some) ** 2 / len(some) for some in known]
    pairs = []
    for number in range(PAIRS):
        (some,) = rng.choices(known, weights)
        first = rng.choice(some)
        second = rng.choice([clip for clip in some if clip.text != first.text])
        pairs.append(joined(first, second, PAUSES_S[number % len(PAUSES_S)]))
    return pairs


def joined(first: Clip, second: Clip, pause_s: float) -> Pair:
    """Both in one utterance; in between it is as quiet as where the first one is quietest."""
    before, after = (np.frombuffer(clip.pcm, "<i2").astype(np.float32) for clip in (first, second))
    rng = noises.rng_for(f"{first.id} {second.id} {pause_s}")
    room = noises_made.pink(rng, pause_s)
    room *= np.float32(quietest_rms(before) / max(float(np.sqrt(np.mean(room**2))), 1e-9))
    samples = np.concatenate([before, room, after])
    clip = Clip(
        f"{first.id} + {pause_s:g} s + {second.id}",
        "two commands",
        f"{first.text} {second.text}",
        Path(),
        np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes(),
        first.speaker,
    )
    return Pair(first, second, pause_s, clip)


def quietest_rms(samples: Sound) -> float:
    """Root mean square of the quietest tenth of the frames."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.1))


def _some(items: Sequence[T], most: int | None) -> list[T]:
    if most is None or most >= len(items):
        return list(items)
    return random.Random(SEED).sample(items, most)


def _noise(name: str, sound: Sound, folder: Path) -> Clip:
    pcm = (np.clip(sound, -1, 1) * 8000).astype("<i2").tobytes()
    return Clip(name, "made", "", folder / name, pcm, name)
