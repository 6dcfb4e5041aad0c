"""Recordings that a satellite has played, without a satellite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pauses import Planted
from benchmarks.playing import Played, Scene, Sent
from benchmarks.speech import Clip

LAST_WORD_AT = 100.0


def sent(
    after_s: float, text: str, end: str = "endpoint", slots: dict[str, str] | None = None
) -> Sent:
    """An utterance that ended `after_s` seconds after the last word, and had its text at once."""
    phrase = None if slots is None else {"slots": slots}
    result: dict[str, Any] = {"end": end, "text": text, "heard": text, "phrase": phrase}
    result |= {"latency_s": 0.0, "outcome": "transcript"}
    return Sent("id", 0.0, answered_at=LAST_WORD_AT + after_s, result=result)


def played(
    text: str,
    *utterances: Sent,
    pause_s: float | None = None,
    slots: dict[str, str] | None = None,
    kind: str = "commands",
) -> Played:
    """A recording in which `text` is said. Its id is the text."""
    sound = np.zeros(1600, np.float32)
    clip = Clip(text, "corpus", text, Path(), b"", "speaker", slots or {})
    pause = None if pause_s is None else Planted(sound, 800, pause_s)
    return Played(Scene(clip, kind, sound, 0.0, 0.1, pause), 90.0, LAST_WORD_AT, utterances)
