"""Every benchmark runs, loses nothing and writes what it should; its numbers are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0


def quick(name: str, results: Path) -> dict[str, Any]:
    """What a benchmark found out in a few seconds, once it has ended well."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--results", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (results / f"{name}.md").read_text() == done.stdout.removesuffix("\n")
    data: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    assert data["benchmark"] == name
    assert data["quick"] is True
    assert data["machine"]["cores_usable"] >= 1
    return data


def test_full_line_hears_the_same_as_transcribe(tmp_path: Path) -> None:
    data = quick("full_line", tmp_path)
    assert data["results"] == data["utterances_with_exactly_one_result"] == data["utterances"] == 4
    assert data["clips_with_different_text"] == []
    assert set(data["corpora"]) == {"samples", "all"}
    everything = data["corpora"]["all"]
    assert everything["clips"] == 4
    assert everything["line"] == everything["transcribe"] == {"wer": 0.0, "exact": 1.0}
    for spread in data["latency_after_the_end_s"].values():
        assert 0 < spread["p50"] <= spread["p95"] <= spread["max"]


def test_ingest_accounts_for_every_utterance(tmp_path: Path) -> None:
    data = quick("ingest", tmp_path)
    (run,) = data["runs"]
    assert run["outcomes"] == {"aborted": 100}
    assert run["utterances_with_all_audio"] == run["utterances_with_exactly_one_result"] == 100
    assert run["audio_s_counted"] == run["audio_s_sent"]
    assert run["messages"] == 19_000
    assert set(run["cpu_s_per_s"]) == {"service", "broker", "generator"}
    assert all(used > 0 for used in run["cpu_s_per_s"].values())
    assert data["memory"]["all_audio_buffered"] is True
    assert data["memory"]["rss_at_rest_mb"] > 50


def test_memory_says_where_it_goes(tmp_path: Path) -> None:
    data = quick("memory", tmp_path)
    (run,) = data["runs"]
    assert (run["program"], run["utterances_answered"]) == ("stt-mqtt", 3)
    assert 50 < run["started_mb"] <= run["peak_mb"]
    assert data["wyoming"] is False
    sizes = {part["step"]: part["rss_mb"] for part in data["parts"]}
    assert sizes["Python"] < sizes["weights"] < sizes["working memory: nine commands heard"]
    assert sizes["given back when idle"] < sizes["working memory: nine commands heard"]


def test_a_benchmark_without_its_speech_data_says_what_to_set() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.full_line"],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "STT_MQTT_SPEECH" in done.stderr
