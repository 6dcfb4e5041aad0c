"""What every kind of decoded audio goes through: 16 kHz, no offset, one channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stt_mqtt.audio.channels import MEAN, Evidence, Mix, choose, mixed
from stt_mqtt.audio.clipping import Clipping
from stt_mqtt.audio.offset import take_out_offset
from stt_mqtt.audio.resample import BatchResampler, joined
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, Planar, Samples

WINDOW_S = 30
"""Audio that is judged together, and so held: all of an utterance, a part of a recording."""


_LEAST_REST = SAMPLE_RATE // 10


class Conditioner:
    """Takes decoded samples of one rate and gives them ready for the model.

    What is done is decided for `WINDOW_S` at a time, so nothing changes within an utterance.
    """

    def __init__(self, rate: int, channels: int) -> None:
        """`rate` in Hz of what is taken."""
        self._resampler = BatchResampler(rate, channels)
        self._clipping = Clipping()
        self._waiting: list[Planar] = []
        self._length = 0
        self._mix: Mix | None = None
        self._hints: set[Hint | None] = set()
        self.taken = 0
        """Samples at `SAMPLE_RATE` that came in."""

    @property
    def hint(self) -> Hint | None:
        """What looks wrong with what was given so far."""
        clipping = Hint.CLIPPING if self._clipping.found else None
        return foremost([*self._hints, clipping])

    def push(self, planar: Planar) -> Iterator[Samples]:
        """What is ready after the next samples; mostly nothing."""
        self._clipping.push(planar)
        self._wait(self._resampler.push(planar))
        # What is left has an offset of its own, if it has any: so it is never next to nothing.
        while self._length >= WINDOW_S * SAMPLE_RATE + _LEAST_REST:
            held = joined(self._waiting)
            rest = held[:, WINDOW_S * SAMPLE_RATE :].copy()
            self._waiting, self._length = [rest], rest.shape[1]
            yield self._ready(held[:, : WINDOW_S * SAMPLE_RATE])
            del held

    def finish(self) -> Samples:
        """The rest. Nothing may be pushed afterwards."""
        self._wait(self._resampler.finish())
        return self._ready(joined(self._waiting))

    def _wait(self, planar: Planar) -> None:
        self._waiting.append(planar)
        self._length += planar.shape[1]
        self.taken += planar.shape[1]

    def _ready(self, window: Planar) -> Samples:
        if not window.shape[1]:
            return np.empty(0, np.float32)
        centered = [take_out_offset(track) for track in window]
        tracks = [track for track, _ in centered]
        offsets = [offset for _, offset in centered]
        if len(tracks) == 1:
            self._hints.add(Hint.OFFSET if offsets[0] else None)
            return tracks[0]
        before = self._mix
        evidence = Evidence.of(tracks[0], tracks[1], SAMPLE_RATE)
        mix = choose(evidence, before) or before or MEAN
        self._mix = mix
        heard = (mix.left > 0 and offsets[0]) or (mix.right > 0 and offsets[1])
        self._hints |= {mix.hint, Hint.OFFSET if heard else None}
        return mixed(np.stack(tracks), mix, before)
