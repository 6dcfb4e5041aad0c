"""Decoder for self-contained IMA ADPCM blocks, as in a WAV file.

A block begins with a header per channel: an int16 predictor, which is the first sample, a uint8
step index and a zero byte. Then 4-bit codes follow, low half first. In stereo 4 bytes of the left
channel alternate with 4 bytes of the right one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from stt_mqtt.audio.pcm import scale
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import AudioFormat, Planar

_HEADER = 4
_LAST_INDEX = 88
_BATCH = 16_384
"""Samples that are yielded at once, so that tiny blocks do not need a call each."""
_STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66,
    73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408,
    449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066,
    2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630,
    9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794,
    32767,
)  # fmt: skip
_INDEX_MOVES = (-1, -1, -1, -1, 2, 4, 6, 8)


def _transition(index: int, code: int) -> tuple[int, int]:
    step = _STEPS[index]
    change = step >> 3
    for bit, part in ((4, step), (2, step >> 1), (1, step >> 2)):
        if code & bit:
            change += part
    following = min(max(index + _INDEX_MOVES[code & 7], 0), _LAST_INDEX)
    return -change if code & 8 else change, following << 4


_TRANSITIONS = tuple(
    _transition(index, code) for index in range(_LAST_INDEX + 1) for code in range(16)
)
"""At 16 * step index + code: the change of the sample, and 16 * the next step index."""


def block_frames(block: bytes | memoryview, channels: int) -> int:
    """Samples per channel of a block; 0 if it is damaged."""
    body = len(block) - _HEADER * channels
    if body < 0 or any(block[_HEADER * c + 2] > _LAST_INDEX for c in range(channels)):
        return 0
    return 1 + 2 * body if channels == 1 else 1 + 8 * (body // 8)


def decode_block(block: bytes, channels: int) -> Planar:
    """The samples of a block that is not damaged."""
    tracks: list[list[int]] = [[] for _ in range(channels)]
    for channel, track in enumerate(tracks):
        state = _begin(block[_HEADER * channel :], track)
        _expand(_codes(block, channel, channels), state, track)
    return scale(np.array(tracks, np.int16))


def adpcm_pieces(data: bytes, audio_format: AudioFormat) -> Iterator[Planar]:
    """The samples of blocks, each after its 4-byte little-endian length. Damaged ones are skipped.

    Raises CorruptAudioError if all are damaged.
    """
    found = False
    for tracks in _batches(data, audio_format.channels):
        found = True
        yield scale(np.array(tracks, np.int16))
    if not found:
        raise CorruptAudioError("no ADPCM block has a valid header; is each chunk a whole block?")


def _batches(data: bytes, channels: int) -> Iterator[list[list[int]]]:
    """Samples per channel of many small blocks together, and of huge blocks in parts."""
    tracks: list[list[int]] = [[] for _ in range(channels)]
    for block in _blocks(data):
        if not block_frames(block, channels):
            continue
        codes = [_codes(block, channel, channels) for channel in range(channels)]
        states = [_begin(block[_HEADER * c :], track) for c, track in enumerate(tracks)]
        for start in range(0, len(codes[0]), _BATCH // 2):
            part = slice(start, start + _BATCH // 2)
            for channel, track in enumerate(tracks):
                states[channel] = _expand(codes[channel][part], states[channel], track)
            if len(tracks[0]) >= _BATCH:
                yield tracks
                tracks = [[] for _ in range(channels)]
    if tracks[0]:
        yield tracks


def _blocks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _codes(block: bytes, channel: int, channels: int) -> bytes:
    """The code bytes of one channel."""
    if channels == 1:
        return block[_HEADER:]
    groups = (len(block) - 2 * _HEADER) // 8
    return np.frombuffer(block, "<u4", 2 * groups, 2 * _HEADER)[channel::2].tobytes()


def _begin(header: bytes, track: list[int]) -> tuple[int, int]:
    """Append the first sample of one channel; return it and 16 * its step index."""
    sample, index = struct.unpack_from("<hB", header)
    track.append(sample)
    return sample, index << 4


def _expand(codes: bytes, state: tuple[int, int], track: list[int]) -> tuple[int, int]:
    """Append the samples of one channel. Each depends on the previous one, so this is a loop."""
    sample, place = state
    transitions = _TRANSITIONS
    for byte in codes:
        for code in (byte & 15, byte >> 4):
            change, place = transitions[place | code]
            sample += change
            if not -32768 <= sample <= 32767:
                sample = 32767 if sample > 0 else -32768
            track.append(sample)
    return sample, place
