"""A household is what its labels say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.household import Room, label, make_household, quick_material
from stt_mqtt.types import SAMPLE_RATE

MINUTES = 1.0


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> list[Room]:
    return make_household(*quick_material(tmp_path_factory.mktemp("speech")), MINUTES)


def a_sound(*parts: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Noise of so many seconds and of such an amplitude, one after the other."""
    rng = np.random.default_rng(1)
    pieces = [rng.standard_normal(round(s * SAMPLE_RATE)) * amplitude for s, amplitude in parts]
    return np.concatenate(pieces).astype(np.int16)


def test_the_same_seed_makes_the_same_household(household: list[Room], tmp_path: Path) -> None:
    material = quick_material(tmp_path)
    assert make_household(*material, MINUTES) == household
    other = make_household(*material, MINUTES, seed=1)
    assert all(one.pcm != another.pcm for one, another in zip(household, other, strict=True))


def test_labels_lie_inside_and_in_order(household: list[Room]) -> None:
    assert [room.name for room in household] == ["kitchen", "living_room", "bedroom", "office"]
    for room in household:
        assert room.seconds == 60 * MINUTES
        assert len(room.spoken) == 3
        times = [at_s for one in room.spoken for at_s in (one.start_s, one.end_s)]
        assert times == sorted(times)
        assert times[0] >= 4
        assert times[-1] <= 60 * MINUTES - 4
        assert all(b - a >= 4 for a, b in zip(times[1::2], times[2::2], strict=False))


def test_speech_is_where_the_labels_say(household: list[Room]) -> None:
    for room in household:
        levels = np.square(np.frombuffer(room.pcm, "<i2").astype(float))
        for one in room.spoken:
            start, end = (round(at_s * SAMPLE_RATE) for at_s in (one.start_s, one.end_s))
            before = levels[start - SAMPLE_RATE // 2 : start - SAMPLE_RATE // 10].mean()
            assert levels[start:end].mean() > 20 * before


def test_no_noise_but_rain_is_heard_while_somebody_speaks(household: list[Room]) -> None:
    events = [
        (noise, one)
        for room in household
        for noise in room.noises
        for one in room.spoken
        if noise.label != "rain"
    ]
    assert events
    assert all(n.end_s <= one.start_s - 1 or n.start_s >= one.end_s + 1 for n, one in events)


def test_too_much_for_the_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pauses"):
        make_household(*quick_material(tmp_path), 0.1)


def test_a_label_finds_the_speech_and_not_the_knock_before_it() -> None:
    quiet, loud = 10.0, 3000.0
    found = label(a_sound((0.2, quiet), (0.08, loud), (0.2, quiet), (0.6, loud), (0.4, quiet)))
    assert found is not None
    assert found.start_s == pytest.approx(0.48, abs=0.02)
    assert found.end_s == pytest.approx(1.08, abs=0.03)
    assert found.snr_db > 40


def test_noise_alone_has_no_label() -> None:
    assert label(a_sound((1.0, 100.0))) is None
