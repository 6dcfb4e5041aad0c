"""The memory that all audio of all devices may take together."""

from __future__ import annotations


class Budget:
    """Counts bytes held against a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0

    def fits(self, nbytes: int) -> bool:
        """Whether `nbytes` more may be held."""
        return self.used_bytes + nbytes <= self._limit_bytes

    def use(self, nbytes: int) -> None:
        """Note that `nbytes` more are held; negative gives back."""
        self.used_bytes += nbytes
