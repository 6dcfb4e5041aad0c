"""One device: a pure state machine that turns its messages into finished utterances.

Every method that can end utterances returns them in order. `now` is in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stt_mqtt.audio.buffer import whole
from stt_mqtt.config import DeviceConfig
from stt_mqtt.config.devices import OnCap
from stt_mqtt.core.budget import Counters, DeviceContext
from stt_mqtt.core.filters import LateChunkFilter, RecentOutcomes
from stt_mqtt.core.hearing import Allowance
from stt_mqtt.core.outcomes import Answer, Ended, Repeated
from stt_mqtt.core.settings import DeviceSettings, Overrides, SettingsChange
from stt_mqtt.core.start import ResolvedStart
from stt_mqtt.core.utterance import OpenUtterance
from stt_mqtt.errors import DisabledError, OverloadedError, TooLongError, UtteranceError
from stt_mqtt.types import (
    DeviceKey,
    DeviceState,
    EncodedAudio,
    EndReason,
    NamedFormat,
    Outcome,
    Transcript,
    Utterance,
    UtteranceStart,
)


class Device:
    """The state of one device. At most one utterance is open at a time."""

    __slots__ = (
        "_allowance", "_context", "_open", "announced", "config", "counters", "key",
        "last_seen_ts", "late_chunks", "overrides", "pending", "recent", "settings", "timer_at",
        "were_set",
    )  # fmt: skip

    def __init__(self, key: DeviceKey, config: DeviceConfig, context: DeviceContext) -> None:
        self.key = key
        self.config = config
        self.counters = Counters()
        self.last_seen_ts = 0.0
        """When its last message arrived, in seconds of the Unix epoch; 0 if none has."""
        self.pending = 0
        """Utterances of this device that are queued or being transcribed."""
        self.announced: tuple[DeviceSettings, DeviceState] | None = None
        """The settings and state that the observers were last told."""
        self.timer_at: float | None = None
        """When `tick` is scheduled; None: it is not."""
        self._context = context
        self.overrides = Overrides()
        """The settings that were changed over the wire."""
        self.were_set: frozenset[str] = frozenset()
        """Settings that were set over the wire in this run, and `enabled` if it was restored."""
        self.settings = self.overrides.over(config)
        """The settings in force."""
        self._open: OpenUtterance | None = None
        self.late_chunks = LateChunkFilter()
        self.recent = RecentOutcomes()
        self._allowance = Allowance(context.hearing, key)

    @property
    def listening(self) -> bool:
        """Whether an utterance is open."""
        return self._open is not None

    @property
    def utterance(self) -> OpenUtterance | None:
        """The open utterance; None: there is none."""
        return self._open

    @property
    def state(self) -> DeviceState:
        """What the device is doing. An open utterance counts before one that is transcribed."""
        if self._open is not None:
            return DeviceState.LISTENING
        return DeviceState.TRANSCRIBING if self.pending else DeviceState.IDLE

    @property
    def idle(self) -> bool:
        """Whether the device has neither an open nor an unanswered utterance."""
        return self.state is DeviceState.IDLE

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called; None while no utterance is open."""
        return None if self._open is None else self._open.deadline

    def takes_chunk(self, now: float) -> bool:
        """Whether a chunk that arrives now would be kept, given enough memory."""
        if self._open is None:
            return self.settings.enabled and not self.late_chunks.would_drop_chunk(now)
        return not self._open.capped

    def start(self, start: UtteranceStart, now: float) -> list[Ended]:
        """Open an utterance and end the open one. A start that repeats the open id is ignored.

        If the device is disabled or the id was used, nothing is opened, and chunks are dropped.
        """
        if (repeated := self._repetition(start, now)) is not None:
            return repeated
        if not self.settings.enabled:
            return self.refuse(start, DisabledError("the device is disabled"), now)
        ended = self.end(EndReason.RESTART, now)
        self.late_chunks.end()
        self._open_new(start, start.ends_within_s or self.config.idle_timeout_ms / 1000, now)
        return ended

    def refuse(self, start: UtteranceStart, error: UtteranceError, now: float) -> list[Ended]:
        """Answer a start with an error. It ends the open utterance, as `start` does."""
        if (repeated := self._repetition(start, now)) is not None:
            return repeated
        self.recent.expect(start.id, now)
        unopened = self._resolve(start, start.id or "").utterance(self.key, None, now)
        return [*self._end_and_drop(now), Answer(unopened, error)]

    def chunk(
        self, chunk: bytes, number: int | None, format: NamedFormat, now: float
    ) -> list[Ended]:
        """Add one chunk of audio. Opens an utterance if none is open.

        `number`: sequence number of the chunk, None without numbering. `format`: the format named
        with the chunk. Only the chunk that opens the utterance can set the format.
        """
        if not chunk:
            return []
        if not self.settings.enabled or (self._open is None and self.late_chunks.drops_chunk(now)):
            self.counters.dropped_chunks += 1
            return []
        utterance = self._open
        if utterance is None:
            if isinstance(format, UtteranceError):
                return self.refuse(UtteranceStart(), format, now)
            gap_s = self.config.gap_timeout_ms / 1000
            utterance = self._open_new(UtteranceStart(format=format), gap_s, now, by_chunk=True)
        if not utterance.capped and self._context.budget.missing_bytes(len(chunk)):
            self.counters.dropped_chunks += 1
            return self.evict(now)
        was_capped = utterance.capped
        try:
            self.counters.dropped_chunks += not utterance.add(chunk, number, now)
        finally:
            self._context.budget.use(self.key, utterance.growth())
        if utterance.capped and not was_capped:
            return self._on_cap(utterance, now)
        complete = utterance.stopped_at is not None and not utterance.straggling
        return self.end(EndReason.STOP, now) if complete else self._end_turn(utterance, now)

    def stop(self, id: str | None, sent: int | None, now: float) -> list[Ended]:
        """End the open utterance. If fewer than `sent` chunks came, wait briefly for the rest."""
        utterance = self._open
        if utterance is None:
            self.late_chunks.for_stragglers(now)
            return []
        is_other = id not in {None, utterance.start.id} or utterance.stopped_at is not None
        if is_other or utterance.await_stragglers(sent, now):
            return []
        return self.end(EndReason.STOP, now)

    def abort(self, id: str | None, now: float) -> list[Ended]:
        """Discard the open utterance."""
        is_other = self._open is not None and id not in {None, self._open.start.id}
        return [] if is_other else self._abort_open(now)

    def end(self, end: EndReason, ended_at: float) -> list[Ended]:
        """End the open utterance. One that waits for late chunks ends with the reason `stop`."""
        utterance = self._open
        if utterance is None:
            return []
        if utterance.stopped_at is not None:
            end, ended_at = EndReason.STOP, utterance.stopped_at
        if end is EndReason.STOP:
            self.late_chunks.for_stragglers(ended_at)
        if end.is_incomplete:
            self.recent.forget(utterance.start.id)
        return [self._seal(utterance, end, ended_at)]

    def interrupt(self) -> None:
        """What the device sends did not come through for a while: its end may be lost."""
        if self._open is not None:
            self._open.interrupt()

    def single(self, data: bytes, start: UtteranceStart, now: float) -> Ended:
        """Take a whole utterance from one message. The open utterance is not affected."""
        resolved = self._resolve(start, start.id or "")
        bare = resolved.utterance(self.key, EndReason.SINGLE, now)
        if not self.settings.enabled:
            return Answer(bare, DisabledError("the device is disabled"))
        if self._context.budget.missing_bytes(len(data)):
            return Answer(bare, OverloadedError("the memory for audio of all devices is full"))
        try:
            audio = whole(data, resolved.format)
        except UtteranceError as error:
            return Answer(bare, error)
        self._context.budget.use(self.key, len(audio.data))
        return replace(bare, id=resolved.id or self._context.new_id(), audio=audio)

    def answered(self, outcome: Outcome, now: float) -> None:
        """Count and remember the outcome of an utterance of this device."""
        self.counters.utterances += outcome.id is not None
        self.counters.errors += outcome.error is not None
        self.recent.note(outcome, now)

    def change(self, change: SettingsChange, now: float) -> list[Ended]:
        """Change settings. Disabling the device aborts the open utterance."""
        self.overrides = self.overrides.changed_by(change)
        self.were_set |= change.names
        return self._settings_changed(now)

    def restore(self, overrides: Overrides) -> None:
        """Restore the overrides of the previous run, unless a setting was changed since."""
        self.were_set |= {"enabled"}
        if self.overrides == Overrides():
            self.overrides = overrides
            self.settings = overrides.over(self.config)

    def reconfigure(self, config: DeviceConfig, now: float) -> list[Ended]:
        """Apply a new configuration. An open utterance keeps its format."""
        self.config = config
        return self._settings_changed(now)

    def tick(self, now: float) -> list[Ended]:
        """End the open utterance if its deadline has passed."""
        utterance = self._open
        if utterance is None or now < utterance.deadline:
            return []
        self._context.budget.use(self.key, utterance.catch_up(now))
        if utterance.stopped_at is not None or now >= utterance.quiet_until:
            self.late_chunks.after_gap(now, utterance.start.sequenced)
            return self.end(utterance.quiet_end, utterance.quiet_until)
        if now < utterance.end_at:
            return self._end_turn(utterance, now, rested=True)
        utterance.capped = True
        return self._on_cap(utterance, now)

    def glimpse(self, now: float, may_glimpse: Callable[[DeviceKey], bool]) -> Utterance | None:
        """What was said so far, if it should be recognised now. None: it should or can not.

        `may_glimpse`: whether a thread is free for the device.
        """
        utterance = self._open
        if utterance is None or not utterance.wants_glimpse(now):
            return None
        if not may_glimpse(self.key) or self._context.budget.missing_bytes(utterance.nbytes):
            utterance.skip_glimpse()
            return None
        glimpse = utterance.glimpse(self.key, now)
        self._context.budget.use(self.key, len(glimpse.audio.data))
        return glimpse

    def glimpsed(
        self, utterance: OpenUtterance, found: Transcript | None, now: float
    ) -> list[Ended]:
        """What a glimpse of the open utterance found. It may end the turn.

        If the device holds silence back, only `tick` ends it, after all chunks were read.
        """
        utterance.glimpsed(found)
        return self._end_turn(utterance, now)

    def evict(self, now: float) -> list[Ended]:
        """Discard the open utterance, because the memory is full."""
        error = OverloadedError("the memory for audio of all devices is full")
        return [] if self._open is None else self._fail_open(self._open, error, now)

    def _open_new(
        self, start: UtteranceStart, quiet_timeout_s: float, now: float, by_chunk: bool = False
    ) -> OpenUtterance:
        id = start.id or self._context.new_id()
        self.recent.expect(start.id, now)
        resolved = replace(self._resolve(start, id, quiet_timeout_s), by_chunk=by_chunk)
        context = self._context
        self._open = OpenUtterance(resolved, context.cap, context.decoders, self._allowance, now)
        return self._open

    def _resolve(self, start: UtteranceStart, id: str, quiet_s: float = 0.0) -> ResolvedStart:
        return ResolvedStart.of(start, id, self.config, self.settings, quiet_s)

    def _seal(self, utterance: OpenUtterance, end: EndReason | None, ended_at: float) -> Utterance:
        """Close the open utterance, and count its final size in the budget."""
        self._open = None
        self._context.budget.use(self.key, -utterance.counted_bytes)
        sealed = utterance.close(self.key, end, ended_at)
        self._context.budget.use(self.key, len(sealed.audio.data))
        return sealed

    def _discard(self, sealed: Utterance) -> Utterance:
        self._context.budget.use(self.key, -len(sealed.audio.data))
        return replace(sealed, audio=EncodedAudio(sealed.audio.format, b""))

    def _abort_open(self, now: float) -> list[Ended]:
        self.late_chunks.for_stragglers(now)
        if self._open is None:
            return []
        return [Answer(self._discard(self._seal(self._open, None, now)), None)]

    def _fail_open(
        self, utterance: OpenUtterance, error: UtteranceError, now: float
    ) -> list[Ended]:
        # The pause is as long as the one that would have ended the utterance.
        self.late_chunks.until_pause(now, utterance.start.quiet_timeout_s)
        return [Answer(self._discard(self._seal(utterance, EndReason.CAP, now)), error)]

    def _end_turn(self, utterance: OpenUtterance, now: float, rested: bool = False) -> list[Ended]:
        """End the open utterance if its turn has ended. The chunks that follow are late.

        `rested`: all chunks were read, so the time since the last one counts as silence.
        """
        if not utterance.turn_has_ended(now if rested else None):
            return []
        self.late_chunks.until_pause(now, utterance.late_s)
        return self.end(EndReason.ENDPOINT, now)

    def _settings_changed(self, now: float) -> list[Ended]:
        self.settings = self.overrides.over(self.config)
        return [] if self.settings.enabled else self._abort_open(now)

    def _on_cap(self, utterance: OpenUtterance, now: float) -> list[Ended]:
        if self.config.on_cap is OnCap.TRUNCATE and now < utterance.ends_at:
            return []
        if self.config.on_cap is OnCap.REJECT:
            return self._fail_open(utterance, TooLongError("the utterance reached its cap"), now)
        self.late_chunks.until_pause(now, utterance.start.quiet_timeout_s)
        return self.end(EndReason.CAP, now)

    def _end_and_drop(self, now: float) -> list[Ended]:
        """End the open utterance, and drop the chunks that follow a start that opened nothing."""
        ended = self.end(EndReason.RESTART, now)
        self.late_chunks.until_pause(now, self.config.idle_timeout_ms / 1000)
        return ended

    def _repetition(self, start: UtteranceStart, now: float) -> list[Ended] | None:
        """The result of a start whose id was used before; None if the id is new."""
        if self._open is not None and start.id == self._open.start.id:
            return []
        before = self.recent.find(start.id, now)
        if before is None:
            return None
        return [*self._end_and_drop(now), Repeated(start, before.outcome)]
