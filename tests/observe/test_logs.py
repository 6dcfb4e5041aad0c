from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from stt_mqtt.config import LogConfig, LogFormat, LogLevel
from stt_mqtt.observe.logs import ROOT, set_up
from stt_mqtt.observe.metrics import Metrics
from stt_mqtt.observe.process import CpuMeter, rss_mb
from stt_mqtt.types import Heard, Transcript

log = logging.getLogger(f"{ROOT}.tests")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(ROOT)
    before = (root.handlers, root.level, ours.level)
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_a_text_line_names_the_device_and_the_utterance(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogConfig())
    log.info("two\nlines", extra={"device": "native/kitchen", "utterance": "a"})
    log.warning("nobody's", extra={"device": "a\r\n2026 forged\x1b[0m"})
    first, second = capsys.readouterr().err.splitlines()
    when = r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}[+-]\d\d:\d\d"
    assert re.fullmatch(rf"{when} INFO    native/kitchen a two\\nlines", first)
    assert second.endswith(r"WARNING a\r\n2026 forged\x1b[0m - nobody's")


def test_a_json_line_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogConfig(format=LogFormat.JSON))
    log.info("hello", extra={"device": "native/kitchen", "utterance": "a"})
    log.error("broken", exc_info=ZeroDivisionError("oops"))
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["device"], first["utterance"], first["message"]) == (
        "native/kitchen",
        "a",
        "hello",
    )
    assert first["level"] == "info"
    assert "ZeroDivisionError" in second["traceback"]


def test_the_level_holds_for_us_and_libraries_are_heard_from_warnings_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up(LogConfig(level=LogLevel.DEBUG))
    log.debug("ours")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == ["ours", "trouble"]


def test_the_real_time_factor_is_a_running_mean_of_the_work() -> None:
    metrics = Metrics()
    words = Transcript("a", "en", 1.0, 0.0)
    metrics.count_inference(Heard(2.0, words, infer_s=3.0, work_s=1.0))
    assert metrics.rtf == 0.5
    metrics.count_inference(Heard(2.0))
    metrics.count_inference(Heard(1.0, words, infer_s=3.0, work_s=1.5, second_look=True))
    assert metrics.rtf == pytest.approx(0.6)
    assert (metrics.inferences, metrics.second_looks) == (2, 1)


def test_the_process_knows_its_memory_and_its_work() -> None:
    assert 10 < rss_mb() < 100_000
    assert CpuMeter().read() is None


class Clocks:
    """Wall and CPU clocks that go on as told."""

    def __init__(self) -> None:
        self.wall_s = 1000.0
        self.cpu_s = 50.0

    def go_on(self, wall_s: float, cpu_s: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += cpu_s

    def meter(self) -> CpuMeter:
        return CpuMeter(lambda: self.wall_s, lambda: self.cpu_s)


def test_cpu_use_is_unknown_until_there_is_something_to_compare_with() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    # What loading the model took is nobody's load.
    clocks.go_on(5.0, 5.0)
    assert meter.read() is None
    clocks.go_on(0.5, 0.5)
    assert meter.read() is None
    clocks.go_on(29.5, 2.5)
    assert meter.read() == pytest.approx(0.1)
    clocks.go_on(30.0, 60.0)
    assert meter.read() == pytest.approx(2.0)


def test_asking_twice_at_once_does_not_make_a_moment_the_load() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    meter.read()
    clocks.go_on(30.0, 3.0)
    assert meter.read() == pytest.approx(0.1)
    clocks.go_on(0.2, 0.2)
    assert meter.read() == pytest.approx(0.1)
