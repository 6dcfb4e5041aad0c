"""Decoder processes: the same audio as without them, and what happens when they fail."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
import pytest

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.decoders import DecoderFailure, Decoders
from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.engine import isolated, isolated_process
from stt_mqtt.engine import isolated_wire as wire
from stt_mqtt.engine.isolated import IsolatedDecoders
from stt_mqtt.engine.isolated_worker import Worker, decoded_in, heard_in
from stt_mqtt.errors import (
    CorruptAudioError,
    InferenceFailedError,
    UnsupportedFormatError,
    UtteranceError,
)
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import container, framed, opus_packets, silent_film, tone
from tools.brokers import eventually

CAP = AudioCap(30.0, 2**21)
RAW_OPUS = Coding("libopus", b"", 48_000, 1, 32)
FILES = {
    "flac": ("flac", "flac", 16_000, 1),
    "ogg-opus": ("ogg", "libopus", 48_000, 1),
    "ogg-vorbis": ("ogg", "vorbis", 44_100, 2),
    "ogg-flac": ("ogg", "flac", 22_050, 1),
    "webm": ("webm", "libopus", 48_000, 2),
    "mp3": ("mp3", "libmp3lame", 44_100, 1),
    "wav": ("wav", "pcm_s16le", 16_000, 1),
    "wav-adpcm": ("wav", "adpcm_ima_wav", 22_050, 1),
    "m4a": ("ipod", "aac", 44_100, 1),
    "alac": ("ipod", "alac", 44_100, 2),
}


@pytest.fixture(scope="module")
def decoders() -> Iterator[IsolatedDecoders]:
    """Decoder processes that have time: the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "LIVE_TIMEOUT_S", 20.0)
        patch.setattr(isolated, "READY_WAIT_S", 30.0)
        patch.setattr(isolated, "FIRST_DELAY_S", 0.01)
        running = IsolatedDecoders()
        running.start()
        # Nothing waits for them to decode live: what comes before is decoded at its end.
        eventually(lambda: running.pid is not None)
        yield running
        running.close()


@cache
def sound(kind: str) -> bytes:
    name, codec, rate, channels = FILES[kind]
    return container(name, codec, tone(rate=rate), rate, channels)


def a_file(data: bytes) -> EncodedAudio:
    return EncodedAudio(None, data)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(number) for number in text.split()]


def first_process(decoders: IsolatedDecoders) -> int:
    found = eventually(lambda: decoders.pid)
    assert found is not None
    return found


def worker_of(decoders: IsolatedDecoders) -> int:
    """The worker that the next utterance gets, when it is ready."""
    pid = first_process(decoders)
    (worker,) = eventually(lambda: found if len(found := children(pid)) == 1 else [])
    eventually(lambda: limits_of(worker).get("Max open files") == "0")
    return worker


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def works(decoders: Decoders) -> bool:
    return len(decoders.whole(a_file(sound("flac")), 30.0).samples) == 16_000


@contextmanager
def counted(decoders: IsolatedDecoders, failure: DecoderFailure) -> Iterator[None]:
    """Exactly one failure, of this kind."""
    before = Counter(decoders.failures)
    yield
    assert decoders.failures - before == Counter({failure.value: 1})


# The same audio ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_decoded_as_without_processes(decoders: IsolatedDecoders, kind: str) -> None:
    found, expected = decoders.whole(a_file(sound(kind)), 0.7), decode(a_file(sound(kind)), 0.7)
    assert np.array_equal(found.samples, expected.samples)
    assert (found.truncated, found.hint) == (expected.truncated, expected.hint)


