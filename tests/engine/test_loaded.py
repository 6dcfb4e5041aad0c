from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Barrier, Lock
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.engine.calibration import FULL_WINDOW, UNCALIBRATED, Calibrated, Floats, Window
from stt_mqtt.engine.loaded import LoadedModel, Silence, padded, window_s
from stt_mqtt.engine.log_mel import LogMel
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.engine.scripted import whisper_tokenizer
from tests.thorough import examples

WINDOW = Window(lead_s=0.3, pad_s=3.0, min_s=6.0, tail_states=500)
SILENCE = Silence(np.arange(1500, dtype=np.float32)[:, np.newaxis])
"""Each state is its place in the full window."""

windows = st.builds(
    Window,
    lead_s=st.floats(0.0, 5.0),
    pad_s=st.floats(0.0, 30.0),
    min_s=st.floats(1.0, 30.0),
    tail_states=st.integers(0, 2000),
    tail_stride=st.integers(1, 4),
)


def loud(seconds: float) -> Samples:
    return np.ones(round(seconds * SAMPLE_RATE), np.float32)


def heard(states: int) -> Floats:
    """The states of a window; none of them is one of silence."""
    return np.full((states, 1), -1, np.float32)


def places(states: Floats) -> list[int]:
    return [int(state) for state in states[:, 0]]


@pytest.mark.parametrize(
    ("speech_s", "expected"),
    [(0.0, 6), (2.6, 6), (2.8, 7), (3.5, 7), (26.69, 30), (28.0, 30), (100.0, 30)],
)
def test_a_window_is_as_long_as_speech_and_silence_in_whole_seconds(
    speech_s: float, expected: int
) -> None:
    assert window_s(WINDOW, speech_s) == expected


def test_the_full_window_is_30_s_whatever_is_said() -> None:
    assert {window_s(FULL_WINDOW, speech_s) for speech_s in (0.0, 1.0, 28.0, 31.0)} == {30}


@given(windows, st.floats(0.0, 100.0))
def test_a_window_never_exceeds_30_s_and_holds_all_that_fits(
    window: Window, speech_s: float
) -> None:
    seconds = window_s(window, speech_s)
    assert seconds <= 30
    assert seconds >= min(window.lead_s + speech_s + window.pad_s, 30)
    assert seconds >= window.min_s
    assert seconds < max(window.lead_s + speech_s + window.pad_s, window.min_s) + 1


def test_speech_stands_behind_its_lead_in_silence() -> None:
    samples = padded(loud(1.0), WINDOW)
    assert samples.shape == (6 * SAMPLE_RATE,)
    assert samples.dtype == np.float32
    assert list(np.flatnonzero(np.diff(samples)) + 1) == [4_800, 20_800]
    assert samples[0] == 0.0


def test_the_pad_makes_the_window_longer_than_the_minimum() -> None:
    samples = padded(loud(5.0), WINDOW)
    assert len(samples) == 9 * SAMPLE_RATE
    assert not samples[-3 * SAMPLE_RATE :].any()


def test_speech_of_28_s_keeps_every_sample() -> None:
    assert np.count_nonzero(padded(loud(28.0), WINDOW)) == 28 * SAMPLE_RATE


def test_what_does_not_fit_is_cut_off_at_the_end() -> None:
    samples = padded(loud(31.0), WINDOW)
    assert len(samples) == 30 * SAMPLE_RATE
    assert np.count_nonzero(samples) == round(29.7 * SAMPLE_RATE)


@settings(max_examples=examples(20), deadline=None)
@given(windows, st.floats(0.0, 35.0))
def test_a_frame_holds_the_speech_once_and_else_silence(window: Window, speech_s: float) -> None:
    speech = loud(speech_s)
    speech *= np.arange(1, len(speech) + 1)
    samples = padded(speech, window)
    lead = round(window.lead_s * SAMPLE_RATE)
    assert len(samples) == window_s(window, len(speech) / SAMPLE_RATE) * SAMPLE_RATE
    kept = samples[lead : lead + len(speech)]
    assert (kept == speech[: len(kept)]).all()
    assert np.count_nonzero(samples) == len(kept)


