"""What `audio.isolate` costs: the same recordings decoded in this process and in processes apart.

Both ways take turns, utterance by utterance, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import av
import numpy as np
import psutil

from benchmarks import report
from benchmarks.harness import say, spread
from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decoders import Decoders, InThisProcess
from stt_mqtt.audio.encode import OpusEncoder
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.engine.isolated import IsolatedDecoders
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Samples
from tools.brokers import eventually

ROUNDS, QUICK_ROUNDS = 10, 1
QUICK_SAMPLES = 2
REPLACED, QUICK_REPLACED = {"worker": 20, "first": 3}, {"worker": 1, "first": 1}
"""How often a process is killed. The delay of the first process doubles each time."""
CAP = AudioCap(30.0, 2**21)
OPUS = AudioFormat(Codec.OPUS, 48_000, 1)
CHUNK_BYTES = 2 * SAMPLE_RATE * 60 // 1000
"""60 ms, a packet of our satellite."""
SETTLE_S = 0.02
"""Between two utterances, so that the next worker is ready, as it is between those of people."""
CONTAINERS = {
    "Ogg (Opus)": ("ogg", "libopus", 48_000),
    "WebM (Opus)": ("webm", "libopus", 48_000),
    "FLAC": ("flac", "flac", 16_000),
    "MP4 (AAC)": ("ipod", "aac", 48_000),
    "MP3": ("mp3", "libmp3lame", 48_000),
}
LIVE = "Opus packets, live"
WAYS = ("here", "apart")
RSS_CODE = """
import sys, psutil
from stt_mqtt.audio.decoders import InThisProcess
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.engine.isolated import IsolatedDecoders
from stt_mqtt.types import EncodedAudio
decoders = IsolatedDecoders() if sys.argv[1] == "apart" else InThisProcess()
if sys.argv[1] == "apart":
    decoders.start()
for sample in SAMPLES:
    decoders.whole(EncodedAudio(None, sample.read()), 30.0)
print(psutil.Process().memory_full_info().rss / 1e6)
decoders.close()
"""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Decode each recording in each way, then kill processes."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    samples = SAMPLES[:QUICK_SAMPLES] if options.quick else SAMPLES
    with isolated() as apart:
        ways: dict[str, Decoders] = {"here": InThisProcess(), "apart": apart}
        codecs = {LIVE: live(ways, samples, rounds)}
        for name, (container, codec, rate) in CONTAINERS.items():
            say(f"{name}: {rounds} rounds")
            files = [encoded(sample.pcm(), container, codec, rate) for sample in samples]
            codecs[name] = whole(ways, files, rounds)
        memory, failures = memory_of(apart), dict(apart.failures)
        say("killing processes")
        killed = replacements(apart, QUICK_REPLACED if options.quick else REPLACED)
    memory |= {f"service_{way}_mb": rss_of_a_service(way) for way in WAYS}
    seconds = sum(len(sample.pcm()) for sample in samples) / 2 / SAMPLE_RATE / len(samples)
    differ = sum(one["differ"] for one in codecs.values())
    return {
        "recordings": len(samples),
        "mean_s": round(seconds, 2),
        "rounds": rounds,
        "codecs": codecs,
        "memory": memory,
        "replaced_s": killed,
        "differ": differ,
        "failures": failures,
    }


@contextmanager
def isolated() -> Iterator[IsolatedDecoders]:
    """Decoder processes that are ready."""
    decoders = IsolatedDecoders()
    decoders.start()
    try:
        eventually(lambda: decoders.pid)
        yield decoders
    finally:
        decoders.close()


def encoded(pcm: bytes, container: str, codec: str, rate: int) -> bytes:
    """A recording in a file."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as muxer:
        stream = muxer.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), "s16", "mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(stream.format, stream.layout, rate)
        fifo = av.AudioFifo()
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            fifo.write(resampled)
        size = stream.codec_context.frame_size or 1_024
        while (part := fifo.read(size)) is not None or (part := fifo.read()) is not None:
            muxer.mux(stream.encode(part))
        muxer.mux(stream.encode(None))
    return out.getvalue()


