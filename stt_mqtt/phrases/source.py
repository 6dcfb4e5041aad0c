"""The phrase book that the configuration names, from its files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from hassil.intents import Intent, Intents

from stt_mqtt.config import PhrasesConfig
from stt_mqtt.config.diagnostics import shown
from stt_mqtt.config.yaml_nodes import YamlBounds, compose
from stt_mqtt.errors import ConfigError
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.checks import check_language
from stt_mqtt.phrases.files import MAX_FILE_BYTES, STARTER, PhraseFiles
from stt_mqtt.phrases.names import names_in_lists
from stt_mqtt.phrases.nodes import NodeReader
from stt_mqtt.phrases.parts import Problems, WrittenLanguage
from stt_mqtt.phrases.reading import PhraseFileReader, language_of
from stt_mqtt.phrases.templates import TemplateParser
from stt_mqtt.types import normalise_language

BOUNDS = YamlBounds(mib=MAX_FILE_BYTES >> 20, nodes=200_000, depth=32, aliases=True, fast=True)
MAX_PROBLEMS = 100
"""Most mistakes that are listed."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def read_book(config: PhrasesConfig) -> PhraseBook:
    """The book in the files, with the names of the configuration.

    Raises ConfigError with all problems, each `file:line:column: message`.
    """
    names, _ = names_in_lists(config.names)
    languages = {code: intents_of(one) for code, one in read_languages(config).items()}
    return PhraseBook(languages, names)


def read_languages(config: PhrasesConfig) -> dict[str, WrittenLanguage]:
    """What the files say, by language code. Raises ConfigError as `read_book` does."""
    paths = [*([STARTER] if config.builtin else []), *map(Path, config.paths)]
    files = PhraseFiles(paths)
    languages, lines = merge(files.texts(), frozenset(config.names))
    lines = [*files.problems, *lines]
    if lines:
        more = len(lines) - MAX_PROBLEMS
        raise ConfigError(lines[:MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))
    return languages


def merge(
    texts: Iterable[tuple[str, str]], known: frozenset[str]
) -> tuple[dict[str, WrittenLanguage], list[str]]:
    """What files say by language, and the problems. `texts`: the name and the text of each.

    `known`: lists whose values come from elsewhere.
    """
    languages: dict[str, WrittenLanguage] = {}
    unreadable: list[str] = []
    problems, parser = Problems(), TemplateParser()
    for number, (file, text) in enumerate(texts):
        nodes = NodeReader(file, number, problems, parser)
        try:
            root = compose(text, file, BOUNDS)
        except ConfigError as error:
            unreadable += error.problems
            continue
        tagged = language_of(root, nodes)
        if root is None or tagged is None:
            continue
        tag, node = tagged
        code = normalise_language(tag)
        if _LANGUAGE.fullmatch(code) is None:
            nodes.report(node, f"{shown(tag)} is no language tag such as en or pt-BR")
            continue
        written = languages.setdefault(code, WrittenLanguage(code, nodes.place(node), known))
        PhraseFileReader(nodes).read(root, written)
    # Rules and lists may be missing because a file could not be read.
    if not unreadable:
        for written in languages.values():
            check_language(written, problems)
            if not written.blocks and not problems:
                problems.report(written.place, f"no file has sentences for {written.code}")
    return languages, unreadable + problems.lines()


def intents_of(written: WrittenLanguage) -> Intents:
    """The sentences of a language as hassil has them."""
    intents: dict[str, Intent] = {}
    for block in written.blocks:
        intents.setdefault(block.intent, Intent(block.intent)).data.append(block.data)
    return Intents(
        language=written.code,
        intents=intents,
        slot_lists={name: one.slot_list for name, one in written.lists.items()},
        expansion_rules={name: rule.sentence for name, rule in written.rules.items()},
        skip_words=written.skip_words,
    )
