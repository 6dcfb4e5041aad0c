"""Tracebacks without what the messages of exceptions quote: spoken words, names, secrets."""

from __future__ import annotations

import traceback

from stt_mqtt.errors import SttMqttError

MAX_CHAIN = 8
"""Exceptions of one chain that are shown, the last ones."""
LEFT_OUT = "(its message may quote data; log.level: debug shows it)"

_ABOUT_CODE = (
    ArithmeticError,
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SttMqttError,
    TypeError,
)
"""Their messages name code, files and numbers. Others quote data: `KeyError`, `ValueError`, …"""


def without_quotes(error: BaseException) -> str:
    """The traceback of an exception and of those that it came from, without a newline at its end.

    Messages that may quote data are left out.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < MAX_CHAIN:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n\nThen:\n\n".join(_shown(one) for one in reversed(chain))


def _shown(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    message = str(error) if isinstance(error, _ABOUT_CODE) else LEFT_OUT
    name = type(error).__qualname__
    return f"Traceback (most recent call last):\n{frames}{name}: {message}"
