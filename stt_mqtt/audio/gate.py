"""The speech gate: finds speech in audio.

It is cheap and rejects silence, room tone, hum and clicks. Loud changing sounds, such as dogs and
music, pass, and the model must judge them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import webrtcvad
from numpy.lib.stride_tricks import sliding_window_view

from stt_mqtt.config import GateConfig
from stt_mqtt.types import SAMPLE_RATE, Samples

_FRAME_MS = 30
_FRAME = SAMPLE_RATE * _FRAME_MS // 1000
_BACKGROUND_FRAMES = 10
"""The quietest frames count as background. In short audio it is at most a quarter of the frames,
because closely cut audio has hardly anything but speech."""
_OVER_BACKGROUND = 1.5
"""Least power of speech relative to the background. Speech in noise has no more."""
_PAUSE_FRAMES = 20
"""The quietest run of this many frames gives the power of a pause. Single frames would not do,
because some frames of noise are much quieter than its mean."""
_OVER_PAUSE = 2.5
"""Least power of speech relative to a pause."""
_UNDER_SPEECH = 1 / 10
"""Largest power of a pause relative to the loudest speech. Even in speech without pauses some
syllables are quieter than others."""
_CLICK_FRAMES = 2
"""Longest sound that does not end a pause."""
_EDGE_FRAMES = 10
"""Most faint voiced frames at the edges of a part that belong to it."""

_Mask: TypeAlias = npt.NDArray[np.bool_]
_Power: TypeAlias = npt.NDArray[np.floating[Any]]
_Run: TypeAlias = tuple[int, int]
"""The first frame and the end (exclusive)."""
SHORT_PAUSE_MS = 400
"""Length of a shortened pause."""


class Pause(Enum):
    """What becomes of a pause in speech."""

    KEPT = auto()
    SHORTENED = auto()
    DIVIDING = auto()
    """The speech before it and after it is recognized separately."""


PauseRule: TypeAlias = Callable[[Sequence[float], float], Sequence[Pause]]
"""Takes the seconds of all pauses and of the whole audio; returns the decision on each pause."""


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """A span of speech with margins, from sample `start` to `end` (exclusive).

    `speech_s`: seconds from the first to the last sound, without the margins.
    """

    start: int
    end: int
    speech_s: float


def find_speech(samples: Samples, config: GateConfig) -> SpeechSpan | None:
    """Find speech in `samples`, full scale ±1.0. None: there is no speech.

    If the gate is off, everything counts as speech.
    """
    parts = find_parts(samples, config, lambda pauses_s, _: [Pause.KEPT] * len(pauses_s))
    return parts[0][0] if parts else None


def find_parts(samples: Samples, config: GateConfig, rule: PauseRule) -> list[list[SpeechSpan]]:
    """Find the parts between dividing pauses, each as the spans between shortened pauses.

    Empty: there is no speech. Sound in dividing and shortened pauses is left out, except margins.
    If the gate is off, everything is one part.
    """
    if not config.enabled:
        return [[SpeechSpan(0, len(samples), len(samples) / SAMPLE_RATE)]]
    count = len(samples) // _FRAME
    frames = samples[: count * _FRAME].reshape(count, _FRAME)
    power = np.mean(np.square(frames), axis=1)
    quietest = np.argsort(power)[: min(_BACKGROUND_FRAMES, count // 4)]
    background = float(power[quietest].mean()) if len(quietest) else 0.0

    voiced = _voiced(frames, quietest, config.aggressiveness)
    voiced &= power >= 10 ** (config.floor_dbfs / 10)
    # After a click the detector stays on for 60 to 90 ms. Those frames are only background.
    sounding = voiced & (power >= _OVER_BACKGROUND * background)
    if np.count_nonzero(sounding) * _FRAME_MS < config.min_speech_ms:
        return []
    over_pause = sounding & (power >= _standing_out(power))
    runs = [(start, end) for start, end in _runs(over_pause) if end - start > _CLICK_FRAMES]
    pauses_s = [(after[0] - before[1]) * _FRAME_MS / 1000 for before, after in pairwise(runs)]
    cuts = {
        n: pause
        for n, pause in enumerate(rule(pauses_s, len(samples) / SAMPLE_RATE), 1)
        if pause is not Pause.KEPT
    }
    margin = config.margin_ms * SAMPLE_RATE // 1000
    if not cuts:
        return [[_span(np.flatnonzero(voiced), (margin, margin), (0, len(samples)))]]
    # Margins reach at most to the middle of a pause.
    middles = [(runs[n - 1][1] + runs[n][0]) // 2 for n in cuts]
    short = min(margin, SHORT_PAUSE_MS // 2 * SAMPLE_RATE // 1000)
    margins = [margin if pause is Pause.DIVIDING else short for pause in cuts.values()]
    parts: list[list[SpeechSpan]] = []
    for (first, behind), (earliest, latest), beside in zip(
        pairwise([0, *cuts, len(runs)]),
        pairwise([0, *middles, count]),
        pairwise([margin, *margins, margin]),
        strict=True,
    ):
        start = max(runs[first][0] - _EDGE_FRAMES, earliest)
        end = min(runs[behind - 1][1] + _EDGE_FRAMES, latest)
        found = start + np.flatnonzero(voiced[start:end])
        limit = len(samples) if latest == count else latest * _FRAME
        span = _span(found, beside, (earliest * _FRAME, limit))
        if cuts.get(first) is Pause.SHORTENED:
            parts[-1].append(span)
        else:
            parts.append([span])
    return parts


def _span(
    found: npt.NDArray[np.intp], margins: tuple[int, int], limits: tuple[int, int]
) -> SpeechSpan:
    """The span from the first to the last frame, with margins. Limits are in samples."""
    start, end = int(found[0]) * _FRAME, int(found[-1] + 1) * _FRAME
    return SpeechSpan(
        max(start - margins[0], limits[0]),
        min(end + margins[1], limits[1]),
        (end - start) / SAMPLE_RATE,
    )


def _standing_out(power: _Power) -> _Power:
    """The power above which each frame is not a pause, by the frames around it."""
    if len(power) < _PAUSE_FRAMES:
        return np.zeros(len(power))
    means = sliding_window_view(power, _PAUSE_FRAMES).mean(axis=1)
    around = np.pad(means, (2 * _PAUSE_FRAMES, 2 * _PAUSE_FRAMES - 1), constant_values=np.inf)
    quietest = sliding_window_view(around, 3 * _PAUSE_FRAMES + 1).min(axis=1)[: len(power)]
    stands_out: _Power = np.minimum(_OVER_PAUSE * quietest, _UNDER_SPEECH * means.max())
    return stands_out


def _runs(mask: _Mask) -> list[_Run]:
    """The runs of frames in which the mask is true."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _voiced(frames: Samples, background: npt.NDArray[np.intp], aggressiveness: int) -> _Mask:
    """The frames with a voice.

    A new detector needs about 100 ms to adapt to the background. Before, it reports a voice in any
    sound. So it processes the frames at the indices `background` first.
    """
    detector = webrtcvad.Vad(aggressiveness)
    pcm = [frame.tobytes() for frame in (np.clip(frames, -1, 1) * 32767).astype("<i2")]
    for index in background[::-1]:
        detector.is_speech(pcm[index], SAMPLE_RATE)
    return np.array([detector.is_speech(frame, SAMPLE_RATE) for frame in pcm], bool)
