"""`stt-mqtt bench`: rooms that talk, numbers, and the picture."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.cli import main
from stt_mqtt.commands import bench
from stt_mqtt.commands.bench_plot import draw
from stt_mqtt.commands.bench_report import ALL, Report, Setting, rooms_table, words_table
from stt_mqtt.commands.bench_rooms import Events, Level, SimulatedRooms
from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.errors import EXIT_CONFIG, CorruptAudioError, MissingExtraError, SttMqttError
from stt_mqtt.rungs import Rung
from stt_mqtt.types import (
    AudioFormat,
    Batch,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Utterance,
    Verdict,
)
from tests.fakes import heard

RUNG = Rung("default", "tiny.en", 5, "int8")


@dataclass
class Echo:
    """Inference threads that answer as soon as anybody waits for them."""

    events: Events
    verdict: Verdict
    batches: list[Batch] = field(default_factory=list)

    def submit(self, batch: Batch) -> None:
        self.batches.append(batch)
        for index in range(len(batch.utterances)):
            self.events.verdict(batch.number, index, self.verdict)
        self.events.finished(batch.number)

    @property
    def rooms(self) -> list[str]:
        return [utterance.key.name for batch in self.batches for utterance in batch.utterances]


def benchmark_of(
    limits: LimitsConfig | None = None, verdict: Verdict | None = None
) -> tuple[SimulatedRooms, Echo]:
    events = Events()
    pool = Echo(events, verdict or heard())
    return SimulatedRooms(limits or LimitsConfig(), Capacity(1, 8), pool, events), pool


def saying(name: str) -> Utterance:
    audio = EncodedAudio(AudioFormat(), bytes(32_000))
    return Utterance(DeviceKey("bench", "nobody"), name, audio, "en", None, EndReason.STOP, 0.0)


def sayings(number: int) -> Iterator[Utterance]:
    return (saying(f"s{place}") for place in range(number))


def level(rooms: int, milliseconds: int) -> Level:
    latencies = [milliseconds / 1000 * (1 + place / 100) for place in range(101)]
    return Level(rooms, 10.1, 5.05, 50, latencies, 10.1, 200.0 + rooms)


def report(words: dict[str, Score] | None = None) -> Report:
    setting = Setting(RUNG, Parallelism(2, 1), 8, 2.0)
    levels = [level(1, 40), level(4, 90), level(8, 160), level(16, 330)]
    return Report(setting, 180.0, levels, words or {})


def test_everything_is_said_once_and_answered() -> None:
    talking, pool = benchmark_of()
    answered = [spoken.utterance.id for spoken in talking.converse(4, sayings(30))]
    assert sorted(answered) == sorted(f"s{place}" for place in range(30))
    assert set(pool.rooms) == {"room-1", "room-2", "room-3", "room-4"}


def test_a_room_waits_for_its_answer_before_it_says_more() -> None:
    talking, pool = benchmark_of()
    waiting: Counter[str] = Counter()
    for spoken in talking.converse(4, sayings(60)):
        asked = Counter(pool.rooms)
        waiting[spoken.utterance.key.name] += 1
        assert all(asked[room] - waiting[room] in {0, 1} for room in asked)


def test_what_waits_is_transcribed_together() -> None:
    talking, pool = benchmark_of()
    assert len(list(talking.converse(8, sayings(100)))) == 100
    assert max(len(batch.utterances) for batch in pool.batches) > 4


def test_fewer_sayings_than_rooms_leave_rooms_silent() -> None:
    talking, _ = benchmark_of()
    assert len(list(talking.converse(16, sayings(3)))) == 3
    assert list(talking.converse(16, sayings(0))) == []


def test_no_limit_of_the_service_refuses_a_room() -> None:
    limits = LimitsConfig(max_queued=1, max_queued_audio_s=1.0, max_queue_age_s=0.1)
    talking, _ = benchmark_of(limits)
    assert len(list(talking.converse(16, sayings(64)))) == 64


def test_an_utterance_that_fails_ends_the_bench_with_its_name() -> None:
    talking, _ = benchmark_of(verdict=CorruptAudioError("no audio"))
    with pytest.raises(SttMqttError, match="s0: corrupt_audio: no audio"):
        list(talking.converse(1, sayings(1)))


def test_rooms_talk_for_their_time_and_until_each_was_heard_in_the_mean() -> None:
    talking, _ = benchmark_of()
    told: list[float] = []
    talked = Level(8)
    talking.talk(talked, 1e-9, [saying("a"), saying("b")], told.append)
    assert talked.utterances == 8 == len(told)
    assert talked.seconds == told[-1] > 0
    assert talked.work_s_each == pytest.approx(0.08)
    assert 1 <= talked.batch_size <= 8
    assert talked.cpu_s_each > 0
    assert talked.peak_mb > 10
    assert talked.latency_s(95) >= talked.latency_s(50) > 0


def test_a_level_starts_from_nothing_after_the_one_before() -> None:
    talking, _ = benchmark_of()
    before, after = Level(16), Level(1)
    for one in (before, after):
        talking.talk(one, 0.02, [saying("a")], lambda _: None)
    assert after.seconds >= 0.02
    assert after.batch_size == 1.0


def test_a_level_knows_its_rates() -> None:
    one = level(4, 100)
    assert [one.per_s, one.batch_size] == pytest.approx([10.0, 2.02])
    assert [one.cpu_s_each, one.work_s_each] == pytest.approx([0.05, 0.1])
    assert [one.latency_s(50), one.latency_s(95)] == pytest.approx([0.15, 0.195])


def test_the_tables_show_rooms_and_words() -> None:
    output = io.StringIO()
    console = Console(file=output, width=132)
    words = {"home": Score(1, 8, 3, 4), ALL: Score(2, 10, 3, 5)}
    found = report(words)
    console.print(rooms_table(found.levels), words_table(found.words))
    rows = [line.split() for line in output.getvalue().splitlines()]
    assert ["1", "10.0", "60", "78", "50", "100", "2.0", "201"] in rows
    assert ["16", "10.0", "495", "644", "50", "100", "2.0", "216"] in rows
    assert ["home", "4", "12.5", "75.0"] in rows
    assert ["all", "5", "20.0", "60.0"] in rows


def test_a_setting_says_what_was_measured() -> None:
    assert str(report().setting) == (
        "tiny.en, int8, beam 5; 2 workers of 1 thread, batches of up to 8; 2 cores"
    )


def test_the_json_has_everything() -> None:
    data = json.loads(json.dumps(report({ALL: Score(2, 10, 3, 5)}).as_json()))
    assert data["memory_start_mb"] == 180.0
    assert data["memory_peak_mb"] == 216.0
    assert [row["rooms"] for row in data["rooms"]] == [1, 4, 8, 16]
    assert data["rooms"][0]["latency_p50_s"] == 0.06
    assert data["words"] == {"all": {"clips": 5, "wer": 0.2, "exact": 0.6}}


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    file = tmp_path / "bench.picture"
    draw(report(), file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") > 1000


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"'stt-mqtt\[bench\]'"):
        draw(report(), tmp_path / "bench.png")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9", "many"])
def test_an_impossible_time_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--seconds", seconds])


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "bench.png"
    assert main(["bench", "--plot", str(file)]) == EXIT_CONFIG
    assert f"{file}: the folder is missing" in capsys.readouterr().err


def test_a_real_engine_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ROOMS", (1, 4))
    manifest = tmp_path / "clips.jsonl"
    lines = [{"path": one.file, "text": one.text, "corpus": one.room} for one in SAMPLES[2:4]]
    lines += [{"path": "short", "text": "Oh."}, {"path": "missing", "text": "Oh.", "lang": "cy"}]
    (tmp_path / "short").write_bytes(wav_bytes(bytes(1000), 16_000))
    for one in SAMPLES[2:4]:
        (tmp_path / one.file).write_bytes(one.read())
    manifest.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    picture = tmp_path / "bench.png"
    options = ["--manifest", str(manifest), "--seconds", "0.2", "--plot", str(picture), "--json"]
    code = main(["bench", *options])
    output = capsys.readouterr()
    assert code == 0, output.err
    data = json.loads(output.out)
    assert [row["rooms"] for row in data["rooms"]] == [1, 4]
    assert all(row["utterances"] >= row["rooms"] for row in data["rooms"])
    assert all(row["cpu_s_per_utterance"] > 0 for row in data["rooms"])
    assert {corpus: row["clips"] for corpus, row in data["words"].items()} == {
        "kitchen": 1,
        "living-room": 1,
        "all": 2,
    }
    assert data["words"]["all"]["wer"] < 0.5
    assert 0 < data["memory_start_mb"] <= data["memory_peak_mb"]
    assert picture.is_file()