def test_hints_about_the_audio_come_back(decoders: IsolatedDecoders) -> None:
    loud = container("flac", "flac", np.clip(tone(level=3.0), -1, 1))
    assert decoders.whole(a_file(loud), 30.0).hint is Hint.CLIPPING
    audio = EncodedAudio(AudioFormat(Codec.FLAC), sound("flac"), Hint.OFFSET)
    assert decoders.whole(audio, 30.0).hint is Hint.OFFSET


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"OggS\0\2" + bytes(50), UnsupportedFormatError), (silent_film(), CorruptAudioError)],
)
def test_a_file_that_is_refused_has_the_same_error(
    decoders: IsolatedDecoders, data: bytes, error: type[UtteranceError]
) -> None:
    with pytest.raises(error) as expected:
        decode(a_file(data), 30.0)
    with pytest.raises(error) as found:
        decoders.whole(a_file(data), 30.0)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("audio_format", "data"),
    [
        (AudioFormat(Codec.OPUS, 48_000, 1), framed(opus_packets(tone(rate=48_000)))),
        (AudioFormat(Codec.FLAC), sound("flac")),
        (AudioFormat(Codec.OGG), sound("ogg-opus")),
        (AudioFormat(Codec.WEBM), sound("webm")),
    ],
    ids=["opus", "flac", "ogg", "webm"],
)
def test_a_stream_is_heard_and_decoded_as_without_processes(
    decoders: IsolatedDecoders, audio_format: AudioFormat, data: bytes
) -> None:
    def fed(buffer: AudioBuffer) -> tuple[bytes, EncodedAudio]:
        heard = b""
        chunks = [data[at : at + 1_000] for at in range(0, len(data), 1_000)]
        for chunk in [data] if audio_format.codec is Codec.OPUS else chunks:
            buffer.append(chunk)
            buffer.decode()
            heard += buffer.take_decoded()
        return heard, buffer.close()

    heard_alone, alone = fed(AudioBuffer(audio_format, CAP))
    heard, audio = fed(AudioBuffer(audio_format, CAP, decoders))
    assert alone.decoded
    # Not the values themselves: to show how they differ would take minutes.
    assert (heard == heard_alone, audio == alone) == (True, True)


def test_plain_samples_need_no_process() -> None:
    never_started = IsolatedDecoders()
    silence = EncodedAudio(AudioFormat(), bytes(32_000))
    assert len(never_started.whole(silence, 30.0).samples) == 16_000


# Confined ----------------------------------------------------------------------------------------


def test_the_processes_have_no_secret_no_descriptor_and_no_right(
    decoders: IsolatedDecoders,
) -> None:
    pid = first_process(decoders)
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    names = {line.split(b"=")[0] for line in environ.split(b"\0") if line}
    assert names <= {b"PYTHONPATH", b"PATH", b"LD_LIBRARY_PATH", b"OPENBLAS_NUM_THREADS", b"TZ"}
    # One more while it starts a worker.
    eventually(lambda: set(os.listdir(f"/proc/{pid}/fd")) == {"0", "1", "2"})
    worker = worker_of(decoders)
    limits = limits_of(worker)
    assert limits["Max file size"] == limits["Max processes"] == limits["Max core file size"] == "0"
    assert limits["Max cpu time"] == "10"
    assert int(limits["Max address space"]) < 1_000_000_000
    assert "NoNewPrivs:\t1" in Path(f"/proc/{worker}/status").read_text(encoding="ascii")
    assert len(os.listdir(f"/proc/{worker}/fd")) == 1


def limits_of(pid: int) -> dict[str, str]:
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
        return {line[:25].strip(): line[26:].split()[0] for line in lines}
    return {}


def test_the_service_itself_never_imports_pyav() -> None:
    code = (
        "import sys, stt_mqtt.core.service, stt_mqtt.engine.isolated\n"
        "assert 'av' not in sys.modules\n"
    )
    with Popen([sys.executable, "-c", code]) as process:
        assert process.wait(60) == 0


# Failures ----------------------------------------------------------------------------------------


