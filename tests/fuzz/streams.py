"""Audio that arrives in chunks: every codec of a chunked utterance, in pieces of random size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.demux import Demuxer
from stt_mqtt.audio.flac import FlacDemuxer
from stt_mqtt.audio.formats import parse_content_type
from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.ogg import OggDemuxer
from stt_mqtt.audio.webm import WebmDemuxer
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import AudioFormat, Codec
from tests.fuzz.audio_seeds import all_seeds, seeds
from tests.fuzz.choices import Choices
from tests.fuzz.containers import check_decoding, with_checksums
from tests.fuzz.target import How, Target

CAP = AudioCap(5.0, 256 * 1024)
RATES = (16_000, 8_000, 11_025, 22_050, 44_100, 48_000)
SIZES = (1, 2, 3, 7, 60, 320, 1024, 4096)
_MOST_CALLS = 200
_MOST_DECODES = 100
_DECODED_BYTES = 4 * 16_000 * 2
"""Most that may be held beside the cap: a second of float samples, and what they come from."""


def feed(codec: Codec, choices: Choices) -> None:
    """An utterance of this codec, with losses, listening and glimpses in between."""
    declared = AudioFormat(codec, choices.pick(RATES), 1 + choices.number(1))
    buffer = AudioBuffer(declared, CAP)
    for _ in range(_MOST_CALLS):
        if not choices:
            break
        match choices.number(7):
            case 0:
                buffer.append_loss(1 + choices.number(15))
            case 1:
                buffer.snapshot()
            case 2:
                buffer.decode(choices.number(40) / 8)
            case _:
                buffer.append(choices.take(choices.pick(SIZES)))
        buffer.decode()
        assert len(buffer.take_decoded()) % 2 == 0
        assert buffer.nbytes <= CAP.max_bytes + _DECODED_BYTES
        assert 0 <= buffer.seconds <= CAP.max_s + 1
    for _ in range(_MOST_DECODES):
        if not buffer.undecoded_s:
            break
        buffer.decode()
        buffer.take_decoded()
    check_decoding(buffer.close())


def _chunked(codec: Codec) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        feed(codec, Choices(data))

    return run


def _ogg(data: bytes) -> None:
    feed(Codec.OGG, Choices(with_checksums(data) if sum(data[-2:]) % 2 else data))


def _pcm(data: bytes) -> None:
    """PCM that may begin as a file."""
    choices = Choices(data)
    feed(choices.pick((Codec.PCM_S16LE, Codec.PCM_F32LE)), choices)


def _demux(make: Callable[[], Demuxer]) -> Callable[[bytes], None]:
    """Only the demuxer, which is Python, so that coverage guides."""

    def run(data: bytes) -> None:
        choices, arrived, demuxer = Choices(data), bytearray(), make()
        with suppress(UtteranceError):
            while choices:
                arrived += choices.take(choices.pick(SIZES))
                # Each call but the last takes a byte at least.
                for _ in range(len(arrived) + 2):
                    if demuxer.read(arrived) is None:
                        break
                else:
                    raise AssertionError("the demuxer makes no progress")
                demuxer.has_rest(arrived)

    return run


def _frames(data: bytes) -> None:
    """WAV frames as Rhasspy's satellites send them."""
    choices, reader = Choices(data), FrameReader(21.0)
    while choices:
        pcm = reader.read(choices.take(2048))
        assert pcm is None or len(pcm) % 2 == 0


def _content_type(data: bytes) -> None:
    with suppress(UtteranceError):
        parse_content_type(data.decode("utf-8", "replace"), AudioFormat())


def _with_numbers(kind: str) -> Callable[[], list[bytes]]:
    """Files with bytes behind them that decide about the chunks."""
    behind = (bytes([255] * 64), bytes(range(3, 67)), bytes([7, 7, 3, 7, 6, 4] * 12))
    return lambda: [seed + numbers for seed in seeds(kind) for numbers in behind]


def _any_file() -> list[bytes]:
    return [*(seed + bytes(range(40)) for seed in all_seeds()), bytes(1000), bytes(range(256)) * 4]


TYPES = [
    b"pcm_s16le;rate=16000;channels=1", b"audio/webm;codecs=opus", b"adpcm_ima; RATE=8000",
    b'audio/wav;rate="48000"', b"opus;channels=2",
]  # fmt: skip

TARGETS = (
    Target("flac-live", _chunked(Codec.FLAC), 10_000, How.MUTATED, _with_numbers("flac")),
    Target("ogg-live", _ogg, 10_000, How.MUTATED, _with_numbers("ogg"), 4200),
    Target("webm-live", _chunked(Codec.WEBM), 8_000, How.MUTATED, _with_numbers("webm"), 4500),
    Target("wav-live", _chunked(Codec.WAV), 8_000, How.MUTATED, _with_numbers("wav")),
    Target("pcm-live", _pcm, 6_000, How.MUTATED, _any_file),
    Target("opus-packets", _chunked(Codec.OPUS), 15_000, How.MUTATED, _with_numbers("opus")),
    Target("adpcm", _chunked(Codec.ADPCM_IMA), 10_000, How.GUIDED, _with_numbers("adpcm"), 400),
    Target("flac-demuxer", _demux(FlacDemuxer), 100_000, seeds=_with_numbers("flac")),
    Target("ogg-demuxer", _demux(OggDemuxer), 100_000, seeds=_with_numbers("ogg")),
    Target("webm-demuxer", _demux(WebmDemuxer), 50_000, seeds=_with_numbers("webm")),
    Target("wav-frames", _frames, 30_000, seeds=lambda: list(seeds("wav"))),
    Target("content-type", _content_type, 40_000, seeds=lambda: list(TYPES), max_bytes=300),
)