def whole(ways: Mapping[str, Decoders], files: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Files, decoded as a whole."""
    figures = Figures(ways)
    for _ in range(rounds):
        for data in files:
            audio = EncodedAudio(None, data)
            figures.turn(partial(samples_of, audio))
    return figures.found()


def samples_of(audio: EncodedAudio, decoders: Decoders) -> Samples:
    """An utterance, decoded as a whole."""
    return decoders.whole(audio, 30.0).samples


def live(ways: Mapping[str, Decoders], samples: Sequence[Sample], rounds: int) -> dict[str, Any]:
    """Raw Opus, decoded chunk by chunk, as the event loop does it."""
    say(f"{LIVE}: {rounds} rounds")
    chunks: dict[str, list[float]] = {way: [] for way in WAYS}
    first: dict[str, list[float]] = {way: [] for way in WAYS}
    by_decoders = {id(decoders): way for way, decoders in ways.items()}

    def heard(packets: Sequence[bytes], decoders: Decoders) -> Samples:
        way, buffer = by_decoders[id(decoders)], AudioBuffer(OPUS, CAP, decoders)
        for number, packet in enumerate(packets):
            started = time.perf_counter()
            buffer.append(packet)
            buffer.decode()
            buffer.take_decoded()
            (chunks if number else first)[way].append(time.perf_counter() - started)
        audio = buffer.close()
        return np.frombuffer(audio.data if audio.decoded else b"", np.float32)

    figures = Figures(ways)
    for _ in range(rounds):
        for sample in samples:
            figures.turn(partial(heard, opus_chunks(sample.pcm())))
    return figures.found() | {
        "chunk_ms": {way: spread([1e3 * s for s in found]) for way, found in chunks.items()},
        "first_chunk_ms": {way: spread([1e3 * s for s in found]) for way, found in first.items()},
    }


def opus_chunks(pcm: bytes) -> list[bytes]:
    """What a satellite sends."""
    encoder = OpusEncoder(24)
    pushed = [encoder.push(pcm[at : at + CHUNK_BYTES]) for at in range(0, len(pcm), CHUNK_BYTES)]
    return [chunk for chunk in (*pushed, encoder.finish()) if chunk]


class Figures:
    """Times of both ways, and whether they gave the same."""

    def __init__(self, ways: Mapping[str, Decoders]) -> None:
        self._ways = ways
        self._times: dict[str, list[float]] = {way: [] for way in ways}
        self._cpu_s = dict.fromkeys(ways, 0.0)
        self._differ = 0

    def turn(self, decode: Callable[[Decoders], Samples]) -> None:
        """Decode one utterance in both ways."""
        given = []
        for way, decoders in self._ways.items():
            used = cpu_s(decoders)
            started = time.perf_counter()
            given.append(decode(decoders))
            self._times[way].append(time.perf_counter() - started)
            settle(decoders)
            self._cpu_s[way] += cpu_s(decoders) - used
        here, apart = given
        self._differ += not np.array_equal(here, apart) or not len(here)

    def found(self) -> dict[str, Any]:
        """The figures."""
        count = len(self._times[WAYS[0]])
        return {
            "ms": {way: spread([1e3 * s for s in found]) for way, found in self._times.items()},
            "cpu_ms": {way: round(1e3 * used / count, 2) for way, used in self._cpu_s.items()},
            "differ": self._differ,
        }


def settle(decoders: Decoders) -> None:
    """Wait until the worker of the last utterance has ended and another one is ready."""
    time.sleep(SETTLE_S)
    if isinstance(decoders, IsolatedDecoders) and decoders.pid is not None:
        eventually(partial(only_child, psutil.Process(decoders.pid)))


def cpu_s(decoders: Decoders) -> float:
    """CPU time of this process and, if they are apart, of the decoder processes."""
    used = time.process_time()
    if isinstance(decoders, IsolatedDecoders) and decoders.pid is not None:
        times = psutil.Process(decoders.pid).cpu_times()
        used += times.user + times.system + times.children_user + times.children_system
    return used


def memory_of(decoders: IsolatedDecoders) -> dict[str, float]:
    """Memory of the decoder processes, in MB. Shared: what others have, too, counts in part."""
    first = psutil.Process(decoders.pid)
    (worker,) = eventually(partial(only_child, first))
    of_first, of_worker = first.memory_full_info(), worker.memory_full_info()
    return {
        "first_rss_mb": round(of_first.rss / 1e6, 1),
        "first_own_mb": round(of_first.uss / 1e6, 1),
        "both_pss_mb": round((of_first.pss + of_worker.pss) / 1e6, 1),
        "worker_own_mb": round(of_worker.uss / 1e6, 1),
    }


def rss_of_a_service(way: str) -> float:
    """Resident memory of a process that has decoded the recordings, without a model, in MB."""
    command = [sys.executable, "-c", RSS_CODE, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return round(float(done.stdout), 1)


def replacements(decoders: IsolatedDecoders, counts: Mapping[str, int]) -> dict[str, Any]:
    """Seconds from the SIGKILL of a process until the next utterance is decoded."""
    audio = EncodedAudio(None, SAMPLES[0].read())
    found: dict[str, list[float]] = {"worker": [], "first": []}
    for what, times in found.items():
        for _ in range(counts[what]):
            first = psutil.Process(eventually(lambda: decoders.pid))
            (worker,) = eventually(partial(only_child, first))
            time.sleep(SETTLE_S)
            started = time.perf_counter()
            os.kill(worker.pid if what == "worker" else first.pid, signal.SIGKILL)
            if what == "first":
                eventually(partial(is_replaced, first, decoders))
            eventually(partial(is_decoded, audio, decoders))
            times.append(time.perf_counter() - started)
    return {what: spread(times) for what, times in found.items()}


def only_child(first: psutil.Process) -> list[psutil.Process]:
    """The worker that waits for the next utterance, when no other one is left."""
    workers = first.children()
    return workers if len(workers) == 1 else []


def is_replaced(first: psutil.Process, decoders: IsolatedDecoders) -> bool:
    """Whether there is another first process, or none."""
    return decoders.pid != first.pid


def is_decoded(audio: EncodedAudio, decoders: Decoders) -> bool:
    """Whether an utterance is not the one whose worker was killed."""
    try:
        decoders.whole(audio, 30.0)
    except CorruptAudioError:
        return False
    return True


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances that were decoded differently, and failures before the kills."""
    found = [f"{data['differ']} differ"] if data["differ"] else []
    return found + ([f"failures: {data['failures']}"] if data["failures"] else [])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = [
        [
            name,
            *(round(one["ms"][way][key], 1) for key in ("p50", "p95") for way in WAYS),
            *(one["cpu_ms"][way] for way in WAYS),
            round(one["cpu_ms"]["apart"] / max(one["cpu_ms"]["here"], 0.01), 1),
        ]
        for name, one in data["codecs"].items()
    ]
    header = ["", "ms here", "ms apart", "95 % here", "95 % apart", "CPU ms here", "apart", "ratio"]
    streamed, memory, killed = data["codecs"][LIVE], data["memory"], data["replaced_s"]
    chunk, first = streamed["chunk_ms"], streamed["first_chunk_ms"]
    return [
        "# Decoding in processes apart",
        "",
        f"`audio.isolate`, measured without broker and model: {data['recordings']} recordings of "
        f"{data['mean_s']} s on average, {data['rounds']} times each, decoded in the process "
        "itself (here) and in a process per utterance (apart). The samples are the same. CPU: of "
        "all processes together.",
        "",
        *report.table(header, rows),
        "",
        f"A chunk of 60 ms of live Opus takes {chunk['here']['p50']} ms here and "
        f"{chunk['apart']['p50']} ms apart (95 %: {chunk['here']['p95']} and "
        f"{chunk['apart']['p95']} ms), the first one of an utterance {first['here']['p50']} and "
        f"{first['apart']['p50']} ms (95 %: {first['here']['p95']} and {first['apart']['p95']} "
        "ms). The event loop waits for that.",
        "",
        f"The first process and a ready worker have {memory['both_pss_mb']} MB together, counting "
        f"what is shared in part; each further worker has {memory['worker_own_mb']} MB of its own. "
        f"The service has {memory['service_here_mb']} MB after decoding here, and "
        f"{memory['service_apart_mb']} MB without PyAV.",
        "",
        f"After the SIGKILL of a worker the next utterance is decoded within "
        f"{killed['worker']['p50']} s (95 %: {killed['worker']['p95']} s), after that of the first "
        f"process within {killed['first']['p50']} s (95 %: {killed['first']['p95']} s), which "
        "contains its growing delay.",
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("isolate", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
