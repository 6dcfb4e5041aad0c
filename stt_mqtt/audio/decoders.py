"""Who decodes: this process, or another one."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Protocol

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.audio.demux import Coding
from stt_mqtt.audio.streams import LiveDecoder, StreamDecoder
from stt_mqtt.types import EncodedAudio

__all__ = ["IN_THIS_PROCESS", "DecoderFailure", "Decoders", "InThisProcess"]


class DecoderFailure(StrEnum):
    """How a decoder process failed."""

    DIED = "died"
    SLOW = "slow"
    NONSENSE = "nonsense"
    """Its answer made no sense."""
    FIRST_DIED = "first_died"
    """The process that starts the others ended."""


class Decoders(Protocol):
    """Decodes whole utterances and live streams. May be called from any thread."""

    failures: Counter[str]
    """Failures of the decoder processes, by `DecoderFailure`."""

    def whole(self, audio: EncodedAudio, max_s: float) -> Decoded:
        """Decode an utterance, and raise, as `decode` does."""
        ...

    def live(self, coding: Coding) -> LiveDecoder:
        """Begin to decode a stream. Raises CorruptAudioError if there is no decoder for it now."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


class InThisProcess:
    """The straight way. PyAV is imported when it is needed for the first time."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def whole(self, audio: EncodedAudio, max_s: float) -> Decoded:
        """See `Decoders`."""
        return decode(audio, max_s)

    def live(self, coding: Coding) -> LiveDecoder:
        """See `Decoders`."""
        from stt_mqtt.audio.packets import packet_decoder

        return StreamDecoder(packet_decoder(coding), coding.rate, coding.channels)

    def close(self) -> None:
        """Nothing."""


IN_THIS_PROCESS = InThisProcess()
"""What decodes where nothing else is said."""
