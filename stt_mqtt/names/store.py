"""The file that keeps the names while Home Assistant is away."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stt_mqtt.phrases.names import HomeNames, names_from_json

FILE = "names.json"
MAX_FILE_BYTES = 32 * 1024 * 1024
STATE_WITHOUT_HOME = Path("/var/lib")
"""In place of the state of a user without a home, such as a number that a container runs as."""

log = logging.getLogger(__name__)


def default_state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder for what the service keeps between runs.

    `$STT_MQTT_STATE`, the `StateDirectory` of systemd, or `stt-mqtt` in the user's state folder.
    """
    try:
        if chosen := environ.get("STT_MQTT_STATE"):
            return Path(chosen).expanduser()
        if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
            return Path(given)
        state = Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    except RuntimeError:
        state = STATE_WITHOUT_HOME
    return state / "stt-mqtt"


class NamesStore:
    """Keeps the names in `folder`, in a file that only this user can read.

    Nothing here raises: without the file, the names are missing until Home Assistant answers. A
    failure is logged once.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._failed_before = False

    def load(self) -> HomeNames | None:
        """The names of the last time; None if there are none or the file is damaged."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")  # noqa: TRY301
            return names_from_json(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is not used: %s", self._path, _reason(error))
            return None

    def save(self, names: HomeNames) -> None:
        """Replace the file, or leave the old one as it is."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _replace(self._path, names.to_json())
        except OSError as error:
            if not self._failed_before:
                log.warning(
                    "the names of the home cannot be kept in %s: %s; make the folder writable, or "
                    "name another one in STT_MQTT_STATE",
                    self._path,
                    _reason(error),
                )
            self._failed_before = True
        else:
            self._failed_before = False


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole: after a crash, the old one or the new one is there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
