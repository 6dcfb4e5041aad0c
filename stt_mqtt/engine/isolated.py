"""Decodes in other processes (`audio.isolate`), so that hostile bytes do not reach this one.

Each utterance has a worker of its own, which ends with it. A worker that dies, is too slow or
answers nonsense is killed: its utterance is corrupt, or is decoded as a whole at its end if it is
still open. `isolated_process` says what the workers are.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.audio.decoders import DecoderFailure
from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.pcm import PCM_TYPES
from stt_mqtt.audio.streams import Heard
from stt_mqtt.engine import isolated_wire as wire
from stt_mqtt.engine.isolated_worker import MOST_HEARD_BYTES, Worker, decoded_in, heard_in
from stt_mqtt.errors import CorruptAudioError, InferenceFailedError, UtteranceError
from stt_mqtt.types import SAMPLE_RATE, Codec, EncodedAudio

log = logging.getLogger(__name__)

WHOLE_TIMEOUT_S = 15.0
"""Longest time to decode an utterance: more than the CPU time that a worker may use."""
LIVE_TIMEOUT_S = 0.2
"""Longest time for one chunk of a stream. The event loop waits for it: 1 ms, and 6 ms for the first
one of an utterance."""
START_TIMEOUT_S = 30.0
"""Longest time until the first process is ready: it imports for 0.3 s."""
READY_WAIT_S = 10.0
"""How long an utterance waits for the first process while that starts."""
MEMORY_BYTES = 384 * 1024 * 1024
"""Address space of a worker beyond what it has at its start. 600 s of audio take 40 MB, and are
copied once; 30 s at 48 kHz, which are decoded at once, 25 MB."""
MOST_STREAMS = 64
"""Most workers for open utterances. Others are decoded as a whole at their end."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 60.0
"""Time before the first process is started again. It doubles each time that it died soon."""
_STABLE_S = 60.0
"""Life of the first process after which the delay begins anew."""
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH", "OPENBLAS_NUM_THREADS", "TZ")
"""All of the environment that the processes get. It may hold passwords."""

_NO_PROCESS = "no decoder process could be started"
_SENTENCES = {
    DecoderFailure.DIED: "the decoder process died of it",
    DecoderFailure.SLOW: "the decoder process did not answer in time",
    DecoderFailure.NONSENSE: "the decoder process answered nonsense",
}


