"""The benchmark of the faults: what counts as what, its proxy, its page, and a short run of it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import BEGIN, DOCUMENT, END, FAULTS, fault_table
from benchmarks.faults.house import Hits
from benchmarks.faults.ledger import Heard, Ledger, Recording, Spoken
from benchmarks.report import RESULTS
from tools import mqtt_frames
from tools.brokers import needs_mosquitto
from tools.proxy import Duplicated, Proxy, Swapped, topic_of

ROOT = Path(__file__).parents[2]
ONE = mqtt_frames.publish("one", b"x", 1)
OTHER = mqtt_frames.publish("other", b"y" * 200, 2)
UNCONFIRMED = mqtt_frames.publish("other", b"z")
PING = b"\xc0\x00"


@pytest.fixture
def echo() -> Iterator[int]:
    """A port where everything comes back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                while data := sock.recv(65536):
                    sock.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def test_a_message_with_qos_1_comes_twice_and_no_other() -> None:
    alter = Duplicated()
    first, second = alter.push(OTHER)
    assert (first, second[1:], second[0]) == (OTHER, OTHER[1:], OTHER[0] | 8)
    assert alter.push(UNCONFIRMED) == [UNCONFIRMED]
    assert alter.push(PING) == [PING]


def test_neighbours_change_places_unless_they_have_one_topic() -> None:
    alter = Swapped()
    assert alter.push(ONE) == []
    assert alter.push(OTHER) == [OTHER, ONE]
    assert [alter.push(packet) for packet in (OTHER, UNCONFIRMED)] == [[], [OTHER, UNCONFIRMED]]
    assert [alter.push(packet) for packet in (ONE, PING)] == [[], [ONE, PING]]
    assert alter.push(ONE) == []
    assert (alter.flush(), alter.flush()) == ([ONE], [])
    assert (topic_of(OTHER), topic_of(PING)) == (b"other", None)


def test_the_proxy_alters_whole_packets_however_they_are_cut(echo: int) -> None:
    sent = ONE + OTHER + PING
    with (
        closing(Proxy(echo)) as line,
        socket.create_connection((line.host, line.port), 60) as sock,
    ):
        line.alter = Duplicated
        line.piece_bytes = 1
        sock.sendall(sent[:5])
        sock.sendall(sent[5:])
        data = b""
        # Twice on the way there, and each of them twice on the way back.
        whole = 4 * (len(ONE) + len(OTHER)) + len(PING)
        while len(data) < whole:
            data += sock.recv(65536)
    assert len(data) == whole


def test_what_was_silenced_stays_open_and_silent(echo: int) -> None:
    with (
        closing(Proxy(echo)) as line,
        socket.create_connection((line.host, line.port), 60) as sock,
    ):
        sock.sendall(PING)
        assert sock.recv(10) == PING
        line.silence()
        line.accept()
        sock.sendall(PING)
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(10)


def answer(number: int, *, text: str = "", repeated: bool = False, **more: bool) -> Heard:
    payload = json.dumps({"ts": number}).encode()
    return Heard(2.0, "transcript", text, None, repeated, payload=payload, **more)


def test_an_answer_that_comes_twice_is_one_outcome_and_another_one_is_a_second() -> None:
    spoken = Spoken("kitchen", "a", Recording("Stop.", b""), 0.0, said=1, ended_at=1.5)
    spoken.answers = [answer(1, text="stop"), answer(1), answer(2, repeated=True)]
    assert (spoken.outcomes, spoken.copies, spoken.right) == (1, 1, True)
    assert spoken.latency_s == 0.5
    spoken.answers.append(answer(3))
    assert spoken.outcomes == 2


def test_after_an_incomplete_answer_the_one_to_the_whole_counts() -> None:
    ledger = Ledger()
    spoken = ledger.open("kitchen", "a", Recording("Stop it.", b""))
    ledger.heard("kitchen", "a", answer(1, text="Stop.", incomplete=True))
    assert spoken.settled_at is None
    ledger.heard("kitchen", "a", answer(2, text="Stop it."))
    assert (spoken.outcomes, spoken.right) == (1, True)
    assert spoken.settled_at is not None
    ledger.heard("kitchen", "b", answer(3))
    assert len(ledger.strangers) == 1


def test_whether_all_of_the_sound_arrived_is_known_by_its_length_and_its_gaps() -> None:
    spoken = Spoken("kitchen", "a", Recording("Stop.", bytes(32_000)), 0.0)
    for result, arrived in (
        ({"audio_s": 1.02, "lost_chunks": 0}, True),
        ({"audio_s": 1.02, "lost_chunks": 1}, False),
        ({"audio_s": 2.0, "lost_chunks": 0}, False),
        ({"audio_s": 1.0, "truncated": True}, False),
    ):
        payload = json.dumps(result).encode()
        spoken.answers = [Heard(2.0, "transcript", payload=payload)]
        assert spoken.arrived is arrived


def test_every_fault_has_a_name_of_its_own_and_hits_somebody_known() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.hits for fault in FAULTS} <= set(Hits)


def test_the_page_has_the_table_of_the_results() -> None:
    found = re.search(f"{BEGIN}(.*){END}", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    results = RESULTS / "faults.json"
    table = fault_table(json.loads(results.read_text())) if results.exists() else []
    assert found[1].strip().splitlines() == table


@needs_mosquitto
def test_whatever_comes_twice_is_heard_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "faults.json").read_text())["rows"]
    assert set(row["outcomes"]) <= {"text", "other words"}
    assert (row["doubled"], row["broken"]) == (0, [])
    assert row["copies"] > 0
