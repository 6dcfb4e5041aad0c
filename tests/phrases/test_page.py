"""What docs/phrases.md tells people to do works."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.cli import main
from stt_mqtt.config import PhrasesConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.phrases import files, lists, source
from stt_mqtt.phrases.book import MAX_RANGE
from stt_mqtt.phrases.grammar import MAX_PERMUTED
from stt_mqtt.phrases.match import matches
from stt_mqtt.phrases.source import read_book

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "phrases.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """The code block behind `<!-- mark -->`."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n *```\w+\n(.*?)\n *```", PAGE, re.DOTALL)
    assert found is not None, mark
    return dedent(found.group(1)) + "\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, which is the working directory."""
    for mark in re.findall(r"<!-- file: (\S+) -->", PAGE):
        path = tmp_path / mark
        path.parent.mkdir(exist_ok=True)
        path.write_text(block(f"file: {mark}"))
    sample = next(one for one in SAMPLES if "timer" in one.text)
    (tmp_path / "recording.flac").write_bytes(sample.read())
    monkeypatch.setenv("STT_MQTT_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("mark", re.findall(r"<!-- (command: \w+) -->", PAGE))
def test_every_command_of_the_page_works(
    home: Path, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(block(mark))
    assert program == "stt-mqtt"
    assert main(arguments) == 0
    assert capsys.readouterr().out


def test_every_command_line_of_the_page_is_tested_or_names_an_extra_that_exists() -> None:
    blocks = re.findall(r"```sh\n *(.*?)\n *```", PAGE, re.DOTALL)
    marked = [block(mark).strip() for mark in re.findall(r"<!-- (command: \w+) -->", PAGE)]
    (rest,) = [text for text in blocks if text not in marked]
    extras = re.fullmatch(r"pip install 'stt-mqtt\[(.*)\]'", rest)
    assert extras is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.group(1).split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("text", "area", "intent", "slots"),
    [
        ("Turn on mood lighting.", None, "LampOn", {"lamp": "mood lighting"}),
        ("Reading lamp please on.", None, "LampOn", {"lamp": "reading lamp"}),
        (
            "Dim the reading lamp to 40 percent",
            None,
            "LampLevel",
            {"unit": "percent", "lamp": "reading lamp", "level": 40},
        ),
        ("Bring me some green tea.", None, "Order", {"drink": "green tea"}),
        ("Close the blinds.", "Kitchen", "BlindsHere", {"area": "Kitchen"}),
    ],
)
def test_the_sentences_of_the_page_are_phrases(
    home: Path, text: str, area: str | None, intent: str, slots: dict[str, object]
) -> None:
    config = ConfigSource(home / "stt-mqtt.yaml", {}).load()
    assert config.device("kitchen").area == "Kitchen"
    phrases = PhrasesConfig(paths=config.phrases.paths, names=config.phrases.names)
    compiled = read_book(phrases).compiled("en", area)
    assert compiled is not None
    exact = matches(compiled, (text,), 4).exact
    assert exact is not None
    assert (exact.phrase.id, exact.phrase.slots) == (intent, slots)


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    bounds = re.search(r"The bounds: (.*?)\n\n", PAGE, re.DOTALL)
    assert bounds is not None
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", bounds.group(1))]
    assert numbers == [
        files.MAX_FILES,
        files.MAX_FILE_BYTES >> 20,
        source.BOUNDS.nodes,
        files.MAX_TOTAL_BYTES >> 20,
        lists.MAX_VALUES,
        MAX_RANGE,
        MAX_PERMUTED,
    ]
