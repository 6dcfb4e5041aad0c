"""What the wake word page tells people to write is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stt_mqtt.cli import main
from stt_mqtt.config import ListenMode, read_config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "wake-word.md").read_text(encoding="utf-8")
PROGRAM = (DOCS / "examples" / "wake" / "wake.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "topic"),
    [("esphome", "wake/kitchen"), ("hermes", "hermes/hotword/kitchen/detected")],
)
def test_its_configurations_wake_the_satellite_by_a_topic(name: str, topic: str) -> None:
    (text,) = re.findall(rf"<!-- file: {name} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    satellite = read_config(text, "wake-word.md", {}).satellite
    assert satellite.mode is ListenMode.WAKE
    assert satellite.wake_topic == topic


def test_what_esphome_publishes_is_what_the_satellite_waits_for() -> None:
    assert PAGE.count("topic: wake/kitchen") == 2


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (DOCS / target).exists(), target


def test_its_command_has_options_that_the_programs_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (command,) = re.findall(r"```bash\n.*?(arecord .*?)```", PAGE, re.DOTALL)
    wake, satellite = command.split("| stt-mqtt")
    known = re.findall(r'add_argument\(\s*"(--\w+)"', PROGRAM)
    used = re.findall(r"--\w+", wake)
    assert len(used) == 3
    assert set(used) <= set(known)
    with pytest.raises(SystemExit):
        main(["satellite", "--help"])
    help_text = capsys.readouterr().out
    used = re.findall(r"--\w+", satellite)
    assert len(used) == 4
    assert all(option in help_text for option in used)


def test_the_example_is_as_short_as_the_page_says() -> None:
    assert f"({len(PROGRAM.splitlines())} lines" in PAGE
