"""Two commands in one utterance: what a pause between them costs, by what is done about it.

Pairs of clips, one of them up to 10 dB quieter, with pauses that are filled with the room tone of
the first; and single clips in which the speaker hesitates, which must not get worse.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from benchmarks import bench, pauses_page, speech
from benchmarks.pauses_material import Said, alone, hesitating, joined, pairs, said
from stt_mqtt.app.loading import load_rung, preferred_rung
from stt_mqtt.audio.gate import Pause, PauseRule, find_parts
from stt_mqtt.config import Config, GateConfig
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.listener import Finding, Listener, Piece
from stt_mqtt.engine.pauses import NOTABLE_S, judge_pauses, without_pauses
from stt_mqtt.engine.transcriber import MAX_SPEECH_S, Speech
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.types import SAMPLE_RATE, Samples

SEED = 11
PAIRS = 14
LEAST_WORDS = 3
MOST_CLIP_S = 8.0
QUICK_PAIRS = 2
PAUSES_S = (0.9, 1.2, 2.1, 12.0)
HESITATIONS_S = (0.0, 1.2)
SHORTENED_S = 0.4
RESAMPLES = 2000
GATE = GateConfig()

Cuts = list[tuple[Samples, float]]
"""Pieces with the seconds of speech in each."""

ONE = "one piece"
SHORT = "one piece, pauses shortened"
PARTS = "parts at every pause"
OURS = "as the engine has it"


def cuts(samples: Samples, rule: PauseRule) -> Cuts:
    """The parts of what is said, as a rule has it."""
    parts = find_parts(samples, GATE, rule)
    pieces = [without_pauses(samples, part) for part in parts]
    return [(piece[: round(MAX_SPEECH_S * SAMPLE_RATE)], speech_s) for piece, speech_s in pieces]


def always(what: Pause, least_s: float) -> PauseRule:
    """The same becomes of every pause from so many seconds on."""
    return lambda pauses_s, _: [what if p >= least_s else Pause.KEPT for p in pauses_s]


WAYS: Mapping[str, PauseRule] = {
    ONE: always(Pause.KEPT, 0.0),
    SHORT: always(Pause.SHORTENED, NOTABLE_S),
    PARTS: always(Pause.DIVIDING, NOTABLE_S),
    OURS: judge_pauses,
}


@dataclass(slots=True)
class Ear:
    """The engine, which hears nothing twice."""

    listener: Listener
    known: dict[bytes, tuple[str, float]] = field(default_factory=dict)

    def hear(self, samples: Samples, way: str) -> tuple[str, float]:
        """The text, and the CPU seconds that it took."""
        before_s = time.process_time()
        pieces = cuts(samples, WAYS[way])
        cpu_s = time.process_time() - before_s
        heard = [self._heard(*piece) for piece in pieces]
        return " ".join(text for text, _ in heard), cpu_s + sum(used for _, used in heard)

    def _heard(self, samples: Samples, speech_s: float) -> tuple[str, float]:
        key = samples.tobytes()
        if key not in self.known:
            before_s = time.process_time()
            ((_, finding),) = self.listener.hear([Piece(Speech(samples, "en"), speech_s)], True)
            if not isinstance(finding, Finding):
                raise finding
            self.known[key] = (finding.hypothesis.text, time.process_time() - before_s)
        return self.known[key]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one recording with one pause in one way; `lost`: words of one command."""

    number: int
    corpora: tuple[str, ...]
    way: str
    pause_s: float
    words: int
    errors: int
    alone: int
    """Errors in what is said alone, without a pause."""
    lost: bool
    cpu_s: float
    alone_cpu_s: float


def errors(text: str, heard: str) -> tuple[int, int]:
    """Wrong words and words."""
    normalise = EnglishTextNormalizer()
    right = normalise(text)
    found = jiwer.process_words(right, normalise(heard))
    return found.substitutions + found.deletions + found.insertions, len(right.split())


