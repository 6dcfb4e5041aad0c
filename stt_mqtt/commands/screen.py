"""The console of the commands that show tables."""

from __future__ import annotations

import sys

from rich.console import Console

PLAIN_WIDTH = 132
"""Columns where the output is no terminal."""


class _PipedConsole(Console):
    """Leaves a closed pipe to the command line."""

    def on_broken_pipe(self) -> None:
        """Called while the BrokenPipeError is handled."""
        raise BrokenPipeError


def open_console() -> Console:
    """Standard output for rich: texts as they are, no markup."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return _PipedConsole(width=width, markup=False, highlight=False, emoji=False)
