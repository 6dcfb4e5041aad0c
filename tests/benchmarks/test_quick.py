"""Every benchmark runs, loses nothing and writes what it should; its numbers are not judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser import needs_chromium
from tools.brokers import needs_mosquitto
from tools.nats_servers import needs_nats

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300.0

Quick = Callable[[str], dict[str, Any]]


@pytest.fixture
def quick(tmp_path: Path) -> Quick:
    """Runs a benchmark, and gives what it found out when it has ended well."""

    def result(name: str) -> dict[str, Any]:
        done = run(name, "--quick", "--results", tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{name}.md").read_text() == done.stdout
        data: dict[str, Any] = json.loads((tmp_path / f"{name}.json").read_text())
        assert (data["benchmark"], data["quick"]) == (name, True)
        assert data["measured"]["cores_usable"] >= 1
        return data

    return result


def run(name: str, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)],
        cwd=ROOT,
        env=None if options else {"PATH": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_quick_full_line_hears_the_same_as_transcribe(quick: Quick) -> None:
    data = quick("full_line")
    assert data["results"] == data["with_exactly_one_result"] == data["utterances"] == 4
    assert data["differ_alone"] == []
    everything = data["corpora"]["all"]
    assert (everything["clips"], everything["wer_transcribe"]) == (4, 0)
    for spread in data["latency_s"].values():
        assert 0 < spread["p50"] <= spread["p95"] <= spread["max"]


def test_quick_ingest_accounts_for_every_utterance(quick: Quick) -> None:
    data = quick("ingest")
    (one,) = data["runs"]
    assert one["outcomes"] == {"aborted": 100}
    assert one["with_all_audio"] == one["with_exactly_one_result"] == 100
    assert one["chunks"] == 18_800
    assert set(one["cpu_s_per_s"]) == {"service", "broker"}
    assert data["memory"]["all_audio_buffered"] is True


def test_quick_memory_says_where_it_goes(quick: Quick) -> None:
    data = quick("memory")
    (one,) = data["runs"]
    assert one["answered"] == 3
    assert 50 < one["started_mb"] <= one["peak_mb"]
    (long,) = data["pieces"]
    assert long["answered"] == long["asked"] == 2
    assert long["peak_mb"] > 50
    sizes = {part["step"]: part["rss_mb"] for part in data["parts"]}
    assert sizes["given back when idle"] < sizes["nine commands heard"]


def test_quick_ladder_keeps_waits_short_where_its_best_rung_cannot(
    quick: Quick, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs the bench extra")
    household, burst, slow = quick("ladder")["scenarios"]
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
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_quick_soak_has_an_outcome_for_every_utterance_whatever_comes_and_goes(
    quick: Quick, tmp_path: Path
) -> None:
    data = quick("soak")
    assert set(data["asked"]) == {"pcm", "opus", "hermes", "visitor", "browser", "wyoming"}
    assert sum(data["asked"].values()) == 42
    assert data["outcomes"]["transcript"] == 42 + data["said_once"]
    assert (data["wrong"], data["errors"], data["defects_in_log"]) == ({}, {}, 0)
    assert data["samples"][0]["threads"] <= data["samples"][-1]["threads"] < 20
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_quick_hearing_judges_words_phantoms_and_costs(quick: Quick) -> None:
    data = quick("hearing")
    assert data["programs"] == ["stt-mqtt, tiny.en"]
    found = data["figures"]
    assert found["words"]["clips"] == 3
    assert found["words"]["ours"]["value"] == 0
    assert found["words"]["compared"] is None
    assert found["without_words"]["ours"]["value"] == 0
    assert found["cpu_idle"]["ours"]["value"] > 0
    assert found["pairs"]["clips"] == 1
    assert data["noise"]["all"]["clips"] == data["clips"]["noises"] > 0
    (crowd,) = data["rooms"]
    assert (crowd["utterances"], crowd["errors"]) == (8, {})


@needs_mosquitto  # The embedded broker loses messages of whom it cannot keep up with.
def test_quick_hostile_bytes_lose_nobody_a_word(quick: Quick) -> None:
    data = quick("hostile")
    before, attack, after = data["parts"]
    for part in (before, attack, after):
        assert set(part["doors"]) == {"native", "hermes", "wyoming"}
        assert all(door["asked"] == door["right"] > 0 for door in part["doors"].values())
    assert attack["steps"] > 100
    assert attack["attackers_sessions"]["sessions"] > 100
    assert attack["peak_mb"] <= data["peak_mb"]
    assert data["defects_in_log"] == 0


@needs_mosquitto
@needs_nats
def test_quick_fleet_loses_nothing_whoever_dies(quick: Quick) -> None:
    rows = quick("fleet")["rows"]
    for name, row in rows.items():
        assert row["sent"] == row["heard"] > 0, name
        assert (row["doubled"], row["silent"]) == (0, 0), name
    way, killed, throughput, restarted, crowd = rows.values()
    for row in (killed, restarted):
        assert row["deaths"]
    assert throughput["linear"] > 0
    assert all(one["p50"] is not None for one in way["added_ms"].values())
    assert set(crowd["live"]) == {"1", "2"}


@needs_mosquitto  # The embedded broker loses messages of whom it cannot keep up with.
def test_quick_floods_end_each_of_their_utterances_once(quick: Quick) -> None:
    data = quick("floods")
    _, flood, after = data["parts"]
    assert flood["steps"] > 100
    assert set(flood["ended"]) == {"connections", "hoards", "noise"}
    assert after["right"] == after["asked"] > 0
    assert data["buffered_bytes"] == 0
    assert data["defects_in_log"] == 0


def test_quick_satellite_loses_nothing_that_it_need_not(quick: Quick) -> None:
    data = quick("satellite")
    assert (data["recordings"], data["orders"]) == (2, 1)
    codecs = data["codecs"]
    assert all(row["right"] == 2 for row in codecs.values())
    assert (codecs["PCM"]["bytes_per_s"], codecs["PCM"]["wer_difference"]) == (32_000, [0, 0, 0])
    assert codecs["FLAC"]["bytes_per_s"] < 20_000
    assert codecs["Opus 32"]["bytes_per_s"] < 4_000
    assert codecs["room, cut, PCM"]["utterances"] == 2
    assert codecs["room, cut, PCM"]["bytes"] < codecs["room, whole, PCM"]["bytes"]
    rooms = data["rooms"]
    assert rooms["found"] == rooms["utterances"] == 1
    assert rooms["clipped_onsets"] == 0
    for row in data["cleanup"].values():
        assert row["conditions"]["as recorded"] == 0


def test_quick_live_hears_a_pause_and_loses_no_word(quick: Quick) -> None:
    data = quick("live")
    assert (data["rooms"], data["unheard"], data["differ"]) == (1, [], [])
    everything = data["kinds"]["all"]
    assert (everything["clips"], everything["with_pause"]) == (2, 1)
    assert sum(row["clips"] for row in data["pauses"].values()) == 1
    assert everything["end_to_text_s"]["p50"] > 0
    complete = [clip for clip in data["clips"] if clip["completion"] == "COMPLETE"]
    assert data["complete"]["complete"]["clips"] == len(complete)
    for clip in data["clips"]:
        assert len(clip["ends"]) == len(clip["right"]) > 0
        assert clip["last_word_to_text_s"] is None or clip["last_word_to_text_s"] > 0


def test_quick_partials_has_a_revision_and_takes_nothing_back(quick: Quick) -> None:
    (run,) = quick("partials")["runs"]
    assert (run["rooms"], run["recordings"], run["utterances"]) == (1, 2, 2)
    assert run["partials"] > 0
    assert run["taken_back"] == 0
    assert run["differ"] == [0, 0]
    assert run["first_s"]["commands"]["with_partials"] > 0
    assert run["first_s"]["all"]["p50"] is not None
    assert all(run["cpu_s_per_s"])


def test_quick_assist_hears_the_samples_and_ends_their_turn(quick: Quick) -> None:
    everything = quick("assist")["words"]["all"]
    assert (everything["played"], everything["right"]) == (2, 2)
    assert 0 < everything["after_s"]["p50"] <= everything["after_s"]["max"]


@needs_chromium
def test_quick_browser_hears_the_same_through_the_page(quick: Quick) -> None:
    data = quick("browser")
    for row in data["rows"].values():
        assert row["quiet"]["wer"] == 0
    sizes = {name: row["quiet"]["bytes"] for name, row in data["rows"].items()}
    whole = sizes.pop("as it is, whole, PCM")
    assert all(0 < size < whole / 3 for size in sizes.values())
    page = data["page"]
    assert 0 < page["weight_bytes"] < 1_500_000
    assert page["browsers"]["results"] > 0
    assert page["cpu"]["speech"]["tab"] > 0


def test_quick_phrases_understands_the_samples(quick: Quick) -> None:
    data = quick("phrases")
    samples = data["parts"]["samples of the demo"]
    assert (samples["clips"], samples["right"][0], samples["wrong"]) == (9, 1.0, [])
    assert data["large_book"]["sentences"] == 102
    assert data["large_book"]["search_ms"] > 0


def test_quick_turns_judges_the_end_and_pauses_of_each_sample_both_ways(quick: Quick) -> None:
    data = quick("turns")
    eager, phrases = data["eager"], data["phrases"]
    assert eager["recordings"] == phrases["recordings"] == 9
    taken = eager["glimpses"]
    assert [one["is_whole"] for one in taken] == [True, False] * 9
    assert all(0 <= one[key] <= 1 for one in taken for key in ("end_prob", "confidence"))
    assert any(one["end_prob"] for one in taken)
    whole = [one for one in phrases["glimpses"] if one["is_whole"]]
    begun = [one for one in phrases["glimpses"] if not one["is_whole"]]
    assert len(whole) == 9 < len(begun) <= 27
    assert all(one["is_right"] for one in whole)
    assert any(one["completion"] == "COMPLETE" for one in whole)
    assert not all(one["is_right"] for one in begun)


def test_quick_isolate_decodes_the_same_in_processes_apart(quick: Quick) -> None:
    data = quick("isolate")
    assert (data["recordings"], data["differ"]) == (2, 0)
    for one in data["codecs"].values():
        assert one["ms"]["here"]["p50"] > 0
        assert one["cpu_ms"]["here"] > 0
    assert data["memory"]["worker_own_mb"] < data["memory"]["first_rss_mb"]
    assert data["memory"]["service_apart_mb"] < data["memory"]["service_here_mb"]
    assert set(data["replaced_s"]) == {"worker", "first"}


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the naive server needs FFmpeg (apt install ffmpeg)"
)
@needs_mosquitto  # The embedded broker does not count bytes.
def test_quick_savings_have_both_ways_hear_the_same_rooms(quick: Quick) -> None:
    data = quick("savings")
    before, ours = data["runs"]
    assert (before["way"], ours["way"]) == ("before", "stt-mqtt")
    for one in (before, ours):
        assert (one["rooms"], one["utterances"], one["stopped_early"]) == (2, 2, None)
        assert one["cpu_s_per_s"] > 0
        assert 50 < one["start_mb"] <= one["peak_mb"]
        assert len({len(values) for values in one["series"].values()}) == 1
    sound = 2 * int(60 * data["minutes"]) * 32_000 * 4 / 3
    assert 0.9 * sound < before["bytes"] < 1.02 * sound
    assert 1000 < ours["bytes"] < before["bytes"] / 5
    assert (ours["outcomes"], ours["within_the_run"]) == ({"transcript": 2}, 2)
    assert 0 <= before["behind_s"] <= 12


def test_without_its_speech_data_a_benchmark_says_what_to_set() -> None:
    done = run("full_line")
    assert done.returncode == 2
    assert "STT_MQTT_SPEECH" in done.stderr
