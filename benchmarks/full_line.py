"""Whether the whole line hears what `stt-mqtt transcribe` hears, and how long it takes.

Eight satellites at once speak every clip in real time to `stt-mqtt run` through a broker. The same
files then go through `stt-mqtt transcribe`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, scoring, speech
from benchmarks.harness import Running, Usage, a_service, say, spread, transcribed
from benchmarks.speech import Clip
from tools.clients import Answer, answers_of_rooms
from tools.words import words

SATELLITES = 8
QUICK_CLIPS = 4
DUPLICATES_WINDOW_S = 1.0
"""How long after the last result a second one for the same utterance is waited for."""
ALL = "all"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Speak all clips through the line, then transcribe their files."""
    # A smoke test is about words, also on a machine that is too slow for them.
    limits = {"max_queue_age_s": 60} if options.quick else {}
    with tempfile.TemporaryDirectory() as name:
        samples = speech.samples(Path(name))[:QUICK_CLIPS] if options.quick else []
        clips = samples or speech.recordings()
        with a_service("stt/+/result", limits=limits) as running:
            say(f"{SATELLITES} satellites speak {len(clips)} clips")
            usage = Usage({"service": running.process, "broker": running.broker_process})
            answers = speak(clips, running)
            seconds, cpu = time.monotonic() - usage.started, usage.read()
            time.sleep(DUPLICATES_WINDOW_S)
            results = Counter(result["id"] for _, result in running.peer.results())
            say(f"stt-mqtt transcribe hears {len(clips)} files")
            files = transcribed([clip.file for clip in clips])
            line = {clip.id: answers[clip.id].text for clip in clips}
            heard = {clip.id: files[clip.file] for clip in clips}
            differ = [clip for clip in clips if words(line[clip.id]) != words(heard[clip.id])]
            alone = {one.id: speak([one], running)[one.id].text for one in differ}
    once = sum(results[str(answer.result.get("id"))] == 1 for answer in answers.values())
    told = [answer.result for answer in answers.values() if answer.result]
    return {
        "satellites": SATELLITES,
        "utterances": len(clips),
        "with_exactly_one_result": once,
        "results": results.total(),
        "outcomes": dict(Counter(result["outcome"] for result in told)),
        "lost_chunks": sum(result["lost_chunks"] for result in told),
        "seconds": round(seconds, 1),
        "latency_s": {
            "at the satellite": spread([answer.latency_s for answer in answers.values()]),
            "told by the service": spread([result["latency_s"] for result in told]),
        },
        "cpu_s_per_s": cpu,
        "differ": [clip.id for clip in differ],
        "differ_alone": [one for one, text in alone.items() if words(text) != words(heard[one])],
        "corpora": by_corpus(clips, line, heard),
    }


def speak(clips: Sequence[Clip], running: Running) -> dict[str, Answer]:
    """The answers by clip; the clips are spoken in real time, in random order."""
    drawn = random.Random(0).sample(clips, len(clips))
    recordings = [clip.pcm for clip in drawn]
    answers = answers_of_rooms(running.broker, recordings, SATELLITES, real_time=True)
    return dict(zip([clip.id for clip in drawn], answers, strict=True))


def by_corpus(
    clips: Sequence[Clip], line: Mapping[str, str], files: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Word error rates of both ways, for each corpus and for all."""
    rows = {}
    for corpus in (*dict.fromkeys(clip.corpus for clip in clips), ALL):
        some = [clip for clip in clips if corpus in {clip.corpus, ALL}]
        rows[corpus] = {
            "clips": len(some),
            "wer_line": scoring.wer((clip.text, line[clip.id]) for clip in some),
            "wer_transcribe": scoring.wer((clip.text, files[clip.id]) for clip in some),
            "exact": sum(scoring.is_exact(clip.text, line[clip.id]) for clip in some) / len(some),
            "differ": sum(words(line[clip.id]) != words(files[clip.id]) for clip in some),
        }
    return rows


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances without exactly one result, and clips whose words differ with nobody else."""
    once = data["with_exactly_one_result"] == data["results"] == data["utterances"]
    return [*([] if once else ["a result, or there were several"]), *data["differ_alone"]]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    keys = ("wer_line", "wer_transcribe", "exact")
    rows = [
        [name, row["clips"], *(report.number("{:.1%}", row[key]) for key in keys), row["differ"]]
        for name, row in data["corpora"].items()
    ]
    latencies = [[name, *row.values()] for name, row in data["latency_s"].items()]
    return [
        "# Full line",
        "",
        f"{data['utterances']} utterances by {data['satellites']} satellites at once, in real "
        f"time, in {data['seconds']} s. Exactly one result: {data['with_exactly_one_result']} of "
        f"{data['utterances']} ({data['results']} results, outcomes "
        f"{report.counts(data['outcomes'])}, {data['lost_chunks']} lost chunks). Clips whose words "
        f"differ from `transcribe`: {len(data['differ'])}; of these, spoken again alone: "
        f"{len(data['differ_alone'])}. (The service decodes a second time only while nothing "
        "waits.)",
        "",
        *report.table(["corpus", "clips", "WER, line", "WER, transcribe", "exact", "differ"], rows),
        "",
        *report.table(["seconds after the end mark", "median", "95 %", "longest"], latencies),
        "",
        f"CPU seconds per second: {report.counts(data['cpu_s_per_s'])}.",
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("full_line", measure, page, lost)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
