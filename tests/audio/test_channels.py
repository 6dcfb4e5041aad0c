"""Two channels: which one is heard, and what is said about the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.channels import LiveMixer
from stt_mqtt.audio.decode import Decoding, decode
from stt_mqtt.audio.frames import Converter, FrameReader
from stt_mqtt.audio.pcm import SampleType
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Planar, Samples
from tests.audio.synth import chunk, fmt, riff, tone
from tests.audio.voices import (
    STEREO,
    Int16,
    as_floats,
    delayed,
    heard,
    hiss,
    likeness,
    limited,
    pair,
    voice,
)
from tests.thorough import examples

NOTHING = np.zeros_like(voice())
BROKEN: dict[str, tuple[Int16, Hint | None]] = {
    "silent": (NOTHING, Hint.DEAD_CHANNEL),
    "stuck at full scale": (NOTHING + np.int16(32767), Hint.DEAD_CHANNEL),
    "stuck at the other end": (NOTHING + np.int16(-32768), Hint.DEAD_CHANNEL),
    "noise": (limited(hiss(len(voice()), 0.1)), None),
    "crosstalk": (limited(voice() / 200 + hiss(len(voice()), 0.0005)), None),
    "the negative": (limited(-voice().astype(float)), Hint.INVERTED_STEREO),
    "a millisecond later": (delayed(voice(), 16), None),
}


def live(data: bytes, step: int) -> Samples:
    """As a satellite's microphone hears it."""
    converter = Converter(SampleType.S16, 16_000, 2)
    pieces = [converter.push(data[at : at + step]) for at in range(0, len(data), step)]
    return as_floats(np.frombuffer(b"".join(pieces), "<i2"))


@pytest.mark.parametrize("other", BROKEN)
@pytest.mark.parametrize("left", [True, False])
def test_of_two_channels_the_good_one_is_heard(other: str, left: bool) -> None:
    bad, hint = BROKEN[other]
    found = heard(pair(voice(), bad) if left else pair(bad, voice()), STEREO)
    likely = abs(likeness(found.samples, as_floats(voice())))
    late = abs(likeness(found.samples, as_floats(delayed(voice(), 16))))
    assert max(likely, late) > 0.9999
    assert found.hint is hint


@pytest.mark.parametrize("other", BROKEN)
@pytest.mark.parametrize("left", [True, False])
def test_while_it_comes_in_the_good_one_is_heard_after_a_moment(other: str, left: bool) -> None:
    data = pair(voice(), BROKEN[other][0]) if left else pair(BROKEN[other][0], voice())
    found = live(data, 2 * 2 * 512)[16_000:]
    meant = (voice()[16_000:], delayed(voice(), 16)[16_000:])
    assert max(abs(likeness(found, as_floats(one))) for one in meant) > 0.99


def test_of_a_satellite_that_sends_wav_frames_the_good_channel_is_heard() -> None:
    data = pair(voice(), NOTHING + np.int16(32767))
    reader = FrameReader(30.0)
    head = fmt(channels=2)
    frames = [riff(head, chunk(b"data", data[at : at + 1024])) for at in range(0, len(data), 1024)]
    found = b"".join(reader.read(frame) or b"" for frame in frames)
    assert likeness(as_floats(np.frombuffer(found, "<i2")), as_floats(voice())) > 0.999


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("lead_in_s", [0.3, 3.0, 8.0])
def test_a_live_voice_behind_a_while_of_noise_is_heard_from_its_beginning(
    left: bool, lead_in_s: float
) -> None:
    before = round(lead_in_s * 16_000)
    spoken = np.concatenate([np.zeros(before, "<i2"), voice()])
    rng = np.random.default_rng(3)
    noisy = [limited(spoken + 30 * rng.standard_normal(len(spoken)))]
    noisy.append(limited(30 * rng.standard_normal(len(spoken))))
    found = live(pair(*noisy) if left else pair(*reversed(noisy)), 2 * 2 * 512)
    heard_half = as_floats(spoken) / 2
    wanted = heard_half[before:] @ heard_half[before:]
    assert found[before:] @ heard_half[before:] > 0.8 * wanted


@pytest.mark.parametrize("samples", [80, 160, 256, 512])
def test_pieces_of_any_length_show_that_one_channel_is_the_negative(samples: int) -> None:
    found = live(pair(voice(), limited(-voice().astype(float))), 2 * 2 * samples)[8_000:]
    assert abs(likeness(found, as_floats(voice()[8_000:]))) > 0.99


