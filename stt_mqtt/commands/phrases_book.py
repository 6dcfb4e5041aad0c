"""`stt-mqtt phrases count`, `sample` and `lint`: what is in the phrase files."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable
from random import Random

from stt_mqtt.app.book import compile_book, kept_names, read_phrases
from stt_mqtt.config import Config
from stt_mqtt.errors import ConfigError
from stt_mqtt.phrases.expand import Expander
from stt_mqtt.phrases.lint import findings_of
from stt_mqtt.phrases.parts import WrittenBlock, WrittenLanguage
from stt_mqtt.phrases.source import read_languages
from stt_mqtt.types import normalise_language

LARGEST = 10**15
"""Larger numbers are rounded to a power of ten."""


def count(config: Config, options: argparse.Namespace) -> None:
    """Print how many sentences each intent has, with the names that are known."""
    names = kept_names(config.phrases)
    for written in _languages(config, options.language):
        expander = Expander(written, names)
        counts: Counter[str] = Counter()
        for block in written.blocks:
            counts[block.intent] += expander.count(block)
        width = max(map(len, counts), default=0)
        for intent, sentences in sorted(counts.items()):
            print(f"{written.code}  {intent:{width}}  {_shown(sentences)}")
        print(f"{written.code}  {'in all':{width}}  {_shown(sum(counts.values()))}", flush=True)


def sample(config: Config, options: argparse.Namespace) -> None:
    """Print random sentences. Each intent is as likely as any other."""
    names = kept_names(config.phrases)
    random = Random(options.seed)  # noqa: S311 - nothing secret
    drawn = []
    for written in _languages(config, options.language):
        expander = Expander(written, names)
        drawn += [
            (written.code, intent, expander, blocks)
            for intent, blocks in _by_intent(written.blocks, options.intent).items()
        ]
    if not drawn:
        raise ConfigError([f"no sentence has intent {options.intent}"])
    printed, tries = 0, 0
    while printed < options.n and tries < options.n * 20:
        tries += 1
        code, intent, expander, blocks = random.choice(drawn)
        text = expander.sample(random.choice(blocks), random)
        if text is not None:
            printed += 1
            print(f"{code}  {intent}  {text}", flush=True)


def lint(config: Config, _options: argparse.Namespace) -> None:
    """Print what is hardly meant. Raises ConfigError with all that is wrong."""
    names = kept_names(config.phrases)
    languages = read_languages(config.phrases)
    compile_book(read_phrases(config.phrases, names), config)
    warnings = 0
    for written in languages.values():
        for finding in findings_of(written, names):
            warnings += finding.is_warning
            print(finding)
    sentences = sum(len(block.sentences) for one in languages.values() for block in one.blocks)
    print(f"templates: {sentences}, warnings: {warnings}", flush=True)


def _languages(config: Config, tag: str | None) -> list[WrittenLanguage]:
    """The language with a tag, or all. Raises ConfigError."""
    languages = read_languages(config.phrases)
    if tag is None:
        return [languages[code] for code in sorted(languages)]
    code = normalise_language(tag)
    if code not in languages:
        known = ", ".join(sorted(languages))
        raise ConfigError([f"the phrase book has no sentence in {code}; it has {known}"])
    return [languages[code]]


def _by_intent(blocks: Iterable[WrittenBlock], wanted: str | None) -> dict[str, list[WrittenBlock]]:
    found: dict[str, list[WrittenBlock]] = {}
    for block in blocks:
        if block.sentences and wanted in (None, block.intent):
            found.setdefault(block.intent, []).append(block)
    return found


def _shown(number: int) -> str:
    return f"{number:,}" if number < LARGEST else f"about 10^{int(math.log10(number))}"