@contextmanager
def no_descriptors() -> Iterator[None]:
    """The process has no file descriptor left for a socket."""

    def fail(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socketpair", fail)
        yield


def open_utterance(decoders: Decoders) -> tuple[AudioBuffer, bytes]:
    """An utterance in Opus of which a part was decoded, and its other part."""
    packets = opus_packets(tone(rate=48_000))
    buffer = AudioBuffer(AudioFormat(Codec.OPUS, 48_000, 1), CAP, decoders)
    buffer.append(framed(packets[:25]))
    buffer.decode()
    assert buffer.take_decoded()
    return buffer, framed(packets[25:])


@pytest.mark.parametrize(
    ("sign", "failure"),
    [(signal.SIGKILL, DecoderFailure.DIED), (signal.SIGSTOP, DecoderFailure.SLOW)],
)
def test_an_open_utterance_whose_worker_fails_is_decoded_at_its_end(
    decoders: IsolatedDecoders,
    monkeypatch: pytest.MonkeyPatch,
    sign: signal.Signals,
    failure: DecoderFailure,
) -> None:
    worker = worker_of(decoders)
    buffer, rest = open_utterance(decoders)
    os.kill(worker, sign)
    monkeypatch.setattr(isolated, "LIVE_TIMEOUT_S", 0.2)
    with counted(decoders, failure):
        buffer.append(rest)
        buffer.decode()
        assert buffer.take_decoded() == b""
        audio = buffer.close()
    assert not audio.decoded
    assert len(decoders.whole(audio, 30.0).samples) == 16_000
    eventually(lambda: is_gone(worker))


@pytest.mark.parametrize(
    ("sign", "failure"),
    [(signal.SIGKILL, DecoderFailure.DIED), (signal.SIGSTOP, DecoderFailure.SLOW)],
)
def test_an_utterance_whose_worker_fails_is_corrupt_and_the_next_one_is_not(
    decoders: IsolatedDecoders,
    monkeypatch: pytest.MonkeyPatch,
    sign: signal.Signals,
    failure: DecoderFailure,
) -> None:
    worker = worker_of(decoders)
    ask = Worker.ask

    def struck(self: Worker, *args: Any) -> Any:
        os.kill(worker, sign)
        return ask(self, *args)

    with monkeypatch.context() as patch, counted(decoders, failure):
        patch.setattr(isolated, "WHOLE_TIMEOUT_S", 0.3)
        patch.setattr(Worker, "ask", struck)
        with pytest.raises(CorruptAudioError, match="the decoder process"):
            works(decoders)
    assert works(decoders)
    eventually(lambda: is_gone(worker))


def test_a_worker_that_died_while_it_waited_costs_no_utterance(decoders: IsolatedDecoders) -> None:
    worker = worker_of(decoders)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: is_gone(worker))
    assert works(decoders)


def test_a_worker_ends_with_its_utterance(decoders: IsolatedDecoders) -> None:
    worker = worker_of(decoders)
    buffer, _ = open_utterance(decoders)
    del buffer
    eventually(lambda: is_gone(worker))


def test_a_first_process_that_dies_is_replaced(decoders: IsolatedDecoders) -> None:
    pid = first_process(decoders)
    with counted(decoders, DecoderFailure.FIRST_DIED):
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: decoders.pid not in {None, pid})
    assert works(decoders)


def test_a_first_process_that_hangs_is_replaced(
    decoders: IsolatedDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = first_process(decoders)
    worker_of(decoders)
    os.kill(pid, signal.SIGSTOP)
    assert works(decoders)
    with monkeypatch.context() as patch:
        patch.setattr(isolated, "WHOLE_TIMEOUT_S", 0.2)
        patch.setattr(isolated, "READY_WAIT_S", 0.1)
        with pytest.raises(CorruptAudioError, match="in time"):
            works(decoders)
    eventually(lambda: decoders.pid not in {None, pid})
    assert works(decoders)


def test_a_worker_that_needs_too_much_memory_dies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "MEMORY_BYTES", 24 * 1024 * 1024)
    small = IsolatedDecoders()
    small.start()
    try:
        large = EncodedAudio(AudioFormat(Codec.PCM_F32LE, 48_000, 2), bytes(40_000_000))
        with (
            counted(small, DecoderFailure.DIED),
            pytest.raises(CorruptAudioError, match="died of it"),
        ):
            small.whole(large, 30.0)
        assert works(small)
    finally:
        small.close()


def test_without_a_process_an_utterance_fails_and_an_open_one_waits_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "READY_WAIT_S", 0.01)
    absent = IsolatedDecoders()
    with pytest.raises(InferenceFailedError, match="no decoder process"):
        works(absent)
    buffer = AudioBuffer(AudioFormat(Codec.FLAC), CAP, absent)
    buffer.append(sound("flac"))
    buffer.decode()
    assert buffer.close() == EncodedAudio(AudioFormat(Codec.FLAC), sound("flac"))


def test_without_descriptors_an_open_utterance_waits_for_its_end(
    decoders: IsolatedDecoders,
) -> None:
    worker_of(decoders)
    with no_descriptors():
        # It gets the worker that is ready.
        early, rest = open_utterance(decoders)
        packets = framed(opus_packets(tone(rate=48_000))[:25])
        late = AudioBuffer(AudioFormat(Codec.OPUS, 48_000, 1), CAP, decoders)
        late.append(packets)
        late.decode()
        with pytest.raises(InferenceFailedError, match="Too many open files"):
            works(decoders)
    for buffer in (early, late):
        buffer.append(rest)
        buffer.decode()
    assert early.close().decoded
    assert late.close() == EncodedAudio(AudioFormat(Codec.OPUS, 48_000, 1), packets + rest)
    assert works(decoders)


