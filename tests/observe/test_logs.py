from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from stt_mqtt.config import LogConfig, LogFormat, LogLevel
from stt_mqtt.observe import logs
from stt_mqtt.observe.logs import FLUSH_TIMEOUT_S, ROOT, LogWriter, set_up

log = logging.getLogger(f"{ROOT}.tests")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(ROOT)
    before = (root.handlers, root.level, ours.level)
    yield
    logging.captureWarnings(False)
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


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end to read of a pipe that holds a page or two, and the end to write."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writing, "w") as stream:
        try:
            yield reading, stream
        finally:
            os.close(reading)


def read_until(descriptor: int, ending: str) -> list[str]:
    """The lines that come, up to one that ends so."""
    text = ""
    while not text.endswith(ending + "\n"):
        read = os.read(descriptor, 65536)
        assert read, text
        text += read.decode()
    return text.splitlines()


def test_a_log_that_nobody_reads_stops_nobody_and_is_read_in_order_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pipe() as (reading, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig())
        for number in range(3000):
            log.info("line %d", number)
        lines = read_until(reading, "line 2999")
        assert [line.split()[-1] for line in lines] == [str(number) for number in range(3000)]


def test_what_nobody_reads_is_bounded_and_its_loss_told_where_it_was() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream.fileno(), "{} were dropped".format, max_lines=100)
        for number in range(10_000):
            writer.write(f"line {number} {'x' * 100}")
        read: list[str] = []
        told = 0
        while told < 10_000:
            for line in read_until(reading, "dropped"):
                words = line.split()
                if words[-1] == "dropped":
                    told += int(words[0])
                else:
                    assert words[:2] == ["line", str(told)]
                    read.append(line)
                    told += 1
        assert told == 10_000
        assert 100 <= len(read) < 10_000
        writer.write("last")
        assert read_until(reading, "last") == ["last"]


def test_a_line_that_is_larger_than_all_room_is_dropped_alone() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream.fileno(), "{} were dropped".format, max_bytes=1000)
        writer.write("x" * 1000)
        assert read_until(reading, "were dropped") == ["1 were dropped"]
        writer.write("last")
        assert read_until(reading, "last") == ["last"]


def test_the_notice_of_a_loss_is_a_line_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as (reading, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig(format=LogFormat.JSON))
        for _ in range(10):
            log.info("x" * 900_000)
        log.info("last")
        notices: list[dict[str, str]] = []
        while not notices:
            lines = map(json.loads, read_until(reading, '"}'))
            notices = [line for line in lines if line["level"] == "warning"]
        assert notices[0]["device"] is None
        assert re.fullmatch(r"\d+ lines were dropped here: .*", notices[0]["message"])


def test_the_end_waits_for_the_reader_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as (reading, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig())
        (handler,) = logging.getLogger().handlers
        log.info("read in time")
        handler.flush()
        assert os.read(reading, 4096).endswith(b"read in time\n")
        for _ in range(1000):
            log.info("x" * 100)
        started_at = time.monotonic()
        handler.flush()
        assert FLUSH_TIMEOUT_S <= time.monotonic() - started_at < 60


def test_a_reader_who_has_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing, "{}".format)
    os.close(reading)
    writer.write("nobody hears this")
    assert writer.flush(60)
    os.close(writing)


def test_lines_that_a_full_disk_does_not_take_are_counted_where_they_were(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with file.open("wb") as stream:
        writer = LogWriter(stream.fileno(), "{} were dropped: {}".format)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        try:
            for number in range(9):
                writer.write(f"this is line {number}")
                assert writer.flush(60)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.write("there is room again")
        assert writer.flush(60)
        writer.close()
    assert file.read_text().splitlines() == [
        "this is line 0",
        "this is line 1",
        "this is li",
        "7 were dropped: the log could not be written: File too large",
        "there is room again",
    ]


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing() -> None:
    with pipe() as (reading, stream):
        os.set_blocking(stream.fileno(), False)
        writer = LogWriter(stream.fileno(), "{}".format)
        for number in range(1000):
            writer.write(f"line {number}")
        assert len(read_until(reading, "line 999")) == 1000


def test_a_closed_writer_writes_what_waits_and_gives_its_descriptor_back() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream.fileno(), "{}".format)
        writer.write("last")
        writer.close()
        assert os.read(reading, 100) == b"last\n"
        stream.close()
        assert os.read(reading, 100) == b""


def test_a_new_configuration_keeps_the_writer_and_changes_the_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pipe() as (reading, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig())
        before = logging.getLogger().handlers
        set_up(LogConfig(format=LogFormat.JSON))
        assert logging.getLogger().handlers == before
        log.info("hello")
        (line,) = read_until(reading, '"}')
        assert json.loads(line)["message"] == "hello"


def test_what_cannot_be_formatted_and_warnings_of_python_go_the_same_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pipe() as (reading, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig())
        log.info("%d lights", "three")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            set_up(LogConfig())
            warnings.warn("out of fashion", stacklevel=1)
        log.info("last")
        text = "\n".join(read_until(reading, "last"))
        assert "a line could not be logged" in text
        assert "UserWarning: out of fashion" in text


def test_without_standard_error_nothing_is_logged_and_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    set_up(LogConfig())
    log.error("nobody hears this")
    assert isinstance(logging.getLogger().handlers[0], logging.NullHandler)


def test_a_line_for_a_terminal_is_there_before_the_next_one_unless_it_is_halted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    controlling, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(LogConfig())
        with monkeypatch.context() as patient:
            patient.setattr(logs, "TERMINAL_S", 60.0)
            log.info("here")
        os.set_blocking(controlling, False)
        assert os.read(controlling, 4096).endswith(b"here\r\n")
        started_at = time.monotonic()
        for _ in range(1000):
            log.info("x" * 100)
        assert time.monotonic() - started_at < 60
    os.close(controlling)
