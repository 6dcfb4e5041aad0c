"""Aligns phonetic keys with parts of a text, sound by sound.

Positions are between the sounds of the text, from 0 to n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stt_mqtt.phrases.sounds import OMISSION, SUBSTITUTION, Costs, encoded

SPARE_SOUNDS = 4
"""A key may stand for so many more sounds of the text than it has."""
WILDCARD_COST = np.float32(0.001)
"""Cost of a sound of a wildcard."""


@dataclass(frozen=True, slots=True)
class AlignedKeys:
    """The costs of aligning keys with parts of the text; shape (keys, n + 1, widest part + 1).

    Element (k, i, w) is for the part of w sounds from position i. It is infinite beyond the text.
    """

    costs: Costs

    def full(self, key: int) -> Costs:
        """The costs of a key by the start and the end of the part; shape (n + 1, n + 1)."""
        _, size, widths = self.costs.shape
        starts, width = np.indices((size, widths))
        inside = starts + width < size
        full = np.full((size, size), np.inf, np.float32)
        full[starts[inside], (starts + width)[inside]] = self.costs[key][inside]
        return full


class HeardSounds:
    """The sounds of a text, given by its phonetic key.

    `omitted`: the cost of leaving out all sounds before each position; shape (n + 1,).
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.positions = len(key) + 1
        self._sounds = encoded(key)
        self.omitted: Costs = np.zeros(self.positions, np.float32)
        np.cumsum(OMISSION[self._sounds], out=self.omitted[1:])

    def anything(self) -> Costs:
        """The costs of a wildcard for any part of the text that is not empty.

        They only decide between sentences that are alike: the fewer sounds the better.
        """
        positions = np.arange(self.positions, dtype=np.float32)
        sounds = positions - positions[:, np.newaxis]
        return np.where(sounds > 0, sounds * WILDCARD_COST, np.float32(np.inf))

    def align(self, keys: Sequence[str]) -> AlignedKeys:
        """Align keys with every part of the text that is not much longer than the longest key."""
        size = self.positions
        lengths = np.array([len(key) for key in keys], np.intp)
        longest = int(lengths.max(initial=0))
        widths = min(size, longest + SPARE_SOUNDS + 1)
        ends = np.arange(size)[:, np.newaxis] + np.arange(widths)
        inside = ends < size
        heard = self.omitted[np.where(inside, ends, 0)]
        empty = np.where(inside, heard - self.omitted[:, np.newaxis], np.inf).astype(np.float32)
        last = self._sounds[np.clip(ends[:, 1:] - 1, 0, max(size - 2, 0))]
        # Sorted by length, so that the keys that have a sound at a place are at the end.
        order = np.argsort(lengths, kind="stable")
        sounds = np.zeros((len(keys), longest), np.intp)
        for row, index in enumerate(order):
            sounds[row, : lengths[index]] = encoded(keys[index])
        costs = np.repeat(empty[np.newaxis], len(keys), axis=0)
        for place in range(longest):
            first = int(np.searchsorted(lengths[order], place, side="right"))
            sound, before = sounds[first:, place], costs[first:]
            after = before + OMISSION[sound][:, np.newaxis, np.newaxis]
            replaced = before[:, :, :-1] + SUBSTITUTION[sound][:, last]
            np.minimum(after[:, :, 1:], replaced, out=after[:, :, 1:])
            # Sounds of the text that the key does not have.
            costs[first:] = np.minimum.accumulate(after - heard, axis=2) + heard
        costs[:, ~inside] = np.inf
        aligned = np.empty_like(costs)
        aligned[order] = costs
        return AlignedKeys(aligned)
