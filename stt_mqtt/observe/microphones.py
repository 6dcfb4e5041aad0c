"""A word for each microphone: good, weak or bad, with the reasons. Pure and bounded.

The evidence is what the service sees of a room: the last utterances, and how often it went offline.
`now` is monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.types import Outcome, OutcomeKind

UTTERANCES = 20
"""Utterances of a room that are judged, the newest ones."""
UTTERANCE_AGE_S = 24 * 3600.0
"""Older utterances are not judged: the microphone may have been moved since."""
FEWEST = 3
"""Least utterances with speech for a word. One cough is no evidence."""
EVENTS = 100
"""Times that are kept of each kind of event."""
EVENTS_AGE_S = 3600.0
"""Events are counted over the last hour."""
NOTEWORTHY_CLIPPED = 0.003
"""Share of clipped samples above which recognition suffers, as for the hint."""
OLD_S = 2.0
"""Age at which speech counts as late. A command that is answered so late was repeated by then."""


class Word(StrEnum):
    """What is said of a microphone, the best first."""

    UNKNOWN = "unknown"
    """There is too little evidence."""
    GOOD = "good"
    WEAK = "weak"
    BAD = "bad"


class Reason(StrEnum):
    """Why a microphone is weak or bad."""

    FORMAT = "format"
    LOST_CHUNKS = "lost_chunks"
    CLIPPING = "clipping"
    NOISE = "noise"
    LEVEL = "level"
    OFFSET = "offset"
    LATE = "late"
    RECONNECTS = "reconnects"
    FALSE_WAKE_UPS = "false_wake_ups"


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a figure makes a microphone weak, and from where on bad."""

    weak: float
    bad: float

    def word(self, figure: float) -> Word:
        """The word for a figure. If `bad` is below `weak`, low figures are bad."""
        sign = 1 if self.bad > self.weak else -1
        if sign * figure >= sign * self.bad:
            return Word.BAD
        return Word.WEAK if sign * figure >= sign * self.weak else Word.GOOD


LIMITS = {
    Reason.FORMAT: Limits(0.25, 0.5),
    Reason.LOST_CHUNKS: Limits(0.1, 0.3),
    Reason.CLIPPING: Limits(0.1, 0.5),
    Reason.NOISE: Limits(15.0, 8.0),
    Reason.LEVEL: Limits(-45.0, -55.0),
    Reason.OFFSET: Limits(0.25, 0.75),
    Reason.LATE: Limits(0.1, 0.3),
    Reason.RECONNECTS: Limits(3, 10),
    Reason.FALSE_WAKE_UPS: Limits(6, 20),
}
"""Noise is dB of speech above the background. Level is dBFS of speech. The last two are counts per
hour, and the others are shares of utterances."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason. `word` is weak or bad; `sentence` says what was seen and what to do."""

    reason: Reason
    word: Word
    sentence: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The word for a microphone, and the reasons for it, the worst first.

    The figures are medians of its last utterances; None: not known.
    """

    word: Word
    findings: tuple[Finding, ...] = ()
    utterances: int = 0
    """Utterances that were judged."""
    speech_dbfs: float | None = None
    noise_dbfs: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is kept of an utterance."""

    at: float
    spoken: bool
    levels: Levels | None
    hint: Hint | None
    lost: bool
    age_s: float


class Microphone:
    """The evidence of one room."""

    def __init__(self) -> None:
        self._heard: deque[_Heard] = deque(maxlen=UTTERANCES)
        self._false_wake_ups: deque[float] = deque(maxlen=EVENTS)
        self._offline: deque[float] = deque(maxlen=EVENTS)

    def outcome(self, outcome: Outcome, now: float) -> None:
        """Note an utterance. Those without audio, such as refused ones, say nothing."""
        if outcome.kind is OutcomeKind.NO_SPEECH:
            self._false_wake_ups.append(now)
        spoken = outcome.kind is OutcomeKind.TRANSCRIPT
        hint = outcome.hint if outcome.error is None else outcome.error.hint
        if not spoken and hint is None and not outcome.lost_chunks:
            return
        self._heard.append(
            _Heard(now, spoken, outcome.levels, hint, outcome.lost_chunks > 0, outcome.age_s)
        )

    def went_offline(self, times: int, now: float) -> None:
        """Note that it went offline."""
        self._offline.extend([now] * min(times, EVENTS))

    def judge(self, now: float) -> Judgement:
        """The word for it."""
        heard = [one for one in self._heard if now - one.at <= UTTERANCE_AGE_S]
        findings = sorted(
            [
                *_of_events(Reason.RECONNECTS, self._offline, now),
                *_of_events(Reason.FALSE_WAKE_UPS, self._false_wake_ups, now),
                *(_of_utterances(heard) if len(heard) >= FEWEST else ()),
            ],
            key=lambda finding: (finding.word is not Word.BAD, list(Reason).index(finding.reason)),
        )
        spoken = [one.levels for one in heard if one.spoken and one.levels is not None]
        enough = len(heard) >= FEWEST
        word = findings[0].word if findings else Word.GOOD if enough else Word.UNKNOWN
        return Judgement(
            word,
            tuple(findings),
            len(heard),
            _median([levels.speech_dbfs for levels in spoken]),
            _median([levels.noise_dbfs for levels in spoken]),
            _median([levels.snr_db for levels in spoken]),
        )


