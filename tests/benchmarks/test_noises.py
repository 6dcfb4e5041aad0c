"""The folder of noises: bounded, the same each time, and in groups that share no sound."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks import noises, sounds, speech
from benchmarks.noises import Noise
from stt_mqtt.types import SAMPLE_RATE

TONE = sounds.tone(440, 12.0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of one long noise and of speech of three people, twice."""
    folder = tmp_path_factory.mktemp("noises")
    clips = speech.samples(folder)[:3]
    noises._written(folder, Noise("hum", "", "", TONE))
    noise = {"id": "hum", "path": "noise/hum.wav", "label": "chainsaw"}
    (folder / "noise_manifest.jsonl").write_text(json.dumps(noise) + "\n")
    rows = [
        {"id": clip.id, "corpus": "c", "text": clip.text, "path": clip.file.name}
        | {"lang": "en", "duration_s": clip.seconds}
        for clip in clips
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(speech.VARIABLE, str(folder))
        patch.setattr(noises, "MADE_PER_GROUP", 6)
        patch.setattr(noises, "BABBLES", 1)
        patch.setattr(noises, "BABBLE_VOICES", (2, 3))
        noises.build(folder / "first", None)
        noises.build(folder / "second", None)
    return folder


def test_the_same_seed_gives_the_same_folder(built: Path) -> None:
    first, second = built / "first", built / "second"
    files = sorted(file.relative_to(first) for file in first.rglob("*") if file.is_file())
    assert len(files) > 50
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_all_noises_can_be_read_and_are_neither_too_short_nor_too_long(built: Path) -> None:
    clips = speech.noises(built / "first")
    assert {clip.corpus for clip in clips} == {"engines", "babble", *sounds.MAKERS}
    assert all(0.3 <= clip.seconds <= noises.MAX_S for clip in clips)
    assert all(any(clip.pcm) for clip in clips)


def test_what_is_made_of_one_sound_stays_in_one_group(built: Path) -> None:
    clips = speech.noises(built / "first")
    groups = {(clip.speaker, clip.corpus) for clip in clips}
    assert len(groups) == len({clip.speaker for clip in clips})
    assert [clip.speaker for clip in clips if clip.corpus == "engines"] == ["hum"] * 3


def test_a_long_noise_is_also_cut_to_its_loudest_moment() -> None:
    sound = np.zeros(5 * SAMPLE_RATE, np.float32)
    sound[3 * SAMPLE_RATE : 3 * SAMPLE_RATE + 1600] = 0.5
    cut = noises.loudest(noises.rng_for("test"), sound)
    assert 0.3 * SAMPLE_RATE <= len(cut) <= SAMPLE_RATE
    assert np.abs(cut).max() == 0.5


def test_background_noise_is_0_to_20_db_softer() -> None:
    for number in range(10):
        mixed = noises.over(noises.rng_for(f"test {number}"), TONE)
        background_rms = float(np.sqrt(np.mean((mixed - TONE) ** 2)))
        tone_rms = float(np.sqrt(np.mean(TONE**2)))
        assert -0.1 <= 20 * np.log10(tone_rms / background_rms) <= 20.1


@pytest.mark.parametrize("group", sounds.MAKERS)
def test_every_maker_gives_a_sound_that_is_finite_and_another_one_each_time(group: str) -> None:
    for maker in sounds.MAKERS[group]:
        rng = noises.rng_for(group)
        first, second = maker(rng), maker(rng)
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.abs(first).max() > 0.01
        assert len(first) != len(second) or not np.array_equal(first, second)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Packages that were fetched before, with a file of each kind."""
    for package, names in {
        "alsa-utils": ("Noise", "Front_Left"),
        "sound-theme-freedesktop": ("bell", "audio-channel-rear-left"),
        "sonic-pi-samples": ("ambi_choir", "ambi_drone", "elec_beep", "bd_808", "mehackit_robot1"),
    }.items():
        folder = tmp_path / package
        folder.mkdir()
        for name in names:
            noises._written(folder, Noise(name, "", "", TONE[:8000]))
    for package in noises.PACKAGES:
        (tmp_path / package).mkdir(exist_ok=True)
    return tmp_path


def test_sounds_of_packages_with_voices_are_left_out(packages: Path) -> None:
    found = {noise.id: noise.group for noise in noises.of_packages(packages, set())}
    assert found == {
        "alsa-utils_Noise": "household",
        "sound-theme-freedesktop_bell": "desktop",
        "sonic-pi-samples_ambi_drone": "music",
        "sonic-pi-samples_elec_beep": "electronic",
        "sonic-pi-samples_bd_808": "drums and blows",
    }


def test_sounds_of_packages_that_the_speech_data_has_are_not_there_twice(packages: Path) -> None:
    found = noises.of_packages(packages, {"sonicpi_ambi_drone"})
    assert "sonic-pi-samples_ambi_drone" not in {noise.id for noise in found}


def test_other_rates_and_channels_become_what_the_service_hears(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.full(2 * 44_100, 8192, "<i2").tobytes())
    decoded = noises.decoded(tmp_path / "stereo.wav")
    assert len(decoded) == pytest.approx(SAMPLE_RATE, abs=40)
    assert np.median(decoded) == pytest.approx(0.25, abs=0.01)
