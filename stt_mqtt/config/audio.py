"""`audio:` and `keep_audio:`: how audio is decoded, and whether it is recorded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stt_mqtt.config.section import Section


class AudioConfig(Section):
    """How audio is decoded."""

    isolate: bool = False
    """Decode each utterance in a process of its own, confined by the system. Needs Linux."""


class KeepAudioConfig(Section):
    """Recordings of finished utterances with their words, to find out what was heard and why."""

    enabled: bool = False
    """`true`: each utterance that is not aborted is kept as a WAV file, with a JSON file beside."""
    folder: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Folder of the files, which only the user of the service can read. null: `audio` in its
    state folder."""
    max_age_days: float = Field(default=7.0, ge=0.01, le=3650.0)
    """Days after which a recording is deleted, also while `enabled` is `false`."""
    max_mib: int = Field(default=256, ge=1, le=1_048_576)
    """Size of all recordings, in MiB. The oldest are deleted. One minute has about 2 MiB."""
