"""Every benchmark runs, loses nothing and writes what it should; its numbers are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

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


def test_the_ladder_keeps_waits_short_where_its_best_rung_cannot(tmp_path: Path) -> None:
    data = quick("ladder", tmp_path)
    household, burst, slow = data["scenarios"]
    for scenario in (household, burst, slow):
        for result in scenario["runs"].values():
            assert result["utterances"] == scenario["utterances"] > 0
            assert sum(result["rungs"].values()) == pytest.approx(1, abs=0.001)
    assert household["runs"]["ladder"]["rungs"]["base, beam 5"] == 1
    for scenario in (burst, slow):
        ladder, best = (scenario["runs"][how] for how in ("ladder", "base, beam 5, always"))
        assert ladder["wait_s"]["p95"] < best["wait_s"]["p95"] / 2
        assert ladder["over_the_promise"] < best["over_the_promise"]
        assert all(move["reason"] for move in ladder["moves"])
        times = [move["at_s"] for move in ladder["moves"]]
        assert all(later - earlier >= 59.9 for earlier, later in pairwise(times))
    assert burst["runs"]["ladder"]["moves"][-1]["to"] == "base, beam 5"


def test_the_ladder_draws_load_rung_and_wait(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs the bench extra")
    quick("ladder", tmp_path)
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_hearing_judges_words_phantoms_and_costs(tmp_path: Path) -> None:
    data = quick("hearing", tmp_path)
    assert data["programs"] == ["stt-mqtt, tiny.en"]
    found = {goal["key"]: goal for goal in data["goals"]}
    assert found["words"]["found"]["clips"] == 3
    assert found["words"]["found"]["ours"]["value"] == 0
    assert found["words"]["met"] == "not measured"
    assert found["without_words"]["found"]["ours"]["value"] == 0
    assert found["cpu_idle"]["found"]["ours"]["value"] > 0
    assert found["pairs"]["found"]["clips"] == 1
    assert set(data["noise"]) == {"made", "all"}
    (alone,) = data["one_room"]
    assert 0 < alone["latency_s"]["p50"] <= alone["latency_s"]["p95"]
    assert alone["counters"]["inferences"] >= 3
    (crowd,) = data["rooms"]
    assert (crowd["utterances"], crowd["counters"]["inferences"]) == (8, 8)
    assert crowd["peak_mb"] > 50


@pytest.mark.parametrize("name", ["full_line", "hearing"])
def test_a_benchmark_without_its_speech_data_says_what_to_set(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "STT_MQTT_SPEECH" in done.stderr


def test_looks_compares_ways_to_read_the_same_clips(tmp_path: Path) -> None:
    data = quick("looks", tmp_path)
    assert data["clips"] == 2
    assert {way["wer"] for way in data["ways"].values()} == {0.0}
    assert all(way["cpu_ms"] > 0 for way in data["ways"].values())
