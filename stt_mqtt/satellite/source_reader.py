"""The thread of the audio source, and the mailbox between all threads and the one loop."""

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
"""Pause between two looks for a microphone that has gone."""
MAX_FRAMES = 34
"""Frames that wait, one second; then their source has to wait."""
MAX_CALLS = 1000
"""Everything else that waits; of what comes on top messages are dropped."""

Call: TypeAlias = Callable[[], None]

log = logging.getLogger(__name__)


class Mailbox:
    """Bounded and thread-safe. Calls overtake frames: they are few, and may be a mute."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._calls: deque[Call] = deque()
        self._closed = False

    def put_frame(self, pcm: bytes) -> bool:
        """Hand over a frame, waiting for room; False: nobody takes frames any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._frames) < MAX_FRAMES)
            if self._closed:
                return False
            self._frames.append(pcm)
            self._changed.notify_all()
            return True

    def post(self, call: Call, droppable: bool = False) -> bool:
        """Have the loop make a call; never waits. False: it is `droppable` and there is no room."""
        with self._changed:
            if droppable and len(self._calls) >= MAX_CALLS:
                return False
            self._calls.append(call)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float, frames: bool = True) -> Call | bytes | None:
        """The next call, else the next frame unless `frames` are not wanted; None: nothing came."""
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
        """Take no more frames: their source must not wait for ever."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class SourceReader:
    """Reads a source to its end; a microphone that is not there is waited for, however long."""

    def __init__(
        self,
        open_source: OpenSource,
        take: Callable[[bytes], bool],
        lost: Callable[[str], None],
        reopen_s: float | None = None,
    ) -> None:
        """Opens the source. Raises `SttMqttError` if that fails, but not for a microphone.

        `take` gets each frame and may wait; False: no more are taken. `lost` gets the reason each
        time that there is another one why nothing is heard. Both are called in the thread.
        """
        self._open_source = open_source
        self._take = take
        self._lost = lost
        self._reopen_s = REOPEN_S if reopen_s is None else reopen_s
        self._source: AudioSource | None = None
        self._told = ""
        self._missing: SttMqttError | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.failure: SttMqttError | None = None
        """What the source failed of, when it has ended."""
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
        """Have it end, and give the source free; returns after at most `timeout_s`.

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
            while not self._pour() and self._reopen():
                pass
        except SttMqttError as error:
            self.failure = error
        except Exception as error:
            log.exception("the audio source failed, please report this")
            self.failure = SttMqttError(f"the audio source failed: {type(error).__name__}")
        finally:
            self._ended.set()

    def _pour(self) -> bool:
        """Hand over frames until the source ends; False: there is no microphone any more."""
        if self._source is None:
            self._tell(self._missing)
            return False
        try:
            for pcm in self._source.frames():
                if self._told:
                    log.info("the microphone is back")
                    self._told = ""
                if not self._take(pcm):
                    break
        except MicrophoneError as error:
            if not self._stopping.is_set():
                self._tell(error)
                return False
        return True

    def _reopen(self) -> bool:
        """Whether a microphone is there again; False: nobody wants to know any more."""
        self._close()
        while not self._stopping.wait(self._reopen_s):
            try:
                self._source = self._open_source()
            except (MicrophoneError, ConfigError) as error:
                self._tell(error)
            else:
                return True
        return False

    def _tell(self, why: SttMqttError | None) -> None:
        """Say why nothing is heard, once for each reason."""
        reason = str(why)
        if reason == self._told:
            return
        self._told = reason
        log.warning("%s; looking for it every %g s", reason.rstrip("."), self._reopen_s)
        self._lost(f"no microphone: {reason}")
