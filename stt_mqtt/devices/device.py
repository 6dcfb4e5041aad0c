"""One device: a pure state machine from its messages to finished utterances.

Every method that can end utterances returns what ended, in order. `now` is monotonic seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from stt_mqtt.audio.buffer import whole
from stt_mqtt.config import DeviceConfig
from stt_mqtt.devices.context import Counters, DeviceContext
from stt_mqtt.devices.deafness import Deafness
from stt_mqtt.devices.ended import Aborted, Ended, Failed
from stt_mqtt.devices.settings import Overrides, Settings, SettingsChange
from stt_mqtt.devices.utterance import Opening, OpenUtterance
from stt_mqtt.errors import DisabledError, OverloadedError, TooLongError, UtteranceError
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    DeviceState,
    EncodedAudio,
    EndReason,
    OnCap,
    Start,
    Utterance,
)

STRAGGLER_PATIENCE_S = 0.2
"""How long a stop that counted its chunks waits for the missing ones."""


NamedFormat: TypeAlias = AudioFormat | UtteranceError | None
"""The format that came with a chunk, or why it is none that is taken; None: none was named."""


class Device:
    """State of one device. At most one utterance is open."""

    __slots__ = (
        "_context",
        "_deafness",
        "_open",
        "_overrides",
        "announced",
        "config",
        "counters",
        "key",
        "last_seen_ts",
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
        self.announced: tuple[Settings, DeviceState] | None = None
        """What was last told about the device."""
        self.timer_at: float | None = None
        """When somebody has promised to call `tick`."""
        self._context = context
        self._overrides = Overrides()
        self.settings = self._overrides.over(config)
        """The settings in force."""
        self._open: OpenUtterance | None = None
        self._deafness = Deafness()

    @property
    def overridden(self) -> bool:
        """Whether settings were changed over the wire."""
        return self._overrides != Overrides()

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

    def start(self, start: Start, now: float) -> list[Ended]:
        """Open an utterance, ending an open one; a repeated id is ignored.

        A disabled device refuses it and drops what follows.
        """
        if self._repeats(start):
            return []
        if not self.settings.enabled:
            return self.refuse(start, DisabledError("the device is disabled"), now)
        ended = self._end_open(EndReason.RESTART, now)
        self._deafness.end()
        idle_timeout_s = self.config.idle_timeout_ms / 1000
        self._open_new(start, start.ends_within_s or idle_timeout_s, now)
        return ended

    def refuse(self, start: Start, error: UtteranceError, now: float) -> list[Ended]:
        """Answer a start that cannot be obeyed; an open utterance is ended all the same.

        A start that repeats the open id is ignored here too.
        """
        if self._repeats(start):
            return []
        ended = self._end_open(EndReason.RESTART, now)
        self._deafness.until_pause(now, self.config.idle_timeout_ms / 1000)
        return [*ended, Failed(self._unopened(start, now), error)]

    def chunk(
        self, chunk: bytes, number: int | None, format: NamedFormat, now: float
    ) -> list[Ended]:
        """Take one chunk of audio, opening an utterance if none is open.

        `number`: sequence number of the chunk, None without numbering. `format`: named with the
        chunk, heeded only by the one that opens.
        """
        if not chunk:
            return []
        if not self.settings.enabled or (self._open is None and self._deafness.drops_chunk(now)):
            self.counters.dropped_chunks += 1
            return []
        utterance = self._open
        if utterance is None:
            if isinstance(format, UtteranceError):
                return self.refuse(Start(), format, now)
            utterance = self._open_new(Start(format=format), self.config.gap_timeout_ms / 1000, now)
        return self._add(utterance, chunk, number, now)

    def stop(self, id: str | None, sent: int | None, now: float) -> list[Ended]:
        """End the open utterance; with `sent`, wait a little for chunks that are missing."""
        utterance = self._open
        if utterance is None:
            self._deafness.for_stragglers(now)
            return []
        if id not in {None, utterance.opening.id} or utterance.stopped_at is not None:
            return []
        if utterance.await_stragglers(sent, now, STRAGGLER_PATIENCE_S):
            return []
        return self._end_open(EndReason.STOP, now)

    def abort(self, id: str | None, now: float) -> list[Ended]:
        """Forget the open utterance."""
        utterance = self._open
        if utterance is None:
            self._deafness.for_stragglers(now)
            return []
        if id not in {None, utterance.opening.id}:
            return []
        return self._abort_open(now)

    def end(self, end: EndReason, now: float) -> list[Ended]:
        """End the open utterance for a reason that is not the device's own message."""
        return self._end_open(end, now)

    def single(self, data: bytes, start: Start, now: float) -> Ended:
        """A whole utterance in one message. Never touches the open one."""
        bare = self._unopened(start, now, EndReason.SINGLE)
        if not self.settings.enabled:
            return Failed(bare, DisabledError("the device is disabled"))
        if not self._context.budget.admits(len(data), self.key):
            return Failed(bare, OverloadedError("the memory for audio of all devices is full"))
        try:
            audio = whole(data, start.format or self.config.format)
        except UtteranceError as error:
            return Failed(bare, error)
        self._context.budget.use(len(audio.data))
        return replace(bare, id=start.id or self._context.new_id(), audio=audio)

    def change(self, change: SettingsChange, now: float) -> list[Ended]:
        """Change settings; disabling aborts the open utterance."""
        self._overrides = self._overrides.changed_by(change)
        return self._settings_changed(now)

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
            return self._end_open(EndReason.GAP, utterance.quiet_until)
        utterance.capped = True
        return self._on_cap(utterance, now)

    def _add(
        self, utterance: OpenUtterance, chunk: bytes, number: int | None, now: float
    ) -> list[Ended]:
        held = utterance.nbytes
        if not utterance.capped and not self._context.budget.admits(len(chunk), self.key):
            self.counters.dropped_chunks += 1
            error = OverloadedError("the memory for audio of all devices is full")
            return self._fail_open(utterance, error, now)
        was_capped = utterance.capped
        if not utterance.add(chunk, number, now):
            self.counters.dropped_chunks += 1
        self._context.budget.use(utterance.nbytes - held)
        if utterance.capped and not was_capped:
            return self._on_cap(utterance, now)
        if utterance.stopped_at is not None and not utterance.straggling:
            return self._end_open(EndReason.STOP, utterance.stopped_at)
        return []

    def _open_new(self, start: Start, quiet_timeout_s: float, now: float) -> OpenUtterance:
        settings = self.settings
        opening = Opening(
            id=start.id or self._context.new_id(),
            format=start.format or self.config.format,
            language=start.language or settings.language,
            prompt=start.prompt if start.prompt is not None else settings.prompt,
            sequenced=start.sequenced,
            age_s=start.age_s,
            quiet_timeout_s=quiet_timeout_s,
            ends_within_s=start.ends_within_s,
            languages=self.config.languages,
            hotwords=self.config.hotwords + start.hotwords,
            note=start.note,
        )
        self._open = OpenUtterance(opening, self._context.cap, now)
        return self._open

    def _unopened(self, start: Start, now: float, end: EndReason | None = None) -> Utterance:
        settings = self.settings
        return Utterance(
            key=self.key,
            id=start.id or "",
            audio=EncodedAudio(None, b""),
            language=start.language or settings.language,
            prompt=start.prompt if start.prompt is not None else settings.prompt,
            end=end,
            ended_at=now,
            age_s=start.age_s,
            reject_over_cap=self.config.on_cap is OnCap.REJECT,
            languages=self.config.languages,
            hotwords=self.config.hotwords + start.hotwords,
            note=start.note,
        )

    def _seal(self, end: EndReason | None, ended_at: float) -> Utterance | None:
        """Close the open utterance; the budget then holds what its sealed form holds."""
        utterance = self._open
        if utterance is None:
            return None
        self._open = None
        held = utterance.nbytes
        sealed = utterance.close(self.key, end, ended_at)
        self._context.budget.use(len(sealed.audio.data) - held)
        return replace(sealed, reject_over_cap=self.config.on_cap is OnCap.REJECT)

    def _discard(self, sealed: Utterance) -> Utterance:
        self._context.budget.use(-len(sealed.audio.data))
        return replace(sealed, audio=EncodedAudio(sealed.audio.format, b""))

    def _end_open(self, end: EndReason, ended_at: float) -> list[Ended]:
        utterance = self._open
        if utterance is None:
            return []
        if utterance.stopped_at is not None:
            end, ended_at = EndReason.STOP, utterance.stopped_at
        if end is EndReason.STOP:
            self._deafness.for_stragglers(ended_at)
        sealed = self._seal(end, ended_at)
        return [] if sealed is None else [sealed]

    def _abort_open(self, now: float) -> list[Ended]:
        self._deafness.for_stragglers(now)
        sealed = self._seal(None, now)
        return [] if sealed is None else [Aborted(self._discard(sealed))]

    def _fail_open(
        self, utterance: OpenUtterance, error: UtteranceError, now: float
    ) -> list[Ended]:
        self._await_pause(utterance, now)
        sealed = self._seal(EndReason.CAP, now)
        return [] if sealed is None else [Failed(self._discard(sealed), error)]

    def _settings_changed(self, now: float) -> list[Ended]:
        self.settings = self._overrides.over(self.config)
        return [] if self.settings.enabled else self._abort_open(now)

    def _on_cap(self, utterance: OpenUtterance, now: float) -> list[Ended]:
        if self.config.on_cap is OnCap.TRUNCATE and now < utterance.ends_at:
            return []
        if self.config.on_cap is OnCap.REJECT:
            error = TooLongError("the utterance reached its cap")
            return self._fail_open(utterance, error, now)
        self._await_pause(utterance, now)
        return self._end_open(EndReason.CAP, now)

    def _await_pause(self, utterance: OpenUtterance, now: float) -> None:
        """Drop chunks until a pause as long as the one that would have ended the utterance."""
        self._deafness.until_pause(now, utterance.opening.quiet_timeout_s)

    def _repeats(self, start: Start) -> bool:
        return self._open is not None and start.id == self._open.opening.id
