"""The phrase book of the service: read at the start, renewed while it runs."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_mqtt.app import book as module
from stt_mqtt.app.book import BookKeeper, compile_book, current_book, read_phrases
from stt_mqtt.cli import main
from stt_mqtt.config import Config
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.errors import EXIT_CONFIG, ConfigError, MissingExtraError
from stt_mqtt.names.store import NamesStore
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import matches
from stt_mqtt.phrases.names import NO_NAMES, Area, Entity, HomeNames

TIMEOUT_S = 60
LAMP = HomeNames(entities=(Entity("light.a", ("Lamp",)),))
FAN = HomeNames(entities=(Entity("fan.a", ("Fan",)),))
SENTENCES = """
language: en
intents:
  On: {data: [{sentences: ["light {name}"]}]}
  Here: {data: [{sentences: ["dim"], requires_context: {area: {slot: true}}}]}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STT_MQTT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "en.yaml"
    path.write_text(SENTENCES)
    return path


def config(file: Path, **sections: object) -> Config:
    return Config.model_validate({"phrases": {"paths": [str(file)]}, **sections})


def knows(current: CurrentBook | None, text: str) -> bool:
    assert current is not None
    compiled = current.book.compiled("en")
    assert compiled is not None
    return matches(compiled, (text,), 4).exact is not None


def nothing() -> None:
    """Somebody whom changes do not interest."""


def loaded(
    settings: Config, names: HomeNames = NO_NAMES, changed: Callable[[], None] = nothing
) -> BookKeeper:
    keeper = BookKeeper(settings, changed)
    keeper.set_names(names)
    keeper.load(frozenset({"en"}))
    return keeper


async def renewed(keeper: BookKeeper) -> None:
    assert keeper._task is not None
    await asyncio.wait_for(keeper._task, TIMEOUT_S)


def test_without_sentences_there_is_no_book() -> None:
    assert loaded(Config()).current is None
    assert current_book(Config()) is None


def test_the_book_is_there_and_compiled_before_anybody_speaks(file: Path) -> None:
    names = HomeNames(entities=LAMP.entities, areas=(Area("kitchen", ("Kitchen",)),))
    settings = config(file, devices={"a": {"area": "kitchen"}, "b*": {"area": "kitchen"}})
    keeper = loaded(settings, names)
    assert knows(keeper.current, "light lamp")
    assert keeper.current is not None
    assert set(keeper.current.book._compiled) == {("en", None), ("en", "Kitchen")}


def test_languages_that_no_model_speaks_are_not_compiled(file: Path) -> None:
    book = read_phrases(config(file).phrases, NO_NAMES)
    compile_book(book, config(file), frozenset({"de"}))
    assert not book._compiled
    compile_book(book, config(file))
    assert set(book._compiled) == {("en", None)}


def test_other_names_replace_the_book_when_it_is_compiled(file: Path) -> None:
    async def scenario() -> None:
        keeper = loaded(config(file), LAMP)
        current = keeper.current
        assert current is not None
        before = current.book
        keeper.set_names(FAN)
        assert current.book is before
        await renewed(keeper)
        assert current.book is not before
        assert current.book._compiled
        assert current.book.languages is before.languages
        assert knows(current, "light fan")
        assert not knows(current, "light lamp")
        await keeper.close()

    asyncio.run(scenario())


def test_of_many_changes_only_the_last_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()
    made: list[HomeNames] = []

    def slow(book: PhraseBook, *rest: object) -> None:
        made.append(book.names)
        begun.set()
        assert may_end.wait(TIMEOUT_S)

    async def scenario() -> None:
        keeper = loaded(config(file))
        current = keeper.current
        assert current is not None
        monkeypatch.setattr(module, "compile_book", slow)
        keeper.set_names(LAMP)
        await asyncio.to_thread(begun.wait, TIMEOUT_S)
        for _ in range(10):
            keeper.set_names(LAMP)
        keeper.set_names(FAN)
        assert current.book.names == NO_NAMES
        may_end.set()
        await renewed(keeper)
        assert current.book.names == FAN
        assert made == [LAMP, FAN]
        await keeper.close()

    asyncio.run(scenario())


def test_a_reload_reads_the_files_again(file: Path) -> None:
    rewrite = file.write_text

    async def scenario() -> None:
        keeper = loaded(config(file), LAMP)
        rewrite(SENTENCES.replace("light {name}", "shine {name}"))
        keeper.reload(config(file))
        await renewed(keeper)
        assert knows(keeper.current, "shine lamp")
        assert not knows(keeper.current, "light lamp")
        await keeper.close()

    asyncio.run(scenario())