def test_the_number_of_streams_is_bounded(
    decoders: IsolatedDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_process(decoders)
    monkeypatch.setattr(isolated, "MOST_STREAMS", 1)
    stream = decoders.live(RAW_OPUS)
    with monkeypatch.context() as patch:
        # No process is forked for it.
        patch.delattr(socket, "send_fds")
        with pytest.raises(CorruptAudioError, match="too many"):
            decoders.live(RAW_OPUS)
    stream.flush()
    with pytest.raises(CorruptAudioError, match="gone"):
        stream.flush()
    assert decoders.live(RAW_OPUS)


def test_the_processes_end_with_the_service() -> None:
    code = (
        "from stt_mqtt.engine.isolated import IsolatedDecoders\n"
        "decoders = IsolatedDecoders()\n"
        "decoders.start()\n"
        "decoders._ready.wait(60)\n"
        "print(decoders.pid, flush=True)\n"
        "input()\n"
    )
    with Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        (worker,) = eventually(lambda: children(pid))
        service.kill()
        eventually(lambda: is_gone(pid) and is_gone(worker))


# Answers that cannot be --------------------------------------------------------------------------


class FakeProcess:
    """A first process in a thread. Its workers say the same, whatever they are asked.

    `answer` None: no worker can be forked.
    """

    pid = 1

    def __init__(self, theirs: socket.socket, answer: bytes | None) -> None:
        self._control = theirs.dup()
        self._answer = answer
        self._workers: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._control.send(wire.HELLO)
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._control, 8, 1)
            if not message:
                break
            for descriptor in descriptors:
                worker = socket.socket(fileno=descriptor)
                if self._answer is None:
                    worker.close()
                    continue
                with suppress(BrokenPipeError):
                    worker.sendall(self._answer)
                self._workers.append(worker)
        for sock in (self._control, *self._workers):
            sock.close()

    def kill(self) -> None:
        pass

    def wait(self) -> int:
        self._thread.join()
        return 0


