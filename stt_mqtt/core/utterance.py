"""The open utterance: the audio of a device since the start, up to the cap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decoders import Decoders
from stt_mqtt.core.filters import LATE_CHUNK_WINDOW_S
from stt_mqtt.core.hearing import PIECE_S, Allowance
from stt_mqtt.core.listening import PCM_BYTES_PER_S, Listener
from stt_mqtt.core.partials import DraftTimes, Partials
from stt_mqtt.core.resequencer import Resequencer
from stt_mqtt.core.start import ResolvedStart
from stt_mqtt.engine.recognizer import Memo
from stt_mqtt.engine.transcriber import MAX_SPEECH_S
from stt_mqtt.types import (
    DeviceKey,
    Endpointing,
    EndReason,
    Transcript,
    Utterance,
)

SEQUENCE_PREFIX_BYTES = 4
"""Length of the little-endian number before each chunk of a sequenced utterance."""
SLEPT_S = 5.0
"""If a pause exceeds the one that ends an utterance by this much, the machine slept."""
STRAGGLER_PATIENCE_S = 0.2
"""How long a stop with a chunk count waits for missing chunks."""


class OpenUtterance:
    """Collects chunks until `close`. Times are monotonic seconds."""

    def __init__(
        self,
        start: ResolvedStart,
        cap: AudioCap,
        decoders: Decoders,
        allowance: Allowance,
        now: float,
    ) -> None:
        self.start = start
        self._allowance = allowance
        self._listens = allowance.is_for(start.turn_end)
        self._catch_up_at = inf
        self._unheard_s = 0.0
        longest_s = start.ends_within_s
        if longest_s is not None:
            cap = replace(cap, max_s=min(cap.max_s, longest_s))
        self._buffer = AudioBuffer(start.format, cap, decoders)
        self._sequence = Resequencer()
        self._listener = Listener(start.turn_end)
        self.memo = Memo(start.turn_end.endpointing is Endpointing.EAGER)
        self.partials = Partials()
        self.draft_times = DraftTimes()
        self._max_bytes = cap.max_bytes
        self.ends_at = inf if longest_s is None else now + longest_s
        self._cap_at = min(now + cap.max_s + start.quiet_timeout_s, self.ends_at)
        self._numbered = start.sequenced
        self._received = 0
        self._sent: int | None = None
        self._stopped_at: float | None = None
        self._opened_at = now
        self.counted_bytes = 0
        """How many bytes `growth` has given in all."""
        self._quiet_since = now
        self._slept_s = 0.0
        self._straggler_deadline = 0.0
        self.capped = False
        self._interrupted = False

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._buffer.nbytes + self._sequence.held_bytes

    def growth(self) -> int:
        """How `nbytes` has grown since the last call, for the budget."""
        grown = self.nbytes - self.counted_bytes
        self.counted_bytes += grown
        return grown

    @property
    def deadline(self) -> float:
        """When the utterance ends, reaches its cap, is glimpsed or heard on if no chunk arrives."""
        if self._stopped_at is not None:
            return self._straggler_deadline
        glimpse_at = self._listener.deadline if self._is_heard else self._catch_up_at
        return min(self.quiet_until, self.end_at, glimpse_at)

    @property
    def end_at(self) -> float:
        """When it ends or reaches its cap, even if chunks arrive."""
        return self.ends_at if self.capped else self._cap_at

    @property
    def quiet_end(self) -> EndReason:
        """Why it ends at `quiet_until`."""
        return EndReason.DISCONNECT if self._interrupted else EndReason.GAP

    @property
    def quiet_until(self) -> float:
        """When the pause after the last chunk is long enough to end the utterance.

        A `deadline` before that is the cap: the utterance is open for longer than the longest one
        lasts. This caps streams whose length is known only after decoding.
        """
        return self._quiet_since + self.start.quiet_timeout_s

    @property
    def stopped_at(self) -> float | None:
        """When a stop arrived that waits for missing chunks; None if there was none."""
        return self._stopped_at

    def add(self, chunk: bytes, number: int | None, now: float) -> bool:
        """Append one chunk. Return False if it was dropped: over the cap, malformed or a duplicate.

        `number` is its sequence number. In a sequenced utterance the chunk begins with the number.

        `capped` is set when the cap is reached. After that all chunks are dropped.
        """
        self._note_pause(now)
        self._quiet_since = now
        if self.capped:
            return False
        if self.start.sequenced:
            if len(chunk) < SEQUENCE_PREFIX_BYTES:
                return False
            number = int.from_bytes(chunk[:SEQUENCE_PREFIX_BYTES], "little")
            chunk = chunk[SEQUENCE_PREFIX_BYTES:]
        if number is None:
            self._received += 1
            return self._append((chunk,), now)
        self._numbered = True
        dropped_before = self._sequence.dropped
        ordered = self._sequence.push(number, chunk, self._max_bytes - self._buffer.nbytes)
        if self._sequence.dropped == dropped_before:
            self._received += 1
        return self._append(ordered, now) and self._sequence.dropped == dropped_before

    def interrupt(self) -> None:
        """What the device sends did not come through for a while. Only a pause or it ends this."""
        self._interrupted = self._listener.has_hole = True

    def await_stragglers(self, sent: int | None, now: float) -> bool:
        """Note a stop after `sent` chunks. Return whether some are still missing."""
        self._sent = sent
        self._stopped_at = now
        self._straggler_deadline = now + STRAGGLER_PATIENCE_S
        return self.straggling

    @property
    def straggling(self) -> bool:
        """Whether a stop arrived before all the chunks that it counted."""
        return self._sent is not None and not self.capped and self._received < self._sent

    @property
    def _is_heard(self) -> bool:
        """Whether the utterance goes on and the listener knows all of its audio.

        It does not while the decoder is behind or a chunk is missing, nor after the cap. What it
        takes for silence may be speech then.
        """
        knows_all = self._listens and not (
            self.capped or self._sequence.held_bytes or self._unheard_s
        )
        return self._stopped_at is None and knows_all

    @property
    def late_s(self) -> float:
        """Pause after which a chunk is no longer late, if the service ends the utterance.

        A device that sends a start before each utterance opens the next one with a start.
        """
        late_s = LATE_CHUNK_WINDOW_S + self._listener.chunk_s
        return late_s if self.start.by_chunk else self.start.quiet_timeout_s

    def turn_has_ended(self, now: float | None = None) -> bool:
        """Whether the service ends the utterance, because the speaker has finished.

        `now` None: only what was heard counts, not the time since then.
        """
        return self._is_heard and self._listener.has_ended(now)

    def wants_glimpse(self, now: float) -> bool:
        """Whether what was said so far should be recognised now."""
        return self._is_heard and self._listener.wants_glimpse(now)

    def skip_glimpse(self) -> None:
        """No glimpse can be taken at this pause."""
        self._listener.skip_glimpse()

    def glimpse(self, key: DeviceKey, now: float) -> Utterance:
        """What was said so far, to be recognised now. It has no outcome."""
        self._listener.begin_glimpse()
        return replace(
            self.start.utterance(key, None, now), audio=self._buffer.snapshot(), memo=self.memo
        )

    def postpone_glimpse(self) -> None:
        """A glimpse that is due waits for the thread of a draft or of another glimpse."""
        self._listener.postpone_glimpse()

    def catch_up(self, now: float) -> int:
        """Listen to audio that waits, if it is time for that. Return the `growth`."""
        if now >= self._catch_up_at:
            self._hear(now)
        return self.growth()

    @property
    def spoke(self) -> bool:
        """Whether somebody has spoken in it."""
        return self._listener.spoke

    def wants_draft(self) -> bool:
        """Whether a draft of what was said so far is due. A draft has no outcome."""
        return (
            self.start.partials
            and self._is_heard
            and self._listener.is_speaking
            and self._listener.heard_s <= MAX_SPEECH_S
            and self.draft_times.is_due(self._listener.heard_s)
        )

    def draft(self, key: DeviceKey, now: float) -> Utterance:
        """What was said so far, for a draft of its text."""
        self.draft_times.begin()
        bare = self.start.utterance(key, None, now)
        return replace(
            bare,
            audio=self._buffer.snapshot(),
            language=bare.language or self.partials.language,
            memo=self.memo,
            draft_after=self.partials.stable,
        )

    @property
    def is_glimpsed(self) -> bool:
        """Whether a glimpse covers all speech."""
        return self._listener.is_glimpsed and not self._unheard_s

    def glimpsed(self, transcript: Transcript | None) -> None:
        """What the last glimpse found. None: nothing."""
        self._listener.end_glimpse(transcript)

    def close(self, key: DeviceKey, end: EndReason | None, ended_at: float) -> Utterance:
        """Return the finished utterance. This object must not be used afterwards."""
        self._note_pause(ended_at)
        lost = 0
        if self._numbered:
            self._append(self._sequence.flush(None if self.capped else self._sent), ended_at)
            lost = self._sequence.lost
        elif self._sent is not None and not self.capped:
            lost = max(self._sent - self._received, 0)
        return replace(
            self.start.utterance(key, end, ended_at),
            audio=self._buffer.close(),
            age_s=self.start.age_s + self._age_s(ended_at),
            seconds=self._buffer.seconds,
            truncated=self.capped,
            lost_chunks=lost,
            memo=self.memo,
            glimpsed=self.is_glimpsed,
        )

    def _note_pause(self, until: float) -> None:
        """Add a pause during which the machine slept to `_slept_s`."""
        pause_s = until - self._quiet_since
        if pause_s > self.start.quiet_timeout_s + SLEPT_S:
            self._slept_s += pause_s

    def _age_s(self, ended_at: float) -> float:
        """Age of the speech at its end, caused by sleep of the machine.

        It is at most the time since the first chunk less the length of the audio. Chunks that
        arrive together after a standstill of the process are not old.
        """
        return min(self._slept_s, max(ended_at - self._opened_at - self._buffer.seconds, 0.0))

    def _append(self, chunks: Iterable[bytes | None], now: float) -> bool:
        for chunk in chunks:
            if self.capped:
                break
            if chunk is None:
                self._buffer.append_loss(1)
            elif not self._buffer.append(chunk):
                self.capped = True
        self._hear(now)
        return not self.capped

    def _hear(self, now: float) -> None:
        """Listen to what has arrived, as far as that is of use and allowed now."""
        if not self._listens:
            return
        left_s = self._allowance.left_s(now)
        # First: if something fails, it is not tried again at once.
        self._catch_up_at = inf
        self._buffer.decode(self._listener.heard_s + left_s)
        pcm = self._buffer.take_decoded()
        if pcm:
            self._allowance.use(len(pcm) / PCM_BYTES_PER_S)
            self._listener.push(pcm, now)
        self._unheard_s = self._buffer.undecoded_s
        if self._unheard_s and (pcm or left_s < PIECE_S):
            self._catch_up_at = now + self._allowance.wait_s
