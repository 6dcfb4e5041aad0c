"""What `stt-mqtt run` sets up before it serves. `tests/e2e` tests the program itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_mqtt.commands import run


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Set it back afterwards: it is one for the whole process."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_busy_event_loop_gives_way_to_the_network_thread_in_half_a_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intervals_s: list[float] = []

    async def serve(_program: run.Program) -> bool:
        intervals_s.append(sys.getswitchinterval())
        return True

    monkeypatch.setattr(run, "_serve", serve)
    monkeypatch.setattr("stt_mqtt.observe.logs.set_up", lambda _config: None)
    config = tmp_path / "config.yaml"
    config.write_text("mqtt: {host: 127.0.0.1}\n")
    run.run(argparse.Namespace(config=config, addon_options=None))
    assert intervals_s == [pytest.approx(0.0005)]
