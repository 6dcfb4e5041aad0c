"""Every topic of the Hermes door in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

ROOT = "hermes/"
TEXT_CAPTURED = "hermes/asr/textCaptured"
ERROR = "hermes/error/asr"
RECORDING_FINISHED = "rhasspy/asr/recordingFinished"

FRAME_ENDING = "/audioFrame"
SESSION_FRAME_ENDING = "/audioSessionFrame"

MAX_SITE = 64
MAX_SESSION = 256

_AUDIO = "hermes/audioServer/"
_VOICE = "hermes/voiceActivity/"
_MAX_TOPIC = len(_AUDIO) + MAX_SITE + 1 + MAX_SESSION + len(SESSION_FRAME_ENDING)
_NOT_IN_A_LEVEL = re.compile("[/+#\0]")


class Request(StrEnum):
    """What a message with JSON asks for, as its topic."""

    START = "hermes/asr/startListening"
    STOP = "hermes/asr/stopListening"
    TOGGLE_ON = "hermes/asr/toggleOn"
    TOGGLE_OFF = "hermes/asr/toggleOff"


class VoiceTopic(StrEnum):
    """What a satellite's own voice detection says, as its topic ends."""

    UP = "vadUp"
    DOWN = "vadDown"


@dataclass(frozen=True, slots=True)
class AudioFrameTopic:
    """A topic that audio of a site comes on. `session` None: for all sessions of the site."""

    site: str
    session: str | None


@dataclass(frozen=True, slots=True)
class ActivityTopic:
    """A topic on which a site says that somebody begins or ceases to speak."""

    site: str
    voice: VoiceTopic


Route: TypeAlias = Request | AudioFrameTopic | ActivityTopic

SUBSCRIPTIONS = (
    *(request.value for request in Request),
    f"{_AUDIO}+{FRAME_ENDING}",
    f"{_AUDIO}+/+{SESSION_FRAME_ENDING}",
    *(f"{_VOICE}+/{voice.value}" for voice in VoiceTopic),
)
"""Filters of the input: they do not overlap, so nothing is delivered twice."""

_REQUESTS = {request.value: request for request in Request}
_VOICES = {voice.value: voice for voice in VoiceTopic}


def parse(topic: str) -> Route | None:
    """What a topic is about; None if it is none of ours or names no legal site or session."""
    # Checked before the cache, so that nobody fills it with long topics.
    return _parse(topic) if len(topic) <= _MAX_TOPIC else None


def audio_captured(site: str, session: str) -> str:
    """Topic of the audio of a session; without an id its level is `None`, as Rhasspy has it."""
    return f"rhasspy/asr/{site}/{session or None}/audioCaptured"


def is_site(name: str) -> bool:
    """Whether a name is legal for a site."""
    return 1 <= len(name) <= MAX_SITE and _is_level(name)


def is_session(name: str) -> bool:
    """Whether a name is legal for a session; the empty one stands for none."""
    return len(name) <= MAX_SESSION and _is_level(name)


def _is_level(name: str) -> bool:
    return name.isprintable() and _NOT_IN_A_LEVEL.search(name) is None


@lru_cache(maxsize=4096)
def _parse(topic: str) -> Route | None:
    """Cached because a satellite sends sixty frames a second on one topic."""
    if topic.startswith(_AUDIO):
        return _parse_frame(topic.removeprefix(_AUDIO))
    if topic.startswith(_VOICE):
        return _parse_voice(topic.removeprefix(_VOICE))
    return _REQUESTS.get(topic)


def _parse_frame(rest: str) -> AudioFrameTopic | None:
    if rest.endswith(FRAME_ENDING):
        site = rest.removesuffix(FRAME_ENDING)
        return AudioFrameTopic(site, None) if is_site(site) else None
    site, _, last = rest.partition("/")
    if not last.endswith(SESSION_FRAME_ENDING):
        return None
    session = last.removesuffix(SESSION_FRAME_ENDING)
    return AudioFrameTopic(site, session) if is_site(site) and is_session(session) else None


def _parse_voice(rest: str) -> ActivityTopic | None:
    site, _, said = rest.partition("/")
    voice = _VOICES.get(said)
    return ActivityTopic(site, voice) if voice is not None and is_site(site) else None
