"""What may look wrong with the audio of an utterance, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Hint(StrEnum):
    """A sign of a fault in the audio, the one that explains most first."""

    FLOAT_AS_S16 = "float_as_s16"
    S16_AS_FLOAT = "s16_as_float"
    FLOAT_RANGE = "float_range"
    BYTES_AS_S16 = "bytes_as_s16"
    BYTE_ORDER = "byte_order"
    SHIFTED = "shifted"
    STEREO_AS_MONO = "stereo_as_mono"
    MONO_AS_STEREO = "mono_as_stereo"
    INVERTED_STEREO = "inverted_stereo"
    DEAD_CHANNEL = "dead_channel"
    OFFSET = "offset"
    CLIPPING = "clipping"

    @property
    def sentence(self) -> str:
        """What the audio looks like and what to do, for the person who has to fix it."""
        return _SENTENCES[self]


def foremost(hints: Iterable[Hint | None]) -> Hint | None:
    """The one that explains most, if there is any."""
    found = set(hints)
    return next((hint for hint in Hint if hint in found), None)


_SENTENCES = {
    Hint.FLOAT_AS_S16: (
        "The samples look like 32-bit floats: declare pcm_f32le, or send 16-bit integers."
    ),
    Hint.S16_AS_FLOAT: (
        "The samples do not look like 32-bit floats: declare pcm_s16le if they are 16-bit integers."
    ),
    Hint.FLOAT_RANGE: (
        "The floats go far beyond 1.0: divide them by the full scale of the integers they were."
    ),
    Hint.BYTES_AS_S16: (
        "The samples look like 8-bit ones: send 16-bit integers, or a WAV file of 8 bits."
    ),
    Hint.BYTE_ORDER: (
        "The samples look byte-swapped: send them little-endian, the low byte first."
    ),
    Hint.SHIFTED: (
        "The samples look shifted by one byte: begin with the low byte of a sample, "
        "behind the whole header."
    ),
    Hint.STEREO_AS_MONO: (
        "The samples look like two channels declared as one, or every sample is sent twice: "
        "declare 2 channels, or the rate that they have."
    ),
    Hint.MONO_AS_STEREO: (
        "The samples look like one channel declared as two: if they are, declare 1 channel."
    ),
    Hint.INVERTED_STEREO: (
        "One channel is the negative of the other, so only one was heard: "
        "swap the wires of one microphone, or send mono."
    ),
    Hint.DEAD_CHANNEL: (
        "One of the two channels is silent or stuck, so only the other was heard: "
        "check that microphone, or send mono."
    ),
    Hint.OFFSET: (
        "The samples have an offset, which was taken out: "
        "check the microphone's bias, or filter out what is below 20 Hz."
    ),
    Hint.CLIPPING: (
        "The loud samples are cut off at full scale: lower the gain of the microphone."
    ),
}
