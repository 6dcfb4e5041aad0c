"""What the pages tell people to do works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stt_mqtt.cli import main
from stt_mqtt.config import SatelliteConfig, read_config
from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import Broker, eventually, needs_mosquitto
from tools.program import running
from tools.words import words

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(mark: str, page: str = README) -> str:
    """The code block behind `<!-- mark -->` in a page."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found is not None, mark
    return found.group(1).strip()


def test_ci_runs_the_readmes_test_command() -> None:
    assert block("command: tests").endswith(".venv/bin/pytest")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"$(readme_command {name})" in ci for name in ("tests", "demo"))


def test_the_households_configuration_is_valid() -> None:
    config = read_config(block("file: household.yaml"), "README.md", {})
    assert config.device("kids_room").gap_timeout_ms == 1500
    assert config.device("hallway").format.codec == "adpcm_ima"


def places_of(page: str) -> set[str]:
    """What a link to a page may name behind its #: headings as GitHub writes them, and marks."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {*plain, *re.findall(r'<a id="([^"]+)">', page)}


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/topics.md",
        "docs/engine.md",
        "docs/decisions.md",
        "docs/deploy.md",
        "docs/doors.md",
        "docs/fleet.md",
        "docs/home-assistant.md",
        "docs/phrases.md",
        "docs/reliability.md",
        "docs/satellites.md",
        "docs/security.md",
        "docs/wake-word.md",
        "docs/web.md",
        "addon/stt_mqtt/DOCS.md",
    ],
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    for target, place in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        if place:
            assert place in places_of(linked.read_text(encoding="utf-8")), f"{target}#{place}"


def test_the_configuration_of_the_doors_page_is_valid() -> None:
    page = (ROOT / "docs" / "doors.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    config = read_config(text, "doors.md", {})
    assert config.device("192.168.1.20").language == "de"
    assert not config.device("2001:db8::20").enabled
    assert [address.scheme for address in config.wyoming.addresses] == ["tcp", "unix"]


def test_the_configurations_of_the_engines_page_are_valid() -> None:
    page = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    configs = [
        read_config(text, "engine.md", {})
        for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    ]
    assert [rung.name for config in configs for rung in config.ladder.rungs] == [
        "best",
        "fast",
        "quick",
    ]
    assert any(config.device("kids_room").languages == ("en", "de") for config in configs)
    assert any("Siobhan" in config.device("kitchen").hotwords for config in configs)


@pytest.mark.parametrize("name", ["satellites.md", "wake-word.md"])
def test_the_configurations_of_the_satellites_pages_are_valid(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = [
        text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "satellite:" in text
    ]
    assert blocks
    for text in blocks:
        assert read_config(text, name, {}).satellite != SatelliteConfig()


def test_every_command_of_the_program_is_in_the_readme(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    (\w[\w-]+)", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        assert f"stt-mqtt {command}" in README


@needs_mosquitto
def test_what_the_pages_have_people_publish_is_heard(tmp_path: Path, broker: Broker) -> None:
    subscriber, publisher = block("command: sub"), block("command: pub")
    for tool in ("mosquitto_sub", "mosquitto_pub"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install mosquitto-clients)")
    with running(tmp_path, broker) as (_, peer):
        output = tmp_path / "heard"
        with output.open("wb") as file:
            command = subscriber.replace("mosquitto_sub", f"exec mosquitto_sub -p {broker.port}")
            listening = subprocess.Popen(command, shell=True, stdout=file)
            try:
                command = publisher.replace("mosquitto_pub", f"mosquitto_pub -p {broker.port}")
                subprocess.run(command, shell=True, check=True, timeout=60, cwd=ROOT)
                expected = f"stt/phone/text {SAMPLES[0].text}"
                assert f"`{expected}`" in README
                eventually(lambda: words(expected) == words(output.read_text(encoding="utf-8")))
            finally:
                listening.terminate()
                listening.wait(60)
        assert len(peer.json("stt/phone/result")) == 1
        page = (ROOT / "docs" / "home-assistant.md").read_text(encoding="utf-8")
        command = block("command: satellite", page)
        command = command.replace("-h homeassistant.local", f"-h 127.0.0.1 -p {broker.port}")
        subprocess.run(command, shell=True, check=True, timeout=60, cwd=ROOT)
        assert words(peer.json("stt/kitchen/result")[0]["text"]) == words(SAMPLES[0].text)
