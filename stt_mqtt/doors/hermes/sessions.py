"""The sessions that are open or wait for their text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain

from stt_mqtt.audio.endpoint import Endpointer
from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.doors.hermes.requests import StartListening, StopListening
from stt_mqtt.types import SAMPLE_RATE, DeviceKey

_BYTES_PER_MS = 2 * SAMPLE_RATE // 1000


@dataclass(slots=True, eq=False)
class Session:
    """One request to listen, from startListening to textCaptured. Two are never equal."""

    key: DeviceKey
    request: StartListening
    answer_by: float
    """When it has to be answered, whatever happened to it; monotonic seconds."""
    frames: FrameReader
    endpointer: Endpointer | None
    """None: it ends when somebody says so."""
    captured: bytearray | None
    """What was heard, as pcm_s16le; None: nobody asked for it."""
    heard_bytes: int = 0
    heard_at: float | None = None
    """When the last sound came, in monotonic seconds; None: none came."""
    voice_came_up: bool = False
    """Whether a vadUp came during it."""
    recording_finished: bool = False
    answered: bool = False

    @property
    def heard_ms(self) -> int:
        """Length of the audio so far."""
        return self.heard_bytes // _BYTES_PER_MS


@dataclass(slots=True)
class Sessions:
    """Finds sessions. At most one at a time listens for each site and session id."""

    _listening: dict[str, dict[str, Session]] = field(default_factory=dict)
    _unanswered: dict[Session, None] = field(default_factory=dict)
    """In the order of their `answer_by`: each is given the same time."""
    _silent: dict[Session, None] = field(default_factory=dict)
    """Those that listen and have heard nothing, in the order of their start."""
    _heard: dict[Session, None] = field(default_factory=dict)
    """The others that listen, in the order of their last sound."""

    def add(self, session: Session) -> None:
        """Take in a session that listens."""
        address = session.request.address
        self._listening.setdefault(address.site, {})[address.session] = session
        self._unanswered[session] = None
        self._silent[session] = None

    def sound(self, session: Session, nbytes: int, now: float) -> None:
        """A session heard so many bytes of pcm_s16le."""
        session.heard_bytes += nbytes
        session.heard_at = now
        if not session.recording_finished:
            self._silent.pop(session, None)
            self._heard.pop(session, None)
            self._heard[session] = None

    def at(self, site: str) -> Collection[Session]:
        """Those of a site that listen."""
        there = self._listening.get(site)
        return () if there is None else there.values()

    def find(self, site: str, session: str) -> Session | None:
        """The one that listens, if there is one."""
        there = self._listening.get(site)
        return None if there is None else there.get(session)

    def meant_by(self, stop: StopListening) -> list[Session]:
        """Those that listen and are to be ended."""
        sites = self._listening if stop.site is None else (stop.site,)
        found = (self.find(site, stop.session) for site in sites)
        return [session for session in found if session is not None]

    def ceased(self, session: Session) -> None:
        """A session that listened does not any more; it still has to be answered."""
        self._silent.pop(session, None)
        self._heard.pop(session, None)
        address = session.request.address
        there = self._listening[address.site]
        del there[address.session]
        if not there:
            del self._listening[address.site]

    def answered(self, session: Session) -> None:
        """A session was answered."""
        del self._unanswered[session]

    def concern(self, key: DeviceKey) -> bool:
        """Whether any that has not been answered speaks under this key."""
        return any(session.key == key for session in self._unanswered)

    def __len__(self) -> int:
        """How many have not been answered."""
        return len(self._unanswered)

    @property
    def quietest(self) -> Session | None:
        """Of those that listen the one that has heard nothing, else nothing for the longest."""
        return next(chain(self._silent, self._heard), None)

    @property
    def next(self) -> Session | None:
        """The one that has to be answered first."""
        return next(iter(self._unanswered), None)
