"""The thread of the source: hands over its frames, and looks for a microphone that has gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from stt_mqtt.errors import ConfigError, SttMqttError
from stt_mqtt.satellite.microphone import MicrophoneError

REOPEN_S = 5.0
"""Pause between two looks for a microphone that has gone."""

log = logging.getLogger(__name__)


class AudioSource(Protocol):
    """Where the frames come from."""

    def frames(self) -> Iterator[bytes]:
        """Frames, each when it is there; blocks. Raises `SttMqttError`."""

    def close(self) -> None:
        """Have `frames` end soon; from any thread."""


OpenSource: TypeAlias = Callable[[], AudioSource]
"""Opens the source, also once more when a microphone has gone. Raises `SttMqttError`."""


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
