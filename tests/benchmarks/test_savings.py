"""The savings benchmark runs, and what it makes of what it measured is right."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.savings import goals, latency, page, page_parts, texts
from benchmarks.savings.edge import Cut, cuts, in_a_quiet_room, in_rooms, judge
from benchmarks.savings.household import Noise, Room, Spoken
from benchmarks.savings.latency import Segment, Told
from benchmarks.savings.meters import Heard, Metered, Sample, slope
from benchmarks.savings.spool import Act, Answer, Record
from benchmarks.savings.spool import judge as judge_outage
from benchmarks.speech import Clip
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.satellite.events import Closing
from tests.benchmarks.test_quick import quick

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the naive server needs FFmpeg (apt install ffmpeg)"
)

LAMP = Spoken("lamp", "turn on the lamp", 1.0, 2.5)
TIMER = Spoken("timer", "set a timer", 8.0, 9.0)
SAID = (LAMP, TIMER)


@needs_ffmpeg
def test_both_ways_hear_the_same_rooms(tmp_path: Path) -> None:
    data = quick("savings", tmp_path)
    before, ours = data["runs"]
    assert (before["way"], ours["way"]) == ("before", "stt-mqtt")
    for run in (before, ours):
        assert run["rooms"] == data["rooms"] == 2
        assert run["stopped_early"] is None
        assert run["cpu_s"] > 0
        assert 50 < run["memory"]["at_the_start_mb"] <= run["memory"]["peak_mb"]
        assert run["latency"]["with_hangover"]["utterances"] == data["utterances"] == 2
        series = run["series"]
        assert len({len(values) for values in series.values()}) == 1
        assert series["bytes"] == sorted(series["bytes"])
    # All of the sound, in base64, and nobody else's bytes.
    sound = 2 * before["audio_s"] * 32_000 * 4 / 3
    assert sound < before["bytes"] < 1.02 * sound
    assert 1000 < ours["bytes"] < before["bytes"] / 10
    assert ours["outcomes"] == {"transcript": 2}
    assert ours["latency"]["with_hangover"]["not_within_the_run"] == 0
    assert ours["wer"]["all"] < 0.2
    assert set(before["behind"]["at_the_end_s"]) == {"kitchen", "living_room"}
    rooms = data["edge"]["rooms"]
    assert (rooms["found"], rooms["clipped_onsets"], rooms["false"]) == (2, [], 0)
    ways = data["edge"]["words"]["ways"]
    assert ways["whole, PCM"]["wer"] == ways["VAD, PCM"]["wer"] == 0
    assert ways["VAD, Opus 24 kbit/s"]["bytes"] < ways["VAD, PCM"]["bytes"] / 8
    assert {row["figure"] for row in data["goals"]} == {goal.figure for goal in goals.GOALS}


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plots need the bench extra")
    from benchmarks.savings import plots

    plots.draw({"runs": RUNS, "ablation": STEPS}, tmp_path)
    for name in (texts.OVER_TIME, texts.LATENCY, texts.ABLATION):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# Latency and words ------------------------------------------------------------------------------


def test_a_text_counts_from_the_first_buffer_that_holds_the_whole_utterance() -> None:
    told = [Told(4.0, 2.0, "turn on"), Told(7.0, 3.0, "turn on the lamp"), Told(9.5, 4.0, "…")]
    assert latency.naive_waits(SAID, told) == [4.5, None]


def test_an_utterance_in_two_segments_has_its_text_with_the_second() -> None:
    found = [
        Segment(0.8, 1.6, 2.0, "transcript", "turn on"),
        Segment(1.7, 2.7, 3.5, "transcript", "the lamp"),
        Segment(7.8, 9.2, 10.0, "transcript", "set a timer"),
    ]
    assert latency.segment_waits(SAID, found) == [1.0, 1.0]


def test_a_segment_is_where_its_end_mark_puts_it() -> None:
    stop = Heard(103.1, "stt/kitchen/audio/stop", b'{"id": "a", "chunks": 3}')
    result = Heard(103.3, "stt/kitchen/result", result_of("a", "turn on the lamp", 2.0))
    (found,) = latency.segments([result], [stop], began_s=100.0, hangover_s=0.6)
    assert (found.start_s, found.end_s) == pytest.approx((0.7, 2.7))
    assert found.at_s == pytest.approx(3.3)
    assert found.touches(LAMP)
    assert not found.touches(TIMER)


def test_what_did_not_come_counts_with_the_time_until_the_end() -> None:
    spread = latency.spread([1.0, None, None], [9.0, 5.0, 7.0])
    assert spread["not_within_the_run"] == 2
    assert (spread["p50"], spread["max"], spread["values"]) == (5.0, 7.0, [1.0])


def test_arrears_are_what_has_come_and_is_in_no_text() -> None:
    told = [Told(5.0, 2.0, ""), Told(9.0, 4.0, "")]
    assert [latency.behind(told, 10.0, at_s) for at_s in (0.5, 4.9, 5.0, 20.0)] == [0, 4, 3, 6]


def test_words_are_judged_by_what_had_been_heard() -> None:
    told = [Told(4.0, 3.0, "turn on the lamp"), Told(9.0, 8.0, "turn on the lamp set")]
    assert latency.heard_so_far(SAID, told) == ("turn on the lamp", "turn on the lamp set")
    cut = [*told[:1], Told(9.0, 8.5, "turn on the lamp set a")]
    assert latency.heard_so_far(SAID, cut) == ("turn on the lamp", "turn on the lamp")
    assert latency.last_text(cut) == "turn on the lamp set a"
    assert latency.heard_so_far(SAID, []) == ("", "")


def test_wer_counts_invented_words_where_nothing_was_said() -> None:
    assert latency.wer([("turn on the lamp", "turn the lamb"), ("", "thank you")]) == 1.0
    assert latency.wer([("", "")]) is None


def test_segments_without_speech_are_counted() -> None:
    found = [Segment(4.0, 5.0, 5.8, "transcript", "Thank you."), Segment(0.9, 2.6, 3.4, "", "")]
    assert latency.stray(SAID, found) == {"segments": 1, "with_words": 1}


# Meters -----------------------------------------------------------------------------------------


def test_only_what_was_used_while_the_rooms_were_heard_counts() -> None:
    samples = [
        Sample(at_s, cpu_s, 2 * cpu_s, 100.0 + at_s, 10.0, 3, 1)
        for at_s, cpu_s in ((0.0, 5.0), (10.0, 6.0), (70.0, 8.0), (130.0, 10.0), (200.0, 99.0))
    ]
    metered = Metered(15.0, 120.0, samples, [(0.0, 500), (10.0, 500), (130.0, 2500)], peak_mb=50.0)
    assert metered.cpu_s == 4.0
    assert metered.others_s == 4.0
    assert metered.highest_mb == 240.0
    assert metered.sent_bytes == 2000
    assert metered.growth_mb_per_minute(50.0) == pytest.approx(60.0)
    assert slope([(1.0, 2.0)]) is None


# The edge ---------------------------------------------------------------------------------------


def test_a_command_in_a_quiet_room_is_one_cut_that_holds_all_of_it() -> None:
    sample = SAMPLES[0]
    clip = Clip(sample.file, "samples", sample.text, Path(), sample.pcm())
    sound = in_a_quiet_room(clip)
    (cut,) = cuts(sound, SatelliteConfig())
    assert cut.closing is Closing.PAUSE
    assert cut.end_s - cut.start_s == pytest.approx(0.03 * len(cut.frames))
    assert 2.0 - 0.5 < cut.start_s < cut.marked_s < cut.end_s < cut.closed_s
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 1000) / 16_000
    assert cut.start_s < loud[0]
    assert loud[-1] < cut.end_s


def test_an_onset_is_clipped_when_the_audio_begins_after_the_label() -> None:
    late = Cut(1.1, 1.3, 2.7, 3.1, Closing.PAUSE, ())
    judged = judge(LAMP, [late])
    assert judged.found
    assert (judged.onset_late_s, judged.end_early_s) == pytest.approx((0.1, -0.2))
    assert not judge(TIMER, [late]).found
    assert judge(LAMP, [Cut(0.9, 1.2, 1.3, 1.7, Closing.CAP, ()), late]).pieces == 2


def test_a_false_utterance_is_named_after_what_was_heard() -> None:
    loud = np.random.default_rng(1).normal(0, 10, 16_000 * 6)
    voice = np.frombuffer(SAMPLES[1].pcm(), "<i2")
    loud[32_000 : 32_000 + len(voice)] += voice
    samples = np.clip(loud, -32768, 32767).astype(np.int16)
    room = Room("kitchen", samples, (), (Noise("radio", 2.0, 5.0),))
    found = in_rooms([room], [])
    assert found["false_by_label"] == {"radio": found["false"]}
    assert found["false"] >= 1


# The spool --------------------------------------------------------------------------------------


def test_every_utterance_of_an_outage_is_answered_or_counted_as_dropped() -> None:
    said = [Spoken(str(n), "", 4.0 * n, 4.0 * n + 2.0) for n in range(5)]
    answers = (
        Answer(2.1, 3.0, "one", True),
        Answer(6.0, 40.0, "half", False),
        Answer(6.1, 40.5, "two", True),
        Answer(14.0, 41.0, "ha", False),
        Answer(18.0, 41.0, "", True),
    )
    acts = (Act(3.1, "one"), Act(40.6, "two"), Act(41.0, "who knows"))
    found = judge_outage(30.0, said, 39.0, Record(answers, acts, 1))
    assert (found.with_words, found.cut_short, found.twice, found.refused) == (2, 1, 1, 1)
    assert (found.dropped_as_told, found.lost, found.too_old) == (1, 1, 0)
    assert (found.acted_on, found.acted_late) == (3, 2)
    assert found.oldest_text_s == 34.5
    (row,) = (line for line in page_parts.spool([asdict(found)]) if line.startswith("| 30 s"))
    assert row.count("|") == 14


def test_late_speech_ended_when_its_start_mark_says(tmp_path: Path) -> None:
    (tmp_path / "Xa3 turn on the lamp").touch()
    start = Heard(130.0, "stt/hall/audio/start", b'{"id": "a", "age_ms": 20000}')
    stop = Heard(130.1, "stt/hall/audio/stop", b'{"id": "a", "chunks": 3}')
    state = Heard(130.2, "stt/hall/satellite/state", b'{"dropped": 2}')
    result = Heard(131.0, "stt/hall/result", result_of("a", "turn on the lamp", 2.0))
    online = Heard(129.0, "stt/bridge/state", b"online")
    messages = [online, start, stop, state, result]
    record = Record.of(messages, tmp_path, began_s=100.0, epoch_s=0.0)
    (answer,) = record.answers
    assert (answer.ended_s, answer.came_s) == pytest.approx((9.4, 31.0))
    assert (record.dropped, record.acts[0].text) == (2, "turn on the lamp")


# The page ---------------------------------------------------------------------------------------


def test_goals_are_judged_by_what_is_saved() -> None:
    rows = {row["figure"]: row for row in goals.judge(RUNS)}
    assert rows["server CPU"]["saved"] == 0.995
    assert rows["server CPU"]["reached"] == "aim"
    assert rows["server memory, peak"]["reached"] == "must"
    assert rows["bytes on the wire"]["reached"] == "no"
    assert rows["end of speech → text, median"]["at_least"]


def test_the_page_says_what_is_not_reached() -> None:
    data = {**DATA, "goals": goals.judge(RUNS)}
    text = "\n".join(page.markdown(data))
    assert "| ≥ 100.00 s | 1.00 s | 99.0% |" in text
    assert "| 40.0 kB/s | 20.0 kB/s | 50.0% | 60 to 70 % | 95% | 99% | no |" in text
    worth = "**edge VAD**: CPU time -90%, bytes -50%, WER -5.0 points."
    assert worth.replace("-", texts.MINUS) in text
    assert "before, one room was stopped after 600 s: the server held 12.0 GB" in text


def result_of(utterance: str, text: str, audio_s: float) -> bytes:
    body = {"id": utterance, "ts": 30.0, "outcome": "transcript", "text": text, "end": "stop"}
    return json.dumps({**body, "audio_s": audio_s, "latency_s": 0.2, "error": None}).encode()


def run_of(way: str, cpu_s: float, peak_mb: float, sent: int, wait_s: float) -> dict[str, Any]:
    spread = {"p50": wait_s, "p95": wait_s, "max": wait_s}
    missing = 1 if way == "before" else 0
    counts = {"utterances": 2, "not_within_the_run": missing, "values": [wait_s] * (2 - missing)}
    return {
        "way": way,
        "rooms": 1,
        "seconds": 600.0,
        "stopped_early": "the server held 12.0 GB" if missing else None,
        "cpu_s": cpu_s,
        "cpu_s_per_s": cpu_s / 600,
        "others_cpu_s_per_s": 0.1,
        "memory": {
            "at_the_start_mb": 100.0,
            "at_the_end_mb": peak_mb,
            "peak_mb": peak_mb,
            "growth_mb_per_minute": 0.1,
        },
        "most_threads": 9,
        "bytes": sent,
        "kb_per_s": sent / 600e3,
        "broker_cpu_s_per_s": 0.01,
        "sender_cpu_s_per_s": 0.01,
        "series": {
            "at_s": [0.0, 300.0, 600.0],
            "cpu_s": [0.0, cpu_s / 2, cpu_s],
            "memory_mb": [100.0, peak_mb, peak_mb],
            "bytes": [0, sent // 2, sent],
        },
        "latency": {"with_hangover": {**spread, **counts}},
        "wer": {"all": 0.1},
    }


RUNS = [
    {
        **run_of("before", 1000.0, 1000.0, 24_000_000, 100.0),
        "behind": {
            "at_the_end_s": {"kitchen": 250.0},
            "at_s": [0.0, 600.0],
            "rooms": {"kitchen": [0.0, 250.0]},
        },
    },
    {
        **run_of("stt-mqtt", 5.0, 300.0, 12_000_000, 1.0),
        "strays": {"segments": 1, "with_words": 0},
        "outcomes": {"transcript": 2, "no_speech": 1},
    },
]
STEPS = [
    {
        "name": name,
        "cpu_s": cpu_s,
        "peak_mb": 500.0,
        "threads": 9,
        "bytes": sent,
        "latency_s": None,
        "wer": wer,
    }
    for name, cpu_s, sent, wer in (("before", 50.0, 2000, 0.1), ("edge VAD", 5.0, 1000, 0.05))
]
DATA = {
    "machine": {
        "architecture": "x86_64",
        "cores_usable": 4,
        "memory_gb": 16,
        "system": "Linux",
        "python": "3.11",
        "ctranslate2": "4",
        "faster-whisper": "1",
        "numpy": "2",
        "paho-mqtt": "2",
        "load_average_1min_before": 0.1,
    },
    "minutes": 10,
    "rooms": 1,
    "utterances": 2,
    "seed": 5,
    "hangover_s": 0.6,
    "runs": RUNS,
    "ablation": STEPS,
    "edge": [],
    "spool": [],
}
