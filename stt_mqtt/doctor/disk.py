"""Checks the folders that the service writes: models and state."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.engine.models import default_models_dir
from stt_mqtt.names.store import FILE, NamesStore, default_state_dir
from stt_mqtt.observe.kept_audio import recordings_folder

NAME = "disk"
MIN_FREE_MB = 200.0
"""Less is a warning: the smallest model has 75 MB, and is downloaded beside the one in use."""


def check_disk(subject: Subject) -> list[Finding]:
    """The folders of models, names from Home Assistant and recordings, as far as in use."""
    environ = subject.machine.environ
    models = default_models_dir(environ)
    needed = subject.config.has_model
    findings = [*_folder(models, "models", "STT_MQTT_MODELS")] if needed else []
    if subject.config.phrases.home_assistant is not None:
        state = default_state_dir(environ)
        findings += _folder(state, "the names of the home", "STT_MQTT_STATE")
        if (state / FILE).is_file() and NamesStore(state).load() is None:
            findings.append(
                warn(
                    NAME,
                    f"{state / FILE} is damaged, so after a start there are no names until Home "
                    "Assistant answers",
                    "delete the file",
                )
            )
    if subject.config.keep_audio.enabled:
        kept = recordings_folder(subject.config.keep_audio, default_state_dir(environ))
        findings += _folder(kept, "recordings", "keep_audio.folder")
    return findings or [ok(NAME, "the service writes no files")]


def _folder(folder: Path, content: str, variable: str) -> Iterator[Finding]:
    """Whether the folder, or the one in which it is to be made, can be written and has room."""
    existing = next((at for at in (folder, *folder.parents) if at.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"stt-mqtt")
            file.flush()
        free_mb = shutil.disk_usage(existing).free / 1e6
    except OSError as error:
        yield fail(
            NAME,
            f"{folder} for {content} cannot be written: {error.strerror or error}",
            f"make it writable for the user of the service, or name another folder in {variable}",
        )
        return
    if free_mb < MIN_FREE_MB:
        yield warn(
            NAME, f"only {free_mb:.0f} MB are free for {content} in {folder}", "make room there"
        )
        return
    yield ok(NAME, f"{folder} for {content} can be written, {free_mb / 1000:.1f} GB are free")
