"""Recordings of utterances on disk (`keep_audio`), written by a thread of their own."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import threading
import time
import wave
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from typing import IO

import numpy as np

from stt_mqtt.audio.decode import Decoded
from stt_mqtt.config import KeepAudioConfig
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import SAMPLE_RATE, EncodedAudio, Outcome, OutcomeKind, Samples, Utterance

log = logging.getLogger(__name__)

FOLDER = "audio"
"""Folder of the recordings in the state folder."""
PRUNE_INTERVAL_S = 600.0
"""How often old recordings are looked for while nobody speaks."""
_MAX_WAITING = 32
"""Utterances that may wait for the disk; a further one is not kept."""
_MIB = 1024 * 1024
_DAY_S = 24 * 3600.0
_MAX_NAME = 64
_JSON_BYTES = 4096
"""More than the file beside the sound has, unless somebody speaks for minutes."""
_PRUNE_EVERY = 100
"""Utterances after which old recordings are looked for while people speak."""
_FILLED = 0.9
"""How full the folder is left, so that not every utterance has to make room."""
_OURS = re.compile(r"\d{8}T\d{9}Z-[A-Za-z0-9_.-]{1,64}-[0-9a-f]{8}\.(wav|json)")
"""Names of our files. Others in the folder are not touched."""


def recordings_folder(config: KeepAudioConfig, state_dir: Path) -> Path:
    """Where recordings are kept."""
    return state_dir / FOLDER if config.folder is None else Path(config.folder).expanduser()


@dataclass(slots=True)
class _Recording:
    """The files of one utterance."""

    paths: list[Path] = field(default_factory=list)
    modified_at: float = 0.0
    nbytes: int = 0


class KeptAudio:
    """Writes recordings and deletes old ones. `keep` and `reconfigure` never wait for the disk.

    `decode`: as `stt_mqtt.audio.decode.decode`. `max_s`: seconds of an utterance that are kept.
    `now`: seconds of the Unix epoch. A failure is logged once, and once more when it is over.
    """

    def __init__(
        self,
        config: KeepAudioConfig,
        state_dir: Path,
        decode: Callable[[EncodedAudio, float], Decoded],
        max_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._state_dir = state_dir
        self._decode, self._max_s, self._now = decode, max_s, now
        self._waiting: Queue[tuple[Utterance, Outcome] | None] = Queue(_MAX_WAITING)
        self._failing = False
        self._nbytes = 0
        """Size of all recordings."""
        self._until_prune = 0
        """Utterances until old recordings are looked for."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which first deletes what is too old."""
        self._announce()
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def reconfigure(self, config: KeepAudioConfig) -> None:
        """Apply a new configuration from the next utterance on."""
        if config != self._config:
            self._config = config
            self._announce()
            self._until_prune = 0

    def keep(self, utterance: Utterance, outcome: Outcome) -> None:
        """Keep an utterance that has its outcome, unless the device aborted it."""
        if not self._config.enabled or outcome.kind is OutcomeKind.ABORTED:
            return
        try:
            self._waiting.put_nowait((utterance, outcome))
        except Full:
            self._note_failure("the disk is too slow")

    def close(self, timeout_s: float) -> None:
        """Write what waits, and end the thread."""
        if self._thread is None:
            return
        with suppress(Full):
            self._waiting.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)

    @property
    def _folder(self) -> Path:
        return recordings_folder(self._config, self._state_dir)

    def _announce(self) -> None:
        if self._config.enabled:
            log.warning(
                "keep_audio: what is said is recorded in %s, for %g days and up to %d MiB",
                self._folder,
                self._config.max_age_days,
                self._config.max_mib,
            )

    # In the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self._step()
            except OSError as error:
                self._note_failure(error.strerror or str(error))
            except Exception:
                log.exception("an utterance was not recorded, please report this")

    def _step(self) -> bool:
        """Wait for an utterance and write it; return whether to go on."""
        if self._until_prune <= 0:
            self._prune(self._config.max_mib * _MIB)
        self._until_prune -= 1
        try:
            item = self._waiting.get(timeout=PRUNE_INTERVAL_S)
        except Empty:
            self._until_prune = 0
            return True
        if item is not None:
            self._write(*item)
        return item is not None

    def _write(self, utterance: Utterance, outcome: Outcome) -> None:
        try:
            samples = self._decode(utterance.audio, self._max_s).samples
        except UtteranceError:
            # It has no sample that could be kept; its outcome says so.
            return
        needed = 2 * len(samples) + _JSON_BYTES
        limit = self._config.max_mib * _MIB
        if self._nbytes + needed > limit:
            self._prune(int(_FILLED * limit) - needed)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        base = self._folder / _name_of(outcome)
        with _Files() as files:
            with files.create(base.with_name(f"{base.name}.wav")) as file:
                _write_wav(file, samples)
            with files.create(base.with_name(f"{base.name}.json")) as file:
                file.write(json.dumps(_described(outcome), ensure_ascii=False).encode() + b"\n")
        self._nbytes += needed
        if self._failing:
            self._failing = False
            log.info("utterances are recorded again")

    def _prune(self, room: int) -> None:
        """Delete recordings that are too old, and the oldest until all fit into `room` bytes."""
        self._until_prune, self._nbytes = _PRUNE_EVERY, 0
        oldest_at = self._now() - self._config.max_age_days * _DAY_S
        for _, one in sorted(self._recordings().items(), reverse=True):
            if self._nbytes + one.nbytes > room or one.modified_at < oldest_at:
                for path in one.paths:
                    path.unlink(missing_ok=True)
            else:
                self._nbytes += one.nbytes

    def _recordings(self) -> dict[str, _Recording]:
        """What is in the folder, by the name of the file without its ending."""
        found: defaultdict[str, _Recording] = defaultdict(_Recording)
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status, path = entry.stat(follow_symlinks=False), Path(entry.path)
                    one = found[path.stem]
                    one.paths.append(path)
                    one.modified_at = max(one.modified_at, status.st_mtime)
                    one.nbytes += status.st_size
        return found

    def _note_failure(self, reason: str) -> None:
        """May run in either thread: at worst the failure is logged twice."""
        if not self._failing:
            self._failing = True
            log.warning(
                "utterances are not recorded in %s: %s; make the folder writable and make room, "
                "or switch keep_audio off",
                self._folder,
                reason,
            )


