"""Pieces of speech between the encoder and the decoder of Whisper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.tokenizer import MAX_TOKENS


@dataclass(frozen=True, slots=True)
class Encoded:
    """A piece of speech after the encoder. `index`: its place among the pieces of the call.

    `spoken`: how many of the states are needed to find phrases. None: no phrases are wanted.
    `for_end`: whether all of them are needed to judge the end of the sentence. `alone`: whether it
    is decoded by itself. `encode_s`: seconds that it took.
    """

    index: int
    states: Floats
    language: str
    prompt: list[int]
    length_penalty: float
    max_tokens: int
    spoken: int | None
    for_end: bool
    alone: bool = False
    encode_s: float = 0.0

    @property
    def group(self) -> tuple[int, int, float, bool, int]:
        """The key of the group; pieces with equal keys are decoded together."""
        place = self.index if self.alone else -1
        return len(self.states), len(self.prompt), self.length_penalty, self.spoken is None, place


def max_length(group: Sequence[Encoded]) -> int:
    """The length limit for CTranslate2, which reserves half of it, or all of the prompt."""
    longest = max(encoded.max_tokens for encoded in group)
    prompt = len(group[0].prompt)
    return min(max(2 * longest, prompt + longest), MAX_TOKENS)
