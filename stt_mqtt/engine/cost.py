"""What a rung costs on this machine: time by a rehearsal, memory by the size of its weights."""

from __future__ import annotations

import time

from stt_mqtt.engine.ladder import RungCost
from stt_mqtt.engine.models import WEIGHTS, ResolvedModel
from stt_mqtt.engine.whisper import WhisperTranscriber

SHORT_S, LONG_S = 1.0, 8.0
"""Lengths of the speech that is rehearsed; between them the window grows."""
REHEARSALS = 3
WORKING_MB = 60
"""What a model needs beside its weights while it works."""
BATCH_SHARE = 0.1
"""Memory of one more utterance in a batch, as a share of the model's; 10 MB with tiny.en."""
UNLIMITED_MB = 1e6


def memory_mb(model: ResolvedModel, compute_type: str) -> float:
    """Memory that loading the model may take, in MB.

    The weights on disk have 16 bits, so int8 needs half of them and float32 twice as much; while
    loading both are there for a moment.
    """
    weights_mb = (model.folder / WEIGHTS).stat().st_size / 1e6
    return weights_mb * (3 if compute_type == "float32" else 1.5) + WORKING_MB


def largest_batch(memory_mb: float, free_mb: float, workers: int, most: int) -> int:
    """How many utterances may be decoded together, from 1 to `most`.

    `memory_mb` is that of the model; all its batches together get half of the memory that is free.
    """
    each_mb = memory_mb * BATCH_SHARE
    room_mb = min(free_mb, UNLIMITED_MB) / 2
    return min(max(int(room_mb / (workers * each_mb)), 1), most)


def measure(transcriber: WhisperTranscriber, memory_mb: float) -> RungCost:
    """Rehearse a short and a long utterance, and take the best of a few: others use the cores."""
    short_s, long_s = (
        min(_timed(transcriber, speech_s) for _ in range(REHEARSALS))
        for speech_s in (SHORT_S, LONG_S)
    )
    per_audio_s = max((long_s - short_s) / (LONG_S - SHORT_S), 0.0)
    return RungCost(max(short_s - per_audio_s * SHORT_S, 0.0), per_audio_s, memory_mb)


def _timed(transcriber: WhisperTranscriber, speech_s: float) -> float:
    started = time.perf_counter()
    transcriber.rehearse(speech_s)
    return time.perf_counter() - started
