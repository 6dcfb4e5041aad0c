"""The open sessions, and the sites that are switched off meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain

from stt_mqtt.audio.endpoint import Endpointer
from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.doors.hermes.messages import StartListening, StopListening
from stt_mqtt.errors import OverloadedError
from stt_mqtt.types import SAMPLE_RATE, DeviceKey

MAX_TOGGLED_SITES = 1000
MAX_REASONS = 16

_BYTES_PER_MS = 2 * SAMPLE_RATE // 1000
_NO_REASON = ""
"""Switching on without a reason clears all reasons. There is always room for this one."""
_NONE: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Session:
    """One request to listen, from startListening to textCaptured. No two are equal."""

    key: DeviceKey
    request: StartListening
    answer_by: float
    """When it has to be answered at the latest, in monotonic seconds."""
    frames: FrameReader
    endpointer: Endpointer | None
    """None: only a stop ends it."""
    captured: bytearray | None
    """Its audio as pcm_s16le; None: nobody asked for it."""
    audio_bytes: int = 0
    audio_at: float | None = None
    """When the last audio came, in monotonic seconds; None: none came."""
    voice_started: bool = False
    """Whether a vadUp came."""
    recording_finished: bool = False
    answered: bool = False

    @property
    def audio_ms(self) -> int:
        """Length of the audio so far."""
        return self.audio_bytes // _BYTES_PER_MS


@dataclass(slots=True)
class Sessions:
    """Finds sessions. At most one at a time listens for each site and session id."""

    _listening: dict[str, dict[str, Session]] = field(default_factory=dict)
    _unanswered: dict[Session, None] = field(default_factory=dict)
    """In the order of their `answer_by`: each is given the same time."""
    _without_audio: dict[Session, None] = field(default_factory=dict)
    """Those that listen and got no audio yet, in the order of their start."""
    _with_audio: dict[Session, None] = field(default_factory=dict)
    """The others that listen, in the order of their last audio."""

    def add(self, session: Session) -> None:
        """Add a session that listens."""
        address = session.request.address
        self._listening.setdefault(address.site, {})[address.session] = session
        self._unanswered[session] = None
        self._without_audio[session] = None

    def add_audio(self, session: Session, nbytes: int, now: float) -> None:
        """Note that a session got so many bytes of pcm_s16le."""
        session.audio_bytes += nbytes
        session.audio_at = now
        if not session.recording_finished:
            self._without_audio.pop(session, None)
            self._with_audio.pop(session, None)
            self._with_audio[session] = None

    def of_site(self, site: str) -> Collection[Session]:
        """Those of a site that listen."""
        there = self._listening.get(site)
        return () if there is None else there.values()

    def find(self, site: str, session: str) -> Session | None:
        """The one that listens, if there is one."""
        there = self._listening.get(site)
        return None if there is None else there.get(session)

    def stopped_by(self, stop: StopListening) -> list[Session]:
        """Those that listen and that a stop ends."""
        sites = self._listening if stop.site is None else (stop.site,)
        found = (self.find(site, stop.session) for site in sites)
        return [session for session in found if session is not None]

    def end_listening(self, session: Session) -> None:
        """A session listens no more. It still has to be answered."""
        self._without_audio.pop(session, None)
        self._with_audio.pop(session, None)
        address = session.request.address
        there = self._listening[address.site]
        del there[address.session]
        if not there:
            del self._listening[address.site]

    def remove(self, session: Session) -> None:
        """A session was answered."""
        del self._unanswered[session]

    def has_unanswered(self, key: DeviceKey) -> bool:
        """Whether a session of this device has not been answered."""
        return any(session.key == key for session in self._unanswered)

    def __len__(self) -> int:
        """How many have not been answered."""
        return len(self._unanswered)

    @property
    def quietest(self) -> Session | None:
        """The oldest of those that listen without audio, else the one with the oldest audio."""
        return next(chain(self._without_audio, self._with_audio), None)

    @property
    def next(self) -> Session | None:
        """The one that has to be answered first."""
        return next(iter(self._unanswered), None)


class Toggles:
    """Why each site is switched off, such as text that is spoken there. No reasons: it is on.

    A `site` of None means all sites. `off` and `on` raise `OverloadedError` where more would have
    to be remembered than `MAX_TOGGLED_SITES` or `MAX_REASONS` allow.
    """

    def __init__(self) -> None:
        self._default: frozenset[str] = _NONE
        """The reasons of sites without an entry of their own."""
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
        """Remove a reason; the empty one removes all."""
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
