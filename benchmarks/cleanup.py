"""What cleaning up a microphone's audio is worth: words that are wrong with and without.

Clips are mixed with household noise, or made as quiet as a voice across the room, cleaned in each
way, and heard by the engine as it is configured by default.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from benchmarks import bench, cleanup_page, speech
from benchmarks.cleanup_scenes import (
    SEED,
    SPOKEN_BEFORE_S,
    Condition,
    Noises,
    make_scene,
    noisy_conditions,
    quiet_conditions,
)
from benchmarks.cleanup_ways import (
    NOTHING,
    OURS_GAIN,
    OURS_NOISE,
    PACKAGES_GAIN,
    PACKAGES_NOISE,
    Way,
    ways,
)
from benchmarks.speech import Clip
from stt_mqtt.config import Config
from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.types import AudioFormat, DeviceKey, EncodedAudio, EndReason, Utterance

SINGLE_WORDS = "gsc"
"""How the names of the corpora of single words begin."""
SINGLE_WORD_CLIPS = 60
QUICK_CLIPS = 2
MAX_CLIP_S = 30.0
RESAMPLES = 1000
"""Of the clips, for the confidence of a difference."""

Hear = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Part:
    """Every clip in every of its conditions, after so much speech of the same voice."""

    clips: Sequence[Clip]
    noises: Noises
    conditions: Callable[[int], Sequence[Condition]]
    spoken_before_s: float = 0.0

    @property
    def tasks(self) -> list[tuple[int, Condition]]:
        """Number of the clip, and its condition."""
        return [
            (number, condition)
            for number in range(len(self.clips))
            for condition in self.conditions(number)
        ]


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of one clip under one condition."""

    number: int
    condition: Condition
    errors: int
    words: int
    cpu_s: float
    audio_s: float


def chosen(quick: bool, folder: Path) -> list[Clip]:
    """All sentences, and some of the single words; `folder` takes the samples of the demo."""
    if quick:
        return speech.samples(folder)[:QUICK_CLIPS]
    everything = speech.recordings()
    single = [clip for clip in everything if clip.corpus.startswith(SINGLE_WORDS)]
    clips = [clip for clip in everything if not clip.corpus.startswith(SINGLE_WORDS)]
    draw = random.Random(SEED)
    clips += draw.sample(single, SINGLE_WORD_CLIPS)
    draw.shuffle(clips)
    return clips


def measure(part: Part, way: Way, hear: Hear, pool: ThreadPoolExecutor) -> list[Heard]:
    """Have every clip of a part cleaned and heard."""
    normalise = EnglishTextNormalizer()

    def one(task: tuple[int, Condition]) -> Heard:
        number, condition = task
        clip = part.clips[number]
        scene = make_scene(clip, number, condition, part.noises, part.spoken_before_s)
        before_s = time.thread_time()
        cleaned = way(scene.pcm)
        cpu_s = time.thread_time() - before_s
        text = hear(cleaned[scene.start : scene.end])
        said = normalise(clip.text)
        found = jiwer.process_words(said, normalise(text))
        errors = found.substitutions + found.deletions + found.insertions
        audio_s = len(scene.pcm) / speech.CHUNK_BYTES
        return Heard(number, condition, errors, len(said.split()), cpu_s, audio_s)

    return list(pool.map(one, part.tasks))


def wer(heard: Sequence[Heard]) -> float:
    """Errors per word."""
    return round(sum(x.errors for x in heard) / max(sum(x.words for x in heard), 1), 4)


