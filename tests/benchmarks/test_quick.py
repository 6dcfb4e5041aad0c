"""Every benchmark runs, loses nothing and writes what it should; its numbers are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine_batches import plot
from benchmarks.pauses import ONE, PARTS, Row, held_out

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


def test_engine_compares_programs_on_the_same_clips(tmp_path: Path) -> None:
    data = quick("engine", tmp_path)
    assert (data["ours"], data["usual"]) == (
        "stt-mqtt, tiny.en",
        "faster-whisper transcribe, tiny.en",
    )
    for name in (data["ours"], data["usual"]):
        alone = data["one_room"][name]
        assert alone["corpora"]["all"] == {"clips": 3, "wer": 0.0, "exact": 1.0}
        assert alone["cpu_s_per_utterance"] > 0
        assert 0 < alone["latency_s"]["p50"] <= alone["latency_s"]["p95"]
        assert alone["without_words"]["clips"] == 0
    assert data["one_room"][data["ours"]]["counters"]["inferences"] == 3
    together = data["rooms"][data["ours"]]
    assert (together["utterances"], together["counters"]["inferences"]) == (8, 8)
    assert 50 < together["after_mb"] <= together["peak_mb"]
    assert [row["size"] for row in data["batches"]["sizes"]] == [1, 2]
    assert len(data["goals"]) == 9
    assert any("wyoming-faster-whisper" in text for text in data["skipped"])


def test_engine_draws_what_batches_save(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs the bench extra")
    measured = {
        "utterances": 2,
        "sizes": [
            {"size": size, "cpu_s_per_utterance": 0.1, "seconds_per_utterance": 0.1}
            for size in (1, 2)
        ],
    }
    plot(measured, "tiny.en", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_pauses_compares_ways_to_hear_two_commands(tmp_path: Path) -> None:
    data = quick("pauses", tmp_path)
    assert (data["pairs"], data["sentences"]) == (2, 2)
    parts = data["joined"]["as the engine has it"]["2.1"]
    assert (parts["recordings"], parts["lost"]) == (2, 0)
    for part in ("joined", "hesitations"):
        for by_pause in data[part].values():
            for row in by_pause.values():
                assert row["cpu_ratio"] > 0
                assert row["ratio_95"][0] <= row["ratio"] <= row["ratio_95"][1]


def test_a_pause_to_cut_at_is_judged_on_a_corpus_that_it_was_not_chosen_on() -> None:
    def row(corpus: str, way: str, errors: int) -> Row:
        return Row(0, (corpus,), way, 2.1, 10, errors, 0, False, 0.1, 0.1)

    # One corpus is better in parts, and the other in one piece.
    rows = [row("a", ONE, 5), row("a", PARTS, 1), row("b", ONE, 2), row("b", PARTS, 4)]
    found = held_out(rows, [row("c", ONE, 0), row("c", PARTS, 0)])
    assert found["a"] == {
        "least_s": "never",
        "errors": 5,
        "errors_in_one_piece": 5,
        "words": 10,
    }
    assert found["b"] == {"least_s": 2.1, "errors": 4, "errors_in_one_piece": 2, "words": 10}


@pytest.mark.parametrize("name", ["full_line", "engine", "pauses"])
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
