"""From the end of speech to its text: what was said, and what came of it. Nothing is started here.

All times are seconds of the sound of a room, so that 0 is the moment of its first sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

from benchmarks import bench
from benchmarks.savings.household import Spoken
from benchmarks.savings.meters import Heard

TOUCH_S = 0.05
"""A segment that shares so much with an utterance holds some of it."""
TAIL_S = 0.2
"""What the satellite sends of the pause that ends an utterance."""

_NORMALISE = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True)
class Told:
    """A text of the naive server: of all that was heard up to `heard_s`."""

    at_s: float
    heard_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """What a satellite sent of one utterance, and its result. `at_s`: when that came."""

    start_s: float
    end_s: float
    at_s: float
    outcome: str
    text: str
    code: str | None = None
    """Of an error."""
    latency_s: float | None = None
    """As the result itself tells it."""

    def touches(self, spoken: Spoken) -> bool:
        """Whether it holds some of an utterance."""
        shared = min(self.end_s, spoken.end_s) - max(self.start_s, spoken.start_s)
        return shared >= min(TOUCH_S, (spoken.end_s - spoken.start_s) / 2)


def told(messages: Iterable[Heard], began_s: float) -> list[Told]:
    """The texts of the naive server in the order of arrival."""
    texts = ((heard.at_s - began_s, json.loads(heard.payload)) for heard in messages)
    return [Told(at_s, float(body["chunks"]), body["text"]) for at_s, body in texts]


def segments(
    results: Iterable[Heard], stops: Iterable[Heard], began_s: float, hangover_s: float
) -> list[Segment]:
    """The results of one satellite, each with the place of its audio in the room.

    An end mark leaves `hangover_s` after the last sound of speech; of that pause the first
    `TAIL_S` were sent.
    """
    ended = {json.loads(stop.payload).get("id"): stop.at_s - began_s for stop in stops}
    found = []
    for heard in results:
        body = json.loads(heard.payload)
        stop_s = ended.get(body["id"])
        if stop_s is None:
            # It was ended by the service; its result is the next best mark.
            stop_s = heard.at_s - began_s - (body["latency_s"] or 0.0)
        end_s = stop_s - hangover_s + TAIL_S
        found.append(
            Segment(
                end_s - body["audio_s"],
                end_s,
                heard.at_s - began_s,
                body["outcome"],
                body["text"],
                body["error"] and body["error"]["code"],
                body["latency_s"],
            )
        )
    return found


def naive_waits(spoken: Sequence[Spoken], texts: Sequence[Told]) -> list[float | None]:
    """From the end of each utterance to the first text of a buffer that holds all of it."""
    return [
        next((text.at_s - one.end_s for text in texts if text.heard_s >= one.end_s), None)
        for one in spoken
    ]


def segment_waits(spoken: Sequence[Spoken], found: Sequence[Segment]) -> list[float | None]:
    """From the end of each utterance to the last result with some of it."""
    waits: list[float | None] = []
    for one in spoken:
        came = [segment.at_s for segment in found if segment.touches(one)]
        waits.append(max(came) - one.end_s if came else None)
    return waits


def behind(texts: Sequence[Told], arrived_s: float, at_s: float) -> float:
    """Seconds of audio that have arrived at the naive server and are in no text yet."""
    heard_s = max((text.heard_s for text in texts if text.at_s <= at_s), default=0.0)
    return max(math.floor(min(at_s, arrived_s)) - heard_s, 0.0)


def spread(waits: Sequence[float | None], at_least: Sequence[float]) -> dict[str, Any]:
    """Median, 95 % and the longest of some waits.

    One that did not end within the run counts as `at_least`, its length so far.
    """
    known = [least if wait is None else wait for wait, least in zip(waits, at_least, strict=True)]
    missing = sum(wait is None for wait in waits)
    return {
        "utterances": len(waits),
        "not_within_the_run": missing,
        "p50": bench.percentile(known, 0.5),
        "p95": bench.percentile(known, 0.95),
        "max": bench.percentile(known, 1.0),
        "values": sorted(round(wait, 3) for wait in waits if wait is not None),
    }


def wer(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Word error rate over pairs of what was said and what was heard; None: nothing was said."""
    counted = [errors(said, heard) for said, heard in pairs]
    words = sum(words for _, words in counted)
    return round(sum(wrong for wrong, _ in counted) / words, 4) if words else None


def errors(said: str, heard: str) -> tuple[int, int]:
    """Wrong, missing and invented words after Whisper's normalisation, and the words said."""
    said, heard = _NORMALISE(said), _NORMALISE(heard)
    if not said:
        # jiwer wants words to compare with.
        return len(heard.split()), 0
    measured = jiwer.process_words(said, heard)
    wrong = measured.substitutions + measured.deletions + measured.insertions
    return int(wrong), len(said.split())


def said(spoken: Iterable[Spoken]) -> str:
    """All words of a room."""
    return " ".join(one.text for one in spoken)


def last_text(texts: Sequence[Told]) -> str:
    """What the naive server had got to in the end."""
    return max(texts, key=lambda text: text.heard_s).text if texts else ""


def heard_so_far(spoken: Sequence[Spoken], texts: Sequence[Told]) -> tuple[str, str]:
    """What was said in a buffer that cuts no utterance in two, the longest, and its text."""
    whole = [
        text for text in texts if not any(one.start_s < text.heard_s < one.end_s for one in spoken)
    ]
    heard_s = max((text.heard_s for text in whole), default=0.0)
    return said(one for one in spoken if one.end_s <= heard_s), last_text(whole)


def stray(spoken: Sequence[Spoken], found: Sequence[Segment]) -> dict[str, int]:
    """Segments in which nobody spoke, and how many of them gave words."""
    alone = [one for one in found if not any(one.touches(words) for words in spoken)]
    return {"segments": len(alone), "with_words": sum(bool(one.text) for one in alone)}


def outcomes(rooms: Mapping[str, Sequence[Segment]]) -> dict[str, int]:
    """How often each outcome came, errors by their code."""
    counted: dict[str, int] = {}
    for found in rooms.values():
        for one in found:
            name = one.code or one.outcome
            counted[name] = counted.get(name, 0) + 1
    return counted
