"""Standard output whose failures become one sentence."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TextIO, cast

from stt_mqtt.errors import OutputError


class Output:
    """A text file whose failures are `OutputError`; a reader that left is a BrokenPipeError."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write `text`. Raises `OutputError`."""
        with _explained():
            return self._file.write(text)

    def flush(self) -> None:
        """Write what is buffered. Raises `OutputError`."""
        with _explained():
            self._file.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@contextmanager
def checked_output() -> Iterator[None]:
    """Make failures of standard output `OutputError`, and escape what it cannot encode."""
    plain = sys.stdout
    if isinstance(plain, io.TextIOWrapper):
        plain.reconfigure(errors="backslashreplace")
    # Python has none where it was started with the descriptor closed.
    sys.stdout = cast("TextIO", None if plain is None else Output(plain))
    try:
        yield
    finally:
        sys.stdout = plain


def flush_output() -> None:
    """Write what is buffered. Raises `OutputError`."""
    if sys.stdout is not None:
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line on standard error, after the log. Does not fail if that is full, too."""
    end_of_log()
    try:
        print(f"stt-mqtt: {text}", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def end_of_log() -> None:
    """Flush the log, so that the last message comes after it."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def discard(file: IO[str]) -> None:
    """Discard what is buffered, or the interpreter would complain at its end."""
    with suppress(OSError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}") from error
