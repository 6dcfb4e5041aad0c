"""The open utterance: the audio of a device since the start, up to the cap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.config import DeviceConfig
from stt_mqtt.config.devices import OnCap
from stt_mqtt.core.resequencer import Resequencer
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Utterance,
    UtteranceStart,
)

SEQUENCE_PREFIX_BYTES = 4
"""Length of the little-endian number before each chunk of a sequenced utterance."""
SLEPT_S = 5.0
"""If a pause exceeds the one that ends an utterance by this much, the machine slept."""
STRAGGLER_PATIENCE_S = 0.2
"""How long a stop with a chunk count waits for missing chunks."""


@dataclass(frozen=True, slots=True)
class ResolvedStart:
    """The start of an utterance, with all defaults filled in. Times in seconds.

    `ends_within_s`: longest time that it may stay open, regardless of the configuration.
    """

    id: str
    format: AudioFormat
    language: str | None
    prompt: str | None
    sequenced: bool
    age_s: float
    quiet_timeout_s: float
    ends_within_s: float | None = None
    reject_over_cap: bool = False
    languages: tuple[str, ...] = ()
    hotwords: tuple[str, ...] = ()
    phrases: bool = True
    area: str | None = None
    context: object = None

    @classmethod
    def of(
        cls,
        start: UtteranceStart,
        id: str,
        config: DeviceConfig,
        settings: DeviceSettings,
        quiet_timeout_s: float,
    ) -> ResolvedStart:
        """Resolve a start: missing values come from the settings of the device."""
        return cls(
            id=id,
            format=start.format or config.format,
            language=start.language or settings.language,
            prompt=start.prompt if start.prompt is not None else settings.prompt,
            sequenced=start.sequenced,
            age_s=start.age_s,
            quiet_timeout_s=quiet_timeout_s,
            ends_within_s=start.ends_within_s,
            reject_over_cap=config.on_cap is OnCap.REJECT,
            languages=config.languages,
            hotwords=config.hotwords + start.hotwords,
            phrases=config.phrases,
            area=config.area,
            context=start.context,
        )

    def utterance(self, key: DeviceKey, end: EndReason | None, ended_at: float) -> Utterance:
        """An utterance with these values and without audio."""
        return Utterance(
            key=key,
            id=self.id,
            audio=EncodedAudio(None, b""),
            language=self.language,
            prompt=self.prompt,
            end=end,
            ended_at=ended_at,
            age_s=self.age_s,
            reject_over_cap=self.reject_over_cap,
            languages=self.languages,
            hotwords=self.hotwords,
            phrases=self.phrases,
            area=self.area,
            context=self.context,
        )


class OpenUtterance:
    """Collects chunks until `close`. Times are monotonic seconds."""

    def __init__(self, start: ResolvedStart, cap: AudioCap, now: float) -> None:
        self.start = start
        longest_s = start.ends_within_s
        if longest_s is not None:
            cap = replace(cap, max_s=min(cap.max_s, longest_s))
        self._buffer = AudioBuffer(start.format, cap)
        self._sequence = Resequencer()
        self._max_bytes = cap.max_bytes
        self.ends_at = inf if longest_s is None else now + longest_s
        self._cap_at = min(now + cap.max_s + start.quiet_timeout_s, self.ends_at)
        self._numbered = start.sequenced
        self._received = 0
        self._sent: int | None = None
        self._stopped_at: float | None = None
        self._opened_at = now
        self._quiet_since = now
        self._slept_s = 0.0
        self._straggler_deadline = 0.0
        self.capped = False

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._buffer.nbytes + self._sequence.held_bytes

    @property
    def deadline(self) -> float:
        """When the utterance ends or reaches its cap if no chunk arrives."""
        if self._stopped_at is not None:
            return self._straggler_deadline
        return min(self.quiet_until, self.ends_at if self.capped else self._cap_at)

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
            return self._append((chunk,))
        self._numbered = True
        dropped_before = self._sequence.dropped
        ordered = self._sequence.push(number, chunk, self._max_bytes - self._buffer.nbytes)
        if self._sequence.dropped == dropped_before:
            self._received += 1
        return self._append(ordered) and self._sequence.dropped == dropped_before

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

    def close(self, key: DeviceKey, end: EndReason | None, ended_at: float) -> Utterance:
        """Return the finished utterance. This object must not be used afterwards."""
        self._note_pause(ended_at)
        lost = 0
        if self._numbered:
            self._append(self._sequence.flush(None if self.capped else self._sent))
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

    def _append(self, chunks: Iterable[bytes | None]) -> bool:
        for chunk in chunks:
            if self.capped:
                break
            if chunk is None:
                self._buffer.append_loss(1)
            elif not self._buffer.append(chunk):
                self.capped = True
        return not self.capped