def test_a_word_in_half_a_minute_is_what_its_channel_is_chosen_for() -> None:
    gated = np.zeros(30 * 16_000, "<i2")
    gated[20 * 16_000 :][: len(voice())] = voice()
    other = limited(30 * np.random.default_rng(3).standard_normal(len(gated)))
    found = heard(pair(gated, other), STEREO)
    assert likeness(found.samples, as_floats(gated)) > 0.99
    assert found.hint is None


def test_where_both_carry_the_same_the_mean_is_taken() -> None:
    found = heard(pair(voice(), limited(voice() / 2)), STEREO)
    assert np.abs(found.samples - 0.75 * as_floats(voice())).max() < 1e-4
    assert found.hint is None


def test_two_voices_are_both_heard() -> None:
    first, second = voice(0), voice(1)
    apart = np.zeros(len(first) + len(second), "<i2")
    left, right = apart.copy(), apart.copy()
    left[: len(first)], right[len(first) :] = first, second
    found = heard(pair(left, right), STEREO)
    assert np.abs(found.samples - as_floats(left) / 2 - as_floats(right) / 2).max() < 1e-4
    assert found.hint is None


def test_silence_on_both_is_no_reason_for_a_hint() -> None:
    found = heard(pair(NOTHING, NOTHING), STEREO)
    assert not found.samples.any()
    assert found.hint is None


@pytest.mark.parametrize("codec", [Codec.PCM_S16LE, Codec.PCM_F32LE])
@pytest.mark.parametrize("other", ["stuck at full scale", "the negative"])
def test_pcm_that_is_converted_while_it_comes_keeps_both_channels_until_all_is_there(
    codec: Codec, other: str
) -> None:
    bad, hint = BROKEN[other]
    data = pair(np.repeat(bad, 3), np.repeat(voice(), 3))
    if codec is Codec.PCM_F32LE:
        data = as_floats(np.frombuffer(data, "<i2")).tobytes()
    buffer = AudioBuffer(AudioFormat(codec, 48_000, 2), AudioCap(30.0, 2**21))
    for at in range(0, len(data), 4_001):
        assert buffer.append(data[at : at + 4_001])
    found = decode(buffer.close(), 30.0)
    assert abs(likeness(found.samples, as_floats(voice()))) > 0.95
    assert found.hint is hint


def test_in_a_long_recording_it_is_decided_again_and_the_change_is_no_click() -> None:
    good = np.resize((tone(200, 1.0, level=0.3) * 32767).astype("<i2"), 16_000 * 60)
    good[::16_000] = 0
    spoken = (good * np.resize(np.repeat([1.0, 0.05], 8_000), len(good))).astype("<i2")
    left, right = spoken.copy(), spoken.copy()
    left[16_000 * 30 :] = 0
    right[: 16_000 * 30] = 0
    whole = np.concatenate(list(Decoding(EncodedAudio(STEREO, pair(left, right)))))
    assert len(whole) == 16_000 * 60
    assert np.abs(np.diff(whole)).max() < 1.5 * np.abs(np.diff(as_floats(spoken))).max()
    assert likeness(whole[16_000 * 31 :], as_floats(spoken)[16_000 * 31 :]) > 0.999


def test_pauses_of_a_live_microphone_do_not_change_the_channel() -> None:
    mixer = LiveMixer()
    planar = np.stack([as_floats(voice()), as_floats(NOTHING)])
    mixer.push(planar, 16_000)
    silence = np.zeros((2, 16_000), np.float32)
    for _ in range(20):
        mixer.push(silence, 16_000)
    found = mixer.push(planar[:, 8_000:], 16_000)[0]
    assert np.abs(found - planar[0, 8_000:]).max() < 1e-6


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(
        arrays(
            np.float32,
            st.tuples(st.just(2), st.integers(0, 2_000)),
            elements=st.floats(-1, 1, width=32),
        ),
        max_size=5,
    ),
    st.sampled_from([8_000, 16_000, 48_000]),
)
def test_whatever_comes_live_stays_as_long_finite_and_within_full_scale(
    pieces: list[Planar], rate: int
) -> None:
    mixer = LiveMixer()
    for piece in pieces:
        found = mixer.push(piece, rate)
        assert found.shape == (1, piece.shape[1])
        assert np.isfinite(found).all()
        assert np.abs(found).max(initial=0.0) <= 1.0 + 1e-6