def test_a_faulty_file_at_a_reload_is_logged_and_the_book_stays(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite = file.write_text

    async def scenario() -> None:
        keeper = loaded(config(file), LAMP)
        rewrite(SENTENCES.replace("{name}", "<gone>"))
        keeper.reload(config(file))
        await renewed(keeper)
        assert knows(keeper.current, "light lamp")
        rewrite(SENTENCES.replace("light", "shine"))
        keeper.reload(config(file))
        await renewed(keeper)
        assert knows(keeper.current, "shine lamp")
        await keeper.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the phrase book stays as it was: {file}:4:28: there is no expansion rule <gone>"
    )


def test_what_is_told_of_the_book_follows_each_attempt_to_read_it(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite = file.write_text
    told: list[object] = []

    async def scenario() -> None:
        keeper = loaded(config(file), changed=lambda: told.append(keeper.info))
        assert keeper.info == {"languages": ["en"], "sentences": 2, "mistakes": 0}
        rewrite(SENTENCES.replace("{name}", "<gone>").replace("dim", "(dim"))
        keeper.reload(config(file))
        await renewed(keeper)
        keeper.set_names(LAMP)
        await renewed(keeper)
        rewrite(SENTENCES.replace('"dim"', '"dim", "bright"'))
        keeper.reload(config(file))
        await renewed(keeper)
        await keeper.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert told == [
        {"languages": ["en"], "sentences": 2, "mistakes": 2},
        {"languages": ["en"], "sentences": 2, "mistakes": 2},
        {"languages": ["en"], "sentences": 3, "mistakes": 0},
    ]
    assert loaded(Config()).info is None


def test_names_that_come_with_a_faulty_file_are_used(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite = file.write_text

    async def scenario() -> None:
        keeper = loaded(config(file), LAMP)
        rewrite(SENTENCES.replace("{name}", "<gone>"))
        keeper.reload(config(file))
        keeper.set_names(FAN)
        await renewed(keeper)
        assert knows(keeper.current, "light fan")
        await keeper.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert len(caplog.records) == 1


def test_a_book_that_is_being_made_does_not_delay_the_end(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        may_end.wait(TIMEOUT_S)

    async def scenario() -> None:
        keeper = loaded(config(file))
        monkeypatch.setattr(module, "compile_book", slow)
        keeper.set_names(LAMP)
        await asyncio.to_thread(begun.wait, TIMEOUT_S)
        await keeper.close()
        assert keeper.current is not None
        assert keeper.current.book.names == NO_NAMES

    asyncio.run(scenario())
    assert not may_end.is_set()
    may_end.set()


def test_a_book_that_is_too_large_is_a_mistake_of_the_configuration(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_mqtt.phrases.grammar.MAX_NODES", 2)
    with pytest.raises(ConfigError, match="phrases: language en: intent On"):
        loaded(config(file))


def test_a_command_uses_the_names_that_are_known(file: Path, state: Path) -> None:
    NamesStore(state).save(LAMP)
    phrases = {"paths": [str(file)], "home_assistant": {"token_file": "absent"}}
    assert knows(current_book(Config.model_validate({"phrases": phrases})), "light lamp")
    del phrases["home_assistant"]
    assert not knows(current_book(Config.model_validate({"phrases": phrases})), "light lamp")


@pytest.mark.parametrize("library", ["hassil", "rapidfuzz"])
def test_without_its_libraries_the_error_says_what_to_install(
    file: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("hassil", "rapidfuzz", "stt_mqtt.phrases.", "stt_mqtt.engine.phrases")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library}.*pip install 'stt-mqtt\[phrases\]'"):
        current_book(config(file))


def test_the_check_of_a_configuration_reads_the_phrase_files(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"phrases: {{paths: ['{file}']}}")
    assert main(["check-config", "-c", str(settings)]) == 0
    file.write_text(SENTENCES.replace("{name}", "(").replace("dim", "]"))
    assert main(["check-config", "-c", str(settings)]) == EXIT_CONFIG
    complaint = capsys.readouterr().err
    assert f"{file}:4:28: a sentence: a ) is missing" in complaint
    assert f"{file}:5:30: a sentence: a ] without its opening bracket" in complaint
