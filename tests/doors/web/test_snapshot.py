from __future__ import annotations

import json
from typing import Any

from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.web.snapshot import MAX_CLIENTS, MAX_ROOMS, MAX_WORKERS, snapshot
from stt_mqtt.doors.web.status_board import MAX_TEXT, StatusBoard
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.mqtt.json import encode
from stt_mqtt.types import DeviceKey, InferenceResult, Transcript, UtteranceStart
from tests.doors.web.status_bench import StatusBench
from tests.fleets import WORKER, fleet_of, worker


class Bench(StatusBench):
    """A service whose status is looked at without a browser."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.changes = 0
        self.board = StatusBoard(self.parts, self._changed, lambda: 2)

    @property
    def now(self) -> Any:
        """The snapshot, as a browser gets it."""
        return json.loads(encode(snapshot(self.board)))

    def room(self, name: str = "kitchen") -> Any:
        (found,) = (room for room in self.now["rooms"] if room["name"] == name)
        return found

    def _changed(self) -> None:
        self.changes += 1


def test_a_room_shows_its_state_from_the_first_chunk_to_the_answer() -> None:
    bench = Bench()
    assert bench.now["rooms"] == []
    bench.send("stt/kitchen/audio/start")
    assert bench.room()["state"] == "listening"
    bench.send("stt/kitchen/audio", bytes(32_000))
    bench.send("stt/kitchen/audio/stop")
    assert bench.room()["state"] == "transcribing"
    bench.clock.advance(0.25)
    bench.answer()
    room = bench.room()
    assert (room["state"], room["utterances"], room["errors"]) == ("idle", 1, 0)
    assert (room["last"]["outcome"], room["last"]["latency_s"]) == ("transcript", 0.25)
    assert bench.changes >= 3


def test_words_are_neither_shown_nor_kept_by_default() -> None:
    bench = Bench()
    bench.says("My secret is 1234.")
    assert bench.room()["last"]["text"] is None
    assert "1234" not in encode(snapshot(bench.board)).decode()
    assert "1234" not in repr(bench.board.rooms)


def test_words_are_shown_where_the_configuration_says_so_and_are_bounded() -> None:
    bench = Bench(show_text=True)
    bench.says("Open the blinds.")
    assert bench.now["show_text"] is True
    assert bench.room()["last"]["text"] == "Open the blinds."
    bench.says("x" * 10_000)
    assert len(bench.room()["last"]["text"]) == MAX_TEXT


def test_an_error_is_shown_in_its_room_and_among_the_last_errors() -> None:
    bench = Bench()
    bench.send("stt/attic/audio/start", b'{"codec": "mp3"}')
    room = bench.room("attic")
    assert room["last"]["error"]["code"] == "unsupported_format"
    assert room["errors"] == 1
    (error,) = bench.now["errors"]
    assert (error["kind"], error["device"], error["count"]) == ("unsupported_format", "attic", 1)
    assert error["what_to_do"]


def test_a_repeated_answer_is_not_counted_again() -> None:
    bench = Bench()
    for _ in range(2):
        bench.send("stt/kitchen/audio/start", b'{"id": "one"}')
        bench.send("stt/kitchen/audio", bytes(32_000))
        bench.send("stt/kitchen/audio/stop")
        if bench.pool.submitted:
            bench.answer()
    assert bench.results()[-1]["repeated"] is True
    assert bench.room()["utterances"] == 1
    assert bench.now["history"]["hour"]["utterances"] == 1


def test_a_weak_microphone_is_named_with_its_reason() -> None:
    bench = Bench()
    levels = Levels(-30, -42, 0.0)
    for _ in range(3):
        bench.send("stt/kitchen/utterance", bytes(32_000))
        result = InferenceResult(1.0, Transcript("Hello.", "en", 0.9, 0.0), levels=levels)
        bench.pool.answer(bench.service, result)
    microphone = bench.room()["microphone"]
    assert microphone["word"] == "weak"
    assert microphone["snr_db"] == 12.0
    (reason,) = microphone["reasons"]
    assert (reason["kind"], reason["word"]) == ("noise", "weak")
    assert reason["sentence"].startswith("Speech is only 12 dB above the background")


def test_a_device_that_goes_offline_is_noted_at_the_next_sample() -> None:
    bench = Bench()
    for _ in range(3):
        bench.send("stt/kitchen/availability", b"online")
        bench.send("stt/kitchen/availability", b"offline")
    # It was offline before: this is no news.
    bench.send("stt/kitchen/availability", b"offline")
    bench.board.sample()
    bench.board.sample()
    (reason,) = bench.room()["microphone"]["reasons"]
    assert reason["sentence"].startswith("It went offline 3 times")


def test_who_closes_the_page_of_a_browser_has_no_weak_microphone() -> None:
    bench = Bench()
    for _ in range(5):
        bench.send("stt/tablet/satellite/state", b'{"model": "web browser"}')
        bench.send("stt/tablet/availability", b"online")
    bench.board.sample()
    assert bench.room("tablet")["microphone"]["reasons"] == []


def test_a_device_that_is_switched_off_says_so() -> None:
    bench = Bench()
    bench.send("stt/kitchen/set", b'{"enabled": false}')
    assert bench.room()["enabled"] is False


def test_a_forgotten_device_disappears_with_all_that_was_known_of_it() -> None:
    bench = Bench()
    bench.says()
    bench.service.registry.forget(DeviceKey("native", "kitchen"))
    assert bench.now["rooms"] == []


def test_connections_of_an_address_are_one_room_that_outlives_them() -> None:
    bench = Bench()
    bench.service.attach("wyoming", bench.door)
    for number in ("1", "2"):
        key = DeviceKey("wyoming", "192.168.1.5", number)
        bench.service.start(key, UtteranceStart())
        bench.service.chunk(key, bytes(32_000), None, None)
    room = bench.room("192.168.1.5")
    assert (room["door"], room["state"]) == ("wyoming", "listening")
    for number in ("1", "2"):
        bench.service.leave(DeviceKey("wyoming", "192.168.1.5", number))
    room = bench.room("192.168.1.5")
    assert (room["utterances"], room["last"]["outcome"]) == (2, "aborted")


def test_the_load_and_what_was_dropped_are_sampled() -> None:
    bench = Bench()
    bench.send("stt/not a device/audio", b"x")
    bench.drops = {"inbox_full": 4}
    bench.board.sample()
    found = bench.now
    assert {error["kind"]: error["count"] for error in found["errors"]} == {
        "bad_name": 1,
        "inbox_full": 4,
    }
    assert found["history"]["rung"][-1] == "default"
    assert found["now"]["rung"]["model"] == "tiny.en"
    assert found["now"]["queue"] == {"jobs": 0, "audio_s": 0.0, "oldest_s": 0.0}


def test_the_last_hour_has_a_column_for_each_plot() -> None:
    bench = Bench()
    bench.says()
    bench.says("")
    history = bench.now["history"]
    columns = {name: values for name, values in history.items() if isinstance(values, list)}
    assert set(columns) == {
        "transcripts", "silent", "aborted", "errors", "p50_s", "p95_s", "cpu", "jobs", "rung",
    }  # fmt: skip
    assert {len(values) for values in columns.values()} == {60}
    assert (history["transcripts"][-1], history["silent"][-1]) == (1, 1)
    assert history["hour"] == {"utterances": 2, "p50_s": 0.0, "p95_s": 0.0}


def test_starts_that_are_refused_and_utterances_that_are_cancelled_count_by_themselves() -> None:
    bench = Bench()
    bench.send("stt/kitchen/audio/start", b'{"id": "a"}')
    bench.send("stt/kitchen/audio/abort")
    bench.send("stt/kitchen/set", b'{"enabled": false}')
    for number in range(3):
        bench.send("stt/kitchen/audio/start", json.dumps({"id": f"refused {number}"}).encode())
    history = bench.now["history"]
    assert (history["silent"][-1], history["aborted"][-1], history["errors"][-1]) == (0, 1, 3)
    assert history["hour"]["utterances"] == 1
    assert (bench.room()["utterances"], bench.room()["errors"]) == (1, 3)


def test_a_clock_that_is_set_later_does_not_age_what_was_heard() -> None:
    bench = Bench()
    bench.clock.epoch_s = 100.0
    bench.says()
    bench.send("stt/attic/audio/start", b'{"codec": "mp3"}')
    bench.drops = {"inbox_full": 4}
    bench.board.sample()
    bench.clock.advance(5.0)
    bench.clock.epoch_s = 1_800_000_000.0
    found = bench.now
    assert found["started"] == found["ts"] - 5.0 == 1_799_999_995.0
    assert {error["ts"] for error in found["errors"]} == {found["started"]}
    assert [room["last"]["ts"] for room in found["rooms"]] == [found["started"]] * 2
    assert [room["seen"] for room in found["rooms"]] == [found["started"]] * 2


def test_speech_that_was_stored_says_when_it_was_said() -> None:
    bench = Bench()
    bench.send("stt/kitchen/audio/start", b'{"age_ms": 5000}')
    bench.send("stt/kitchen/audio", bytes(32_000))
    bench.send("stt/kitchen/audio/stop")
    bench.answer()
    assert bench.room()["last"]["ts"] == bench.now["ts"] - 5.0


def test_a_clock_that_was_ahead_makes_no_room_seen_in_the_future() -> None:
    bench = Bench()
    bench.send("stt/kitchen/set", b"{}")
    bench.clock.epoch_s -= 3600.0
    assert bench.room()["seen"] == bench.now["ts"]


def test_the_doors_say_what_is_wrong_and_who_is_connected() -> None:
    bench = Bench()
    many = tuple(f"client-{number}" for number in range(MAX_CLIENTS + 3))
    bench.doors = [
        DoorFacts("MQTT", "broker:1883", problem="connection refused. Start the broker."),
        DoorFacts("Wyoming", "tcp://0.0.0.0:10300", clients=many),
        DoorFacts("Hermes", "the broker", on=False),
    ]
    mqtt, wyoming, hermes, pages = bench.now["doors"]
    assert mqtt["problem"] == "connection refused. Start the broker."
    assert (wyoming["connected"], len(wyoming["clients"])) == (MAX_CLIENTS + 3, MAX_CLIENTS)
    assert (hermes["on"], hermes["connected"]) == (False, None)
    assert pages["clients"] == ["(status page)", "(status page)"]


def test_the_service_says_whether_it_can_transcribe() -> None:
    bench = Bench()
    assert bench.now["state"] == "serving"
    bench.service.scheduler.workers = 0
    assert bench.now["state"] == "loading"
    bench.service.attach_pool(bench.pool, Capacity(1, 1))
    bench.send("stt/kitchen/utterance", bytes(32_000))
    bench.clock.advance(bench.service.config.limits.inference_timeout_s + 1)
    bench.service.tick()
    assert bench.now["state"] == "hanging"


def test_versions_name_the_models_and_the_libraries() -> None:
    versions = {one["name"]: one["version"] for one in Bench().now["versions"]}
    assert versions["model default"] == "tiny.en, int8"
    assert {"stt-mqtt", "Python", "ctranslate2", "aiohttp"} <= set(versions)


def test_the_phrase_book_is_shown_as_the_application_tells_it() -> None:
    bench = Bench()
    assert bench.now["phrases"] is None
    bench.phrases = {"sentences": 12}
    assert bench.now["phrases"] == {"sentences": 12}


def test_the_rooms_of_a_snapshot_are_bounded_to_those_that_were_heard_last() -> None:
    bench = Bench()
    for number in range(MAX_ROOMS + 5):
        bench.says(device=f"room-{number}")
        bench.clock.advance(1)
    found = bench.now
    assert (len(found["rooms"]), found["hidden_rooms"]) == (MAX_ROOMS, 5)
    assert "room-4" not in {room["name"] for room in found["rooms"]}


def test_the_rooms_that_are_remembered_are_bounded() -> None:
    bench = Bench(limits={"max_devices": 3})
    bench.service.attach("wyoming", bench.door)
    for number in range(10):
        key = DeviceKey("wyoming", f"10.0.0.{number}", "1")
        bench.service.start(key, UtteranceStart())
        bench.service.leave(key)
    assert len(bench.board.rooms) == 3


def test_a_hint_is_shown_as_its_sentence() -> None:
    bench = Bench()
    bench.send("stt/kitchen/utterance", bytes(32_000))
    bench.pool.answer(bench.service, InferenceResult(1.0, hint=Hint.CLIPPING))
    assert bench.room()["last"]["hint"] == Hint.CLIPPING.sentence


def test_without_a_fleet_nothing_is_said_of_one() -> None:
    assert "fleet" not in Bench().now


def test_a_fleet_is_shown_with_its_workers() -> None:
    bench = Bench(fleet={"role": "both"})
    bench.fleet = fleet_of(WORKER, worker("attic", threads=0, busy=0, cost=0.0), late=2)
    fleet = bench.now["fleet"]
    workers = fleet.pop("workers")
    assert fleet == {
        "name": "home",
        "role": "both",
        "node": "hall",
        "leads": True,
        "problem": None,
        "gateways": ["hall"],
        "in_flight": 1,
        "late": 2,
        "again": 0,
        "threads": 4,
        "busy": 1,
        "hidden_workers": 0,
    }
    assert [one["name"] for one in workers] == ["cellar", "attic"]
    assert workers[0] == {
        "name": "cellar",
        "threads": 4,
        "busy": 1,
        "model": "small.en",
        "rung": "default",
        "cost": 0.125,
        "done": 812,
        "failed": 0,
        "leaving": False,
    }
    assert bench.now["state"] == "serving"


def test_a_large_fleet_is_cut() -> None:
    bench = Bench(fleet={"role": "gateway"})
    names = [f"worker-{number:03}" for number in range(MAX_WORKERS + 5)]
    bench.fleet = fleet_of(*map(worker, names))
    fleet = bench.now["fleet"]
    assert [one["name"] for one in fleet["workers"]] == names[:MAX_WORKERS]
    assert fleet["hidden_workers"] == 5
    assert fleet["threads"] == 4 * len(names)


def test_a_gateway_serves_if_a_worker_does_and_shows_no_model_of_its_own() -> None:
    bench = Bench(fleet={"role": "gateway"})
    bench.fleet = fleet_of()
    assert bench.now["state"] == "alone"
    assert bench.now["fleet"]["problem"] == "No worker of the fleet is there."
    bench.fleet = fleet_of(WORKER)
    assert bench.now["state"] == "serving"
    assert bench.now["now"]["rung"] is None
    assert not any(one["name"].startswith("model ") for one in bench.now["versions"])


def test_a_service_that_is_not_yet_in_its_fleet_says_nothing_of_it() -> None:
    bench = Bench(fleet={"role": "gateway"})
    assert "fleet" not in bench.now
    assert bench.now["state"] == "loading"
