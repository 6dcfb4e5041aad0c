"""Finds and reads the phrase files that the configuration names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_FILES = 1_000
MAX_FILE_BYTES = 4 << 20
MAX_TOTAL_BYTES = 32 << 20
MAX_ENTRIES = 20_000
"""Most files and folders that a search looks at."""
STARTER = Path(__file__).parent / "starter"
"""The folder of the starter book."""
_SUFFIXES = (".yaml", ".yml")
_KEY = "phrases.paths"


class PhraseFiles:
    """The phrase files in files and folders, in the order of their names.

    `problems`: a line for each path that cannot be used. They are known after `texts`.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.problems: list[str] = []
        self._paths = paths
        self._bytes = 0
        self._entries = 0

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the text of each file. A file that is named twice is read once."""
        seen: set[str] = set()
        for path in self._paths:
            for file in self._within(path):
                real = os.path.realpath(file)
                if real in seen:
                    continue
                if len(seen) >= MAX_FILES:
                    self.problems.append(f"{file}: {_KEY}: more than {MAX_FILES} phrase files")
                    return
                seen.add(real)
                text = self._read(file)
                if text is not None:
                    yield str(file), text

    def _within(self, path: Path) -> list[Path]:
        """The file itself, or the phrase files of a folder and of the folders in it."""
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                return [path]
        except (OSError, ValueError) as error:
            self._unreadable(path, error)
            return []
        found = []
        for folder, folders, names in os.walk(path, onerror=self._unreadable_folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            self._entries += len(folders) + len(names)
            if self._entries > MAX_ENTRIES:
                self.problems.append(
                    f"{path}: {_KEY}: more than {MAX_ENTRIES} files and folders, "
                    "name the folder of the phrase files"
                )
                return []
            found += [
                Path(folder, name)
                for name in sorted(names)
                if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
            ]
        if not found:
            self.problems.append(f"{path}: {_KEY}: has no file *.yaml or *.yml")
        return found

    def _read(self, path: Path) -> str | None:
        try:
            # A pipe would be waited for.
            if not stat.S_ISREG(path.stat().st_mode):
                self.problems.append(f"{path}: {_KEY}: is no file")
                return None
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            self._bytes += len(data)
            if len(data) > MAX_FILE_BYTES:
                self.problems.append(f"{path}: {_KEY}: is larger than {MAX_FILE_BYTES >> 20} MiB")
                return None
            if self._bytes > MAX_TOTAL_BYTES:
                total = f"{MAX_TOTAL_BYTES >> 20} MiB"
                self.problems.append(f"{path}: {_KEY}: the files are larger than {total} together")
                return None
            return data.decode("utf-8-sig")
        except OSError as error:
            self._unreadable(path, error)
        except UnicodeDecodeError:
            self.problems.append(f"{path}: {_KEY}: is not UTF-8 text")
        return None

    def _unreadable_folder(self, error: OSError) -> None:
        self._unreadable(Path(str(error.filename)), error)

    def _unreadable(self, path: Path, error: OSError | ValueError) -> None:
        reason = error.strerror if isinstance(error, OSError) else None
        self.problems.append(f"{path}: {_KEY}: cannot be read: {reason or type(error).__name__}")
