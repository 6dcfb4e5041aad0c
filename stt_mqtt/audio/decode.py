"""From bytes in any accepted format to 16 kHz mono."""

from __future__ import annotations

from stt_mqtt.audio.adpcm import decode_adpcm
from stt_mqtt.audio.formats import sniff
from stt_mqtt.audio.media import decode_media
from stt_mqtt.audio.opus import decode_opus
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.sink import Decoded, Sink
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

__all__ = ["Decoded", "decode"]

_PIECE = 16_384


def decode(audio: EncodedAudio, max_s: float) -> Decoded:
    """At most `max_s` seconds of 16 kHz mono float32; integers and floats at full scale ±1.0.

    What is damaged is left out. Raises CorruptAudioError when nothing is left of a container
    or a packet stream, UnsupportedFormatError for what this service does not decode.
    """
    declared = audio.format
    if declared is not None and declared.codec in PCM_TYPES:
        sample_type = PCM_TYPES[declared.codec]
        return _decode_pcm(Pcm(audio.data, sample_type, declared.rate, declared.channels), max_s)
    if declared is not None and declared.codec is Codec.ADPCM_IMA:
        return decode_adpcm(audio.data, declared, max_s)
    if declared is not None and declared.codec is Codec.OPUS:
        return decode_opus(audio.data, declared.channels, max_s)
    return _decode_container(audio.data, declared, max_s)


def _decode_container(data: bytes, declared: AudioFormat | None, max_s: float) -> Decoded:
    codec = sniff(data) or (declared.codec if declared is not None else None)
    if codec is None:
        raise UnsupportedFormatError("this is not a WAV, FLAC, Ogg, WebM or MP3 file")
    if codec is Codec.WAV:
        pcm = parse_wav(data)
        if pcm is not None:
            return _decode_pcm(pcm, max_s)
    return decode_media(data, codec, max_s)


def _decode_pcm(pcm: Pcm, max_s: float) -> Decoded:
    if pcm.rate == SAMPLE_RATE:
        wanted = int(max_s * SAMPLE_RATE)
        return Decoded(pcm.mono(0, wanted), pcm.frames > wanted)
    sink = Sink(pcm.rate, max_s)
    for start in range(0, pcm.frames, _PIECE):
        if not sink.push(pcm.mono(start, start + _PIECE)):
            break
    return sink.finish()
