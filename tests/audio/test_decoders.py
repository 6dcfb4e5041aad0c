"""What becomes of an open utterance whose decoder is gone: it is decoded as a whole at its end."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence

import pytest

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import Decoded
from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.streams import Heard, LiveDecoder
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import container, framed, opus_packets, tone

CAP = AudioCap(30.0, 2**21)
STREAMS = {
    Codec.OPUS: framed(opus_packets(tone(rate=48_000))),
    Codec.OGG: container("ogg", "libopus", tone(rate=48_000), 48_000, live=True),
    Codec.WEBM: container("webm", "libopus", tone(rate=48_000), 48_000, live=True),
    Codec.FLAC: container("flac", "flac", tone(), live=True),
}


class Failing:
    """Decodes until it was called a number of times. See `Decoders`."""

    def __init__(self, calls: int, error: Exception | None = None) -> None:
        self.failures: Counter[str] = Counter()
        self.calls = calls
        self._error = error or CorruptAudioError("the decoder is gone")

    def count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise self._error

    def whole(self, audio: EncodedAudio, max_s: float) -> Decoded:
        return IN_THIS_PROCESS.whole(audio, max_s)

    def live(self, coding: Coding) -> LiveDecoder:
        self.count()
        return FailingStream(self, IN_THIS_PROCESS.live(coding))

    def close(self) -> None:
        IN_THIS_PROCESS.close()


class FailingStream:
    def __init__(self, decoders: Failing, stream: LiveDecoder) -> None:
        self._decoders = decoders
        self._stream = stream

    def decode(self, packets: Sequence[CodedPacket], most: int | None = None) -> Heard:
        self._decoders.count()
        return self._stream.decode(packets, most)

    def flush(self) -> Heard:
        self._decoders.count()
        return self._stream.flush()


def parts_of(codec: Codec) -> tuple[bytes, bytes]:
    """Both halves of a stream."""
    data = STREAMS[codec]
    packets = framed(opus_packets(tone(rate=48_000))[:25])
    half = len(packets) if codec is Codec.OPUS else len(data) // 2
    return data[:half], data[half:]


def fed(codec: Codec, decoders: Decoders) -> AudioBuffer:
    """A buffer with all of a stream, in two parts."""
    buffer = AudioBuffer(AudioFormat(codec, 48_000, 1), CAP, decoders)
    for part in parts_of(codec):
        buffer.append(part)
        buffer.decode()
    return buffer


@pytest.mark.parametrize("codec", STREAMS)
@pytest.mark.parametrize("call", [0, 1, -2, -1], ids=["start", "first", "last", "end"])
def test_a_lost_decoder_leaves_the_stream_as_it_came(codec: Codec, call: int) -> None:
    lasting = Failing(100)
    assert fed(codec, lasting).close().decoded
    fails_at = call % (100 - lasting.calls)
    decoders = Failing(fails_at)
    buffer = fed(codec, decoders)
    # It is not known whether a file of which nothing was heard would be heard.
    is_missed = call != -1 and (codec is Codec.OPUS or fails_at > 1)
    assert (buffer.undecoded_s > 0) is is_missed
    audio = buffer.close()
    assert (audio.decoded, audio.data) == (False, STREAMS[codec])
    assert abs(len(decoders.whole(audio, 30.0).samples) - 16_000) < 400
    assert buffer.take_decoded() == b""


@pytest.mark.parametrize("codec", STREAMS)
@pytest.mark.parametrize("call", [0, 1], ids=["start", "first"])
def test_an_unexpected_failure_of_a_decoder_costs_no_audio(codec: Codec, call: int) -> None:
    decoders = Failing(call, OSError(errno.EMFILE, "Too many open files"))
    buffer = AudioBuffer(AudioFormat(codec, 48_000, 1), CAP, decoders)
    failures = 0
    for part in parts_of(codec):
        buffer.append(part)
        try:
            buffer.decode()
        except OSError:
            failures += 1
            decoders.calls = 100
    assert failures == 1
    assert buffer.take_decoded() == b""
    audio = buffer.close()
    assert (audio.decoded, audio.data) == (False, STREAMS[codec])


@pytest.mark.parametrize("codec", STREAMS)
def test_a_decoder_that_lasts_to_the_end_gives_the_samples(codec: Codec) -> None:
    decoders = Failing(100)
    assert fed(codec, decoders).close() == fed(codec, IN_THIS_PROCESS).close()
    decoders.close()
