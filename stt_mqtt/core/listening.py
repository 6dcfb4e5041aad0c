"""Listens to an open utterance: how long it has been silent, and whether the turn has ended.

At a pause the service recognises what was said so far: a glimpse. If the speaker goes on, it is
wasted. If not, the answer is ready when the utterance ends. If what was said is a whole phrase of
the home, the utterance ends without waiting any longer.
"""

from __future__ import annotations

from math import inf

from stt_mqtt.audio.endpoint import SETTLED_MS, SpeechMeter
from stt_mqtt.types import SAMPLE_RATE, Completion, Endpointing, Transcript, TurnEnd

GLIMPSE_S = SETTLED_MS / 1000
"""Silence after which a glimpse is taken: the end of speech is settled."""
SPEAKING_S = 0.06
"""Longest silence while somebody speaks."""
COMPLETE_S = 0.2
"""Silence that ends a complete phrase."""
ONE_WORD_S = 0.4
"""Silence that ends a phrase of one word if the service ends the turn, even if a longer one begins
with it or the word was misheard: "stop"."""
OPEN_S = 1.5
"""Silence that ends the beginning of a phrase, if the service ends the turn."""
STALL_S = 0.6
"""Time without a chunk that ends the turn, if the audio before it ends in speech. A stall of the
network looks the same."""
SENTENCE_S = 0.45
"""Silence that ends a confident sentence, if endpointing is eager."""
CONFIDENT = 0.5
"""Least confidence of such a sentence."""
SURE_END = 0.88
"""Least probability of the mark at its end. benchmarks/turns.py shows what it trades."""
LONGEST_CHUNK_S = 1.0
"""Longest time between two chunks of live audio. A longer chunk is old audio."""
PCM_BYTES_PER_S = 2 * SAMPLE_RATE
_SLACK_S = 1e-6


