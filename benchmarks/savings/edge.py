"""What the edge finds, and what it costs in words: the satellite's ear without a satellite.

The parts of the satellite hear sound frame by frame, with their defaults; nothing is sent, so the
numbers are the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import bench
from benchmarks.savings.household import Noise, Room, Spoken
from benchmarks.savings.latency import errors
from benchmarks.speech import Clip
from stt_mqtt.audio.activity import VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.config import Config, SatelliteConfig
from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import TooShortError
from stt_mqtt.satellite.events import FRAME_BYTES, FRAME_S, Closing, ListenState, Step, VadFrame
from stt_mqtt.satellite.segmenter import Segmenter
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Utterance,
)

TONE_RMS = 10.0
"""Of the quiet room around a clip, in steps of 16-bit samples: -70 dB of full scale."""
BEFORE_S, AFTER_S = 2.0, 1.5
OPUS_KBPS = (16, 24)
SEEDS = (5, 6)
"""Of the quiet rooms that every clip is heard in: a word may turn on their faintest sounds."""
RESAMPLES = 2000
FOUND_SHARE = 0.5
"""Of the speech of an utterance that must be in segments for it to be found."""
MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Cut:
    """What the satellite would send as one utterance; seconds of the room's sound.

    `marked_s`: when it knew that somebody speaks, and sent the start mark; `closed_s`: the end
    mark. The audio is `start_s` to `end_s`.
    """

    start_s: float
    marked_s: float
    end_s: float
    closed_s: float
    closing: Closing
    frames: tuple[bytes, ...]

    def shares_s(self, one: Spoken | Noise) -> float:
        """Seconds that it has in common with something."""
        return max(min(self.end_s, one.end_s) - max(self.start_s, one.start_s), 0.0)


def cuts(samples: NDArray[np.int16], config: SatelliteConfig) -> list[Cut]:
    """Everything that a satellite that always listens would send of this sound."""
    cleanup, activity = Cleanup(config.cleanup), VoiceActivity(config.vad)
    segmenter = Segmenter(config.vad)
    found: list[Cut] = []
    opened: tuple[float, float] | None = None
    frames: list[bytes] = []

    def take(step: Step, now: float) -> None:
        nonlocal opened
        if step.opened_at is not None:
            opened = step.opened_at, now
        frames.extend(step.frames)
        if step.closed is not None:
            assert opened is not None
            start_s, marked_s = opened
            end_s = start_s + len(frames) * FRAME_S
            found.append(Cut(start_s, marked_s, end_s, now, step.closed, tuple(frames)))
            frames.clear()

    pcm = samples.astype("<i2").tobytes()
    count = len(pcm) // FRAME_BYTES
    for number in range(count):
        clean = cleanup.process(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES])
        heard = activity.hear(clean)
        at = number * FRAME_S
        frame = VadFrame(clean, at, heard.begins, heard.goes_on, heard.sounds)
        take(segmenter.push(frame, ListenState.OPEN), at + FRAME_S)
    take(segmenter.cut(Closing.RELEASED), count * FRAME_S)
    return found


def in_rooms(rooms: Sequence[Room], noises: Sequence[Clip]) -> dict[str, Any]:
    """How well the utterances of the rooms are found, and what else is taken for one."""
    config = SatelliteConfig()
    by_room = [(room, cuts(room.samples, config)) for room in rooms]
    judged = [judge(one, found) for room, found in by_room for one in room.spoken]
    strays = [
        _what_is_heard(cut, room.noises)
        for room, found in by_room
        for cut in found
        if not any(cut.shares_s(one) for one in room.spoken)
    ]
    seconds = sum(len(room.samples) for room in rooms) / SAMPLE_RATE
    sent_s = sum(cut.end_s - cut.start_s for _, found in by_room for cut in found)
    return {
        "utterances": len(judged),
        "found": sum(one.found for one in judged),
        "clipped_onsets": [round(one.onset_late_s, 3) for one in judged if one.onset_late_s > 0],
        "clipped_ends": [round(one.end_early_s, 3) for one in judged if one.end_early_s > 0],
        "split": sum(one.pieces > 1 for one in judged),
        "segments": sum(len(found) for _, found in by_room),
        "false": len(strays),
        "false_per_room_hour": round(len(strays) / seconds * 3600, 1) if seconds else None,
        "false_by_label": dict(Counter(strays).most_common()),
        "speech_s": round(sum(one.end_s - one.start_s for room in rooms for one in room.spoken), 1),
        "sent_s": round(sent_s, 1),
        "seconds": round(seconds, 1),
        "sent_share": round(sent_s / seconds, 4) if seconds else None,
        "mark_after_onset_s": bench.percentile([one.mark_s for one in judged if one.found], 0.5),
        "on_noise_alone": on_noise(noises, config),
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """One utterance and what became of it at the edge.

    `onset_late_s`, `end_early_s`: how much of it is missing at either end, negative if nothing
    is; `mark_s`: from its first sound to the start mark.
    """

    found: bool
    pieces: int
    onset_late_s: float
    end_early_s: float
    mark_s: float


def judge(one: Spoken, found: Sequence[Cut]) -> Judged:
    """Compare an utterance with what was sent."""
    held = [cut for cut in found if cut.shares_s(one)]
    if not held:
        return Judged(False, 0, 0.0, 0.0, 0.0)
    share = sum(cut.shares_s(one) for cut in held) / (one.end_s - one.start_s)
    return Judged(
        share >= FOUND_SHARE,
        len(held),
        held[0].start_s - one.start_s,
        one.end_s - held[-1].end_s,
        held[0].marked_s - one.start_s,
    )


def on_noise(noises: Sequence[Clip], config: SatelliteConfig) -> dict[str, Any]:
    """What is sent of clips in which nobody speaks, each alone in a quiet room."""
    clips: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for clip in noises:
        clips[clip.corpus] += 1
        false[clip.corpus] += len(cuts(in_a_quiet_room(clip), config))
    seconds = sum(clip.seconds for clip in noises)
    return {
        "clips": sum(clips.values()),
        "seconds": round(seconds, 1),
        "false": sum(false.values()),
        "false_per_hour": round(sum(false.values()) / seconds * 3600, 1) if seconds else None,
        "by_label": {label: [false[label], clips[label]] for label in clips},
    }


def in_a_quiet_room(clip: Clip, seed: int = SEEDS[0]) -> NDArray[np.int16]:
    """A clip with a quiet room before, under and behind it."""
    spoken = np.frombuffer(clip.pcm, "<i2").astype(np.float64)
    before, after = (int(seconds * SAMPLE_RATE) for seconds in (BEFORE_S, AFTER_S))
    whole = np.random.default_rng(seed).normal(0.0, TONE_RMS, before + len(spoken) + after)
    whole[before : before + len(spoken)] += spoken
    return np.clip(np.round(whole), -32768, 32767).astype(np.int16)


def words(clips: Sequence[Clip], seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Word error rates of clips in quiet rooms: heard whole, and through the edge.

    All through the pipeline of the service, in this process.
    """
    hear = _a_hearer()
    config = SatelliteConfig()
    sounds = [(clip, in_a_quiet_room(clip, seed)) for seed in seeds for clip in clips]
    ways: dict[str, Callable[[NDArray[np.int16]], list[EncodedAudio]]] = {
        "whole, PCM": lambda sound: [_pcm(sound.astype("<i2").tobytes())],
        "VAD, PCM": lambda sound: [_pcm(b"".join(cut.frames)) for cut in cuts(sound, config)],
    }
    for kbps in OPUS_KBPS:
        ways[f"VAD, Opus {kbps} kbit/s"] = partial(_opus, kbps=kbps, config=config)
    rows: dict[str, Any] = {}
    whole: NDArray[np.int64] | None = None
    with ThreadPoolExecutor(hear.workers) as pool:
        for name, way in ways.items():
            audio = list(pool.map(way, (sound for _, sound in sounds)))
            texts = list(pool.map(hear.joined, audio))
            counted = [
                errors(clip.text, text) for (clip, _), text in zip(sounds, texts, strict=True)
            ]
            each = np.array([(wrong, words, min(wrong, words)) for wrong, words in counted])
            by_clip = each.reshape(len(seeds), len(clips), 3).sum(axis=0)
            whole = by_clip if whole is None else whole
            rows[name] = {
                "wer": round(float(by_clip[:, 0].sum() / by_clip[:, 1].sum()), 4),
                **_compared(by_clip, whole),
                "without_words": sum(not text for text in texts),
                "segments": sum(len(parts) for parts in audio),
                "bytes": sum(len(part.data) for parts in audio for part in parts),
            }
            bench.say(f"edge: {len(sounds)} sounds, {name}, WER {rows[name]['wer']:.2%}")
    return {
        "clips": len(clips),
        "rooms": len(seeds),
        "seconds": round(sum(clip.seconds for clip in clips), 1),
        "ways": rows,
    }