class Microphones:
    """The microphones of all rooms, at most `most`; the one that was silent for longest goes first.

    A room is a door and a name.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rooms: OrderedDict[tuple[str, str], Microphone] = OrderedDict()

    def outcome(self, outcome: Outcome, now: float) -> None:
        """Note the outcome of an utterance of a room."""
        self._room(outcome.key.door, outcome.key.name).outcome(outcome, now)

    def went_offline(self, door: str, name: str, times: int, now: float) -> None:
        """Note that a room went offline."""
        self._room(door, name).went_offline(times, now)

    def forget(self, door: str, name: str) -> None:
        """Forget a room."""
        self._rooms.pop((door, name), None)

    def judge(self, door: str, name: str, now: float) -> Judgement:
        """The word for the microphone of a room."""
        microphone = self._rooms.get((door, name))
        return Judgement(Word.UNKNOWN) if microphone is None else microphone.judge(now)

    def _room(self, door: str, name: str) -> Microphone:
        room = (door, name)
        if room not in self._rooms:
            self._rooms[room] = Microphone()
            if len(self._rooms) > self._most:
                self._rooms.popitem(last=False)
        self._rooms.move_to_end(room)
        return self._rooms[room]


def _of_events(reason: Reason, times: Sequence[float], now: float) -> list[Finding]:
    count = sum(now - at <= EVENTS_AGE_S for at in times)
    return _finding(reason, count, _SENTENCES[reason].format(count=count))


def _of_utterances(heard: Sequence[_Heard]) -> list[Finding]:
    of = len(heard)
    findings: list[Finding] = []
    for reason, marked in (
        (Reason.LOST_CHUNKS, [one for one in heard if one.lost]),
        (Reason.CLIPPING, [one for one in heard if _is_clipped(one)]),
        (Reason.OFFSET, [one for one in heard if one.hint is Hint.OFFSET]),
        (Reason.LATE, [one for one in heard if one.age_s >= OLD_S]),
    ):
        sentence = _SENTENCES[reason].format(count=len(marked), of=of)
        findings += _finding(reason, len(marked) / of, sentence)
    faults = [one.hint for one in heard if one.hint not in {None, Hint.CLIPPING, Hint.OFFSET}]
    if faults and faults[-1] is not None:
        findings += _finding(Reason.FORMAT, len(faults) / of, faults[-1].sentence)
    spoken = [one.levels for one in heard if one.spoken and one.levels is not None]
    for reason, figure in (
        (Reason.NOISE, _median([levels.snr_db for levels in spoken])),
        (Reason.LEVEL, _median([levels.speech_dbfs for levels in spoken])),
    ):
        if figure is not None:
            findings += _finding(reason, figure, _SENTENCES[reason].format(figure=figure))
    return findings


def _is_clipped(one: _Heard) -> bool:
    clipped = one.levels is not None and one.levels.clipped >= NOTEWORTHY_CLIPPED
    return clipped or one.hint is Hint.CLIPPING


def _finding(reason: Reason, figure: float, sentence: str) -> list[Finding]:
    word = LIMITS[reason].word(figure)
    return [] if word is Word.GOOD else [Finding(reason, word, sentence)]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


_SENTENCES = {
    Reason.LOST_CHUNKS: (
        "Chunks were lost in {count} of {of} utterances: check the network of the device."
    ),
    Reason.CLIPPING: (
        "Loud parts were cut off in {count} of {of} utterances: lower the gain of the microphone."
    ),
    Reason.NOISE: (
        "Speech is only {figure:.0f} dB above the background: move the microphone away from the "
        "noise, or closer to the speaker."
    ),
    Reason.LEVEL: "Speech has a level of {figure:.0f} dBFS: raise the gain of the microphone.",
    Reason.OFFSET: (
        "The samples had an offset in {count} of {of} utterances: check the bias of the microphone."
    ),
    Reason.LATE: (
        "{count} of {of} utterances came late: check the network and the clock of the device."
    ),
    Reason.RECONNECTS: (
        "It went offline {count} times in the last hour: check its network and its power supply."
    ),
    Reason.FALSE_WAKE_UPS: (
        "It listened {count} times in the last hour and nobody spoke: make its wake word or its "
        "speech detection less sensitive."
    ),
}
