"""Logs on standard error, as text for people or as JSON for collectors.

Every line has the device and utterance that it is about, from `extra={"device": …, "utterance":
…}`. In text a dash stands for none.

A separate thread writes the lines, because a write to a full pipe or a halted terminal blocks. At
the end of the program `logging.shutdown` writes the waiting lines within `FLUSH_TIMEOUT_S`. The
interpreter calls it, but `os._exit` does not.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, TextIO

from stt_mqtt.config import LogConfig, LogFormat, LogLevel
from stt_mqtt.observe.tracebacks import without_quotes

ROOT = "stt_mqtt"

FLUSH_TIMEOUT_S = 1.0
"""How long the program waits for the log at its end."""
TERMINAL_S = 0.2
"""How long to wait for a line on a terminal, so that it keeps its order with other output."""

MAX_LINES = 4096
MAX_BYTES = 1024 * 1024
"""Most bytes that wait. Up to as many again are being written."""
_PIECE_BYTES = 64 * 1024
NOBODY_READ = "nobody was reading the log"


class _Formatter(logging.Formatter):
    """`quotes`: whether tracebacks have messages that may quote data, such as spoken words."""

    def __init__(self, quotes: bool = False) -> None:
        super().__init__()
        self._quotes = quotes

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Format a traceback."""
        return super().formatException(ei) if self._quotes else without_quotes(ei[1])


class TextFormatter(_Formatter):
    """One line: time, level, device, utterance, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line, followed by the traceback if there is one."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat("T", "milliseconds")
        device = getattr(record, "device", None) or "-"
        utterance = getattr(record, "utterance", None) or "-"
        line = _one_line(f"{when} {record.levelname:<7} {device} {utterance} {record.getMessage()}")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as JSON. A traceback becomes the field `traceback`."""
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
    """Formats in the thread that logs, and queues the line for a file descriptor."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._writer = LogWriter(stream.fileno(), self._notice)
        self._in_step = stream.isatty()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Does not block if the reader has stopped."""
        try:
            line = self.format(record)
        except Exception as error:
            line = f"a line could not be logged\n{without_quotes(error)}"
        # If other lines wait before this one, the terminal is halted: do not wait.
        if self._writer.write(line) and self._in_step:
            self._writer.flush(TERMINAL_S)

    def flush(self) -> None:
        """Wait briefly until everything is written."""
        self._writer.flush(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        """Write the waiting lines and accept no more."""
        self._writer.close()
        super().close()

    def _notice(self, dropped: int, reason: str) -> str:
        text = "%d lines were dropped here: %s"
        return self.format(
            logging.LogRecord(__name__, logging.WARNING, "", 0, text, (dropped, reason), None)
        )


def set_up(config: LogConfig) -> None:
    """Send the logs of the program and Python warnings to standard error."""
    root = logging.getLogger()
    handler = _handler_of(root.handlers)
    formatter = JsonFormatter if config.format is LogFormat.JSON else TextFormatter
    handler.setFormatter(formatter(quotes=config.level is LogLevel.DEBUG))
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(config.level.value.upper())
    # Otherwise Python would write warnings to the stream directly, and block.
    logging.captureWarnings(True)


def _handler_of(present: list[logging.Handler]) -> logging.Handler:
    """The handler for the current standard error: an existing one if it fits."""
    for handler in present:
        if isinstance(handler, DescriptorHandler) and handler.stream is sys.stderr:
            return handler
    if sys.stderr is None:
        return logging.NullHandler()
    try:
        return DescriptorHandler(sys.stderr)
    except (OSError, ValueError):
        # A replacement without a file descriptor, so it cannot block.
        return logging.StreamHandler(sys.stderr)


def _one_line(text: str) -> str:
    """Escape control characters, so that text from outside cannot forge a log line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LogWriter:
    """Writes lines to a file descriptor in order.

    It drops and counts lines if its queue is full or the system does not take them, for example
    because the disk is full. `notice` makes the line that replaces a number of dropped lines, and
    says why.
    """

    def __init__(
        self,
        descriptor: int,
        notice: Callable[[int, str], str],
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        # A duplicate, because the original may be closed and its number reused for a socket.
        self._descriptor = os.dup(descriptor)
        self._notice = notice
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._writing = self._ending = False
        self._unwritten = _Unwritten()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> bool:
        """Queue a line without blocking. Return whether no other line was waiting."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            idle = self._idle
            full = len(self._lines) >= self._max_lines or self._bytes + len(data) > self._max_bytes
            # The notice must come before any later line, even one that fits.
            if full or self._dropped:
                self._dropped += 1
            else:
                self._lines.append(data)
                self._bytes += len(data)
            self._changed.notify_all()
        return idle

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written. Return False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, timeout_s)

    def close(self) -> None:
        """Accept no more lines. Does not wait for the queued ones."""
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
            self._put(lines, dropped)
        os.close(self._descriptor)

    def _put(self, lines: Iterable[bytes], dropped: int) -> None:
        """Write the lines and what was dropped before and after them."""
        before = self._unwritten
        parts = [(line, 1) for line in lines]
        if before.lines:
            notice = f"{before.torn}{self._notice(before.lines, before.reason)}\n"
            parts.insert(0, (notice.encode(), before.lines))
        if dropped:
            notice = f"{self._notice(dropped, NOBODY_READ)}\n"
            parts.append((notice.encode(), dropped))
        text = b"".join(part for part, _ in parts)
        done, reason = self._write(text)
        ends = accumulate(len(part) for part, _ in parts)
        missing = sum(count for (_, count), end in zip(parts, ends, strict=True) if end > done)
        torn = before.torn if done == 0 else "" if text[:done].endswith(b"\n") else "\n"
        self._unwritten = _Unwritten(missing, reason, torn)

    def _write(self, text: bytes) -> tuple[int, str]:
        """Write what the system takes; return how many bytes that was, and why not all."""
        left = memoryview(text)
        while left:
            try:
                left = left[os.write(self._descriptor, left[:_PIECE_BYTES]) :]
            except BlockingIOError:
                # Another process that shares the descriptor has made it non-blocking.
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
            except OSError as error:
                # The disk is full, or the reader has closed the pipe.
                return len(text) - len(left), f"the log could not be written: {error.strerror}"
        return len(text), ""


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """How many lines could not be written and why. `torn` ends a line that is there in part."""

    lines: int = 0
    reason: str = ""
    torn: str = ""
