"""What ten seconds of a room say about the settings that suit it."""

from __future__ import annotations

import json
import os
import random
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import webrtcvad
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.audio.activity import VoiceActivity, band_power_db
from stt_mqtt.config import VadConfig, read_config
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.satellite.microphone_calibration import (
    PHASES,
    MicrophoneCalibration,
    Proposal,
    Voiced,
    is_clipped,
)
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from stt_mqtt.types import SAMPLE_RATE

SPEECH = os.environ.get("STT_MQTT_SPEECH")
needs_speech = pytest.mark.skipif(not SPEECH, reason="STT_MQTT_SPEECH names no speech data")

QUIET = round(PHASES[0].seconds / FRAME_S)
SPOKEN = round(PHASES[1].seconds / FRAME_S)
NONE: Voiced = (False, False, False, False)
ALL: Voiced = (True, True, True, True)

Heard = tuple[float, Voiced]


def room(level_dbfs: float = -60.0, spread_db: float = 0.5, voiced: Voiced = NONE) -> list[Heard]:
    """Five seconds of a room."""
    chance = random.Random(7)
    return [(chance.gauss(level_dbfs, spread_db), voiced) for _ in range(QUIET)]


def sentence(
    level_dbfs: float = -30.0, room_dbfs: float = -60.0, voiced: Voiced = ALL
) -> list[Heard]:
    """Five seconds in which two are spoken, in words."""
    word, pause = [(level_dbfs, voiced)] * 10, [(room_dbfs, NONE)] * 5
    return ([(room_dbfs, NONE)] * 30 + (word + pause) * 7 + [(room_dbfs, NONE)] * SPOKEN)[:SPOKEN]


def calibrated(quiet: Iterable[Heard], spoken: Iterable[Heard], clipped: int = 0) -> Proposal:
    calibration = MicrophoneCalibration()
    for number, (level_dbfs, voiced) in enumerate([*quiet, *spoken]):
        calibration.push(level_dbfs, voiced, clipped=number < clipped)
    return calibration.propose()


def loaded(proposal: Proposal) -> VadConfig:
    return read_config(proposal.yaml, "stt-mqtt.yaml", {}).satellite.vad


def test_the_phases_follow_each_other_and_then_nothing_more_is_heard() -> None:
    calibration = MicrophoneCalibration()
    phases = []
    for level_dbfs, voiced in [*room(), *sentence()]:
        phases.append(calibration.phase)
        calibration.push(level_dbfs, voiced, clipped=False)
    assert phases == [0] * QUIET + [1] * SPOKEN
    assert calibration.phase is None
    before = calibration.propose()
    calibration.push(0.0, ALL, clipped=True)
    assert calibration.propose() == before


def test_an_ordinary_room_gets_the_usual_settings_and_no_complaint() -> None:
    proposal = calibrated(room(), sentence())
    assert proposal.usable
    assert proposal.findings == ()
    assert proposal.room_dbfs == pytest.approx(-60, abs=1.5)
    assert proposal.speech_dbfs == -30.0
    assert not proposal.auto_gain
    assert loaded(proposal) == VadConfig()
    assert proposal.yaml == (
        "satellite:\n  vad:\n    aggressiveness: 2\n    begin_db: 9\n    go_on_db: 5\n"
    )


def test_a_lively_room_gets_a_higher_threshold() -> None:
    lively = [(-50.0 if number % 8 == 0 else -60.0, NONE) for number in range(QUIET)]
    proposal = calibrated(lively, sentence())
    assert 11 <= proposal.begin_db <= 13
    assert proposal.go_on_db == proposal.begin_db - 4


def test_single_clicks_do_not_make_a_room_lively() -> None:
    clicks = [(-30.0 if number % 50 == 0 else -60.0, NONE) for number in range(QUIET)]
    assert calibrated(clicks, sentence()).begin_db == 9


def test_what_the_sound_card_does_at_first_says_nothing() -> None:
    settling = [(-20.0, ALL)] * 25 + room()[25:]
    assert loaded(calibrated(settling, sentence())) == VadConfig()


def test_who_is_hardly_louder_than_the_room_gets_a_lower_threshold_and_is_told() -> None:
    proposal = calibrated(room(), sentence(level_dbfs=-49.0))
    assert proposal.begin_db < 7
    (finding,) = (text for text in proposal.findings if "louder than the room" in text)
    assert "closer" in finding


@pytest.mark.parametrize(
    ("in_room", "mode"),
    [(NONE, 2), (ALL, 2), ((True, True, True, False), 3), ((True, False, False, False), 2)],
)
def test_the_detector_with_the_fewest_false_voices_is_chosen_else_the_usual(
    in_room: Voiced, mode: int
) -> None:
    noisy = [(-45.0 if number % 5 == 0 else -60.0, in_room) for number in range(QUIET)]
    assert calibrated(noisy, sentence(level_dbfs=-36.0)).aggressiveness == mode


def test_a_detector_that_misses_the_speech_is_not_chosen() -> None:
    lax: Voiced = (True, True, True, False)
    noisy = [(-45.0 if number % 5 == 0 else -60.0, lax) for number in range(QUIET)]
    assert calibrated(noisy, sentence(level_dbfs=-36.0, voiced=lax)).aggressiveness == 2


