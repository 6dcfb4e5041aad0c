"""What the satellite's codecs and its ear cost: words and orders beside PCM, bytes, CPU time.

Every recording is coded and decoded by the program's own encoders and the service's own decoder,
as a whole and as the ear of the satellite cuts it out of a quiet room, and heard by the engine as
it is configured by default.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import bench, codecs_page, scoring, speech
from benchmarks.codecs_ears import MAX_S, TOGETHER, Ears
from benchmarks.savings.edge import cuts, in_a_quiet_room
from benchmarks.speech import Clip
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.encode import OPUS_OPTIONS, Encoder, OpusEncoder, make_encoder
from stt_mqtt.audio.opus import PacketWalk
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

RESAMPLES = 5000
SEED = 11
LATE_SAMPLES = 104
"""By which libopus is late, 6.5 ms."""
PACKET_SAMPLES = 960
SILK_CONFIGS = 12
"""Numbers of configurations in the first byte of an Opus packet that are SILK's alone."""
EARLIER = {"application": "audio", "compression_level": "5"}


@dataclass(frozen=True, slots=True)
class Said:
    """A recording, and what must be heard in it: all of its words, or the values of an order."""

    clip: Clip
    slots: tuple[str, ...] = ()

    def judge(self, text: str) -> tuple[int, int, bool]:
        """Wrong words, words said (both 0 for an order) and whether it was understood."""
        if self.slots:
            padded = f" {scoring.normalised(text)} "
            values = map(scoring.normalised, self.slots)
            return 0, 0, all(f" {value} " in padded for value in values)
        errors, words = scoring.word_errors(self.clip.text, text)
        return errors, words, errors == 0


@dataclass(frozen=True, slots=True)
class Way:
    """How a recording gets to the service; `beside`: the way that it is compared with."""

    name: str
    beside: str
    encoder: Callable[[], Encoder]
    late_samples: int = 0
    room: bool = False
    """Whether the recording is heard in a quiet room."""
    ear: bool = False
    """Whether the ear of the satellite cuts it out of the room."""

    def audio(self, clip: Clip) -> list[EncodedAudio]:
        """What is sent of a recording, nothing where the ear hears nobody."""
        pcm = clip.pcm
        if self.room:
            sound = in_a_quiet_room(clip)
            pcm = sound.astype("<i2").tobytes()
            if self.ear:
                found = cuts(sound, SatelliteConfig())
                return [self._coded(cut.frames) for cut in found]
        if self.late_samples:
            # As long as Opus makes it, in whole packets.
            pcm = bytes(2 * self.late_samples) + pcm
            pcm += bytes(-len(pcm) % (2 * PACKET_SAMPLES))
        return [self._coded([pcm])]

    def _coded(self, pieces: Iterable[bytes]) -> EncodedAudio:
        encoder = self.encoder()
        data = b"".join([*map(encoder.push, pieces), encoder.finish()])
        return EncodedAudio(AudioFormat(encoder.codec), data)


PCM, ROOM, EAR = "PCM", "room, whole, PCM", "room, ear, PCM"


def ways(quick: bool) -> list[Way]:
    """PCM first, then what is compared with it, then what the ear costs."""

    def exact(codec: Codec) -> Callable[[], Encoder]:
        return lambda: make_encoder(codec, 0)

    def opus(kbps: int, **options: str) -> Callable[[], Encoder]:
        return lambda: OpusEncoder(kbps, {**OPUS_OPTIONS, **options})

    default = SatelliteConfig().opus_kbps
    pcm = exact(Codec.PCM_S16LE)
    whole = [
        Way(PCM, PCM, pcm),
        Way("PCM, 6.5 ms late", PCM, pcm, LATE_SAMPLES),
        Way("FLAC", PCM, exact(Codec.FLAC)),
        *(Way(f"Opus {kbps}", PCM, opus(kbps)) for kbps in (12, 16, 24, 32, 48)),
        *(
            Way(f"Opus {kbps}, as before: audio, level 5", PCM, opus(kbps, **EARLIER))
            for kbps in (16, 24, 32)
        ),
        Way("Opus 24, audio, level 10", PCM, opus(24, application="audio", compression_level="10")),
    ]
    ear = [
        Way(ROOM, ROOM, pcm, room=True),
        Way(EAR, ROOM, pcm, room=True, ear=True),
        Way("room, ear, FLAC", EAR, exact(Codec.FLAC), room=True, ear=True),
        Way(f"room, ear, Opus {default}", EAR, opus(default), room=True, ear=True),
        Way("room, ear, Opus 16 as before", EAR, opus(16, **EARLIER), room=True, ear=True),
    ]
    return [*whole[:4], *ear[:4]] if quick else [*whole, *ear]


class Hearer(Protocol):
    """What becomes of samples, mono float32 at `SAMPLE_RATE`."""

    def texts(self, samples: Sequence[bytes]) -> list[str]:
        """What is heard in each."""
        ...

    def beliefs(self, samples: Sequence[bytes], said: Sequence[str]) -> list[float]:
        """How sure the model is of what was said; nan where it is not asked."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all recordings on one way: a row of errors, words, understood for each."""

    figures: dict[str, Any]
    judged: NDArray[np.int64]
    beliefs: NDArray[np.float64]


