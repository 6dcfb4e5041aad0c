"""Logs on standard error, as text for people or as JSON for collectors.

Every line carries the device and the utterance that it is about, given as
`extra={"device": …, "utterance": …}`; a dash stands where there is none.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime

from stt_mqtt.config import LogConfig, LogFormat

ROOT = "stt_mqtt"


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


def set_up(config: LogConfig) -> None:
    """Send this program's logs, and the warnings of its libraries, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(config.level.value.upper())


def _one_line(text: str) -> str:
    """`text` with its control characters spelled out, so that nobody outside forges a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
