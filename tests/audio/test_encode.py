"""What a satellite sends, heard as the service hears it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.audio.opus import OPUS_RATE, PacketWalk
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import s16, tone
from tests.thorough import examples

KBPS = 24
PACKET = 960
"""Samples of a packet, 60 ms."""
LOOKAHEAD = 104
"""Samples by which libopus is late, 6.5 ms."""
EXACT = [Codec.PCM_S16LE, Codec.FLAC]

pcm_of_any_kind = st.binary(max_size=9_000)
sizes = st.lists(st.integers(0, 3_000), min_size=1, max_size=8)


def pieces(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    """`data` cut at these lengths, what is left over at the end."""
    at = 0
    for length in lengths:
        yield data[at : at + length]
        at += length
    yield data[at:]


def encoded(codec: Codec, parts: Iterator[bytes] | list[bytes], kbps: int = KBPS) -> list[bytes]:
    """What goes over the wire, one chunk for each part and one at the end."""
    encoder = make_encoder(codec, kbps)
    assert encoder.codec is codec
    return [*map(encoder.push, parts), encoder.finish()]


def heard(codec: Codec, data: bytes) -> Samples:
    """What the service makes of it."""
    return decode(EncodedAudio(AudioFormat(codec), data), 30.0).samples


def as_s16(samples: Samples) -> bytes:
    return (samples * 32768).astype("<i2").tobytes()


@cache
def spoken(sample: Sample) -> bytes:
    return sample.pcm()


@pytest.mark.parametrize("codec", EXACT)
@given(pcm=pcm_of_any_kind, lengths=sizes)
@settings(deadline=None)
def test_exact_codecs_give_back_every_sample_however_the_audio_is_cut(
    codec: Codec, pcm: bytes, lengths: list[int]
) -> None:
    whole = pcm[: len(pcm) // 2 * 2]
    data = b"".join(encoded(codec, pieces(pcm, lengths)))
    if whole or codec is Codec.PCM_S16LE:
        assert as_s16(heard(codec, data)) == whole


@given(pcm=pcm_of_any_kind, lengths=sizes)
@settings(deadline=None)
def test_pcm_chunks_hold_whole_samples(pcm: bytes, lengths: list[int]) -> None:
    assert all(len(chunk) % 2 == 0 for chunk in encoded(Codec.PCM_S16LE, pieces(pcm, lengths)))


@pytest.mark.parametrize("sample", SAMPLES[:3], ids=lambda sample: sample.file)
@pytest.mark.parametrize("codec", EXACT)
def test_speech_in_an_exact_codec_is_the_same_speech(codec: Codec, sample: Sample) -> None:
    pcm = spoken(sample)
    assert as_s16(heard(codec, b"".join(encoded(codec, [pcm])))) == pcm


def test_flac_comes_while_somebody_speaks_and_begins_with_its_header() -> None:
    pcm = spoken(SAMPLES[0])
    chunks = encoded(Codec.FLAC, pieces(pcm, [960] * (len(pcm) // 960)))
    assert chunks[0].startswith(b"fLaC")
    assert sum(map(len, chunks[:-1])) > 0.9 * sum(map(len, chunks))
    gaps = [len(run) for run in "".join("x" if c else "." for c in chunks).split("x")]
    assert max(gaps) <= 2


def test_flac_is_half_as_large_as_pcm_or_less() -> None:
    pcm = b"".join(map(spoken, SAMPLES))
    assert len(b"".join(encoded(Codec.FLAC, [pcm]))) < len(pcm) / 2


@given(
    samples=st.one_of(
        st.integers(1, 4 * PACKET),
        st.integers(1, 4).map(lambda packets: packets * PACKET - LOOKAHEAD),
        st.integers(1, 4).map(lambda packets: packets * PACKET - LOOKAHEAD + 1),
        st.integers(1, 4).map(lambda packets: packets * PACKET),
    )
)
@settings(deadline=None)
def test_opus_lasts_as_long_as_the_audio_and_the_lookahead_in_whole_packets(samples: int) -> None:
    data = b"".join(encoded(Codec.OPUS, [bytes(2 * samples)]))
    packets = -(-(samples + LOOKAHEAD) // PACKET)
    durations = [duration for _, duration in PacketWalk().packets(data)]
    assert durations == [PACKET * OPUS_RATE // SAMPLE_RATE] * packets
    assert len(heard(Codec.OPUS, data)) == packets * PACKET


def loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """How loud it is in each 32 ms and each 31 Hz from 200 Hz to 4 kHz, in steps of 20 dB."""
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    return np.log10(np.abs(np.fft.rfft(frames)).astype(np.float64)[:, 6:128] + 0.1)


@pytest.mark.parametrize("kbps", [16, 24, 32, 48])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_speech_in_opus_is_alike_and_small(sample: Sample, kbps: int) -> None:
    pcm = spoken(sample)
    data = b"".join(encoded(Codec.OPUS, pieces(pcm, [960] * (len(pcm) // 960)), kbps))
    said = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    came = heard(Codec.OPUS, data)[LOOKAHEAD:][: len(said)]
    # Not the samples themselves: "voip" shifts the phase of what is low.
    assert np.corrcoef(loudness(said).ravel(), loudness(came).ravel())[0, 1] > 0.95
    assert len(data) / (len(said) / SAMPLE_RATE) < kbps * 1000 / 8 * 1.1


@pytest.mark.parametrize("over", [0, 1, PACKET - LOOKAHEAD, PACKET - LOOKAHEAD + 1, PACKET - 1])
def test_the_last_sound_comes_out_of_opus_wherever_it_ends(over: int) -> None:
    samples = np.zeros(10 * PACKET + over, np.float32)
    samples[-320:] = tone(600, 0.02)
    came = heard(Codec.OPUS, b"".join(encoded(Codec.OPUS, [s16(samples)])))[LOOKAHEAD:]
    last = came[len(samples) - 320 : len(samples)]
    assert len(last) == 320
    assert np.corrcoef(samples[-320:], last)[0, 1] > 0.9


@given(seed=st.integers(0, 2**32 - 1), kbps=st.integers(16, 48))
@settings(deadline=None, max_examples=examples(20))
def test_no_packet_is_longer_than_opus_allows_even_for_noise(seed: int, kbps: int) -> None:
    noise = np.random.default_rng(seed).integers(-32768, 32768, SAMPLE_RATE, "<i2").tobytes()
    data = b"".join(encoded(Codec.OPUS, [noise], kbps))
    assert max(len(packet) for packet, _ in PacketWalk().packets(data)) <= 1275


@pytest.mark.parametrize("kbps", [16, 19, 24, 32, 48])
@pytest.mark.parametrize("sound", ["speech", "speech and music", "music", "noise"])
def test_opus_codes_with_silk_its_coder_for_speech_whatever_is_heard(sound: str, kbps: int) -> None:
    speech = np.frombuffer(spoken(SAMPLES[0]), "<i2") / 32768
    chord = sum(tone(hz, len(speech) / SAMPLE_RATE, level=0.1) for hz in (220, 277, 330, 440))
    samples = {
        "speech": speech,
        "speech and music": speech + chord,
        "music": chord,
        "noise": np.random.default_rng(1).normal(0, 0.1, len(speech)),
    }[sound]
    data = b"".join(encoded(Codec.OPUS, [s16(np.asarray(samples, np.float32))], kbps))
    # RFC 6716, table 2: of the 32 configurations the first twelve are SILK's.
    assert {packet[0] >> 3 < 12 for packet, _ in PacketWalk().packets(data)} == {True}


def test_chunks_of_opus_hold_whole_packets() -> None:
    pcm = spoken(SAMPLES[0])
    for chunk in encoded(Codec.OPUS, pieces(pcm, [960] * (len(pcm) // 960))):
        assert sum(2 + len(packet) for packet, _ in PacketWalk().packets(chunk)) == len(chunk)


@pytest.mark.parametrize("codec", [Codec.OPUS, Codec.PCM_S16LE])
def test_of_nothing_comes_nothing(codec: Codec) -> None:
    assert encoded(codec, []) == [b""]


def test_a_codec_that_satellites_do_not_send_is_refused() -> None:
    with pytest.raises(ValueError, match="mp3"):
        make_encoder(Codec.MP3, KBPS)