def test_quiet_speech_is_amplified() -> None:
    proposal = calibrated(room(-75.0), sentence(level_dbfs=-52.0, room_dbfs=-75.0))
    assert proposal.auto_gain
    assert proposal.max_gain_db == 27
    assert any("recording level" in text for text in proposal.findings)
    cleanup = read_config(proposal.yaml, "stt-mqtt.yaml", {}).satellite.cleanup
    assert cleanup.auto_gain
    assert cleanup.max_gain_db == 27


def test_a_microphone_that_is_overdriven_is_told() -> None:
    assert calibrated(room(), sentence(), clipped=2).findings == ()
    (finding,) = calibrated(room(), sentence(), clipped=3).findings
    assert "overdriven" in finding


@pytest.mark.parametrize("level_dbfs", [-120.0, -90.0])
def test_a_dead_microphone_is_told_and_nothing_is_proposed(level_dbfs: float) -> None:
    proposal = calibrated([(level_dbfs, NONE)] * QUIET, [(level_dbfs, NONE)] * SPOKEN)
    assert not proposal.usable
    (finding,) = proposal.findings
    assert "muted" in finding
    assert "--list-devices" in finding


def test_a_room_in_which_nobody_speaks_is_told() -> None:
    proposal = calibrated(room(), room())
    assert proposal.speech_dbfs is None
    (finding,) = proposal.findings
    assert "Nobody was heard" in finding
    assert loaded(proposal) == VadConfig()


def test_who_speaks_when_it_should_be_quiet_is_told() -> None:
    proposal = calibrated(sentence(), sentence())
    assert any("should have been quiet" in text for text in proposal.findings)


def test_nothing_heard_yet_is_no_proposal() -> None:
    assert not MicrophoneCalibration().propose().usable


@given(
    st.lists(
        st.tuples(st.floats(-120, 0), st.tuples(*[st.booleans()] * 4), st.booleans()), max_size=40
    ),
    st.integers(1, 12),
)
def test_whatever_is_heard_the_snippet_can_be_loaded(
    frames: list[tuple[float, Voiced, bool]], times: int
) -> None:
    calibration = MicrophoneCalibration()
    for frame in frames * times:
        calibration.push(*frame)
    proposal = calibration.propose()
    vad = loaded(proposal)
    assert (vad.begin_db, vad.go_on_db) == (proposal.begin_db, proposal.go_on_db)
    assert vad.aggressiveness == proposal.aggressiveness


@pytest.mark.parametrize(
    ("samples", "clipped"),
    [
        ([0] * 480, False),
        ([32766] * 480, False),
        ([32767] + [0] * 479, False),
        ([32767, -32768] + [0] * 478, True),
    ],
)
def test_two_samples_at_full_scale_are_clipping(samples: list[int], clipped: bool) -> None:
    assert is_clipped(np.array(samples, "<i2").tobytes()) is clipped


def frames_of(samples: npt.NDArray[np.float64]) -> list[bytes]:
    pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def recorded(path: Path) -> npt.NDArray[np.float64]:
    with wave.open(str(path)) as file:
        assert file.getframerate() == SAMPLE_RATE
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)


def at_level(samples: npt.NDArray[np.float64], dbfs: float) -> npt.NDArray[np.float64]:
    """Samples with a root mean square so far below full scale."""
    gain = 32768 * 10 ** (dbfs / 20) / float(np.sqrt(np.mean(np.square(samples))))
    return samples * gain


def begins(frames: Iterable[bytes], config: VadConfig) -> int:
    """Frames in which an utterance could begin."""
    activity = VoiceActivity(config)
    return sum(activity.process(frame).begins for frame in frames)


@needs_speech
def test_in_real_rooms_less_noise_is_taken_for_speech_and_speech_still_is() -> None:
    folder = Path(SPEECH or "")
    lines = (folder / "noise_manifest.jsonl").read_text(encoding="utf-8").splitlines()
    false = {"usual": 0, "proposed": 0}
    missed = {"usual": 0, "proposed": 0}
    for number, entry in enumerate(map(json.loads, lines[::3])):
        said = np.frombuffer(SAMPLES[number % len(SAMPLES)].pcm(), "<i2").astype(np.float64)
        noise = np.resize(at_level(recorded(folder / entry["path"]), -50), 10 * SAMPLE_RATE + 960)
        spoken = noise.copy()
        spoken[6 * SAMPLE_RATE :][: len(said)] += at_level(said, -28)[: 4 * SAMPLE_RATE]
        detectors = [webrtcvad.Vad(mode) for mode in range(4)]
        calibration = MicrophoneCalibration()
        for frame in frames_of(spoken):
            one, two, three, four = (
                detector.is_speech(frame, SAMPLE_RATE) for detector in detectors
            )
            calibration.push(band_power_db(frame), (one, two, three, four), is_clipped(frame))
        proposal = calibration.propose()
        assert proposal.usable
        for name, config in (("usual", VadConfig()), ("proposed", loaded(proposal))):
            noisy, both = (begins(frames_of(heard), config) for heard in (noise, spoken))
            false[name] += noisy
            missed[name] += both - noisy < 15
    assert false["proposed"] < false["usual"] / 2
    assert missed["proposed"] <= missed["usual"]