def measure(way: Way, said: Sequence[Said], hearer: Hearer) -> Outcome:
    """Have every recording coded, decoded and heard."""
    before_s = time.process_time()
    audio = [way.audio(one.clip) for one in said]
    coding_s = time.process_time() - before_s
    decoded = [[decode(part, MAX_S).samples.tobytes() for part in parts] for parts in audio]
    heard = iter(hearer.texts([part for parts in decoded for part in parts]))
    texts = [" ".join(filter(None, (next(heard) for _ in parts))) for parts in decoded]
    judged = np.array([one.judge(text) for one, text in zip(said, texts, strict=True)])
    beliefs = hearer.beliefs(
        [b"".join(parts) for parts in decoded], [one.clip.text for one in said]
    )
    sent = [part for parts in audio for part in parts]
    sent_s = sum(len(part) for parts in decoded for part in parts) / 4 / SAMPLE_RATE
    figures = {
        "beside": way.beside,
        "bytes_per_s": round(sum(len(part.data) for part in sent) / sent_s),
        "bytes": sum(len(part.data) for part in sent),
        "cpu_ms_per_s": round(1000 * coding_s / sent_s, 2),
        "silk_share": _silk_share(sent),
        "segments": len(sent),
        "without_words": sum(not text for text in texts),
    }
    return Outcome(figures, judged, np.array(beliefs))


def compared(ours: NDArray[np.int64], theirs: NDArray[np.int64], orders: int) -> dict[str, Any]:
    """Points beside another way, with 95 % intervals over the choice of the recordings.

    Rows as in `Outcome.judged`, the last `orders` of which are orders.
    """
    errors, words, right = ours.T
    sentences = len(ours) - orders
    picks = np.random.default_rng(SEED).integers(len(ours), size=(RESAMPLES, len(ours)))
    less, more = theirs[:, 0] - errors, right - theirs[:, 2]
    wer = -less[picks].sum(axis=1) / np.maximum(words[picks].sum(axis=1), 1)
    return {
        "wer": round(float(errors.sum() / max(words.sum(), 1)), 4),
        "wer_points": round(float(-100 * less.sum() / max(words.sum(), 1)), 2),
        "wer_points_95": _interval(wer),
        "understood": int(right.sum()),
        "sentences_exact": int(right[:sentences].sum()),
        "orders_right": int(right[sentences:].sum()),
        "understood_points": round(float(100 * more.mean()), 2),
        "understood_points_95": _interval(more[picks].mean(axis=1)),
        "gained": int((more > 0).sum()),
        "lost": int((more < 0).sum()),
    }


def believed(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, Any]:
    """How much surer the model is of what was said, in nats per token, with its 95 % interval."""
    more = ours - theirs
    more = more[~np.isnan(more)]
    picks = np.random.default_rng(SEED).integers(len(more), size=(RESAMPLES, len(more)))
    limits = np.quantile(more[picks].mean(axis=1), (0.025, 0.975))
    return {
        "nats": round(float(more.mean()), 4),
        "nats_95": [round(float(limit), 4) for limit in limits],
    }


def recordings(quick: bool, folder: Path) -> list[Said]:
    """Every English recording, orders last; with `quick` two samples, one of them as an order."""
    if quick:
        first, second = speech.samples(folder)[:2]
        return [Said(first), Said(second, (second.text,))]
    orders = (Said(clip, tuple(clip.slots.values())) for clip in speech.orders())
    return [*map(Said, speech.recordings()), *orders]


def run(said: Sequence[Said], through: Sequence[Way], hearer: Hearer) -> dict[str, Any]:
    """The figures of all ways; each comes after the one that it is compared with."""
    outcomes: dict[str, Outcome] = {}
    count = sum(bool(one.slots) for one in said)
    results: dict[str, Any] = {}
    for way in through:
        ours = outcomes[way.name] = measure(way, said, hearer)
        theirs = outcomes[way.beside]
        results[way.name] = {
            **ours.figures,
            **compared(ours.judged, theirs.judged, count),
            **believed(ours.beliefs, theirs.beliefs),
        }
        bench.say(f"{way.name}: {results[way.name]['understood']} of {len(said)} understood")
    return results


def _silk_share(sent: Sequence[EncodedAudio]) -> float | None:
    """Of the Opus packets, how many the coder for speech made."""
    silk = [
        packet[0] >> 3 < SILK_CONFIGS
        for part in sent
        if part.format is not None and part.format.codec is Codec.OPUS
        for packet, _ in PacketWalk().packets(part.data)
    ]
    return round(sum(silk) / len(silk), 4) if silk else None


def _interval(drawn: NDArray[np.float64]) -> list[float]:
    return [round(float(100 * limit), 2) for limit in np.quantile(drawn, (0.025, 0.975))]


def main(options: argparse.Namespace) -> int:
    """Run the benchmark."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = bench.machine()
    with tempfile.TemporaryDirectory() as folder:
        said = recordings(options.quick, Path(folder))
    ears = Ears()
    try:
        results = run(said, ways(options.quick), ears)
    finally:
        ears.close()
    data = {
        "benchmark": "codecs",
        "quick": options.quick,
        "machine": machine,
        "model": ears.model,
        "rung": ears.rung,
        "recordings": len(said),
        "orders": sum(bool(one.slots) for one in said),
        "words": sum(
            len(scoring.normalised(one.clip.text).split()) for one in said if not one.slots
        ),
        "seconds": round(sum(one.clip.seconds for one in said), 1),
        "together": TOGETHER,
        "opus_options": dict(OPUS_OPTIONS),
        "default": {"codec": SatelliteConfig().codec.value, "kbps": SatelliteConfig().opus_kbps},
        "cpu_s": round(time.process_time()),
        "ways": results,
    }
    bench.finish("codecs", options, data, codecs_page.markdown(data))
    return 0


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
