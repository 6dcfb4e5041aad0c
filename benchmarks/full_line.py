"""Word error rate of the whole line, which must be that of `stt-mqtt transcribe`.

Eight satellites at once speak every clip in real time (chunks of 32 ms) to `stt-mqtt run` through
a broker. The same files then go through `stt-mqtt transcribe`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

from benchmarks import bench, speech
from benchmarks.speech import Clip
from stt_mqtt.demo.connection import BrokerAddress
from stt_mqtt.demo.satellite import DemoSatellite, Exchange
from stt_mqtt.doors.native.topics import Topics
from tools.program import PROGRAM, Peer

SATELLITES = 8
QUICK_CLIPS = 4
DUPLICATES_WINDOW_S = 1.0
"""How long after the last result a second one for the same utterance is waited for."""
TRANSCRIBE_TIMEOUT_S = 1800.0
ALL = "all"


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came back through the line."""

    exchanges: dict[str, Exchange]
    """By the id of the clip."""
    results_heard: Counter[str]
    """How many results each utterance got, by its id."""
    seconds: float


async def speak(clips: Sequence[Clip], broker: BrokerAddress) -> dict[str, Exchange]:
    """Have the satellites speak all clips; each takes the next one when it has its answer."""
    waiting = list(clips)
    random.Random(0).shuffle(waiting)
    exchanges: dict[str, Exchange] = {}

    async def live(satellite: DemoSatellite) -> None:
        while waiting:
            clip = waiting.pop()
            exchanges[clip.id] = await satellite.say(clip.text, clip.pcm)
            done = len(exchanges)
            if done % 20 == 0 or done == len(clips):
                bench.say(f"{done} of {len(clips)} clips answered")

    async with AsyncExitStack() as stack:
        satellites = [
            await stack.enter_async_context(DemoSatellite(f"room-{number}", broker, Topics("stt")))
            for number in range(SATELLITES)
        ]
        await asyncio.gather(*map(live, satellites))
    return exchanges


def through_the_line(
    clips: Sequence[Clip], folder: Path, **config: Any
) -> tuple[Spoken, dict[str, Any], dict[str, object]]:
    """Speak all clips; also the counters of the service and a description of the machine."""
    with bench.a_broker(folder) as running:
        described = bench.machine(running)
        broker = running.broker
        filters = ("stt/+/result", "stt/bridge/state", "stt/bridge/response/health_check")
        with (
            bench.a_peer(broker, *filters) as peer,
            bench.a_service(folder, broker, peer, **config) as process,
        ):
            bench.say(f"{SATELLITES} satellites speak {len(clips)} clips")
            usage = bench.Usage({"service": process, "broker": running.process})
            started = time.monotonic()
            exchanges = asyncio.run(speak(clips, BrokerAddress(broker.host, broker.port)))
            seconds = time.monotonic() - started
            cpu = usage.read()
            time.sleep(DUPLICATES_WINDOW_S)
            spoken = Spoken(exchanges, results_of(peer), round(seconds, 1))
            peer.publish("stt/bridge/request/health_check")
            (health,) = peer.json("stt/bridge/response/health_check")
    return spoken, {**health["data"]["counters"], "cpu_s_per_s": cpu}, described


def results_of(peer: Peer) -> Counter[str]:
    """How many results each utterance got, as a third party heard them."""
    return Counter(
        json.loads(message.payload)["id"]
        for message in list(peer.messages)
        if message.topic.endswith("/result")
    )


def transcribed(clips: Sequence[Clip]) -> dict[str, str]:
    """The words of `stt-mqtt transcribe --json`, by the id of the clip."""
    bench.say(f"stt-mqtt transcribe hears {len(clips)} files")
    files = {str(clip.file): clip.id for clip in clips}
    done = subprocess.run(
        [str(PROGRAM), "transcribe", "--json", *files],
        capture_output=True,
        text=True,
        timeout=TRANSCRIBE_TIMEOUT_S,
        check=True,
    )
    rows = map(json.loads, done.stdout.splitlines())
    return {files[row["file"]]: row["text"] for row in rows}


def scores(clips: Sequence[Clip], heard: Mapping[str, str]) -> dict[str, float]:
    """Word error rate and share of exact clips, after Whisper's normalisation."""
    normalise = EnglishTextNormalizer()
    said = [normalise(clip.text) for clip in clips]
    words = [normalise(heard[clip.id]) for clip in clips]
    exact = sum(one == other for one, other in zip(said, words, strict=True))
    return {
        "wer": round(float(jiwer.wer(said, words)), 4),
        "exact": round(exact / len(clips), 4),
    }


