"""The open sessions, and the sites that are switched off. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain

from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.doors.hermes.messages import StartListening, StopListening
from stt_mqtt.errors import OverloadedError
from stt_mqtt.types import SAMPLE_RATE, DeviceKey

MAX_TOGGLED_SITES = 1000
MAX_REASONS = 16

_BYTES_PER_MS = 2 * SAMPLE_RATE // 1000
_NO_REASON = ""
"""The empty reason. `on` without a reason clears all. It is always accepted."""
_NONE: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Session:
    """One session, from startListening to textCaptured. Compared by identity."""

    key: DeviceKey
    request: StartListening
    answer_by: float
    """When it must be answered at the latest, in monotonic seconds."""
    frames: FrameReader
    captured: bytearray | None
    """The audio as pcm_s16le; None: it was not requested."""
    audio_bytes: int = 0
    audio_at: float | None = None
    """When the last audio arrived, in monotonic seconds; None: none has."""
    voice_started: bool = False
    """Whether a vadUp arrived."""
    recording_finished: bool = False
    answered: bool = False

    @property
    def audio_ms(self) -> int:
        """Length of the audio so far."""
        return self.audio_bytes // _BYTES_PER_MS


@dataclass(slots=True)
class Sessions:
    """The unanswered sessions. At most one per site and session id is recording."""

    _listening: dict[str, dict[str, Session]] = field(default_factory=dict)
    _unanswered: dict[Session, None] = field(default_factory=dict)
    """In the order of `answer_by`, because each gets the same time."""
    _without_audio: dict[Session, None] = field(default_factory=dict)
    """Recording sessions without audio so far, in the order of their start."""
    _with_audio: dict[Session, None] = field(default_factory=dict)
    """The other recording sessions, in the order of their last audio."""

    def add(self, session: Session) -> None:
        """Add a session, which starts to record."""
        address = session.request.address
        self._listening.setdefault(address.site, {})[address.session] = session
        self._unanswered[session] = None
        self._without_audio[session] = None

    def add_audio(self, session: Session, nbytes: int, now: float) -> None:
        """Count `nbytes` of pcm_s16le that a session received."""
        session.audio_bytes += nbytes
        session.audio_at = now
        if not session.recording_finished:
            self._without_audio.pop(session, None)
            self._with_audio.pop(session, None)
            self._with_audio[session] = None

    def of_site(self, site: str) -> Collection[Session]:
        """The recording sessions of a site."""
        there = self._listening.get(site)
        return () if there is None else there.values()

    def find(self, site: str, session: str) -> Session | None:
        """The recording session with this id, if there is one."""
        there = self._listening.get(site)
        return None if there is None else there.get(session)

    def stopped_by(self, stop: StopListening) -> list[Session]:
        """The recording sessions that a stop ends."""
        sites = self._listening if stop.site is None else (stop.site,)
        found = (self.find(site, stop.session) for site in sites)
        return [session for session in found if session is not None]

    def end_listening(self, session: Session) -> None:
        """End the recording of a session. It must still be answered."""
        self._without_audio.pop(session, None)
        self._with_audio.pop(session, None)
        address = session.request.address
        there = self._listening[address.site]
        del there[address.session]
        if not there:
            del self._listening[address.site]

    def remove(self, session: Session) -> None:
        """Remove a session that was answered."""
        del self._unanswered[session]

    def has_unanswered(self, key: DeviceKey) -> bool:
        """Whether a session of this device is unanswered."""
        return any(session.key == key for session in self._unanswered)

    def __len__(self) -> int:
        """Number of unanswered sessions."""
        return len(self._unanswered)

    @property
    def quietest(self) -> Session | None:
        """The oldest recording session without audio, else the one with the oldest audio."""
        return next(chain(self._without_audio, self._with_audio), None)

    @property
    def next(self) -> Session | None:
        """The session that must be answered first."""
        return next(iter(self._unanswered), None)


class Toggles:
    """The reasons why sites are switched off, such as text to speech. No reasons: it is on.

    A `site` of None means all sites. `off` and `on` raise `OverloadedError` beyond
    `MAX_TOGGLED_SITES` or `MAX_REASONS`.
    """

    def __init__(self) -> None:
        self._default: frozenset[str] = _NONE
        """The reasons of sites without their own entry."""
        self._sites: dict[str, frozenset[str]] = {}

    def is_off(self, site: str) -> bool:
        """Whether the audio of a site is ignored."""
        return bool(self._sites.get(site, self._default))

    def off(self, site: str | None, reason: str) -> None:
        """Add a reason."""
        if site is None:
            self._default = _with(self._default, reason)
            for name, reasons in list(self._sites.items()):
                self._set(name, _with(reasons, reason))
        else:
            self._set(site, _with(self._sites.get(site, self._default), reason))

    def on(self, site: str | None, reason: str) -> None:
        """Remove a reason. The empty one removes all."""
        if site is None:
            self._default = _without(self._default, reason)
            for name, reasons in list(self._sites.items()):
                self._set(name, _without(reasons, reason))
        else:
            self._set(site, _without(self._sites.get(site, self._default), reason))

    def _set(self, site: str, reasons: frozenset[str]) -> None:
        if reasons == self._default:
            self._sites.pop(site, None)
        elif site in self._sites or len(self._sites) < MAX_TOGGLED_SITES:
            self._sites[site] = reasons
        else:
            raise OverloadedError(
                f"{MAX_TOGGLED_SITES} sites are toggled already, this one stays as it is"
            )


def _with(reasons: frozenset[str], reason: str) -> frozenset[str]:
    if len(reasons) >= MAX_REASONS and reason not in {_NO_REASON, *reasons}:
        raise OverloadedError(f"a site is off for {MAX_REASONS} reasons already")
    return reasons | {reason}


def _without(reasons: frozenset[str], reason: str) -> frozenset[str]:
    return _NONE if reason == _NO_REASON else reasons - {reason}
