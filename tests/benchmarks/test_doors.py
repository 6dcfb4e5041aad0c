"""The benchmark of the doors runs, loses nothing and writes what it should."""

from __future__ import annotations

from pathlib import Path

from benchmarks import doors_wyoming
from tests.benchmarks.test_quick import quick
from tests.words import words
from tools.brokers import needs_mosquitto

OUTPUT = """wyoming-bench 2026.10.0 (stt)
modes:   ['non_streaming', 'streaming']

=== 127.0.0.1:10300 (stt-mqtt) ===

Server: 127.0.0.1:10300 (stt-mqtt)
------------------------------------------------------------------------------
[non_streaming] ok=3 fail=0
  metric             min      mean    median       p95       max
  Total (ms)       136.0     322.3     406.3     422.7     424.5
  RTF (x)           0.04      0.13      0.15      0.18      0.18
  Audio        mean=2.67s input
  Accuracy     WER=66.7%  CER=40.4%  SAR=33.3%
               edits S=6 I=0 D=0  (ref words=9)
[streaming] ok=2 fail=1
  metric             min      mean    median       p95       max
  Total (ms)       119.5     331.8     420.2     452.3     455.9
  TTFT (ms)        119.4     331.7     420.0     452.2     455.8
  RTF (x)           0.04      0.14      0.16      0.19      0.20
  Audio        mean=2.67s input
  Accuracy     WER=6.7%  CER=4.4%  SAR=50.0%
               edits S=1 I=0 D=0  (ref words=9)

==============================================================================
Summary (lower is better)
"""


@needs_mosquitto  # The embedded broker loses messages of whom it cannot keep up with.
def test_the_doors_lose_nothing_in_silence_and_under_attack(tmp_path: Path) -> None:
    data = quick("doors", tmp_path)
    silence = data["silence"]
    for run in (silence["silent"], silence["speaking"]):
        assert run["frames"] == 30 * 312
        assert set(run["cpu_s_per_s"]) == {"service", "broker", "satellites"}
    assert silence["silent"]["heard"] == []
    heard, said = (list(map(words, silence["speaking"][key])) for key in ("heard", "said"))
    assert heard == said != []
    hostile = data["hostile"]
    (attack,) = hostile["phases"]
    for part in (hostile["before"], attack, hostile["after"]):
        assert set(part["doors"]) == {"native", "hermes", "wyoming"}
        assert all(door["asked"] == door["right"] > 0 for door in part["doors"].values())
        assert 0 < part["latency_s"]["p50"] <= part["latency_s"]["p95"]
    assert attack["steps"] > 1000
    assert attack["attackers_sessions"]["sessions"] > 100
    assert attack["before_mb"] <= attack["peak_mb"] <= hostile["peak_mb"]
    assert hostile["defects_in_log"] == 0
    assert data["wyoming"] is None
    assert "Left out: `--wyoming` and `--wyoming-bench`" in (tmp_path / "doors.md").read_text()


def test_the_tables_of_wyoming_bench_are_read() -> None:
    modes = doors_wyoming.parse(OUTPUT)
    assert list(modes) == ["non_streaming", "streaming"]
    assert modes["non_streaming"]["Total"]["median"] == 406.3
    assert modes["streaming"]["RTF"]["mean"] == 0.14
    assert (modes["non_streaming"]["wer"], modes["streaming"]["sar"]) == (66.7, 50.0)
    assert (modes["streaming"]["ok"], modes["streaming"]["failed"]) == (2, 1)
    # Three and three, one to warm up for each mode, and the question whether it streams.
    assert doors_wyoming.utterances(modes, OUTPUT) == 9
