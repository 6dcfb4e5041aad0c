from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from stt_mqtt.app.names import NameSources
from stt_mqtt.cli import main
from stt_mqtt.config import PhrasesConfig
from stt_mqtt.errors import EXIT_CONFIG, ConfigError, MissingExtraError
from stt_mqtt.names.store import NamesStore
from stt_mqtt.phrases.names import Entity, HomeNames, NameList
from tests.names.server import TOKEN, home_assistant

LAMP = HomeNames(entities=(Entity("light.a", ("Lamp",)),))
DRINKS = HomeNames(lists=(NameList("drink", ("tea",)),))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STT_MQTT_STATE", str(tmp_path))
    return tmp_path


def nothing() -> None:
    """Somebody whom the status does not interest."""


def with_home_assistant(url: str) -> PhrasesConfig:
    source = {"url": url, "token": TOKEN}
    return PhrasesConfig.model_validate({"builtin": True, "home_assistant": source})


def test_the_names_of_all_sources_are_joined_and_told_when_they_differ() -> None:
    heard: list[HomeNames] = []
    config = PhrasesConfig.model_validate({"names": {"drink": ["coffee"]}})
    sources = NameSources(config, heard.append, nothing)
    assert sources.names.lists == (NameList("drink", ("coffee",)),)
    assert sources.status is None

    sources.set_published(DRINKS)
    sources.set_published(DRINKS)
    sources.set_home_assistant(LAMP)
    sources.set_published(HomeNames())
    assert [names.lists for names in heard] == [
        (NameList("drink", ("coffee", "tea")),),
        (NameList("drink", ("coffee", "tea")),),
        (NameList("drink", ("coffee",)),),
    ]
    assert [names.entities for names in heard] == [(), LAMP.entities, LAMP.entities]
    assert heard[-1] is sources.names


def test_what_is_told_of_the_names_are_numbers() -> None:
    config = PhrasesConfig.model_validate({"names": {"drink": ["coffee"]}})
    sources = NameSources(config, lambda _: None, nothing)
    sources.set_home_assistant(LAMP)
    counts = {"entities": 1, "areas": 0, "floors": 0, "lists": 1}
    assert sources.info == {"home_assistant": None, **counts}


def test_without_home_assistant_there_is_nothing_to_follow() -> None:
    sources = NameSources(PhrasesConfig(), lambda _: None, nothing)
    asyncio.run(sources.follow())
    assert sources.names == HomeNames()


def test_the_names_of_the_last_run_are_there_from_the_start(state: Path) -> None:
    NamesStore(state).save(LAMP)
    heard: list[HomeNames] = []
    sources = NameSources(with_home_assistant("http://127.0.0.1:1"), heard.append, nothing)
    assert (sources.names, heard) == (LAMP, [])
    assert sources.status is not None
    assert (sources.status.waiting, sources.status.entities) == ("connecting", 1)
    assert sources.info["home_assistant"] == "waiting: connecting"


def test_home_assistant_is_followed(state: Path) -> None:
    async def scenario() -> HomeNames:
        heard: asyncio.Queue[HomeNames] = asyncio.Queue()
        async with home_assistant() as home:
            url = f"http://127.0.0.1:{home.port}"
            told: list[object] = []
            sources = NameSources(
                with_home_assistant(url),
                heard.put_nowait,
                lambda: told.append(sources.info["home_assistant"]),
            )
            following = asyncio.create_task(sources.follow())
            names = await asyncio.wait_for(heard.get(), 30)
            following.cancel()
            await asyncio.wait([following])
            assert told == ["connected"]
            return names

    names = asyncio.run(scenario())
    assert len(names.entities) == 8
    assert NamesStore(state).load() == names


def test_a_token_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    source = {"token_file": str(tmp_path / "token")}
    config = PhrasesConfig.model_validate({"builtin": True, "home_assistant": source})
    with pytest.raises(ConfigError, match="cannot be read"):
        NameSources(config, lambda _: None, nothing)


def test_without_aiohttp_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stt_mqtt.names.client", raising=False)
    monkeypatch.delitem(sys.modules, "stt_mqtt.names.connection", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stt-mqtt\[phrases\]'"):
        NameSources(with_home_assistant("http://127.0.0.1:1"), lambda _: None, nothing)


def test_certificates_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    source = {"url": "https://home", "token": TOKEN, "ca_file": str(tmp_path / "ca.pem")}
    config = PhrasesConfig.model_validate({"builtin": True, "home_assistant": source})
    with pytest.raises(ConfigError, match=r"ca_file cannot be read"):
        NameSources(config, lambda _: None, nothing)


def test_the_check_of_a_configuration_reads_the_certificates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, authorities = tmp_path / "settings.yaml", tmp_path / "ca.pem"
    source = f"{{url: 'https://home', token: t, ca_file: '{authorities}'}}"
    settings.write_text(f"phrases: {{builtin: true, home_assistant: {source}}}")
    assert main(["check-config", "-c", str(settings)]) == EXIT_CONFIG
    assert (
        f"{authorities}: phrases.home_assistant.ca_file cannot be read" in capsys.readouterr().err
    )
    authorities.write_text("junk")
    assert main(["check-config", "-c", str(settings)]) == EXIT_CONFIG
    assert "is not a PEM file with certificates" in capsys.readouterr().err
