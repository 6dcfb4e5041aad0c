"""The phrase book of the service: read at the start, and renewed while the service runs.

Without sentences in the configuration, nothing of `hassil` or `rapidfuzz` is imported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING

from stt_mqtt.config import Config, PhrasesConfig
from stt_mqtt.core.background import in_background
from stt_mqtt.errors import ConfigError, MissingExtraError, SttMqttError
from stt_mqtt.names.store import NamesStore, default_state_dir
from stt_mqtt.phrases.names import NO_NAMES, HomeNames, merged, names_in_lists

if TYPE_CHECKING:
    from stt_mqtt.engine.phrases import CurrentBook
    from stt_mqtt.phrases.book import PhraseBook

log = logging.getLogger(__name__)

MAX_READY = 48
"""Most combinations of language and area that are compiled before somebody speaks."""


def read_phrases(config: PhrasesConfig, names: HomeNames) -> PhraseBook:
    """The book in the phrase files. Slow: one second for thousands of sentences.

    Raises `ConfigError` with all problems, `MissingExtraError` without hassil or rapidfuzz.
    """
    with_extra()
    from stt_mqtt.phrases.book import PhraseBook
    from stt_mqtt.phrases.source import read_book

    return PhraseBook(read_book(config).languages, names)


def with_extra() -> None:
    """Raises `MissingExtraError` if the phrase book cannot be used."""
    try:
        import stt_mqtt.engine.phrases
        import stt_mqtt.phrases.source  # noqa: F401
    except ImportError as error:
        if (error.name or "").startswith("stt_mqtt"):
            raise
        raise MissingExtraError(error.name, "phrases") from error


def kept_names(config: PhrasesConfig) -> HomeNames:
    """The names that are known without a connection: configured, and those of the last run."""
    names, _ = names_in_lists(config.names)
    kept = None
    if config.home_assistant is not None:
        kept = NamesStore(default_state_dir()).load()
    return merged(names, kept or NO_NAMES)


def current_book(config: Config) -> CurrentBook | None:
    """The book for a command, with the names that are known now. None: there is none.

    Raises as `read_phrases` does.
    """
    if not config.phrases.has_book:
        return None
    book = read_phrases(config.phrases, kept_names(config.phrases))
    from stt_mqtt.engine.phrases import CurrentBook

    return CurrentBook(book)


def compile_book(book: PhraseBook, config: Config, languages: frozenset[str] = frozenset()) -> None:
    """Compile the book for the areas of the configured devices. Slow.

    `languages`: those that may be spoken; empty: all. Raises `ConfigError`.
    """
    from stt_mqtt.phrases.grammar import GrammarError

    areas = dict.fromkeys([None, config.device_defaults.area])
    areas.update(dict.fromkeys(config.device(name).area for name in config.devices))
    codes = sorted(code for code in book.languages if not languages or code in languages)
    for area, code in islice(product(areas, codes), MAX_READY):
        try:
            book.compiled(code, area)
        except GrammarError as error:
            raise ConfigError([f"phrases: language {code}: {error}"]) from error


class BookKeeper:
    """Keeps the phrase book current. Call its methods on the event loop, except for `load`.

    `current` is None if the configuration has no sentences. A new book is made in a background
    thread and replaces the old one when it is compiled. If it cannot be made, the old one stays.
    Calls `changed` after each attempt.
    """

    def __init__(self, config: Config, changed: Callable[[], None]) -> None:
        self.current: CurrentBook | None = None
        self._changed = changed
        self._mistakes = 0
        self._config = config
        self._names = NO_NAMES
        self._languages: frozenset[str] = frozenset()
        self._outdated = False
        self._reread = False
        self._task: asyncio.Task[None] | None = None

    def load(self, languages: frozenset[str]) -> None:
        """Read and compile the book. Slow. `languages`: those of the models; empty: unknown.

        Raises `ConfigError` with all problems, or `MissingExtraError`.
        """
        if not self._config.phrases.has_book:
            return
        book = read_phrases(self._config.phrases, self._names)
        self._languages = languages
        compile_book(book, self._config, self._languages)
        from stt_mqtt.engine.phrases import CurrentBook

        self.current = CurrentBook(book)

    @property
    def info(self) -> dict[str, object] | None:
        """What people may know of the book; None: there is none.

        `mistakes`: how many the files had at the last reload. If there are any, the book is old.
        """
        if self.current is None:
            return None
        languages = self.current.book.languages
        blocks = (
            data
            for intents in languages.values()
            for intent in intents.intents.values()
            for data in intent.data
        )
        return {
            "languages": sorted(languages),
            "sentences": sum(len(data.sentence_texts) for data in blocks),
            "mistakes": self._mistakes,
        }

    def set_names(self, names: HomeNames) -> None:
        """Use other names, soon."""
        self._names = names
        self._renew()

    def reload(self, config: Config) -> None:
        """Read the phrase files again and use them soon. Mistakes in them are logged."""
        self._config = config
        self._reread = True
        self._renew()

    async def close(self) -> None:
        """Stop renewing the book."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _renew(self) -> None:
        if self.current is None:
            return
        self._outdated = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renewing())

    async def _renewing(self) -> None:
        """Make new books until the last one is up to date."""
        while self._outdated and self.current is not None:
            reread, self._reread, self._outdated = self._reread, False, False
            before = None if reread else self.current.book
            make = partial(_renewed, before, self._config, self._names, self._languages)
            try:
                self.current.book = await in_background(make)
                if reread:
                    self._mistakes = 0
            except SttMqttError as error:
                problems = error.problems if isinstance(error, ConfigError) else [str(error)]
                for problem in problems:
                    log.error("the phrase book stays as it was: %s", problem)  # noqa: TRY400
                if reread:
                    self._mistakes = len(problems)
                # Names that came meanwhile are for the sentences that stay.
                self._outdated |= reread and self.current.book.names != self._names
            except Exception:
                log.exception("the phrase book could not be renewed, please report this")
            self._changed()


def _renewed(
    before: PhraseBook | None, config: Config, names: HomeNames, languages: frozenset[str]
) -> PhraseBook:
    """A book with these names, of the sentences of another one or read again, and compiled."""
    from stt_mqtt.phrases.book import PhraseBook

    if before is None:
        book = read_phrases(config.phrases, names)
    else:
        book = PhraseBook(before.languages, names)
    compile_book(book, config, languages)
    return book
