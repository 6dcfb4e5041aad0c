"""The benchmark of the clean-up runs and counts what it should; its numbers are not judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cleanup import Heard, difference, wer
from benchmarks.cleanup_scenes import (
    SNRS_DB,
    Condition,
    Noises,
    make_scene,
    noisy_conditions,
)
from benchmarks.speech import Clip
from tests.audio.synth import s16, tone
from tests.benchmarks.test_quick import ROOT, TIMEOUT_S, quick

CLIP = Clip("a/tone", "a", "a tone", Path("tone.wav"), s16(tone(seconds=1.0)))
NOISES = Noises({})


def test_cleanup_compares_every_way_with_nothing(tmp_path: Path) -> None:
    data = quick("cleanup", tmp_path)
    assert data["clips"] == 2
    for part, utterances in (("noisy", 8), ("quiet", 5)):
        nothing, *others = data[part].values()
        assert nothing["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        assert nothing["conditions"]["as recorded"] == 0
        assert len(others) >= 2
        for way in others:
            assert way["utterances"] == utterances
            assert way["cpu_ms_per_audio_s"] > 0
            assert (
                way["difference"]["low"] <= way["difference"]["mean"] <= way["difference"]["high"]
            )


def test_cleanup_without_its_speech_data_says_what_to_set() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cleanup"],
        cwd=ROOT,
        env={name: text for name, text in os.environ.items() if name != "STT_MQTT_SPEECH"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "STT_MQTT_SPEECH" in done.stderr


def test_a_scene_is_the_same_every_time_and_holds_its_clip() -> None:
    condition = Condition("pink noise", 10)
    scene = make_scene(CLIP, 3, condition, NOISES)
    assert scene == make_scene(CLIP, 3, condition, NOISES)
    assert scene != make_scene(CLIP, 4, condition, NOISES)
    assert scene.end - scene.start == len(CLIP.pcm) + 2 * round(0.9 * 16_000)
    assert len(scene.pcm) % 960 == 0
    assert scene.end <= len(scene.pcm)


def test_every_kind_of_noise_meets_every_snr() -> None:
    kinds = ["rain", "music", "dishes"]
    met = {condition for number in range(9) for condition in noisy_conditions(number, kinds)}
    assert met == {Condition(), *(Condition(kind, snr) for kind in kinds for snr in SNRS_DB)}


def test_a_difference_is_counted_in_words_and_surer_with_more_clips() -> None:
    def heard(errors: int, clips: int) -> list[Heard]:
        return [
            Heard(n, Condition(), errors * (n % 2), words=10, cpu_s=0, audio_s=1)
            for n in range(clips)
        ]

    assert wer(heard(2, 10)) == 0.1
    few, many = (difference(heard(2, clips), heard(0, clips)) for clips in (10, 200))
    assert few["mean"] == many["mean"] == pytest.approx(0.1)
    assert few["low"] < many["low"] < 0.1 < many["high"] < few["high"]