def same_words(one: str, other: str) -> bool:
    """Whether two texts say the same, however it is written."""
    return bench.words(one) == bench.words(other)


def by_corpus(
    clips: Sequence[Clip], line: Mapping[str, str], files: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Scores of both ways, per corpus and for all."""
    rows: dict[str, dict[str, Any]] = {}
    for corpus in (*dict.fromkeys(clip.corpus for clip in clips), ALL):
        some = [clip for clip in clips if corpus in {clip.corpus, ALL}]
        rows[corpus] = {
            "clips": len(some),
            "audio_s": round(sum(clip.seconds for clip in some), 1),
            "line": scores(some, line),
            "transcribe": scores(some, files),
            "different_texts": sum(not same_words(line[clip.id], files[clip.id]) for clip in some),
        }
    return rows


def summary(clips: Sequence[Clip], spoken: Spoken, files: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is worth keeping, without a word of what was said."""
    answers = {
        clip_id: exchange.result
        for clip_id, exchange in spoken.exchanges.items()
        if exchange.result is not None
    }
    line = {clip.id: str(answers.get(clip.id, {}).get("text", "")) for clip in clips}
    different = [clip.id for clip in clips if not same_words(line[clip.id], files[clip.id])]
    for clip_id in different:
        bench.say(f"differs: {clip_id}: line {line[clip_id]!r}, transcribe {files[clip_id]!r}")
    at_satellite = [x.latency_s for x in spoken.exchanges.values() if x.latency_s is not None]
    by_service = [float(str(answer["latency_s"])) for answer in answers.values()]
    once = sum(spoken.results_heard[str(answer["id"])] == 1 for answer in answers.values())
    return {
        "satellites": SATELLITES,
        "utterances": len(clips),
        "utterances_with_exactly_one_result": once,
        "results": spoken.results_heard.total(),
        "outcomes": dict(Counter(str(answer["outcome"]) for answer in answers.values())),
        "lost_chunks": sum(int(str(answer["lost_chunks"])) for answer in answers.values()),
        "seconds": spoken.seconds,
        "latency_after_the_end_s": {
            "at_the_satellite": _spread(at_satellite),
            "latency_s_of_the_result": _spread(by_service),
        },
        "clips_with_different_text": different,
        "corpora": by_corpus(clips, line, files),
    }


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = [
        [
            corpus,
            row["clips"],
            f"{row['audio_s']:.0f}",
            f"{row['line']['wer']:.2%}",
            f"{row['transcribe']['wer']:.2%}",
            f"{row['line']['exact']:.1%}",
            row["different_texts"],
        ]
        for corpus, row in data["corpora"].items()
    ]
    header = ["corpus", "clips", "seconds", "WER, line", "WER, transcribe", "exact", "differ"]
    latencies = [
        [name.replace("_", " "), spread["p50"], spread["p95"], spread["max"]]
        for name, spread in data["latency_after_the_end_s"].items()
    ]
    return [
        "# Full line",
        "",
        f"{data['utterances']} utterances by {data['satellites']} satellites at once, in real "
        f"time, in {data['seconds']} s. Exactly one result: "
        f"{data['utterances_with_exactly_one_result']} of {data['utterances']} "
        f"({data['results']} results, outcomes {_words(data['outcomes'])}, "
        f"{data['lost_chunks']} lost chunks). Clips whose words differ from `transcribe`: "
        f"{len(data['clips_with_different_text'])}.",
        "",
        *bench.table(header, rows),
        "",
        "Words are compared after Whisper's English normalisation (jiwer).",
        "",
        *bench.table(["seconds after the end mark", "p50", "p95", "max"], latencies),
        "",
        f"CPU seconds per second: {_words(data['counters']['cpu_s_per_s'])}.",
        "",
        bench.describe(data["machine"]),
    ]


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if an utterance or a word got lost on the line."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = speech.samples(folder)[:QUICK_CLIPS] if options.quick else speech.recordings()
        # A smoke test is about words, also on a machine that is too slow for them.
        config = {"limits": {"max_queue_age_s": 60}} if options.quick else {}
        spoken, counters, machine = through_the_line(clips, folder, **config)
        data = {
            "benchmark": "full_line",
            "quick": options.quick,
            "machine": machine,
            **summary(clips, spoken, transcribed(clips)),
            "counters": counters,
        }
    bench.finish("full_line", options, data, markdown(data))
    complete = data["utterances_with_exactly_one_result"] == data["results"] == len(clips)
    return 0 if complete and not data["clips_with_different_text"] else 1


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "p50": bench.percentile(values, 0.5),
        "p95": bench.percentile(values, 0.95),
        "max": bench.percentile(values, 1.0),
    }


def _words(numbers: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
