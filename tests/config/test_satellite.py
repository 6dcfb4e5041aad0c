from __future__ import annotations

import pytest

from stt_mqtt.config import read_config
from tests.config.problems import problems


def test_speech_goes_on_where_it_is_weaker_than_where_it_begins() -> None:
    (line,) = problems("satellite: {vad: {begin_db: 6, go_on_db: 7}}")
    assert "go_on_db is above begin_db" in line


def test_no_satellite_is_called_like_the_service() -> None:
    (line,) = problems("satellite: {device: bridge}")
    assert line.endswith("bridge is the name of the service itself")


@pytest.mark.parametrize("topic", ["hermes/hotword/+/detected", "+/wake", "wake/#", "/wake", "a b"])
def test_a_wake_topic_may_be_a_filter(topic: str) -> None:
    config = read_config(f"satellite: {{mode: wake, wake_topic: '{topic}'}}", "f", {})
    assert config.satellite.wake_topic == topic


@pytest.mark.parametrize("topic", ["a/#/b", "a+/b", "a/b#", "wake\\n"])
def test_a_wake_topic_that_no_broker_takes_is_refused(topic: str) -> None:
    (line,) = problems(f'satellite: {{wake_topic: "{topic}"}}')
    assert "wake_topic" in line
