from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.doors.native.topics import is_device
from stt_mqtt.types import SAMPLE_RATE
from tools.make_samples import FOLDER, LEAD_S, PEAK, VOICES

by_file = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)


def test_three_rooms_have_three_commands_each() -> None:
    assert list(Counter(sample.room for sample in SAMPLES).values()) == [3, 3, 3]
    assert all(is_device(sample.room) for sample in SAMPLES)
    assert {sample.room for sample in SAMPLES} == VOICES.keys()
    assert len({sample.text for sample in SAMPLES}) == len(SAMPLES)


def test_the_folder_holds_what_is_spoken_and_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {sample.file for sample in SAMPLES}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


@by_file
def test_a_sample_is_a_short_command_at_its_level_between_silences(sample: Sample) -> None:
    samples = np.frombuffer(sample.pcm(), "<i2") / 32768
    assert 1.5 * SAMPLE_RATE < len(samples) < 5 * SAMPLE_RATE
    assert np.max(np.abs(samples)) == pytest.approx(PEAK, abs=0.01)
    assert np.max(np.abs(samples[: int(LEAD_S * SAMPLE_RATE)])) < 0.01
