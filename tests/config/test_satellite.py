from __future__ import annotations

import pytest

from stt_mqtt.config import read_config
from stt_mqtt.errors import ConfigError


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(text, "f", {})
    (line,) = caught.value.problems
    return line


def test_speech_goes_on_where_it_is_weaker_than_where_it_begins() -> None:
    line = problem("satellite: {vad: {begin_db: 6, go_on_db: 7}}")
    assert "go_on_db is above begin_db" in line


def test_no_satellite_is_called_like_the_service() -> None:
    assert problem("satellite: {device: bridge}").endswith(
        "bridge is the name of the service itself"
    )


@pytest.mark.parametrize("topic", ["hermes/hotword/+/detected", "+/wake", "wake/#", "/wake", "a b"])
def test_a_wake_topic_may_be_a_filter(topic: str) -> None:
    assert (
        read_config(
            f"satellite: {{mode: wake, wake_topic: '{topic}'}}", "f", {}
        ).satellite.wake_topic
        == topic
    )


@pytest.mark.parametrize("topic", ["a/#/b", "a+/b", "a/b#", "wake\\n"])
def test_a_wake_topic_that_no_broker_takes_is_refused(topic: str) -> None:
    assert "wake_topic" in problem(f'satellite: {{wake_topic: "{topic}"}}')
