"""One device: a pure state machine from its messages to finished utterances.

Every method that can end utterances returns what ended, in order. `now` is monotonic seconds.
"""

from __future__ import annotations

from dataclasses import replace

from stt_mqtt.audio.buffer import whole
from stt_mqtt.config import DeviceConfig
from stt_mqtt.core.budget import Counters, DeviceContext
from stt_mqtt.core.filters import LateChunkFilter, RecentOutcomes
from stt_mqtt.core.outcomes import Answer, Ended, Repeated
from stt_mqtt.core.settings import UNCHANGED, DeviceSettings, Overrides, SettingsChange
from stt_mqtt.core.utterance import OpenUtterance, ResolvedStart
from stt_mqtt.errors import DisabledError, OverloadedError, TooLongError, UtteranceError
from stt_mqtt.types import (
    DeviceKey,
    DeviceState,
    EncodedAudio,
    EndReason,
    NamedFormat,
    OnCap,
    Outcome,
    Utterance,
    UtteranceStart,
)


class Device:
    """State of one device. At most one utterance is open."""

    __slots__ = (
        "_context",
        "_late_chunks",
        "_open",
        "_recent",
        "announced",
        "config",
        "counters",
        "enabled_was_set",
        "key",
        "last_seen_ts",
        "overrides",
        "pending",
        "settings",
        "timer_at",
    )

    def __init__(self, key: DeviceKey, config: DeviceConfig, context: DeviceContext) -> None:
        self.key = key
        self.config = config
        self.counters = Counters()
        self.last_seen_ts = 0.0
        """When its last message came, in seconds of the epoch; 0: not yet."""
        self.pending = 0
        """Utterances of this device that wait for the model or are in it."""
        self.announced: tuple[DeviceSettings, DeviceState] | None = None
        """What was last told about the device."""
        self.timer_at: float | None = None
        """When somebody has promised to call `tick`."""
        self._context = context
        self.overrides = Overrides()
        """What of the settings was changed over the wire."""
        self.enabled_was_set = False
        """Whether it was switched on or off over the wire, or read back how it was."""
        self.settings = self.overrides.over(config)
        """The settings in force."""
        self._open: OpenUtterance | None = None
        self._late_chunks = LateChunkFilter()
        self._recent = RecentOutcomes()

    @property
    def listening(self) -> bool:
        """Whether an utterance is open."""
        return self._open is not None

    @property
    def state(self) -> DeviceState:
        """What the device is doing, the most present thing first."""
        if self._open is not None:
            return DeviceState.LISTENING
        return DeviceState.TRANSCRIBING if self.pending else DeviceState.IDLE

    @property
    def idle(self) -> bool:
        """Whether forgetting the device would lose no utterance."""
        return self.state is DeviceState.IDLE

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None while no utterance is open."""
        return None if self._open is None else self._open.deadline

    def takes_chunk(self, now: float) -> bool:
        """Whether a chunk that comes now would be kept, if there is memory for it."""
        if not self.settings.enabled:
            return False
        if self._open is None:
            return not self._late_chunks.would_drop_chunk(now)
        return not self._open.capped

    def start(self, start: UtteranceStart, now: float) -> list[Ended]:
        """Open an utterance, ending an open one; one that repeats the open id is ignored.

        A disabled device refuses it and drops what follows. An id that was used before opens
        nothing, and what follows is dropped, too.
        """
        if (repeated := self._repetition(start, now)) is not None:
            return repeated
        if not self.settings.enabled:
            return self.refuse(start, DisabledError("the device is disabled"), now)
        ended = self.end(EndReason.RESTART, now)
        self._late_chunks.end()
        idle_timeout_s = self.config.idle_timeout_ms / 1000
        self._open_new(start, start.ends_within_s or idle_timeout_s, now)
        return ended

    def refuse(self, start: UtteranceStart, error: UtteranceError, now: float) -> list[Ended]:
        """Answer a start that cannot be obeyed; it ends and repeats what `start` would."""
        if (repeated := self._repetition(start, now)) is not None:
            return repeated
        self._recent.expect(start.id, now)
        unopened = self._resolve(start, start.id or "").utterance(self.key, None, now)
        return [*self._end_and_drop(now), Answer(unopened, error)]

    def chunk(
        self, chunk: bytes, number: int | None, format: NamedFormat, now: float
    ) -> list[Ended]:
        """Take one chunk of audio, opening an utterance if none is open.

        `number`: sequence number of the chunk, None without numbering. `format`: named with the
        chunk, heeded only by the one that opens.
        """
        if not chunk:
            return []
        if not self.settings.enabled or (self._open is None and self._late_chunks.drops_chunk(now)):
            self.counters.dropped_chunks += 1
            return []
        utterance = self._open
        if utterance is None:
            if isinstance(format, UtteranceError):
                return self.refuse(UtteranceStart(), format, now)
            utterance = self._open_new(
                UtteranceStart(format=format), self.config.gap_timeout_ms / 1000, now
            )
        held = utterance.nbytes
        if not utterance.capped and self._context.budget.missing_bytes(len(chunk)):
            self.counters.dropped_chunks += 1
            error = OverloadedError("the memory for audio of all devices is full")
            return self._fail_open(utterance, error, now)
        was_capped = utterance.capped
        if not utterance.add(chunk, number, now):
            self.counters.dropped_chunks += 1
        self._context.budget.use(utterance.nbytes - held)
        if utterance.capped and not was_capped:
            return self._on_cap(utterance, now)
        complete = utterance.stopped_at is not None and not utterance.straggling
        return self.end(EndReason.STOP, now) if complete else []

    def stop(self, id: str | None, sent: int | None, now: float) -> list[Ended]:
        """End the open utterance; with `sent`, wait a little for chunks that are missing."""
        utterance = self._open
        if utterance is None:
            self._late_chunks.for_stragglers(now)
            return []
        if id not in {None, utterance.start.id} or utterance.stopped_at is not None:
            return []
        if utterance.await_stragglers(sent, now):
            return []
        return self.end(EndReason.STOP, now)

    def abort(self, id: str | None, now: float) -> list[Ended]:
        """Forget the open utterance."""
        utterance = self._open
        if utterance is None:
            self._late_chunks.for_stragglers(now)
            return []
        if id not in {None, utterance.start.id}:
            return []
        return self._abort_open(now)

    def end(self, end: EndReason, ended_at: float) -> list[Ended]:
        """End the open utterance; one that waits for stragglers ends by its stop."""
        utterance = self._open
        if utterance is None:
            return []
        if utterance.stopped_at is not None:
            end, ended_at = EndReason.STOP, utterance.stopped_at
        if end is EndReason.STOP:
            self._late_chunks.for_stragglers(ended_at)
        if end.is_incomplete:
            self._recent.forget(utterance.start.id)
        return [self._seal(utterance, end, ended_at)]

    def single(self, data: bytes, start: UtteranceStart, now: float) -> Ended:
        """A whole utterance in one message. Never touches the open one."""
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
        self._context.budget.use(len(audio.data))
        return replace(bare, id=resolved.id or self._context.new_id(), audio=audio)

    def answered(self, outcome: Outcome, now: float) -> None:
        """An utterance of the device was given its outcome."""
        self.counters.utterances += outcome.id is not None
        self.counters.errors += outcome.error is not None
        self._recent.note(outcome, now)

    def change(self, change: SettingsChange, now: float) -> list[Ended]:
        """Change settings; disabling aborts the open utterance."""
        self.overrides = self.overrides.changed_by(change)
        self.enabled_was_set |= change.enabled is not UNCHANGED
        return self._settings_changed(now)

    def restore(self, overrides: Overrides) -> None:
        """Take over what was changed before a restart, unless something was changed since."""
        self.enabled_was_set = True
        if self.overrides == Overrides():
            self.overrides = overrides
            self.settings = overrides.over(self.config)

    def reconfigure(self, config: DeviceConfig, now: float) -> list[Ended]:
        """Take a new configuration; an open utterance keeps the format it was opened in."""
        self.config = config
        return self._settings_changed(now)

    def tick(self, now: float) -> list[Ended]:
        """End the open utterance if its time is up."""
        utterance = self._open
        if utterance is None or now < utterance.deadline:
            return []
        if utterance.stopped_at is not None or now >= utterance.quiet_until:
            return self.end(EndReason.GAP, utterance.quiet_until)
        utterance.capped = True
        return self._on_cap(utterance, now)

    def _open_new(self, start: UtteranceStart, quiet_timeout_s: float, now: float) -> OpenUtterance:
        id = start.id or self._context.new_id()
        self._recent.expect(start.id, now)
        resolved = self._resolve(start, id, quiet_timeout_s)
        self._open = OpenUtterance(resolved, self._context.cap, now)
        return self._open

    def _resolve(
        self, start: UtteranceStart, id: str, quiet_timeout_s: float = 0.0
    ) -> ResolvedStart:
        return ResolvedStart.of(start, id, self.config, self.settings, quiet_timeout_s)

    def _seal(self, utterance: OpenUtterance, end: EndReason | None, ended_at: float) -> Utterance:
        """Close the open utterance; the budget then holds what its sealed form holds."""
        self._open = None
        held = utterance.nbytes
        sealed = utterance.close(self.key, end, ended_at)
        self._context.budget.use(len(sealed.audio.data) - held)
        return sealed

    def _discard(self, sealed: Utterance) -> Utterance:
        self._context.budget.use(-len(sealed.audio.data))
        return replace(sealed, audio=EncodedAudio(sealed.audio.format, b""))

    def _abort_open(self, now: float) -> list[Ended]:
        self._late_chunks.for_stragglers(now)
        if self._open is None:
            return []
        return [Answer(self._discard(self._seal(self._open, None, now)), None)]

    def _fail_open(
        self, utterance: OpenUtterance, error: UtteranceError, now: float
    ) -> list[Ended]:
        # Until a pause as long as the one that would have ended the utterance.
        self._late_chunks.until_pause(now, utterance.start.quiet_timeout_s)
        return [Answer(self._discard(self._seal(utterance, EndReason.CAP, now)), error)]

    def _settings_changed(self, now: float) -> list[Ended]:
        self.settings = self.overrides.over(self.config)
        return [] if self.settings.enabled else self._abort_open(now)

    def _on_cap(self, utterance: OpenUtterance, now: float) -> list[Ended]:
        if self.config.on_cap is OnCap.TRUNCATE and now < utterance.ends_at:
            return []
        if self.config.on_cap is OnCap.REJECT:
            error = TooLongError("the utterance reached its cap")
            return self._fail_open(utterance, error, now)
        self._late_chunks.until_pause(now, utterance.start.quiet_timeout_s)
        return self.end(EndReason.CAP, now)

    def _end_and_drop(self, now: float) -> list[Ended]:
        """End the open utterance for a start that opens nothing, and drop the chunks of that."""
        ended = self.end(EndReason.RESTART, now)
        self._late_chunks.until_pause(now, self.config.idle_timeout_ms / 1000)
        return ended

    def _repetition(self, start: UtteranceStart, now: float) -> list[Ended] | None:
        """What a start brings about whose id was used before; None: it was not."""
        if self._open is not None and start.id == self._open.start.id:
            return []
        before = self._recent.find(start.id, now)
        if before is None:
            return None
        return [*self._end_and_drop(now), Repeated(start, before.outcome)]
