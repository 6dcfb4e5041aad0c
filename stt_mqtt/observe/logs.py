"""Logs on standard error, as text for people or as JSON for collectors.

Every line carries the device and the utterance that it is about, given as
`extra={"device": …, "utterance": …}`; a dash stands where there is none.

Nobody waits for the reader of the log: lines are written by a thread of their own, see
`log_writer`. What waits at the end is written within `FLUSH_TIMEOUT_S`, by `logging.shutdown`,
which the interpreter calls when it ends; `os._exit` does not.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime
from typing import TextIO

from stt_mqtt.config import LogConfig, LogFormat
from stt_mqtt.observe.log_writer import LogWriter

ROOT = "stt_mqtt"

FLUSH_TIMEOUT_S = 1.0
"""How long the end of the program waits for the reader of the log."""
TERMINAL_S = 0.2
"""How long a line for a terminal is waited for, so that it keeps its place among others."""


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
