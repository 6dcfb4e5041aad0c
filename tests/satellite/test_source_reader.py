"""The thread of the source: a microphone that has gone is opened again. And the mailbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from stt_mqtt.errors import ConfigError, SttMqttError
from stt_mqtt.satellite import source_reader
from stt_mqtt.satellite.microphone import MicrophoneError
from stt_mqtt.satellite.source_reader import MAX_CALLS, MAX_FRAMES, Mailbox, SourceReader
from stt_mqtt.satellite.sources import AudioSource
from tools.brokers import eventually

GONE = MicrophoneError("'USB' gives no audio any more; was it unplugged?")
NONE = MicrophoneError("There is no microphone.")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_reader, "REOPEN_S", 0.001)


@dataclass
class FakeSource:
    """A source that gives so many frames and then fails, or ends."""

    frames_left: int = 0
    failure: Exception | None = None
    closed: threading.Event = field(default_factory=threading.Event)
    release: threading.Event | None = None
    """Until when its driver hangs when it is closed."""

    def frames(self) -> Iterator[bytes]:
        for _ in range(self.frames_left):
            yield b"frame"
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        if self.release is not None:
            self.release.wait(60)
        self.closed.set()


class Bench:
    """A reader whose sources, or what opening them fails of, are known beforehand."""

    def __init__(self, *opened: FakeSource | SttMqttError) -> None:
        self._opened = list(opened)
        self.told: list[str] = []
        self.frames: list[bytes] = []
        self.reader = SourceReader(self._open, self._take, self.told.append)

    def _open(self) -> AudioSource:
        found = self._opened.pop(0) if len(self._opened) > 1 else self._opened[0]
        if isinstance(found, SttMqttError):
            raise found
        return found

    def _take(self, pcm: bytes) -> bool:
        self.told.append("frame")
        self.frames.append(pcm)
        return True

    def run(self) -> None:
        self.reader.start()
        eventually(lambda: self.reader.ended)


def test_a_source_is_read_to_its_end() -> None:
    bench = Bench(FakeSource(3))
    bench.run()
    assert (len(bench.frames), bench.reader.failure) == (3, None)


def test_a_microphone_that_goes_is_looked_for_until_it_is_back_and_each_reason_told_once() -> None:
    unplugged = FakeSource(1, GONE)
    busy = MicrophoneError("another program has it: Device unavailable")
    bench = Bench(unplugged, NONE, NONE, NONE, ConfigError(["'usb' fits several"]), busy, busy)
    bench._opened.append(FakeSource(1))
    bench.run()
    assert bench.told == [
        "frame",
        f"no microphone: {GONE}",
        f"no microphone: {NONE}",
        "no microphone: 'usb' fits several",
        f"no microphone: {busy}",
        "frame",
    ]
    assert unplugged.closed.is_set()


def test_a_microphone_that_is_not_there_at_the_start_is_waited_for() -> None:
    bench = Bench(NONE, FakeSource(2))
    bench.run()
    assert bench.told == [f"no microphone: {NONE}", "frame", "frame"]


def test_one_that_opens_and_gives_nothing_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(*(FakeSource(0, GONE) for _ in range(20)), FakeSource(1), FakeSource(0))
    bench.run()
    assert bench.told == [f"no microphone: {GONE}", "frame"]
    assert caplog.text.count("gives no audio any more") == 1


@pytest.mark.parametrize("failure", [ConfigError(["fits several"]), SttMqttError("broken")])
def test_what_does_not_come_back_by_waiting_ends_it_at_the_start(failure: SttMqttError) -> None:
    with pytest.raises(type(failure)):
        Bench(failure)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ConfigError(["--stdin: nothing came in"]), "--stdin: nothing came in"),
        (ZeroDivisionError(), "the audio source failed: ZeroDivisionError"),
    ],
)
def test_a_source_that_fails_ends_with_its_failure(failure: Exception, told: str) -> None:
    bench = Bench(FakeSource(1, failure))
    bench.run()
    assert told in str(bench.reader.failure)


@pytest.mark.parametrize("opened", [(NONE,), (FakeSource(1, GONE), NONE)])
def test_it_ends_while_a_microphone_is_looked_for(opened: tuple[FakeSource | SttMqttError]) -> None:
    bench = Bench(*opened)
    bench.reader.start()
    eventually(lambda: bench.told)
    bench.reader.close(5)
    eventually(lambda: bench.reader.ended)
    assert bench.reader.failure is None


def test_a_driver_that_hangs_does_not_keep_it_from_ending() -> None:
    release = threading.Event()
    bench = Bench(FakeSource(0, release=release))
    try:
        ended = _in_a_thread(lambda: bench.reader.close(0.01))
        eventually(ended.is_set)
    finally:
        release.set()


def _in_a_thread(call: Callable[[], None]) -> threading.Event:
    done = threading.Event()

    def run() -> None:
        call()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done


def nothing() -> None:
    """A call."""


def test_frames_come_out_in_their_order_and_calls_before_them() -> None:
    mailbox = Mailbox()
    assert mailbox.put_frame(b"1")
    assert mailbox.put_frame(b"2")
    assert mailbox.post(nothing)
    assert [mailbox.take(0) for _ in range(4)] == [nothing, b"1", b"2", None]


def test_frames_that_are_not_wanted_stay() -> None:
    mailbox = Mailbox()
    mailbox.put_frame(b"1")
    assert mailbox.take(0, frames=False) is None
    assert mailbox.has_frames
    assert mailbox.take(0) == b"1"
    assert not mailbox.has_frames


def test_messages_are_bounded_and_what_must_be_known_is_not_dropped() -> None:
    mailbox = Mailbox()
    assert all(mailbox.post(nothing, droppable=True) for _ in range(MAX_CALLS))
    assert not mailbox.post(nothing, droppable=True)
    assert mailbox.post(nothing)


def test_a_source_waits_for_room_and_no_longer_than_the_loop_lives() -> None:
    mailbox = Mailbox()
    for number in range(MAX_FRAMES):
        mailbox.put_frame(bytes([number]))
    results: list[bool] = []
    source = threading.Thread(
        target=lambda: results.extend(mailbox.put_frame(b"last") for _ in range(2))
    )
    source.start()
    assert mailbox.take(0) == b"\0"
    taken = [mailbox.take(5) for _ in range(MAX_FRAMES)]
    assert taken[-1] == b"last"
    mailbox.close()
    source.join(60)
    assert not source.is_alive()
    assert results[0] is True


def test_after_the_end_no_frame_is_taken() -> None:
    mailbox = Mailbox()
    mailbox.close()
    assert not mailbox.put_frame(b"1")
