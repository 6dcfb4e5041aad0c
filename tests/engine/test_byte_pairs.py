"""The tokens and texts of our byte-pair encoding are those of the library `tokenizers`."""

from __future__ import annotations

import random
from functools import cache
from unicodedata import category

import pytest
from tokenizers import Tokenizer

from stt_mqtt.engine.byte_pairs import END, BytePairs
from stt_mqtt.engine.models import default_models_dir, resolve

TEXTS = [
    "Turn on the light in the kitchen, please.",
    "I'll say it's what you've said: don't, we'd, they're; IT'S, 'twas",
    "  two  blanks,\ttab\n\n new\u00a0lines \r\n ",
    "21.5°C ½ Ⅷ ² 一二三 ٣ x_y_z __init__",
    "Übergrößenträger für naïve Café-Gäste",
    "включи свет в кухне, はい、電気をつけて。네, 불 켜줘 ปิดไฟ",
    "🏠🔆 \u200b\x1c\x1f\x00 e\u0301",
    "<|x|> <| |> a|>",
]
SIGNS = " '\n\tabcdelmrstv019.,-"
BLOCKS = (0x80, 0x250, 0x600, 0x3000, 0xD800, 0x20000)
"""Ends of ranges of characters, to have many from the scripts in use."""


def random_text(order: random.Random) -> str:
    end = order.choice(BLOCKS)
    drawn = (
        order.choice(SIGNS) if order.random() < 0.5 else chr(order.randrange(end))
        for _ in range(order.randrange(30))
    )
    # The library may know characters that are newer than Python.
    return "".join(one for one in drawn if category(one) not in ("Cn", "Cs"))


@cache
def both(model: str) -> tuple[BytePairs, Tokenizer]:
    folder = resolve(model, default_models_dir()).folder
    return BytePairs.of(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))


def of_library(text: str) -> list[int]:
    tokens: list[int] = both("tiny.en")[1].encode(text, add_special_tokens=False).ids
    return [token for token in tokens if token < both("tiny.en")[0].controls[END]]


def test_the_control_tokens_are_the_same() -> None:
    ours, library = both("tiny.en")
    theirs = {one.content: number for number, one in library.get_added_tokens_decoder().items()}
    assert theirs.items() <= ours.controls.items()
    assert all(ours.control_name(number) == name for name, number in ours.controls.items())


def test_every_token_and_random_sequences_have_the_same_text() -> None:
    ours, library = both("tiny.en")
    end = ours.controls[END]
    order = random.Random(0)
    sequences = [[token] for token in range(end)]
    sequences += [order.choices(range(end), k=6) for _ in range(5000)]
    assert [ours.decode(one) for one in sequences] == library.decode_batch(sequences)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_have_the_same_tokens(text: str) -> None:
    assert both("tiny.en")[0].encode(text) == of_library(text)


def test_random_texts_have_the_same_tokens() -> None:
    order = random.Random(0)
    texts = [random_text(order) for _ in range(3000)]
    assert [both("tiny.en")[0].encode(text) for text in texts] == list(map(of_library, texts))


def test_control_tokens_that_are_written_out_are_left_out() -> None:
    ours, _ = both("tiny.en")
    text = "a<|endoftext|>b<|notimestamps|><|0.00|>c"
    assert ours.encode(text) == [*ours.encode("a"), *ours.encode("b"), *ours.encode("c")]


def test_half_a_surrogate_does_no_harm() -> None:
    assert both("tiny.en")[0].encode("a\ud800b") == both("tiny.en")[0].encode("a?b")