class IsolatedDecoders:
    """See `Decoders`."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self._lock = threading.RLock()
        """Guards what follows. A stream may be collected, and end, while its thread holds it."""
        self._control: socket.socket | None = None
        """The socket of the first process; None: it is not ready."""
        self._process: subprocess.Popen[bytes] | None = None
        """The first process."""
        self._spare: Worker | None = None
        self._asked = 0
        self._streams = 0
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="decoders", daemon=True)

    @property
    def pid(self) -> int | None:
        """Id of the first process. None: it is not ready."""
        with self._lock:
            return None if self._control is None or self._process is None else self._process.pid

    def start(self) -> None:
        """Start the first process, and start it again whenever it ends."""
        self._thread.start()

    def close(self) -> None:
        """End all processes."""
        self._closing.set()
        self._forget()
        self._thread.join(READY_WAIT_S)

    def whole(self, audio: EncodedAudio, max_s: float) -> Decoded:
        """See `Decoders`. Raises InferenceFailedError if no process can be started."""
        if _is_plain(audio):
            return decode(audio, max_s)
        if not self._ready.wait(READY_WAIT_S):
            raise InferenceFailedError(f"{_NO_PROCESS}, see the log")
        most = int(max_s * SAMPLE_RATE)
        try:
            worker = self._take()
        except OSError as error:
            raise InferenceFailedError(f"{_NO_PROCESS}: {error.strerror or error}") from error
        try:
            request = wire.request_of_audio(audio, max_s)
            header, body = worker.ask(request, audio.data, WHOLE_TIMEOUT_S, 4 * most)
            decoded = decoded_in(header, body, audio.hint)
        except Exception as error:
            failed: UtteranceError = self.failure(worker, error)
            if isinstance(error, EOFError | ConnectionError) and not worker.has_begun():
                # It was not forked, or died before it got the audio.
                failed = InferenceFailedError(_NO_PROCESS)
            raise failed from error
        finally:
            worker.close()
        return decoded

    def live(self, coding: Coding) -> _Stream:
        """See `Decoders`."""
        with self._lock:
            if self._streams >= MOST_STREAMS:
                raise CorruptAudioError("too many streams are decoded at once")
            try:
                worker = self._take()
            except OSError as error:
                raise CorruptAudioError(f"{_NO_PROCESS}: {error.strerror or error}") from error
            self._streams += 1
        return _Stream(self, worker, coding)

    def stream_ended(self) -> None:
        """A stream needs no worker any more."""
        with self._lock:
            self._streams -= 1

    def failure(self, worker: Worker, error: Exception) -> UtteranceError:
        """The error of an utterance whose worker failed. The worker is killed."""
        if isinstance(error, UtteranceError):
            return error
        failure = DecoderFailure.DIED
        if isinstance(error, TimeoutError):
            failure = DecoderFailure.SLOW
        elif not isinstance(error, EOFError | OSError):
            failure = DecoderFailure.NONSENSE
        log.warning("%s: it is killed and replaced", _SENTENCES[failure])
        self._tell(worker.number)
        if not worker.has_said_hello and time.monotonic() - worker.asked_at > READY_WAIT_S:
            self._end_first()
        self._count(failure)
        return CorruptAudioError(_SENTENCES[failure])

    def _count(self, failure: DecoderFailure) -> None:
        with self._lock:
            self.failures[failure.value] += 1

    def _take(self) -> Worker:
        """A worker for one utterance. Another one is made ready for the next. Raises OSError."""
        with self._lock:
            spare, self._spare = self._spare, None
            worker = spare if spare is not None and spare.is_alive() else self._fork()
            with suppress(OSError):
                self._spare = self._fork()
        return worker

    def _fork(self) -> Worker:
        """Ask the first process for a worker. Does not wait for it. Raises OSError."""
        if self._control is None:
            raise ConnectionError("the first one is being started")
        own, theirs = socket.socketpair()
        self._asked += 1
        worker = Worker(own, self._asked)
        with theirs:
            message = self._asked.to_bytes(8, "big")
            socket.send_fds(self._control, [message], [theirs.fileno()], socket.MSG_DONTWAIT)
        return worker

    def _tell(self, number: int) -> None:
        """Have a worker killed."""
        with self._lock, suppress(OSError):
            if self._control is not None:
                self._control.send(number.to_bytes(8, "big"), socket.MSG_DONTWAIT)

    def _end_first(self) -> None:
        """End the first process, because it hangs."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _forget(self) -> None:
        """Close the socket of the first process, which ends at that."""
        with self._lock:
            self._ready.clear()
            self._spare = None
            if self._control is not None:
                with suppress(OSError):
                    self._control.shutdown(socket.SHUT_RDWR)
            self._control = None

    # In the thread ---------------------------------------------------------------------------

    def _keep(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._closing.is_set():
            started = time.monotonic()
            status = self._live_once()
            if self._closing.is_set():
                return
            if time.monotonic() - started > _STABLE_S:
                delay_s = FIRST_DELAY_S
            log.error(
                "the decoder process ended (status %s): started again in %g s", status, delay_s
            )
            self._count(DecoderFailure.FIRST_DIED)
            self._closing.wait(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _live_once(self) -> int | str:
        """The life of a first process. Return its exit status."""
        try:
            process, own = _start_connected()
        except OSError as error:
            return str(error)
        with self._lock:
            self._process = process
        with own:
            own.settimeout(START_TIMEOUT_S)
            with suppress(OSError):
                if own.recv(1) == wire.HELLO:
                    self._serve(own)
            self._forget()
        with self._lock:
            self._process = None
        process.kill()
        return process.wait()

    def _serve(self, control: socket.socket) -> None:
        """Use a first process until its end."""
        control.settimeout(None)
        with self._lock:
            if self._closing.is_set():
                return
            self._control = control
            with suppress(OSError):
                self._spare = self._fork()
        self._ready.set()
        control.recv(1)


class _Stream:
    """A stream that is decoded by its worker. See `LiveDecoder`."""

    def __init__(self, decoders: IsolatedDecoders, worker: Worker, coding: Coding) -> None:
        self._decoders = decoders
        self._worker: Worker | None = worker
        self._channels = coding.channels
        header, extradata = wire.request_of_coding(coding)
        try:
            worker.say(header, extradata, LIVE_TIMEOUT_S)
        except OSError as error:
            raise self._failure(worker, error) from error

    def __del__(self) -> None:
        self._close()

    def decode(self, packets: Sequence[CodedPacket], most: int | None = None) -> Heard:
        """See `LiveDecoder`."""
        header, data = wire.request_of_packets(packets, most)
        return self._ask(header, data, len(packets))

    def flush(self) -> Heard:
        """See `LiveDecoder`."""
        heard = self._ask({"do": "flush"}, b"", 0)
        self._close()
        return heard

    def _ask(self, header: Mapping[str, Any], body: bytes, packets: int) -> Heard:
        worker = self._worker
        if worker is None:
            raise CorruptAudioError("the decoder process is gone")
        try:
            answer, data = worker.ask(header, body, LIVE_TIMEOUT_S, MOST_HEARD_BYTES)
            return heard_in(answer, data, packets, self._channels)
        except Exception as error:
            raise self._failure(worker, error) from error

    def _failure(self, worker: Worker, error: Exception) -> UtteranceError:
        self._close()
        return self._decoders.failure(worker, error)

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self._decoders.stream_ended()


def _is_plain(audio: EncodedAudio) -> bool:
    """Whether audio is decoded without any library but numpy."""
    form = audio.format
    own = form is not None and (form.codec in PCM_TYPES or form.codec is Codec.ADPCM_IMA)
    return audio.ready or (own and form is not None and form.rate == SAMPLE_RATE)


def _start_connected() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a first process; return it and the socket to it. Raises OSError."""
    # A datagram is a whole message, and the end of the other side can be seen.
    own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            return _start(theirs), own
        except OSError:
            own.close()
            raise


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Start a first process. It inherits a socket, standard error, and where its modules are."""
    # The modules are those of this process, whatever the working directory is.
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environ |= {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "stt_mqtt.engine.isolated_process", str(MEMORY_BYTES)],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        env=environ,
        cwd="/",
    )