class Listener:
    """Listens to one open utterance. Times are monotonic seconds.

    If the device ends the utterance, it may hold silence back. So the time since its last chunk
    counts as silence, too.
    """

    def __init__(self, turn_end: TurnEnd) -> None:
        self._turn_end = turn_end
        self.has_hole = False
        """Whether audio may be missing. Then what was said does not end the turn."""
        self._meter = SpeechMeter()
        self.chunk_s = 0.0
        """Length of the last chunk, and so the time until the next one if the audio is live."""
        self._is_long = False
        """Whether that chunk was longer than `LONGEST_CHUNK_S`."""
        self._chunk_at = inf
        self._glimpsed_ms: int | None = None
        """End of the speech when the last glimpse was taken or skipped."""
        self._is_skipped = False
        """Whether it was skipped."""
        self._is_postponed = False
        """Whether a glimpse is due, but waits for a thread."""
        self._is_running = False
        """Whether the last glimpse that was taken has not ended yet."""
        self._transcript: Transcript | None = None
        """What the glimpse that covers all speech found."""

    def push(self, pcm: bytes, now: float) -> None:
        """Listen to the next 16-bit little-endian mono samples at `SAMPLE_RATE`."""
        if not pcm:
            return
        self._meter.push(pcm)
        chunk_s = len(pcm) / PCM_BYTES_PER_S
        self.chunk_s, self._is_long = min(chunk_s, LONGEST_CHUNK_S), chunk_s > LONGEST_CHUNK_S
        self._chunk_at = now
        self._is_postponed = False
        if not self._is_settled:
            self._transcript = None

    @property
    def is_glimpsed(self) -> bool:
        """Whether a glimpse covers all speech."""
        return self._is_settled and not self._is_skipped

    def wants_glimpse(self, now: float) -> bool:
        """Whether it is silent after speech that no glimpse covers.

        There is one glimpse at a time. If the speaker went on, the next one waits for its end.
        """
        return self._expects_glimpse and self._silence_s(now) >= GLIMPSE_S - _SLACK_S

    def begin_glimpse(self) -> None:
        """A glimpse is taken now."""
        self._settle()
        self._is_running = True

    def skip_glimpse(self) -> None:
        """No glimpse can be taken at this pause."""
        self._settle()
        self._is_skipped = True

    def postpone_glimpse(self) -> None:
        """A glimpse that is due waits for the thread of a draft or of another glimpse."""
        self._is_postponed = True

    def end_glimpse(self, transcript: Transcript | None) -> None:
        """What the last glimpse found. Ignored if the speaker went on."""
        self._is_running = False
        if self._is_settled:
            self._transcript = transcript

    def has_ended(self, now: float | None = None) -> bool:
        """Whether the turn has ended.

        `now` None: only silence in the audio counts, because newer audio may wait to be read.
        """
        if self._meter.spoke:
            if self._silence_s(None) >= self._enough_s - _SLACK_S:
                return True
            return now is not None and self._silence_s(now) >= self._absent_enough_s - _SLACK_S
        no_speech_s = self._turn_end.no_speech_s
        return no_speech_s is not None and self._meter.heard_ms >= 1000 * no_speech_s

    @property
    def heard_s(self) -> float:
        """Length of the audio."""
        return self._meter.heard_ms / 1000

    @property
    def spoke(self) -> bool:
        """Whether somebody has spoken."""
        return self._meter.spoke

    @property
    def is_speaking(self) -> bool:
        """Whether somebody speaks at the moment."""
        return self._meter.spoke and self._meter.silence_ms <= 1000 * SPEAKING_S

    @property
    def deadline(self) -> float:
        """When a glimpse or the end of the turn is due if no more audio arrives; inf: never."""
        if not self._holds_back:
            return inf
        is_due = self._expects_glimpse and not self._is_postponed
        due_s = GLIMPSE_S if is_due else self._absent_enough_s
        return self._chunk_at + self.chunk_s + due_s - self._meter.silence_ms / 1000

    @property
    def _expects_glimpse(self) -> bool:
        """Whether a glimpse is due as soon as it is silent."""
        return self._meter.spoke and not self._is_running and not self._is_settled

    @property
    def _is_settled(self) -> bool:
        """Whether nobody spoke since a glimpse was taken or skipped."""
        return self._glimpsed_ms == self._meter.speech_end_ms

    def _settle(self) -> None:
        self._is_postponed = False
        self._glimpsed_ms = self._meter.speech_end_ms
        self._is_skipped = False
        self._transcript = None

    def _silence_s(self, now: float | None) -> float:
        """Silence in the audio, and after it until `now`."""
        silence_s = self._meter.silence_ms / 1000
        if self._holds_back and now is not None:
            silence_s += max(now - self._chunk_at - self.chunk_s, 0.0)
        return silence_s

    @property
    def _holds_back(self) -> bool:
        return self._turn_end.pause_s is None

    @property
    def _enough_s(self) -> float:
        """The silence that ends the turn."""
        turn_end, transcript = self._turn_end, self._transcript
        usual_s = inf if turn_end.pause_s is None else turn_end.pause_s
        if transcript is None or self.has_hole or turn_end.endpointing is Endpointing.SILENCE:
            return usual_s
        if transcript.completion is Completion.COMPLETE:
            return min(COMPLETE_S, usual_s)
        if not self._holds_back:
            if is_one_word(transcript):
                return min(ONE_WORD_S, usual_s)
            if transcript.completion is Completion.OPEN:
                return max(OPEN_S, usual_s)
        if turn_end.endpointing is Endpointing.EAGER and is_sentence(transcript):
            return min(SENTENCE_S, usual_s)
        return usual_s

    @property
    def _absent_enough_s(self) -> float:
        """The silence that ends the turn, if no more chunks arrive."""
        if not self._holds_back or self._is_long:
            return inf
        ends_in_speech = self._meter.silence_ms < 1000 * SPEAKING_S
        return max(STALL_S, self._enough_s) if ends_in_speech else self._enough_s


def is_one_word(transcript: Transcript) -> bool:
    """Whether a transcript is, or may be, a phrase of one word."""
    is_phrase = transcript.completion in {Completion.EXTENDABLE, Completion.SIMILAR}
    return is_phrase and " " not in transcript.text


def is_sentence(transcript: Transcript) -> bool:
    """Whether a transcript is a confident sentence that has ended.

    The model ends the beginning of a sentence with a mark, too, but is less sure of it.
    """
    return (
        transcript.end_prob >= SURE_END
        and transcript.confidence >= CONFIDENT
        and transcript.completion not in {Completion.EXTENDABLE, Completion.OPEN}
    )
