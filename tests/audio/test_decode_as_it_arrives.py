"""Audio that is decoded while the utterance is open, against the same audio decoded at the end."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import chunk, container, fmt, framed, is_tone, opus_packets, riff, s16, tone
from tests.thorough import examples

CAP = AudioCap(30.0, 2 * 1024 * 1024)
MONO = AudioFormat()
OPUS = AudioFormat(Codec.OPUS, 48_000, 1)
STEREO_OPUS = AudioFormat(Codec.OPUS, 48_000, 2)
ADPCM = AudioFormat(Codec.ADPCM_IMA)
HALF_A_STEP = 0.5 / 32768


@cache
def spoken_packets(channels: int, frame_ms: str) -> list[bytes]:
    return opus_packets(np.repeat(WORDS[:24_000], 3), channels, frame_ms)


def adpcm_block(seed: int, length: int, channels: int, mask: int = 0xBB) -> bytes:
    """A block of noise around a random level. The mask 0xBB of the codes makes it quiet."""
    random = np.random.default_rng(seed)
    heads = [
        struct.pack("<hBB", random.integers(-3_000, 3_000), random.integers(0, 40), 0)
        for _ in range(channels)
    ]
    return b"".join(heads) + bytes(byte & mask for byte in random.bytes(length))


def fed(
    audio_format: AudioFormat, events: Sequence[bytes | int], limits_s: Sequence[float] = ()
) -> AudioBuffer:
    """A buffer of chunks and numbers of lost chunks, decoded up to `limits_s` after each."""
    buffer = AudioBuffer(audio_format, CAP)
    for number, event in enumerate(events):
        if isinstance(event, int):
            buffer.append_loss(event)
        else:
            buffer.append(event)
        if limits_s:
            buffer.decode(limits_s[number % len(limits_s)])
            assert buffer.nbytes <= CAP.max_bytes
    return buffer


def decoded(audio: EncodedAudio) -> Decoded | None:
    try:
        return decode(audio, 30.0)
    except CorruptAudioError:
        return None


def samples_of(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


WORDS = samples_of(SAMPLES[1].pcm())


def heard(buffer: AudioBuffer) -> Samples:
    return samples_of(buffer.take_decoded())


def assert_same(events: Sequence[bytes | int], audio_format: AudioFormat, *limits_s: float) -> None:
    """The audio is the same whenever it was decoded."""
    early = decoded(fed(audio_format, events, limits_s).close())
    late = decoded(fed(audio_format, events).close())
    assert (early is None) == (late is None)
    if early is None or late is None:
        return
    assert (early.truncated, early.hint) == (late.truncated, late.hint)
    assert np.array_equal(early.samples, late.samples)


LIMITS_S = st.lists(st.sampled_from([0.0, 0.1, 0.4, 1.0, 30.0]), min_size=1, max_size=5)
LOST = st.integers(0, 3)


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sampled_from([1, 2]),
    st.sampled_from(["2.5", "20", "60"]),
    st.lists(st.one_of(st.integers(1, 6), st.just(b"\xff\x41xx"), LOST.map(float)), max_size=40),
    LIMITS_S,
)
def test_opus_is_the_same_whenever_it_was_decoded(
    channels: int, frame_ms: str, plan: list[int | float | bytes], limits_s: list[float]
) -> None:
    packets = iter(spoken_packets(channels, frame_ms))
    events: list[bytes | int] = []
    for step in plan:
        if isinstance(step, float):
            events.append(int(step))
        elif isinstance(step, bytes):
            events.append(framed([step]))
        else:
            events.append(framed([packet for _, packet in zip(range(step), packets, strict=False)]))
    assert_same(events, AudioFormat(Codec.OPUS, 48_000, channels), *limits_s)


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sampled_from([8_000, 16_000]),
    st.sampled_from([1, 2]),
    st.lists(st.one_of(st.tuples(st.integers(0, 99), st.integers(0, 300)), LOST), max_size=30),
    LIMITS_S,
)
def test_adpcm_is_the_same_whenever_it_was_decoded(
    rate: int, channels: int, plan: list[tuple[int, int] | int], limits_s: list[float]
) -> None:
    events = [step if isinstance(step, int) else adpcm_block(*step, channels) for step in plan]
    assert_same(events, AudioFormat(Codec.ADPCM_IMA, rate, channels), *limits_s)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_clipping_is_noticed_whenever_it_was_decoded(rate: int) -> None:
    audio_format = AudioFormat(Codec.ADPCM_IMA, rate, 1)
    block = struct.pack("<hBB", 0, 88, 0) + (b"\x77" * 20 + b"\xff" * 20) * 10
    assert_same([block] * 20, audio_format, 30.0)
    assert decode(fed(audio_format, [block] * 20, [30.0]).close(), 30.0).hint is Hint.CLIPPING


def test_opus_that_was_decoded_as_it_arrived_needs_no_decoder_at_the_end() -> None:
    events = [framed([packet]) for packet in spoken_packets(1, "20")]
    buffer = fed(OPUS, events, [30.0])
    assert buffer.undecoded_s == 0.0
    audio = buffer.close()
    assert audio.format == AudioFormat(Codec.PCM_F32LE)
    assert len(audio.data) == 4 * 24_000
    assert audio.decoded


def test_adpcm_that_was_decoded_as_it_arrived_needs_no_decoder_at_the_end() -> None:
    buffer = fed(ADPCM, [adpcm_block(n, 252, 1) for n in range(50)], [30.0])
    assert buffer.close().format == MONO


def test_two_channels_of_opus_are_kept_until_it_is_known_which_one_is_better() -> None:
    events = [framed([packet]) for packet in spoken_packets(2, "20")]
    audio = fed(STEREO_OPUS, events, [30.0]).close()
    assert audio.format == AudioFormat(Codec.PCM_F32LE, 16_000, 2)


def test_what_was_not_decoded_in_time_is_decoded_at_the_end_as_a_whole() -> None:
    events = [framed([packet]) for packet in spoken_packets(1, "20")]
    buffer = fed(OPUS, events, [0.5])
    assert buffer.undecoded_s == 1.0
    assert buffer.snapshot() == EncodedAudio(OPUS, b"".join(events))
    assert buffer.close() == EncodedAudio(OPUS, b"".join(events))


def test_a_decoder_that_fell_behind_catches_up() -> None:
    events = [framed([packet]) for packet in spoken_packets(1, "20")]
    buffer = fed(OPUS, events, [0.5])
    assert len(heard(buffer)) == pytest.approx(8_000, abs=100)
    buffer.decode(30.0)
    assert buffer.undecoded_s == 0.0
    assert len(heard(buffer)) == pytest.approx(16_000, abs=100)
    late = decode(fed(OPUS, events).close(), 30.0)
    assert np.array_equal(decode(buffer.close(), 30.0).samples, late.samples)


def test_a_single_call_decodes_a_second_at_most() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    buffer.append(framed(spoken_packets(1, "60") * 4))
    buffer.decode()
    assert buffer.undecoded_s == pytest.approx(6.0 - 1.02)


def test_a_single_call_decodes_a_hundred_packets_at_most() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    buffer.append(framed(spoken_packets(1, "2.5")))
    buffer.decode()
    assert buffer.undecoded_s == pytest.approx(1.5 - 0.25)


def test_a_huge_adpcm_block_is_decoded_at_the_end() -> None:
    buffer = AudioBuffer(ADPCM, CAP)
    small, huge = adpcm_block(1, 252, 1), adpcm_block(2, 20_000, 1)
    for block in (small, huge, small):
        buffer.append(block)
        buffer.decode()
    assert buffer.undecoded_s == pytest.approx(buffer.seconds - 505 / 16_000)
    assert heard(buffer).size == 0
    audio = buffer.close()
    assert audio.format == ADPCM
    assert len(decode(audio, 30.0).samples) == 2 * 505 + 40_001


@pytest.mark.parametrize(
    "audio_format",
    [
        AudioFormat(codec, rate, channels)
        for codec, rate in [(Codec.OPUS, 48_000), (Codec.ADPCM_IMA, 8_000),
                            (Codec.ADPCM_IMA, 16_000)]
        for channels in (1, 2)
    ],
    ids=str,
)  # fmt: skip
def test_decoded_audio_that_exceeds_the_byte_cap_is_given_up_but_heard(
    audio_format: AudioFormat,
) -> None:
    channels, is_opus = audio_format.channels, audio_format.codec is Codec.OPUS
    if is_opus:
        events = [framed([packet]) for packet in spoken_packets(channels, "20")]
    else:
        events = [adpcm_block(n, 248, channels, 0xFF) for n in range(80)]
    buffer = fed(audio_format, events)
    end = decode(buffer.close(), 30.0).samples
    cap = AudioCap(30.0, buffer.nbytes + 10_000)
    buffer, found = AudioBuffer(audio_format, cap), b""
    for event in events:
        assert buffer.append(event)
        buffer.decode()
        assert buffer.nbytes <= cap.max_bytes
        found += buffer.take_decoded()
        assert buffer.undecoded_s == 0.0
    samples = samples_of(found)
    assert len(end) - 40 < len(samples) <= len(end)
    assert np.abs(samples - end[: len(samples)]).max() <= 2 * HALF_A_STEP + 1e-6
    encoded = b"".join(event if is_opus else framed_block(event) for event in events)
    assert buffer.snapshot() == buffer.close() == EncodedAudio(audio_format, encoded)


def framed_block(block: bytes) -> bytes:
    return len(block).to_bytes(4, "little") + block


def test_two_channels_of_opus_are_heard_beyond_the_usual_byte_cap() -> None:
    buffer, heard_bytes = AudioBuffer(STEREO_OPUS, CAP), 0
    packets = spoken_packets(2, "20")
    for _ in range(20 * 50 // len(packets) + 1):
        buffer.append(framed(packets))
        for _ in range(2):
            buffer.decode()
            heard_bytes += len(buffer.take_decoded())
            assert buffer.nbytes <= CAP.max_bytes
    assert buffer.seconds > 20
    assert heard_bytes / 32_000 == pytest.approx(buffer.seconds, abs=0.05)
    assert buffer.close().format == STEREO_OPUS


@pytest.mark.parametrize("events", [[], [framed([b"\xff\x41xx"])], [framed([b""]), 5]])
def test_opus_of_which_nothing_decodes_is_corrupt(events: list[bytes | int]) -> None:
    buffer = fed(OPUS, events, [30.0])
    assert buffer.take_decoded() == b""
    with pytest.raises(CorruptAudioError):
        decode(buffer.close(), 30.0)


def test_opus_of_which_nothing_decodes_for_a_minute_is_given_up() -> None:
    buffer = AudioBuffer(OPUS, AudioCap(90.0, 2**21))
    for _ in range(70):
        buffer.append(framed([b""] * 50))
        buffer.decode()
    buffer.append(framed(spoken_packets(1, "20")))
    buffer.decode()
    assert buffer.take_decoded() == b""
    with pytest.raises(CorruptAudioError):
        decode(buffer.close(), 90.0)


def test_opus_that_was_lost_at_the_start_is_heard_as_silence_with_the_first_good_packet() -> None:
    packets = spoken_packets(1, "20")
    buffer = fed(OPUS, [framed([b""] * 50)], [30.0])
    assert buffer.take_decoded() == b""
    buffer.append(framed(packets))
    buffer.decode()
    samples = heard(buffer)
    assert not samples[:15_900].any()
    assert samples[16_100:].any()


@pytest.mark.parametrize("audio_format", [ADPCM, AudioFormat(Codec.ADPCM_IMA, 16_000, 2),
                                          AudioFormat(Codec.ADPCM_IMA, 8_000, 1), OPUS,
                                          STEREO_OPUS], ids=str)  # fmt: skip
def test_what_is_heard_is_what_is_decoded_at_the_end(audio_format: AudioFormat) -> None:
    channels = audio_format.channels
    if audio_format.codec is Codec.OPUS:
        events = [framed([packet]) for packet in spoken_packets(channels, "20")]
    else:
        events = [adpcm_block(n, 248, channels, 0xFF) for n in range(20)]
    buffer = fed(audio_format, [*events, 2], [30.0])
    samples, end = heard(buffer), decode(buffer.close(), 30.0).samples
    assert len(end) - 40 < len(samples) <= len(end)
    assert np.abs(samples - end[: len(samples)]).max() <= 2 * HALF_A_STEP + 1e-6


FORMATS = [
    AudioFormat(codec, rate, channels)
    for codec in (Codec.PCM_S16LE, Codec.PCM_F32LE)
    for rate in (8_000, 16_000, 44_100, 48_000)
    for channels in (1, 2)
]


def pcm_of(samples: Samples, audio_format: AudioFormat) -> bytes:
    if audio_format.codec is Codec.PCM_S16LE:
        return s16(samples, audio_format.channels)
    return np.repeat(samples, audio_format.channels).astype("<f4").tobytes()


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
def test_pcm_is_heard_as_it_arrives(audio_format: AudioFormat) -> None:
    data = pcm_of(tone(rate=audio_format.rate), audio_format)
    buffer, found = AudioBuffer(audio_format, CAP), b""
    for at in range(0, len(data), 1_001):
        buffer.append(data[at : at + 1_001])
        held = buffer.nbytes
        found += buffer.take_decoded()
        assert buffer.nbytes == held
        # What is late: a step of 30 ms, and what the resampler holds back.
        assert len(found) / 32_000 > buffer.seconds - 0.05
    samples = samples_of(found)
    assert len(samples) <= 16_000
    assert is_tone(samples)
    assert buffer.take_decoded() == b""


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.one_of(st.integers(1, 5_000), LOST.map(float)), max_size=20),
)
def test_pcm_is_the_same_whether_somebody_listened(
    audio_format: AudioFormat, plan: list[int | float]
) -> None:
    data = pcm_of(np.repeat(WORDS, 3)[:40_000], audio_format)
    listened, alone = AudioBuffer(audio_format, CAP), AudioBuffer(audio_format, CAP)
    at = 0
    for step in plan:
        for buffer in (listened, alone):
            if isinstance(step, float):
                buffer.append_loss(int(step))
            else:
                buffer.append(data[at : at + step])
        at += int(step) if isinstance(step, int) else 0
        listened.decode()
        listened.take_decoded()
        listened.snapshot()
    assert listened.close() == alone.close()


def test_lost_chunks_are_heard_as_silence() -> None:
    buffer = fed(MONO, [s16(tone(seconds=0.1)), 3])
    samples = heard(buffer)
    assert len(samples) == 4 * 1_600
    assert samples[:1_600].any()
    assert not samples[1_600:].any()


def test_16_khz_pcm_is_heard_as_it_is() -> None:
    data = s16(WORDS[:8_000])
    buffer = fed(MONO, [data[:1_001], data[1_001:]])
    assert buffer.take_decoded() == data


@pytest.mark.parametrize("size", [10, 500, 1_024])
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_wav_stream_is_heard_as_it_arrives(size: int, rate: int) -> None:
    data = riff(fmt(rate=rate), chunk(b"data", s16(tone(rate=rate)), 0))
    buffer, found = AudioBuffer(AudioFormat(Codec.WAV), CAP), b""
    for at in range(0, len(data), size):
        assert buffer.append(data[at : at + size])
        buffer.decode()
        found += buffer.take_decoded()
    assert buffer.undecoded_s == 0.0
    samples = samples_of(found)
    assert 15_800 < len(samples) <= 16_000
    assert is_tone(samples)
    assert is_tone(decode(buffer.snapshot(), 30.0).samples)


def wav_of(samples: Samples, rate: int, channels: int = 1, bits: int = 16) -> bytes:
    """A WAV stream: 8, 16 or 24 bits, or 32 of floats."""
    both = np.repeat(samples, channels)
    if bits == 8:
        body = (both * 127 + 128).astype("u1").tobytes()
    elif bits == 16:
        body = s16(samples, channels)
    elif bits == 24:
        body = (both * 8_388_607).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    else:
        body = both.astype("<f4").tobytes()
    tag = 3 if bits == 32 else 1
    return riff(fmt(tag, channels, rate, bits), chunk(b"data", body, 0))


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def listened(data: bytes, size: int = 4_000, cap: AudioCap = CAP) -> AudioBuffer:
    """A buffer of a WAV stream that was heard in pieces."""
    buffer = AudioBuffer(AudioFormat(Codec.WAV), cap)
    for piece in in_pieces(data, size):
        assert buffer.append(piece)
        buffer.decode()
        buffer.take_decoded()
        assert buffer.nbytes <= cap.max_bytes
    return buffer


def assert_wav_is_the_same(data: bytes, size: int = 4_000) -> EncodedAudio:
    audio = listened(data, size).close()
    early, late = decode(audio, 30.0), decode(EncodedAudio(AudioFormat(Codec.WAV), data), 30.0)
    assert np.array_equal(early.samples, late.samples)
    assert (early.truncated, early.hint) == (late.truncated, late.hint)
    return audio


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("size", [333, 100_000])
def test_wav_that_was_heard_as_it_arrived_is_pcm_at_the_end(
    rate: int, channels: int, bits: int, size: int
) -> None:
    sound = np.repeat(WORDS[:16_000], 3)
    audio = assert_wav_is_the_same(wav_of(sound, rate, channels, bits), size)
    is_plain = rate == 16_000 and bits in (16, 32)
    codec = Codec.PCM_S16LE if is_plain and bits == 16 else Codec.PCM_F32LE
    assert audio.format == AudioFormat(codec, 16_000, channels)
    assert audio.decoded is not is_plain


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sampled_from([8_000, 16_000, 48_000]),
    st.sampled_from([1, 2]),
    st.sampled_from([8, 16, 24, 32]),
    st.lists(st.integers(1, 9_000), max_size=20),
    LIMITS_S,
)
def test_wav_is_the_same_whenever_it_was_decoded(
    rate: int, channels: int, bits: int, sizes: list[int], limits_s: list[float]
) -> None:
    data, early = wav_of(WORDS[:12_000], rate, channels, bits), AudioBuffer(MONO, CAP)
    data += bytes(sum(sizes) % 3)
    at = 44
    early.append(data[:at])
    for number, size in enumerate([*sizes, len(data)]):
        early.append(data[at : at + size])
        at += size
        early.decode(limits_s[number % len(limits_s)])
        early.take_decoded()
        early.snapshot()
    found = decode(early.close(), 30.0)
    late = decode(EncodedAudio(AudioFormat(Codec.WAV), data), 30.0)
    assert np.array_equal(found.samples, late.samples)
    assert found.hint == late.hint


def test_wav_that_was_not_heard_to_its_end_is_the_file() -> None:
    data = wav_of(WORDS, 48_000)
    buffer = AudioBuffer(AudioFormat(Codec.WAV), CAP)
    buffer.append(data)
    assert buffer.close() == EncodedAudio(AudioFormat(Codec.WAV), data)
    buffer.decode(0.1)
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(0.1, abs=0.01)
    assert buffer.close() == EncodedAudio(AudioFormat(Codec.WAV), data)


def test_wav_of_the_usual_form_needs_no_conversion() -> None:
    data, buffer = wav_of(WORDS, 16_000), AudioBuffer(AudioFormat(Codec.WAV), CAP)
    buffer.append(data)
    assert buffer.close() == EncodedAudio(MONO, data[44:])


def test_converted_wav_that_exceeds_the_byte_cap_is_given_up_but_heard() -> None:
    data, found = wav_of(np.repeat(WORDS, 3)[:48_000], 48_000), b""
    cap = AudioCap(30.0, len(data) + 20_000)
    buffer = AudioBuffer(AudioFormat(Codec.WAV), cap)
    for piece in in_pieces(data, 4_000):
        assert buffer.append(piece)
        buffer.decode()
        found += buffer.take_decoded()
        assert buffer.nbytes <= cap.max_bytes
    assert len(found) == pytest.approx(32_000, abs=100)
    assert buffer.undecoded_s == 0.0
    assert buffer.close() == EncodedAudio(AudioFormat(Codec.WAV), data)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_snapshot_of_wav_is_the_audio_so_far(rate: int) -> None:
    data = wav_of(WORDS, rate)
    buffer = AudioBuffer(AudioFormat(Codec.WAV), CAP)
    whole = decode(EncodedAudio(None, data), 30.0).samples
    for piece in in_pieces(data, 9_000):
        buffer.append(piece)
        buffer.take_decoded()
        audio = buffer.snapshot()
        assert audio.format is not None
        assert audio.format.codec is not Codec.WAV
        early = decode(audio, 30.0).samples
        assert np.array_equal(early, whole[: len(early)])


@pytest.mark.parametrize("bits", [16, 32])
def test_faults_of_wav_are_found_as_in_the_whole_file(bits: int) -> None:
    square = np.sign(tone(200, 1.0, 48_000)) * np.float32(0.9999)
    assert_wav_is_the_same(wav_of(square, 48_000, 1, bits))
    both = np.empty(96_000, np.float32)
    both[0::2], both[1::2] = tone(300, 1.0, 48_000), 0.001 * tone(500, 1.0, 48_000)
    audio = assert_wav_is_the_same(wav_of(both, 48_000, 1, bits))
    assert audio.hint is Hint.STEREO_AS_MONO


def test_wav_whose_form_is_known_at_the_end_only_is_the_file() -> None:
    """24 bits in 32 may be the low ones or the high ones; silence does not say."""
    head = struct.pack("<HHIIHH", 1, 1, 48_000, 192_000, 4, 24)
    sound = (np.concatenate([np.zeros(9_600), tone(rate=48_000)]) * 8_388_607).astype("<i4") << 8
    data = riff(chunk(b"fmt ", head), chunk(b"data", sound.tobytes(), 0))
    assert assert_wav_is_the_same(data) == EncodedAudio(AudioFormat(Codec.WAV), data)


@pytest.mark.parametrize(
    "data",
    [
        container("wav", "pcm_mulaw", tone(rate=8_000), 8_000),
        riff(fmt(channels=6), chunk(b"data", bytes(1_200))),
        riff(fmt(bits=40), chunk(b"data", bytes(1_200))),
        riff(chunk(b"data", bytes(1_200))),
        b"RIFF",
    ],
)
def test_wav_that_cannot_be_heard_is_the_file(data: bytes) -> None:
    assert listened(data).close() == EncodedAudio(AudioFormat(Codec.WAV), data)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_wav_files_in_each_chunk_are_heard_once_each(rate: int) -> None:
    sound = s16(tone(rate=rate))
    buffer, found = AudioBuffer(MONO, CAP), b""
    for at in range(0, len(sound), 1_600):
        assert buffer.append(riff(fmt(rate=rate), chunk(b"data", sound[at : at + 1_600])))
        found += buffer.take_decoded()
    samples = samples_of(found)
    assert 15_700 < len(samples) <= 16_000
    assert is_tone(samples)


def test_a_damaged_header_is_not_heard() -> None:
    buffer = fed(AudioFormat(Codec.WAV), [b"RIFF\0\0\0\0WAVEdata", b"\0" * 500])
    assert buffer.take_decoded() == b""


@pytest.mark.parametrize("kind", [("wav", "pcm_mulaw", 16_000), ("ogg", "libopus", 48_000)])
def test_compressed_files_are_heard_at_the_end_only(kind: tuple[str, str, int]) -> None:
    name, codec, rate = kind
    data = container(name, codec, tone(rate=rate), rate)
    buffer = fed(MONO, [data[:2_000], data[2_000:]], [30.0])
    assert buffer.take_decoded() == b""
    assert buffer.undecoded_s == 0.0
    assert len(decode(buffer.close(), 30.0).samples) >= 16_000


def test_a_snapshot_is_the_audio_so_far() -> None:
    events = [framed([packet]) for packet in spoken_packets(1, "20")]
    buffer = fed(OPUS, events[:30], [30.0])
    held = buffer.nbytes
    early = decode(buffer.snapshot(), 30.0).samples
    assert buffer.nbytes == held
    late = decode(fed(OPUS, events, [30.0]).close(), 30.0).samples
    assert 9_500 < len(early) <= 9_600
    assert np.array_equal(early, late[: len(early)])
