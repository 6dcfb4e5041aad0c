"""Logs on standard error, as text for people or as JSON for collectors.

Every line carries the device and the utterance that it is about, given as
`extra={"device": …, "utterance": …}`. Text has a dash where there is none.

A thread of its own writes the lines, because a write to a pipe that nobody reads, or to a terminal
that is halted, does not return. So a reader who stops stops nobody. What waits at the end of the
program is written within `FLUSH_TIMEOUT_S` by `logging.shutdown`, which the interpreter calls;
`os._exit` does not call it.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from stt_mqtt.config import LogConfig, LogFormat

ROOT = "stt_mqtt"

FLUSH_TIMEOUT_S = 1.0
"""How long the end of the program waits for the reader of the log."""
TERMINAL_S = 0.2
"""How long a line for a terminal is waited for, so that it keeps its place among others."""

MAX_LINES = 4096
MAX_BYTES = 1024 * 1024
"""Most that waits, and as much again that is being written."""
_PIECE_BYTES = 64 * 1024


class TextFormatter(logging.Formatter):
    """One line: time, level, device, utterance, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, with the traceback below it if there is one."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat("T", "milliseconds")
        device = getattr(record, "device", None) or "-"
        utterance = getattr(record, "utterance", None) or "-"
        line = _one_line(f"{when} {record.levelname:<7} {device} {utterance} {record.getMessage()}")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line; a traceback becomes the field `traceback`."""
        fields: dict[str, object] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "device": getattr(record, "device", None),
            "utterance": getattr(record, "utterance", None),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class DescriptorHandler(logging.Handler):
    """Formats at once, in the thread that logs, and has the line written to a descriptor."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._writer = LogWriter(stream.fileno(), self._notice)
        self._in_step = stream.isatty()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written; never waits for a reader who has stopped."""
        try:
            line = self.format(record)
        except Exception:
            line = f"a line could not be logged\n{traceback.format_exc()}"
        # A line that others are in front of is not waited for: the terminal is halted.
        if self._writer.write(line) and self._in_step:
            self._writer.flush(TERMINAL_S)

    def flush(self) -> None:
        """Wait until everything is written, for a moment."""
        self._writer.flush(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        """Write what waits and nothing more."""
        self._writer.close()
        super().close()

    def _notice(self, dropped: int) -> str:
        text = "%d lines were dropped here: nobody was reading the log"
        return self.format(
            logging.LogRecord(__name__, logging.WARNING, "", 0, text, (dropped,), None)
        )


def set_up(config: LogConfig) -> None:
    """Send this program's logs, and the warnings of its libraries, to standard error."""
    root = logging.getLogger()
    handler = _handler_of(root.handlers)
    handler.setFormatter(JsonFormatter() if config.format is LogFormat.JSON else TextFormatter())
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(config.level.value.upper())
    # Python itself would write them to the stream, and wait.
    logging.captureWarnings(True)


def _handler_of(present: list[logging.Handler]) -> logging.Handler:
    """The handler for standard error as it is now, the present one if that is it."""
    for handler in present:
        if isinstance(handler, DescriptorHandler) and handler.stream is sys.stderr:
            return handler
    if sys.stderr is None:
        return logging.NullHandler()
    try:
        return DescriptorHandler(sys.stderr)
    except (OSError, ValueError):
        # A stand-in without a descriptor, which has no reader to wait for.
        return logging.StreamHandler(sys.stderr)


def _one_line(text: str) -> str:
    """`text` with its control characters spelled out, so that nobody outside forges a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LogWriter:
    """Lines to a file descriptor, in order. What finds no room is dropped and counted.

    `notice`: the line that stands where so many lines were dropped.
    """

    def __init__(
        self,
        descriptor: int,
        notice: Callable[[int], str],
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        # One of its own: the other one may be closed, and its number given to a socket.
        self._descriptor = os.dup(descriptor)
        self._notice = notice
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._writing = self._ending = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> bool:
        """Have a line written; never blocks. Returns whether nothing was waiting before it."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            idle = self._idle
            full = len(self._lines) >= self._max_lines or self._bytes + len(data) > self._max_bytes
            # Not even a short line may stand in front of the notice.
            if full or self._dropped:
                self._dropped += 1
            else:
                self._lines.append(data)
                self._bytes += len(data)
            self._changed.notify_all()
        return idle

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written; False: it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, timeout_s)

    def close(self) -> None:
        """Write what waits and nothing more; does not wait for it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    @property
    def _idle(self) -> bool:
        return not (self._lines or self._dropped or self._writing)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._ending or not self._idle)
                if self._idle:
                    break
                self._writing = True
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
                self._bytes = 0
            # What was dropped found these lines in its way.
            text = b"".join(lines)
            if dropped:
                text += self._notice(dropped).encode() + b"\n"
            self._put(text)
        os.close(self._descriptor)

    def _put(self, text: bytes) -> None:
        left = memoryview(text)
        while left:
            try:
                left = left[os.write(self._descriptor, left[:_PIECE_BYTES]) :]
            except BlockingIOError:
                # Somebody who shares the pipe or the terminal has made it so.
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
            except OSError:
                # The reader has gone for good.
                return