def _compared(ours: NDArray[np.int64], whole: NDArray[np.int64]) -> dict[str, Any]:
    """Points of WER beside the whole sound, with an interval over the choice of the clips.

    Both: for each clip errors, words, and errors where no sentence counts with more of them than
    were said: a single word for which the model invents a long one weighs as much as ten others.
    """
    difference = (ours - whole)[:, 0]
    chosen = np.random.default_rng(SEEDS[0]).integers(len(whole), size=(RESAMPLES, len(whole)))
    points = 100 * difference[chosen].sum(axis=1) / whole[:, 1][chosen].sum(axis=1)
    low, high = np.quantile(points, (0.025, 0.975))
    return {
        "points": round(float(100 * difference.sum() / whole[:, 1].sum()), 2),
        "points_capped": round(float(100 * (ours - whole)[:, 2].sum() / whole[:, 1].sum()), 2),
        "points_95": [round(float(low), 2), round(float(high), 2)],
        "clips_better": int((difference < 0).sum()),
        "clips_worse": int((difference > 0).sum()),
    }


@dataclass(frozen=True, slots=True)
class Hearer:
    """The pipeline of the service."""

    pipeline: Pipeline
    workers: int

    def joined(self, parts: Sequence[EncodedAudio]) -> str:
        """The words of several pieces of audio in their order."""
        return " ".join(filter(None, map(self._hear, parts)))

    def _hear(self, audio: EncodedAudio) -> str:
        utterance = Utterance(
            DeviceKey("file", "edge"), "edge", audio, "en", None, EndReason.SINGLE, 0.0
        )
        try:
            transcript = self.pipeline.transcribe(utterance).transcript
        except TooShortError:
            return ""
        return transcript.text if transcript is not None else ""