def answer(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    size = len(body) if length is None else length
    return wire.HELLO + len(text).to_bytes(4, "big") + size.to_bytes(4, "big") + text + body


HEARD = {"packets": 1, "length": 960, "certain": True, "clipped": False}
WHOLE = {"truncated": False, "hint": None}
NOT_FINITE = np.full(4, np.nan, np.float32).tobytes()
NONSENSE = {
    "another greeting": b"?" * 20,
    "a long header": wire.HELLO + b"\xff" * 8,
    "no json": wire.HELLO + b"\0\0\0\1\0\0\0\0{",
    "no object": answer([]),
    "an empty object": answer({}),
    "samples that are not finite": answer({**WHOLE, **HEARD}, NOT_FINITE),
    "half a sample": answer({**WHOLE, **HEARD}, b"123"),
    "an unknown hint": answer({"truncated": False, "hint": "x"}),
    "an unknown error": answer({"error": "shutting_down", "message": ""}),
    "too many samples": answer({**WHOLE, **HEARD}, length=2**31),
    "packets that were not sent": answer({**HEARD, "packets": 2}),
    "a negative length": answer({**HEARD, "length": -1}),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_an_error_of_its_utterance(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_start", lambda theirs: FakeProcess(theirs, NONSENSE[name]))
    fooled = IsolatedDecoders()
    fooled.start()
    try:
        with (
            counted(fooled, DecoderFailure.NONSENSE),
            pytest.raises(CorruptAudioError, match="nonsense"),
        ):
            fooled.whole(a_file(sound("flac")), 30.0)
        with (
            counted(fooled, DecoderFailure.NONSENSE),
            pytest.raises(CorruptAudioError, match="nonsense"),
        ):
            fooled.live(RAW_OPUS).decode([CodedPacket(b"\xf8\xff\xfe", samples=960)])
    finally:
        fooled.close()


def test_what_a_worker_says_is_made_harmless() -> None:
    loud = np.array([3.0, -3.0], np.float32).tobytes()
    assert decoded_in(WHOLE, bytearray(loud), None).samples.tolist() == [1.0, -1.0]
    assert heard_in(HEARD, bytearray(loud), 1, 2).samples.tolist() == [[1.0], [-1.0]]
    with pytest.raises(CorruptAudioError) as found:
        decoded_in({"error": "corrupt_audio", "message": "a\nb" * 1_000}, bytearray(), None)
    assert str(found.value).startswith("a\\nb")
    assert len(str(found.value)) < 500


def test_a_first_process_that_dies_again_and_again_is_started_ever_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(theirs: socket.socket) -> FakeProcess:
        raise OSError("no memory")

    monkeypatch.setattr(isolated, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(isolated, "LONGEST_DELAY_S", 0.004)
    monkeypatch.setattr(isolated, "_start", fail)
    dying = IsolatedDecoders()
    dying.start()
    eventually(lambda: dying.failures[DecoderFailure.FIRST_DIED.value] >= 5)
    dying.close()
    delays = [record.args[1] for record in caplog.records if isinstance(record.args, tuple)]
    assert delays[:4] == [0.001, 0.002, 0.004, 0.004]


# A system without room ---------------------------------------------------------------------------


def test_an_utterance_for_which_no_process_can_be_forked_is_not_called_corrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "_start", lambda theirs: FakeProcess(theirs, None))
    crowded = IsolatedDecoders()
    crowded.start()
    try:
        with pytest.raises(InferenceFailedError, match="no decoder process"):
            crowded.whole(a_file(sound("flac")), 30.0)
        buffer = AudioBuffer(AudioFormat(Codec.FLAC), CAP, crowded)
        buffer.append(sound("flac"))
        buffer.decode()
        assert buffer.close() == EncodedAudio(AudioFormat(Codec.FLAC), sound("flac"))
    finally:
        crowded.close()


def test_the_first_process_is_started_again_when_there_are_descriptors_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(isolated, "LONGEST_DELAY_S", 0.001)
    monkeypatch.setattr(isolated, "_start", lambda theirs: FakeProcess(theirs, b""))
    starved = IsolatedDecoders()
    with no_descriptors():
        starved.start()
        eventually(lambda: starved.failures[DecoderFailure.FIRST_DIED.value] >= 2)
    eventually(lambda: starved.pid)
    starved.close()


def test_the_first_process_survives_a_fork_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    workers = isolated_process._Workers(0)
    own, theirs = socket.socketpair()
    with own:
        try:
            workers.fork(1, theirs.detach())
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        assert signal.SIGCHLD not in blocked
        assert own.recv(1) == b""
    workers.kill(1)


class ForkedByHand:
    """Processes of the system that end when the test says so, in the eyes of a `_Workers`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.workers = isolated_process._Workers(0)
        self.ended: set[int] = set()
        self.known: list[int] = []
        """Those that were not reaped."""
        self.interrupt = False
        """Whether another child ends while one is reaped."""
        patch.setattr(os, "fork", self._fork)
        patch.setattr(os, "kill", self._kill)
        patch.setattr(os, "waitpid", self._waitpid)
        for number in (1, 2):
            own, theirs = socket.socketpair()
            own.close()
            self.workers.fork(number, theirs.detach())

    def _fork(self) -> int:
        self.known.append(1_000_000 + len(self.known))
        return self.known[-1]

    def _kill(self, pid: int, sign: int) -> None:
        if pid not in self.known:
            raise ProcessLookupError
        self.ended.add(pid)

    def _waitpid(self, pid: int, options: int) -> tuple[int, int]:
        if pid not in self.known:
            raise ChildProcessError
        if pid not in self.ended:
            return 0, 0
        self.known.remove(pid)
        if self.interrupt:
            self.interrupt = False
            self.workers.reap(signal.SIGCHLD, None)
        return pid, 0


def test_a_worker_that_ends_while_it_is_killed_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forked = ForkedByHand(monkeypatch)
    del forked.known[0]
    forked.workers.kill(1)
    forked.workers.kill(2)
    assert forked.ended == set(forked.known)


def test_workers_that_end_while_others_are_reaped_do_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forked = ForkedByHand(monkeypatch)
    forked.workers.kill(1)
    forked.workers.kill(2)
    forked.interrupt = True
    forked.workers.reap(signal.SIGCHLD, None)
    assert not forked.known
    forked.workers.reap(signal.SIGCHLD, None)
    forked.workers.kill(1)
