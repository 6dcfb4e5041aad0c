"""Checks the folders that the service writes: models, state, and the temporary one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stt_mqtt.config import BrokerMode, Config
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.engine.models import default_models_dir, locate
from stt_mqtt.names.store import FILE, NamesStore, default_state_dir
from stt_mqtt.observe.kept_audio import recordings_folder

NAME = "disk"
MIN_FREE_MB = 200.0
"""Less is a warning: the smallest model has 75 MB, and is downloaded beside the one in use."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def check_disk(subject: Subject) -> list[Finding]:
    """The folders of models, names from Home Assistant and recordings, as far as in use."""
    environ, config = subject.machine.environ, subject.config
    findings: list[Finding] = []
    if config.has_model:
        models = default_models_dir(environ)
        needed = not _has_all_models(config, models)
        findings += _folder(models, "models", "STT_MQTT_MODELS", needed=needed)
    if config.phrases.home_assistant is not None:
        state = default_state_dir(environ)
        # Without it, the names are read from Home Assistant after each start.
        findings += _folder(state, "the names of the home", "STT_MQTT_STATE", needed=False)
        if os.path.isfile(state / FILE) and NamesStore(state).load() is None:
            findings.append(
                warn(
                    NAME,
                    f"{state / FILE} is damaged, so after a start there are no names until Home "
                    "Assistant answers",
                    "delete the file",
                )
            )
    if config.keep_audio.enabled:
        kept = recordings_folder(config.keep_audio, default_state_dir(environ))
        findings += _folder(kept, "recordings", "keep_audio.folder", needed=True)
    if config.has_doors and config.broker.mode is BrokerMode.EMBEDDED:
        findings += _temporary_folder()
    return findings or [ok(NAME, "the service writes no files")]


def _has_all_models(config: Config, models: Path) -> bool:
    """Whether every model is on this machine, so that the service writes none."""
    try:
        found = [locate(rung.model, models) for rung in config.rungs]
    except (OSError, ValueError, RuntimeError):
        return False
    # What several packages ship is joined in the folder.
    return all(location is not None and len(location.folders) == 1 for location in found)


def _folder(folder: Path, content: str, variable: str, needed: bool) -> Iterator[Finding]:
    """Whether the folder, or the one in which it is to be made, can be written and has room.

    `needed`: whether something that the configuration asks for does not work without it.
    """
    # Not `Path.exists`, which raises where a folder above may not be searched.
    existing = next((at for at in (folder, *folder.parents) if os.path.exists(at)), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"stt-mqtt")
            file.flush()
        free_mb = shutil.disk_usage(existing).free / 1e6
    except OSError as error:
        detail = f"{folder} for {content} cannot be written: {error.strerror or error}"
        is_full = error.errno in _NO_ROOM
        what_to_do = "make room there"
        if not is_full:
            what_to_do = (
                "make it writable for the user of the service, or name another folder in "
                f"{variable}"
            )
        if needed:
            yield fail(NAME, detail, what_to_do, temporary=is_full)
        else:
            yield warn(NAME, detail, what_to_do)
        return
    if free_mb < MIN_FREE_MB:
        yield warn(
            NAME, f"only {free_mb:.0f} MB are free for {content} in {folder}", "make room there"
        )
        return
    yield ok(NAME, f"{folder} for {content} can be written, {free_mb / 1000:.1f} GB are free")


def _temporary_folder() -> Iterator[Finding]:
    """The embedded broker starts only with one."""
    try:
        with tempfile.TemporaryDirectory(prefix="stt-mqtt-doctor-"):
            return
    except OSError as error:
        reason = error.strerror or error
        detail = f"the embedded broker needs a temporary folder, which cannot be made: {reason}"
        yield fail(NAME, detail, "make room, or name another folder in TMPDIR", temporary=True)
