"""What each way to look at speech is worth: words, orders and CPU time, in one process.

Encoder and decoder run once for each look at a clip; the ways are put together of them. The length
from which speech is taken for a sentence is chosen on all corpora but one and judged on that one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import bench, scoring, speech
from benchmarks.speech import Clip
from stt_mqtt.audio.gate import find_speech
from stt_mqtt.audio.pcm import scale
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.calibration import FULL_WINDOW
from stt_mqtt.engine.loaded import as_view
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.recognizer import Piece, Recognizer
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.engine.whisper import MAX_INITIAL_TIMESTAMP, SENTENCE_S, WhisperTranscriber, load
from stt_mqtt.types import SAMPLE_RATE, Rung

MODEL = "tiny.en"
BEAM = 5
LEAD_S = 0.0
"""Silence before the speech in the other reading; the calibrated window has 0.5 s."""
LENGTHS_S = (0.0, 1.0, 1.4, 1.8, 2.0, 2.4, 3.0, 4.0, 99.0)
"""Lengths from which speech might be taken for a sentence."""
QUICK_CLIPS = 2

Text: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look made of a clip, and the CPU seconds of encoding and decoding for it."""

    text: Text
    encode_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip with all readings of it. `speech_s`: what the gate leaves, with its margins."""

    clip: Clip
    speech_s: float
    readings: dict[str, Reading]
    closer: Reading | None
    """The second look of the engine, where it would have taken one, and its outcome."""


Way: TypeAlias = Callable[[Heard], tuple[Text, float]]
"""The text that a way comes to, and its CPU seconds."""


class Ears:
    """The model, and how it reads a clip."""

    def __init__(self) -> None:
        rung = Rung("", MODEL, BEAM, "int8")
        model = resolve(MODEL, default_models_dir())
        self.transcriber: WhisperTranscriber = load(model, rung, Parallelism(1, 1))
        self.voice = VoiceDetector.load()

    def hear(self, clip: Clip) -> Heard | None:
        """All readings of a clip; None where the speech gate hears nobody."""
        samples = scale(np.frombuffer(clip.pcm, "<i2"))
        span = find_speech(samples, GateConfig())
        if span is None:
            return None
        spoken = samples[span.start : span.end]
        model, first = self.transcriber.loaded, self.transcriber.loaded.calibration.first
        short, short_s = _timed(lambda: model.states(spoken, first))
        full, full_s = _timed(lambda: model.states(samples, FULL_WINDOW))
        other, other_s = _timed(lambda: model.states(spoken, replace(first, lead_s=LEAD_S)))
        said = Speech(spoken, "en")
        readings = {
            "mean": self._read(short, short_s, said, timestamps=False, by_mean=True),
            "total": self._read(short, short_s, said, timestamps=False, by_mean=False),
            "timestamps": self._read(short, short_s, said, timestamps=True, by_mean=True),
            "other lead": self._read(other, other_s, said, timestamps=False, by_mean=True),
            "full": self._read(full, full_s, said, timestamps=True, by_mean=True),
        }
        heard = Heard(clip, len(spoken) / SAMPLE_RATE, readings, None)
        _, first_s = _first_look(heard)
        return replace(heard, closer=self._closer(said, span.speech_s, first_s))

    def _read(
        self, states: Any, encode_s: float, said: Speech, *, timestamps: bool, by_mean: bool
    ) -> Reading:
        model = self.transcriber.loaded
        prompt = model.tokenizer.prompt(said, "en", timestamps)
        (answer,), decode_s = _timed(
            lambda: model.network.generate(
                as_view(states[np.newaxis]),
                [prompt],
                beam_size=BEAM,
                length_penalty=float(by_mean),
                max_length=448,
                max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP,
            )
        )
        return Reading(model.tokenizer.decode(answer.sequences_ids[0])[0], encode_s, decode_s)

    def _closer(self, said: Speech, speech_s: float, first_s: float) -> Reading | None:
        listener = Recognizer(self.transcriber, self.voice)
        ((_, finding),), cpu_s = _timed(
            lambda: list(listener.recognize([Piece(said, speech_s)], True))
        )
        if not (isinstance(finding, Hypothesis) and finding.retried):
            return None
        return Reading(finding.text, max(cpu_s - first_s, 0.0), 0.0)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    before = time.process_time()
    result = work()
    return result, time.process_time() - before


def _first(heard: Heard, sentence_s: float = SENTENCE_S) -> Reading:
    """The first look of the engine, if speech from such a length is a sentence."""
    return heard.readings["timestamps" if heard.speech_s >= sentence_s else "total"]


def _only(name: str) -> Way:
    def way(heard: Heard) -> tuple[Text, float]:
        reading = heard.readings[name]
        return reading.text, reading.encode_s + reading.decode_s

    return way


def _first_look(heard: Heard) -> tuple[Text, float]:
    reading = _first(heard)
    return reading.text, reading.encode_s + reading.decode_s


def _engine(heard: Heard) -> tuple[Text, float]:
    text, cpu_s = _first_look(heard)
    if heard.closer is None:
        return text, cpu_s
    return heard.closer.text, cpu_s + heard.closer.encode_s


def _two_leads(heard: Heard) -> tuple[Text, float]:
    """Two short readings; where they differ, the full window."""
    one, other, full = (heard.readings[name] for name in ("mean", "other lead", "full"))
    cpu_s = sum(reading.encode_s + reading.decode_s for reading in (one, other))
    if scoring.normalised(one.text) == scoring.normalised(other.text):
        return one.text, cpu_s
    return full.text, cpu_s + full.encode_s + full.decode_s


def _full_in_doubt(heard: Heard) -> tuple[Text, float]:
    """The first look and one without timestamps; where they differ, the full window."""
    first, plain, full = _first(heard), heard.readings["mean"], heard.readings["full"]
    cpu_s = first.encode_s + first.decode_s + plain.decode_s
    if scoring.normalised(first.text) == scoring.normalised(plain.text):
        return first.text, cpu_s
    return full.text, cpu_s + full.encode_s + full.decode_s


FULL = "full window, timestamps"
WAYS: dict[str, Way] = {
    FULL: _only("full"),
    "short window, best mean of the tokens": _only("mean"),
    "the same from two leads; where they differ, the full window": _two_leads,
    "short window, best total": _only("total"),
    "short window, timestamps": _only("timestamps"),
    f"first look: timestamps from {SENTENCE_S:g} s on, else best total": _first_look,
    "first look and one without timestamps; where they differ, the full window": _full_in_doubt,
    "first look, and the second one where the engine doubts (the default)": _engine,
}


def judged(heard: Sequence[Heard], way: Way) -> dict[str, Any]:
    """The figures of a way, with the interval of its difference to the full window."""
    ours = [way(one) for one in heard]
    theirs = [WAYS[FULL](one) for one in heard]
    rows = []
    for one, (text, _), (full, _) in zip(heard, ours, theirs, strict=True):
        clip = one.clip
        wrong, of = scoring.word_errors(clip.text, text) if clip.text else (0, 0)
        full_wrong, _ = scoring.word_errors(clip.text, full) if clip.text else (0, 0)
        is_word = len(clip.text.split()) == 1
        rows.append(
            [
                *(wrong, of, full_wrong, of),
                *(bool(clip.slots) and scoring.slots_right(clip.slots, text), bool(clip.slots)),
                *(bool(clip.slots) and scoring.slots_right(clip.slots, full), bool(clip.slots)),
                *(is_word and scoring.is_right_word(clip.text, text), is_word),
                *(is_word and scoring.is_right_word(clip.text, full), is_word),
            ]
        )
    columns = np.array(rows, float).T
    speakers = [one.clip.speaker or one.clip.id for one in heard]
    figures: dict[str, Any] = {"cpu_ms": 1000 * float(np.mean([cpu_s for _, cpu_s in ours]))}
    for name, at in (("wer", 0), ("orders", 4), ("words", 8)):
        part = columns[at : at + 4]
        figures[name] = float(part[0].sum() / part[1].sum()) if part[1].sum() else None
        found = scoring.bootstrap(list(part), speakers, scoring.difference_of_shares)
        figures[f"{name}_less_full"] = [found.value, found.low, found.high]
    return figures


def held_out(heard: Sequence[Heard]) -> dict[str, Any]:
    """For each corpus the length of a sentence that is best on the others, and what it gets."""

    def right(some: Sequence[Heard], sentence_s: float) -> int:
        return sum(_is_right(one.clip, _first(one, sentence_s).text) for one in some)

    found: dict[str, Any] = {}
    for corpus in sorted({one.clip.corpus for one in heard}):
        others = [one for one in heard if one.clip.corpus != corpus]
        own = [one for one in heard if one.clip.corpus == corpus]
        if others:
            best = max(LENGTHS_S, key=lambda length_s: right(others, length_s))
            found[corpus] = {
                "clips": len(own),
                "sentence_s": best,
                "right": right(own, best),
                "right_by_default": right(own, SENTENCE_S),
                "right_full": sum(_is_right(one.clip, WAYS[FULL](one)[0]) for one in own),
            }
    return found


def _is_right(clip: Clip, text: Text) -> bool:
    if clip.slots:
        return scoring.slots_right(clip.slots, text)
    return scoring.is_exact(clip.text, text)


def markdown(data: dict[str, Any]) -> list[str]:
    """The page for people."""
    full = data["ways"][FULL]["cpu_ms"]
    rows = [
        [
            name,
            _percent(way["wer"]),
            _points(way["wer_less_full"]),
            _percent(way["orders"]),
            _points(way["orders_less_full"]),
            _percent(way["words"]),
            _points(way["words_less_full"]),
            f"{way['cpu_ms']:.0f}",
            f"1/{full / way['cpu_ms']:.1f}",
        ]
        for name, way in data["ways"].items()
    ]
    header = ["way", "WER", "less full", "orders right", "less full", "words right", "less full"]
    keys = ("clips", "sentence_s", "right", "right_by_default", "right_full")
    chosen = [[corpus, *(row[key] for key in keys)] for corpus, row in data["held_out"].items()]
    return [
        "# Looks",
        "",
        f"{data['clips']} English clips, {MODEL}, int8, beam {BEAM}, one thread, one process: the "
        "model alone, without the quality gate. CPU: encoder and decoder, per clip. Less full: "
        "points more than the full window has, with 95 % intervals (bootstrap over speakers). "
        "Words: clips in which one word is said.",
        "",
        *bench.table([*header, "CPU ms", "of full"], rows),
        "",
        "How long speech must be to be decoded as a sentence, chosen on the other corpora (of "
        f"{', '.join(f'{length:g}' for length in LENGTHS_S)} s), and clips that are right with it.",
        "",
        *bench.table(
            ["corpus", "clips", "chosen, s", "right", "right with the default", "full window"],
            chosen,
        ),
        "",
        bench.describe(data["machine"]),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _points(found: Sequence[float | None]) -> str:
    value, low, high = found
    if value is None or low is None or high is None:
        return ""
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def main(options: argparse.Namespace) -> int:
    """Run the benchmark."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = bench.machine()
    with tempfile.TemporaryDirectory() as folder:
        clips = (
            speech.samples(Path(folder))[:QUICK_CLIPS]
            if options.quick
            else [*speech.recordings(), *speech.orders()]
        )
        ears = Ears()
        heard = []
        for number, clip in enumerate(clips):
            if number % 50 == 0:
                bench.say(f"{number} of {len(clips)} clips")
            found = ears.hear(clip)
            if found is not None:
                heard.append(found)
    data: dict[str, Any] = {
        "benchmark": "looks",
        "quick": options.quick,
        "machine": machine,
        "model": MODEL,
        "clips": len(heard),
        "ways": {name: judged(heard, way) for name, way in WAYS.items()},
        "held_out": held_out(heard),
    }
    bench.finish("looks", options, data, markdown(data))
    return 0


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