class _Files:
    """Creates files that only their owner can read. Deletes them all if the block raises."""

    def __init__(self) -> None:
        self._created: list[Path] = []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for path in self._created:
                path.unlink(missing_ok=True)

    def create(self, path: Path) -> IO[bytes]:
        """Open a new file for writing. Raises OSError."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._created.append(path)
        return os.fdopen(descriptor, "wb")


def _name_of(outcome: Outcome) -> str:
    """Begins with the time, so that names sort by age."""
    spoken = datetime.fromtimestamp(outcome.ts, UTC)
    device = re.sub(r"[^A-Za-z0-9_.-]", "_", outcome.key.name)[:_MAX_NAME] or "_"
    at = f"{spoken:%Y%m%dT%H%M%S}{spoken.microsecond // 1000:03}Z"
    return f"{at}-{device}-{secrets.token_hex(4)}"


def _write_wav(file: IO[bytes], samples: Samples) -> None:
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())


def _described(outcome: Outcome) -> dict[str, object]:
    """What the file beside the sound says. The keys are those of `result`."""
    transcript = outcome.transcript
    return {
        "door": outcome.key.door,
        "device": outcome.key.name,
        "id": outcome.id,
        "ts": round(outcome.ts, 3),
        "outcome": outcome.kind.value,
        "text": "" if transcript is None else transcript.text,
        "heard": "" if transcript is None else transcript.free,
        "confidence": None if transcript is None else round(transcript.confidence, 3),
        "audio_s": round(outcome.audio_s, 3),
        "end": None if outcome.end is None else outcome.end.value,
        "model": outcome.model,
        "rung": outcome.rung,
        "hint": None if outcome.hint is None else outcome.hint.value,
        "error": None if outcome.error is None else outcome.error.code,
    }