def difference(heard: Sequence[Heard], without: Sequence[Heard]) -> dict[str, float]:
    """How much higher the WER is than that of `without`, with its 95 % interval over the clips."""
    count = 1 + max(x.number for x in heard)
    errors, words = np.zeros(count), np.zeros(count)
    for one, other in zip(heard, without, strict=True):
        errors[one.number] += one.errors - other.errors
        words[one.number] += one.words
    picks = np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))
    rates = errors[picks].sum(axis=1) / words[picks].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return {
        "mean": round(float(errors.sum() / words.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def summary(heard: Sequence[Heard], without: Sequence[Heard]) -> dict[str, Any]:
    """The figures of one way in one part."""
    conditions = [x.condition for x in heard]

    def rows(key: Callable[[Condition], str | None]) -> dict[str, float]:
        names = [name for name in dict.fromkeys(map(key, conditions)) if name is not None]
        return {name: wer([x for x in heard if key(x.condition) == name]) for name in names}

    return {
        "utterances": len(heard),
        "words": sum(x.words for x in heard),
        "wer": wer(heard),
        "conditions": rows(cleanup_page.condition_name),
        "noises": rows(lambda condition: condition.noise),
        "difference": difference(heard, without),
        "cpu_ms_per_audio_s": round(
            1000 * sum(x.cpu_s for x in heard) / sum(x.audio_s for x in heard), 2
        ),
    }


def compare(
    part: Part, compared: dict[str, Way], hear: Hear, pool: ThreadPoolExecutor
) -> dict[str, Any]:
    """The figures of all ways, the first of which does nothing."""
    results: dict[str, Any] = {}
    without: list[Heard] = []
    for name, way in compared.items():
        heard = measure(part, way, hear, pool)
        without = without or heard
        results[name] = summary(heard, without)
        bench.say(f"{name}: {results[name]['wer']:.1%}")
    return results


def phantoms(
    clips: Sequence[Clip], compared: dict[str, Way], hear: Hear, pool: ThreadPoolExecutor
) -> dict[str, int]:
    """Of recordings in which nobody speaks, how many give text."""
    part = Part(clips, Noises({}), lambda _: [Condition()])
    return {
        name: sum(x.errors > 0 for x in measure(part, way, hear, pool))
        for name, way in compared.items()
    }


def main(options: argparse.Namespace) -> int:
    """Run the benchmark."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = bench.machine()
    with tempfile.TemporaryDirectory() as folder:
        clips = chosen(options.quick, Path(folder))
    recorded = [] if options.quick else speech.noises()
    noises = Noises.of(recorded)
    quieten, quiet_missing = ways(OURS_GAIN, {} if options.quick else PACKAGES_GAIN)
    suppress, missing = ways(OURS_NOISE, {} if options.quick else PACKAGES_NOISE)
    for text in (*missing, *quiet_missing):
        bench.say(f"not measured: {text}")
    config = Config()
    rung, parallelism = preferred_rung(config), parallelism_of(config)
    transcriber = load_rung(rung, parallelism)
    pipeline = Pipeline(
        Recognizer(transcriber, VoiceDetector.load()),
        config.gate,
        MAX_CLIP_S,
        rung.name,
        transcriber.languages,
    )

    def hear(pcm: bytes) -> str:
        audio = EncodedAudio(AudioFormat(), pcm)
        key = DeviceKey("benchmark", "cleanup")
        heard = pipeline.transcribe(Utterance(key, "clip", audio, "en", None, EndReason.STOP, 0.0))
        return heard.transcript.text if heard.transcript is not None else ""

    kinds = noises.kinds
    noisy = Part(clips, noises, lambda number: noisy_conditions(number, kinds))
    quiet = Part(clips[::2], noises, lambda _: quiet_conditions(), SPOKEN_BEFORE_S)
    with ThreadPoolExecutor(parallelism.workers) as pool:
        data: dict[str, Any] = {
            "benchmark": "cleanup",
            "quick": options.quick,
            "machine": machine,
            "model": transcriber.model,
            "rung": rung.name,
            "seed": SEED,
            "clips": len(clips),
            "single_words": sum(clip.corpus.startswith(SINGLE_WORDS) for clip in clips),
            "noise_kinds": kinds,
            "noise_recordings": len(recorded),
            "skipped": [*missing, *quiet_missing],
            "noisy": compare(noisy, suppress, hear, pool),
            "quiet": compare(quiet, quieten, hear, pool),
            "phantoms": phantoms(recorded, {**suppress, **quieten}, hear, pool),
        }
    transcriber.close()
    bench.finish("cleanup", options, data, cleanup_page.markdown(data, NOTHING))
    return 0


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
