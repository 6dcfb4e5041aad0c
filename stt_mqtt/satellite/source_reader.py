"""The thread that reads the audio source, and the mailbox of the one loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from stt_mqtt.errors import ConfigError, SttMqttError
from stt_mqtt.satellite.microphone import MicrophoneError
from stt_mqtt.satellite.sources import AudioSource, OpenSource

REOPEN_S = 5.0
"""Time between two attempts to open a missing microphone."""
MAX_FRAMES = 34
"""Frames that wait, one second of audio. Then the source has to wait."""
MAX_CALLS = 1000
"""Calls that wait. Then droppable ones are dropped."""

Call: TypeAlias = Callable[[], None]

log = logging.getLogger(__name__)


class Mailbox:
    """A bounded, thread-safe queue of frames and calls.

    Calls come before frames: they are few, and one may be a mute.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._calls: deque[Call] = deque()
        self._closed = False

    def put_frame(self, pcm: bytes) -> bool:
        """Add a frame, waiting for room; False: the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._frames) < MAX_FRAMES)
            if self._closed:
                return False
            self._frames.append(pcm)
            self._changed.notify_all()
            return True

    def post(self, call: Call, droppable: bool = False) -> bool:
        """Have the loop make a call; never waits. False: no room for a `droppable` call."""
        with self._changed:
            if droppable and len(self._calls) >= MAX_CALLS:
                return False
            self._calls.append(call)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float, frames: bool = True) -> Call | bytes | None:
        """The next call, else the next frame if `frames`; None: nothing within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or (frames and self._frames), timeout_s)
            if self._calls:
                return self._calls.popleft()
            if frames and self._frames:
                self._changed.notify_all()
                return self._frames.popleft()
            return None

    @property
    def has_frames(self) -> bool:
        """Whether a frame waits."""
        with self._changed:
            return bool(self._frames)

    def close(self) -> None:
        """Take no more frames, so that no source waits for ever."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class SourceReader:
    """Reads a source to its end. Opens a missing microphone again, however long that takes."""

    def __init__(
        self,
        open_source: OpenSource,
        take: Callable[[bytes], bool],
        lost: Callable[[str], None],
    ) -> None:
        """Opens the source. Raises `SttMqttError` if that fails, but not for a microphone.

        `take` gets each frame and may wait; it returns False to end the reading. `lost` gets the
        reason why there is no microphone, once for each new reason. Both are called in the thread.
        """
        self._open_source = open_source
        self._take = take
        self._lost = lost
        self._source: AudioSource | None = None
        self._reported = ""
        self._missing: SttMqttError | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.failure: SttMqttError | None = None
        """Why the source failed; None: it did not."""
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        try:
            self._source = open_source()
        except MicrophoneError as error:
            self._missing = error

    @property
    def ended(self) -> bool:
        """Whether no more frames come."""
        return self._ended.is_set()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Stop reading and close the source, within `timeout_s`.

        A driver whose device has gone may hang when it is closed.
        """
        self._stopping.set()
        closing = threading.Thread(target=self._close, name="source-closing", daemon=True)
        closing.start()
        closing.join(timeout_s)

    def _close(self) -> None:
        source = self._source
        if source is not None:
            source.close()

    def _run(self) -> None:
        try:
            while not self._read() and self._reopen():
                pass
        except SttMqttError as error:
            self.failure = error
        except Exception as error:
            log.exception("the audio source failed, please report this")
            self.failure = SttMqttError(f"the audio source failed: {type(error).__name__}")
        finally:
            self._ended.set()

    def _read(self) -> bool:
        """Pass frames on until the source ends; False: the microphone is gone."""
        if self._source is None:
            self._report(self._missing)
            return False
        try:
            for pcm in self._source.frames():
                if self._reported:
                    log.info("the microphone is back")
                    self._reported = ""
                if not self._take(pcm):
                    break
        except MicrophoneError as error:
            if not self._stopping.is_set():
                self._report(error)
                return False
        return True

    def _reopen(self) -> bool:
        """Wait for the microphone; True: it is open again; False: the reader was closed."""
        self._close()
        while not self._stopping.wait(REOPEN_S):
            try:
                self._source = self._open_source()
            except (MicrophoneError, ConfigError) as error:
                self._report(error)
            else:
                return True
        return False

    def _report(self, why: SttMqttError | None) -> None:
        """Report why there is no microphone, once for each reason."""
        reason = str(why)
        if reason == self._reported:
            return
        self._reported = reason
        log.warning("%s; looking for it every %g s", reason.rstrip("."), REOPEN_S)
        self._lost(f"no microphone: {reason}")
