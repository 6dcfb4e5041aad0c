"""A large home costs little."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from stt_mqtt.config import PhrasesConfig
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.grammar import GrammarBuilder
from stt_mqtt.phrases.names import Area, Entity, HomeNames
from stt_mqtt.phrases.source import read_book

SYLLABLES = ("ba", "di", "fo", "gu", "ke", "la", "mi", "no", "pu", "re")


def word(number: int) -> str:
    return "".join(SYLLABLES[int(digit)] for digit in f"{number:04}")


def test_thousands_of_sentences_and_names_take_less_than_20_megabytes(tmp_path: Path) -> None:
    sentences = "".join(
        f'          - "(turn|switch) on [the] {{name}} {word(n)} {word(n * 7)} [in {{area}}]"\n'
        for n in range(5_000)
    )
    file = tmp_path / "en.yaml"
    file.write_text(f"language: en\nintents:\n  A:\n    data:\n      - sentences:\n{sentences}")
    names = HomeNames(
        entities=tuple(Entity(f"light.{n}", (f"{word(n)} lamp",)) for n in range(2_000)),
        areas=tuple(Area(f"a{n}", (f"{word(n)} room",)) for n in range(50)),
    )
    config = PhrasesConfig(paths=(str(file),))
    read_book(config).compiled("en")
    gc.collect()
    tracemalloc.start()
    try:
        book = PhraseBook(read_book(config).languages, names)
        assert book.compiled("en") is not None
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20_000_000


def test_compiling_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    file = tmp_path / "en.yaml"
    file.write_text(
        "language: en\nintents: {A: {data: [{sentences: ['(turn;it) on', '{name} up']}]}}"
    )
    languages = read_book(PhrasesConfig(paths=(str(file),))).languages
    gc.collect()
    gc.disable()
    try:
        assert PhraseBook(languages).compiled("en") is not None
        builders = [one for one in gc.get_objects() if isinstance(one, GrammarBuilder)]
    finally:
        gc.enable()
    assert builders == []
