from __future__ import annotations

import errno
import json
import logging
import os
import stat
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.config import KeepAudioConfig
from stt_mqtt.errors import CorruptAudioError, ExpiredError
from stt_mqtt.observe.kept_audio import KeptAudio
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Outcome,
    OutcomeKind,
    Transcript,
    Utterance,
)

TIMEOUT_S = 60.0
NOW = 1_795_000_000.0
DAY_S = 86_400.0
SECOND = (np.sin(np.arange(16_000) / 5) * 20_000).astype("<i2").tobytes()
WORDS = Transcript("Turn on the light.", "en", 0.9, 0.01)


def utterance(id: str = "a", seconds: int = 1) -> Utterance:
    audio = EncodedAudio(AudioFormat(), SECOND * seconds)
    key = DeviceKey("native", "kitchen")
    return Utterance(key, id, audio, None, None, EndReason.STOP, 0.0)


def outcome(id: str = "a", kind: OutcomeKind = OutcomeKind.TRANSCRIPT, **other: Any) -> Outcome:
    fields = {"key": DeviceKey("native", "kitchen"), "transcript": WORDS, "ts": NOW, **other}
    return Outcome(id=id, kind=kind, end=EndReason.STOP, **fields)


@dataclass
class Bench:
    """Recordings in a folder of their own. `said` is written at once, by the thread."""

    folder: Path
    decode: Callable[[EncodedAudio, float], Decoded] = decode
    at: float = NOW

    def kept(self, **config: Any) -> KeptAudio:
        chosen = KeepAudioConfig(**{"enabled": True, **config})
        return KeptAudio(chosen, self.folder, self.decode, 30.0, lambda: self.at)

    def say(self, *said: tuple[Utterance, Outcome], **config: Any) -> None:
        kept = self.kept(**config)
        kept.start()
        for one in said:
            kept.keep(*one)
        kept.close(TIMEOUT_S)

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("audio/*"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_by_default_nothing_is_kept(bench: Bench) -> None:
    assert KeepAudioConfig().enabled is False
    bench.say((utterance(), outcome()), enabled=False)
    assert list(bench.folder.iterdir()) == []


def test_the_sound_is_kept_with_what_was_heard_in_it(bench: Bench) -> None:
    bench.say((utterance(), outcome()))
    described, sound = bench.files
    assert described.stem == sound.stem
    assert sound.name.startswith("20261118T110640000Z-kitchen-")
    with wave.open(str(sound)) as recorded:
        assert recorded.getparams()[:3] == (1, 2, 16_000)
        samples = np.frombuffer(recorded.readframes(20_000), "<i2")
    assert np.abs(samples - np.frombuffer(SECOND, "<i2").astype(int)).max() < 200
    fields = json.loads(described.read_text())
    assert (fields["id"], fields["device"], fields["outcome"]) == ("a", "kitchen", "transcript")
    assert (fields["text"], fields["heard"]) == ("Turn on the light.", "Turn on the light.")
    assert fields["error"] is None


def test_an_error_is_kept_and_what_was_aborted_is_not(bench: Bench) -> None:
    expired = outcome("b", OutcomeKind.ERROR, transcript=None, error=ExpiredError("too late"))
    aborted = outcome("c", OutcomeKind.ABORTED, transcript=None)
    bench.say((utterance("b"), expired), (utterance("c"), aborted))
    described, _ = bench.files
    fields = json.loads(described.read_text())
    assert (fields["id"], fields["error"], fields["text"]) == ("b", "expired", "")


def test_only_the_user_of_the_service_can_read_it(bench: Bench) -> None:
    before = os.umask(0)
    try:
        bench.say((utterance(), outcome()))
    finally:
        os.umask(before)
    assert stat.S_IMODE((bench.folder / "audio").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in bench.files} == {0o600}


def test_the_name_of_a_device_names_no_other_folder(bench: Bench) -> None:
    strange = DeviceKey("hermes", "../../etc/passwd")
    bench.say((utterance(), outcome(key=strange)), (utterance(), outcome(key=DeviceKey("h", ""))))
    assert len(bench.files) == 4
    assert "-.._.._etc_passwd-" in bench.files[0].name


def test_another_folder_can_be_chosen(bench: Bench) -> None:
    other = bench.folder / "other" / "place"
    bench.say((utterance(), outcome()), folder=str(other))
    assert len(list(other.iterdir())) == 2


def test_recordings_are_deleted_after_their_days_also_when_switched_off(bench: Bench) -> None:
    bench.say((utterance(), outcome()))
    (bench.folder / "audio" / "mine.wav").write_text("not of this program")
    for file in bench.files:
        os.utime(file, (NOW, NOW))
    bench.at = NOW + 6.9 * DAY_S
    bench.say(enabled=False)
    assert len(bench.files) == 3
    bench.at = NOW + 7.1 * DAY_S
    bench.say(enabled=False)
    assert [file.name for file in bench.files] == ["mine.wav"]


def test_the_oldest_make_room_for_the_newest(bench: Bench) -> None:
    said = [(utterance(str(n), 10), outcome(str(n), ts=NOW + n)) for n in range(10)]
    bench.say(*said, max_mib=1)
    ids = [json.loads(file.read_text())["id"] for file in bench.files if file.suffix == ".json"]
    assert ids == ["8", "9"]
    assert sum(file.stat().st_size for file in bench.files) <= 1024 * 1024


def test_a_smaller_room_and_the_switch_apply_at_once(bench: Bench) -> None:
    kept = bench.kept()
    kept.start()
    kept.keep(utterance(seconds=30), outcome())
    kept.keep(utterance(seconds=30), outcome())
    kept.close(TIMEOUT_S)
    assert len(bench.files) == 4
    kept.reconfigure(KeepAudioConfig(enabled=False, max_mib=1))
    kept.keep(utterance(), outcome())
    kept.start()
    kept.close(TIMEOUT_S)
    assert len(bench.files) == 2


def test_audio_that_cannot_be_decoded_is_not_kept(bench: Bench) -> None:
    def fail(_audio: EncodedAudio, _max_s: float) -> Decoded:
        raise CorruptAudioError("it holds nothing")

    bench.decode = fail
    bench.say((utterance(), outcome()))
    assert bench.files == []


def test_a_full_disk_leaves_no_half_and_is_said_once_until_it_is_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    written = json.dumps
    full = [True, True, False]

    def dumps(*args: Any, **options: Any) -> str:
        if full.pop(0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(*args, **options)

    monkeypatch.setattr("stt_mqtt.observe.kept_audio.json.dumps", dumps)
    bench.say(*[(utterance(), outcome())] * 3)
    assert len(bench.files) == 2
    _, failed, again = [record.message for record in caplog.records]
    assert failed.startswith(f"utterances are not recorded in {bench.folder / 'audio'}: No space")
    assert again == "utterances are recorded again"


def test_a_defect_costs_one_recording(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    broken = [True, False]

    def once(audio: EncodedAudio, max_s: float) -> Decoded:
        if broken.pop(0):
            raise RuntimeError("a defect")
        return decode(audio, max_s)

    bench.decode = once
    bench.say(*[(utterance(), outcome())] * 2)
    assert len(bench.files) == 2
    assert "please report this" in caplog.text


def test_a_disk_that_is_too_slow_costs_recordings_and_nobody_waits(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    kept = bench.kept()
    for _ in range(40):
        kept.keep(utterance(), outcome())
    assert caplog.text.count("the disk is too slow") == 1
    kept.close(0.0)