def _a_hearer() -> Hearer:
    config = Config()
    rung = preferred_rung(config)
    parallelism = parallelism_of(config)
    transcriber = load_rung(rung, parallelism)
    listener = Recognizer(transcriber, VoiceDetector.load())
    pipeline = Pipeline(listener, config.gate, MAX_S, rung.name, transcriber.languages)
    return Hearer(pipeline, parallelism.workers)


def _pcm(data: bytes) -> EncodedAudio:
    return EncodedAudio(AudioFormat(), data)


def _opus(sound: NDArray[np.int16], kbps: int, config: SatelliteConfig) -> list[EncodedAudio]:
    coded = []
    for cut in cuts(sound, config):
        encoder = make_encoder(Codec.OPUS, kbps)
        data = b"".join(map(encoder.push, cut.frames)) + encoder.finish()
        coded.append(EncodedAudio(AudioFormat(Codec.OPUS), data))
    return coded


def _what_is_heard(cut: Cut, noises: Sequence[Noise]) -> str:
    """The label of the noise that a false utterance has most of."""
    heard = max(noises, key=cut.shares_s, default=None)
    return heard.label if heard is not None and cut.shares_s(heard) else "the room itself"


def measure(
    rooms: Sequence[Room], noises: Sequence[Clip], clips: Sequence[Clip], quick: bool
) -> dict[str, Any]:
    """Everything that this file knows."""
    bench.say(f"edge: {len(rooms)} rooms, {len(noises)} clips of noise")
    seeds = SEEDS[:1] if quick else SEEDS
    return {"rooms": in_rooms(rooms, noises), "words": words(clips, seeds)}