def measure(
    what: Sequence[tuple[Said, ...]],
    pauses_s: Sequence[float],
    ways: Sequence[str],
    hear: Callable[[Samples, str], tuple[str, float]],
) -> list[Row]:
    """Have all of it heard: pairs joined, single ones with a hesitation."""
    rows: list[Row] = []
    for number, clips in enumerate(what):
        apart = [(clip, *hear(alone(clip), ways[0])) for clip in clips]
        parts = [errors(clip.text, text) for clip, text, _ in apart]
        wrong = sum(one for one, _ in parts)
        for pause_s in pauses_s:
            one, *others = clips
            samples = joined(one, others[0], pause_s) if others else hesitating(one, pause_s)
            for way in ways:
                text, cpu_s = hear(samples, way)
                count, words = errors(" ".join(clip.text for clip in clips), text)
                lost = count - wrong >= max(1, min(words for _, words in parts) / 2)
                rows.append(
                    Row(
                        number,
                        tuple(clip.corpus for clip in clips),
                        way,
                        pause_s,
                        words,
                        count,
                        wrong,
                        lost,
                        cpu_s,
                        sum(used for *_, used in apart),
                    )
                )
        bench.say(f"{number + 1} of {len(what)}")
    return rows


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of some rows, with the 95 % interval of joined against alone."""
    count = 1 + max(row.number for row in rows)
    counts = np.zeros((count, 3))
    for row in rows:
        counts[row.number] += (row.errors, row.alone, row.words)
    picks = np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))
    drawn = counts[picks].sum(axis=1)
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    wrong, alone_wrong, words = counts.sum(axis=0)
    return {
        "recordings": len(rows),
        "wer": round(wrong / words, 4),
        "wer_alone": round(alone_wrong / words, 4),
        "ratio": round(wrong / max(alone_wrong, 1), 3),
        "ratio_95": [round(float(q), 3) for q in np.quantile(ratios, [0.025, 0.975])],
        "lost": sum(row.lost for row in rows),
        "cpu_ratio": round(
            sum(row.cpu_s for row in rows) / max(sum(row.alone_cpu_s for row in rows), 1e-9), 2
        ),
    }


def held_out(pair_rows: Sequence[Row], single_rows: Sequence[Row]) -> dict[str, Any]:
    """The shortest pause to cut at, chosen without each corpus and judged on it."""
    rows = [row for row in (*pair_rows, *single_rows) if row.way in {ONE, PARTS}]
    candidates = [*sorted({row.pause_s for row in rows}), math.inf]

    def wrong(some: Sequence[Row], least_s: float) -> int:
        return sum(r.errors for r in some if (r.way == PARTS) == (r.pause_s >= least_s))

    found = {}
    for corpus in sorted({name for row in rows for name in row.corpora}):
        others = [row for row in rows if corpus not in row.corpora]
        own = [row for row in rows if corpus in row.corpora]
        if others:
            best_s = min(candidates, key=lambda least_s: wrong(others, least_s))
            found[corpus] = {
                "least_s": best_s if math.isfinite(best_s) else "never",
                "errors": wrong(own, best_s),
                "errors_in_one_piece": wrong(own, math.inf),
                "words": sum(row.words for row in own) // 2,
            }
    return found


def tables(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures by way and pause, and those of all pauses from 2 s."""
    found: dict[str, Any] = {}
    for way in dict.fromkeys(row.way for row in rows):
        some = [row for row in rows if row.way == way]
        found[way] = {
            f"{pause_s:g}": summary([row for row in some if row.pause_s == pause_s])
            for pause_s in dict.fromkeys(row.pause_s for row in some)
        }
        found[way]["all"] = summary(some)
    return found


def main(options: argparse.Namespace) -> int:
    """Run the benchmark."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = bench.machine()
    with tempfile.TemporaryDirectory() as folder:
        clips = speech.samples(Path(folder)) if options.quick else speech.recordings()
    material = [one for clip in clips if clip.seconds <= MOST_CLIP_S and (one := said(clip))]
    draw = random.Random(SEED)
    sentences = [one for one in material if len(one.text.split()) >= LEAST_WORDS]
    count = QUICK_PAIRS if options.quick else PAIRS
    two: list[tuple[Said, ...]] = [*pairs(material, count, SEED)]
    singles: list[tuple[Said, ...]] = [
        (sentence,) for sentence in draw.sample(sentences, min(count, len(sentences)))
    ]
    transcriber = load_rung(preferred_rung(Config()), Parallelism(workers=1, threads=1))
    ear = Ear(Listener(transcriber, VoiceDetector.load()))
    if options.quick:
        pair_rows = measure(two, (2.1,), (ONE, PARTS, OURS), ear.hear)
        single_rows = measure(singles, (0.0,), (ONE, PARTS, OURS), ear.hear)
    else:
        pair_rows = measure(two, PAUSES_S, tuple(WAYS), ear.hear)
        single_rows = measure(singles, HESITATIONS_S, tuple(WAYS), ear.hear)
    data: dict[str, Any] = {
        "benchmark": "pauses",
        "quick": options.quick,
        "machine": machine,
        "model": transcriber.model,
        "seed": SEED,
        "pairs": len(two),
        "sentences": len(singles),
        "joined": tables(pair_rows),
        "hesitations": tables(single_rows),
        "held_out": held_out(pair_rows, single_rows),
        "rows": [asdict(row) for row in (*pair_rows, *single_rows)],
    }
    transcriber.close()
    bench.finish("pauses", options, data, pauses_page.markdown(data))
    return 0


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