def test_the_last_states_of_silence_are_appended() -> None:
    appended = SILENCE.append_to(heard(300), WINDOW)
    assert places(appended) == [-1] * 300 + list(range(1000, 1500))


def test_a_stride_appends_only_every_nth_state() -> None:
    window = Window(0.3, 3.0, 6.0, tail_states=6, tail_stride=2)
    assert places(SILENCE.append_to(heard(2), window)) == [-1, -1, 1494, 1496, 1498]


def test_a_long_tail_begins_where_the_window_ends() -> None:
    window = Window(0.3, 3.0, 6.0, tail_states=1500)
    assert places(SILENCE.append_to(heard(300), window)) == [-1] * 300 + list(range(300, 1500))


def test_all_windows_with_the_whole_tail_are_of_one_length() -> None:
    window = Window(0.3, 3.0, 6.0, tail_states=1500)
    assert {len(SILENCE.append_to(heard(50 * s), window)) for s in range(6, 31)} == {1500}


def test_nothing_follows_the_full_window() -> None:
    assert places(SILENCE.append_to(heard(1500), WINDOW)) == [-1] * 1500


def test_a_tail_of_nothing_leaves_the_states_alone() -> None:
    window = Window(0.3, 3.0, 6.0, tail_states=0)
    assert places(SILENCE.append_to(heard(300), window)) == [-1] * 300


@given(windows, st.integers(50, 1500))
def test_with_the_tail_there_are_never_more_states_than_in_the_full_window(
    window: Window, states: int
) -> None:
    appended = places(SILENCE.append_to(heard(states), window))
    assert appended[:states] == [-1] * states
    tail = appended[states:]
    assert len(appended) <= 1500
    assert tail == sorted(tail)
    assert all(place >= max(states, 1500 - window.tail_states) for place in tail)


@dataclass
class Encoder:
    """A network that only encodes."""

    n_mels: int = 80
    asked: list[Floats] = field(default_factory=list)

    def encode(self, features: Any, to_cpu: bool) -> Floats:
        assert to_cpu
        frames = np.array(features)
        self.asked.append(frames[0])
        return frames.swapaxes(1, 2)[:, ::2]


def test_silence_is_encoded_once_over_the_full_window() -> None:
    network = Encoder()
    model = LoadedModel("toy", network, LogMel(80), whisper_tokenizer("en"), None)
    silence = model.encode_silence(-0.7)
    (frames,) = network.asked
    assert frames.shape == (80, 3000)
    assert frames.dtype == np.float32
    assert np.unique(frames).tolist() == [np.float32(-0.7)]
    assert silence.states.shape == (1500, 80)


@dataclass
class CrowdedNetwork:
    """Counts how many threads encode at once; `meet`: each waits for a second one."""

    n_mels: int = 80
    meet: Barrier | None = None
    inside: int = 0
    most: int = 0
    lock: Any = field(default_factory=Lock)

    def encode(self, frames: Any, to_cpu: bool) -> Floats:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        if self.meet is not None:
            self.meet.wait(60)
        with self.lock:
            self.inside -= 1
        return np.zeros((1, 1500, 1), np.float32)


def encode_on_two_threads(network: CrowdedNetwork, speech_s: float, calibrated: bool) -> None:
    known = Calibrated(replace(UNCALIBRATED, first=WINDOW), SILENCE.states) if calibrated else None
    tokenizer = whisper_tokenizer("en")
    model = LoadedModel("fake", cast(Any, network), LogMel(80), tokenizer, known)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: model.states(loud(speech_s), WINDOW), range(8)))


def test_long_windows_are_encoded_one_at_a_time() -> None:
    network = CrowdedNetwork()
    encode_on_two_threads(network, 28.0, calibrated=True)
    assert network.most == 1


@pytest.mark.parametrize(("speech_s", "calibrated"), [(3.0, True), (28.0, False)])
def test_commands_and_models_without_calibration_are_encoded_at_once(
    speech_s: float, calibrated: bool
) -> None:
    network = CrowdedNetwork(meet=Barrier(2))
    encode_on_two_threads(network, speech_s, calibrated)
    assert network.most == 2
