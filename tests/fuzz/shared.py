"""Memory that a worker shares with its parent, so that the parent knows the case of a crash."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_HEAD = struct.Struct("<QIIB")
"""Cases that have ended, number of the job, bytes of the case at hand, whether to stop."""
_STOP_AT = _HEAD.size - 1


class Shared:
    """What a worker is doing."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @staticmethod
    def create(path: Path, max_bytes: int) -> Shared:
        """A new file with room for a case."""
        path.write_bytes(bytes(_HEAD.size + max_bytes))
        return Shared(path)

    def begin(self, done: int, job: int, data: bytes) -> None:
        """A case begins; so many of its job have ended."""
        self._map[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._map, 0, done, job, len(data), self._map[_STOP_AT])

    def end(self, done: int, job: int) -> None:
        """No case runs. So many of the job have ended."""
        _HEAD.pack_into(self._map, 0, done, job, 0, self._map[_STOP_AT])

    @property
    def place(self) -> tuple[int, int]:
        """Number of the job, and how many cases of it have ended."""
        done, job, _, _ = _HEAD.unpack_from(self._map)
        return job, done

    @property
    def case(self) -> bytes:
        """The case at hand, or the last one."""
        _, _, size, _ = _HEAD.unpack_from(self._map)
        return self._map[_HEAD.size : _HEAD.size + size]

    @property
    def stopping(self) -> bool:
        """Whether the worker must stop."""
        return bool(self._map[_STOP_AT])

    def stop(self) -> None:
        """Tell the worker to stop."""
        self._map[_STOP_AT] = 1

    def close(self) -> None:
        """Nothing more is read or written."""
        self._map.close()
