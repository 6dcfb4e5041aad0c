from __future__ import annotations

import pytest

from stt_mqtt.config import Config, LimitsConfig, merge, read_config
from stt_mqtt.rungs import Rung
from tests.config.problems import NO_ENVIRONMENT, problems

BOTH = "ladder: {rungs: [{name: best, model: base}, {name: quick, model: tiny.en, beam_size: 1}]}\n"


def read(text: str) -> Config:
    return read_config(text, "f", NO_ENVIRONMENT)


def test_without_a_ladder_the_only_rung_is_what_the_engine_says() -> None:
    assert Config().rungs == (Rung("default", "tiny.en", 5, "int8"),)
    config = read("engine: {model: base, beam_size: 1, compute_type: float32}")
    assert config.rungs == (Rung("default", "base", 1, "float32"),)
    assert read("ladder: {rung: default}").ladder.rung == "default"


def test_the_rungs_are_in_force_in_the_order_of_the_file() -> None:
    assert read(BOTH).rungs == (
        Rung("best", "base", 5, "int8"),
        Rung("quick", "tiny.en", 1, "int8"),
    )
    assert read(BOTH).ladder.rung == "auto"


def test_other_keys_of_the_engine_go_with_a_ladder() -> None:
    assert read(BOTH + "engine: {workers: 2}").engine.workers == 2


@pytest.mark.parametrize("key", ["model: base", "beam_size: 5", "compute_type: int8"])
def test_a_model_is_said_in_one_place(key: str) -> None:
    name = key.partition(":")[0]
    message = (
        f"engine.{name} has no effect beside ladder.rungs; "
        f"write {name} into the rungs that it is for"
    )
    column = len(f"engine: {{{name}: ") + 1
    assert problems(f"{BOTH}engine: {{{key}}}") == [f"f:2:{column}: engine.{name}: {message}"]
    assert problems(f"engine: {{{key}}}\n{BOTH}") == [f"f:2:17: ladder.rungs: {message}"]
    variable = f"STT_MQTT__ENGINE__{name.upper()}"
    assert problems(BOTH, {variable: key.partition(": ")[2]}) == [
        f"environment {variable}: {message}"
    ]


def test_a_fixed_rung_exists() -> None:
    assert read("ladder: {rungs: [{name: a, model: m}], rung: a}").ladder.rung == "a"
    assert problems("ladder: {rungs: [{name: a, model: m}], rung: b}") == [
        "f:1:46: ladder.rung: rung 'b' is not one of the rungs; known are a"
    ]
    assert problems("ladder: {rung: best}") == [
        "f:1:16: ladder.rung: rung 'best' is not one of the rungs; known are default"
    ]
    assert problems("ladder: {rung: a b}") == [
        "f:1:16: ladder.rung: must be auto or the name of a rung"
    ]


def test_each_name_is_given_once_and_auto_is_none() -> None:
    rungs = "ladder:\n  rungs:\n  - {{name: a, model: m}}\n  - {{name: {}, model: m}}\n"
    assert problems(rungs.format("a")) == [
        "f:4:12: ladder.rungs[1].name: rungs[1].name is the name of rungs[0] too"
    ]
    assert problems(rungs.format("auto")) == [
        "f:4:12: ladder.rungs[1].name: auto stands for the choice by load; call the rung otherwise"
    ]


def test_a_ladder_has_at_most_eight_rungs() -> None:
    eight = [f"{{name: r{n}, model: m}}" for n in range(8)]
    assert len(read(f"ladder: {{rungs: [{', '.join(eight)}]}}").rungs) == 8
    (line,) = problems(f"ladder: {{rungs: [{', '.join(eight)}, {{name: x, model: m}}]}}")
    assert line == "f:1:17: ladder.rungs: has too many entries, at most 8"


def test_a_changed_ladder_waits_for_the_restart() -> None:
    assert merge(Config(), read(BOTH)).rungs == Config().rungs


def test_what_is_decoded_of_an_utterance_keeps_both_of_its_caps() -> None:
    assert LimitsConfig(max_utterance_s=30, max_utterance_kib=2048).max_decoded_s == 30
    assert LimitsConfig(max_utterance_s=600, max_utterance_kib=625).max_decoded_s == 10


# Limits that are not set make room for those that are -------------------------------------------


def test_a_longer_utterance_gets_memory_and_a_place_in_the_queue() -> None:
    limits = read_config("limits: {max_utterance_s: 600}", "f", NO_ENVIRONMENT).limits
    assert limits.max_decoded_s == 600
    assert limits.max_queued_audio_s == 600
    assert LimitsConfig().max_utterance_kib == 2048
    assert LimitsConfig(max_utterance_s=5).max_utterance_kib == 2048
    assert LimitsConfig(max_utterance_s=5).max_queued_audio_s == 300


def test_who_may_wait_longer_may_be_older() -> None:
    assert LimitsConfig().max_age_s == 30
    assert LimitsConfig(max_queue_age_s=60).max_age_s == 60
    assert LimitsConfig(max_queue_age_s=60, max_age_s=90).max_age_s == 90
