"""The level meter of `stt-mqtt satellite` and the words above it."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stt_mqtt.commands.satellite_meter import (
    MAX_WAITING_LINES,
    LevelMeter,
    Line,
    MeterState,
    describe,
    render,
)
from stt_mqtt.satellite.answers import Resend, ServiceAnswer

QUIET = MeterState(-60.0, -62.0, 9.0, "idle", 0, 0, True)


def state(
    level_dbfs: float = -60.0, name: str = "idle", connected: bool = True, waiting: int = 0
) -> MeterState:
    return MeterState(level_dbfs, -60.0, 10.0, name, waiting, 2 * waiting, connected)


ANSWER = ServiceAnswer(
    id="a",
    outcome="transcript",
    text="Turn on the light.",
    error_code=None,
    detail=None,
    hint=None,
    resend=Resend.NO,
    repeated=False,
    latency_s=0.348,
    ours=True,
    late=False,
    act_until=100.0,
)
NOTHING = replace(ANSWER, outcome="no_speech", text="", act_until=None)


def said(text: str) -> ServiceAnswer:
    return replace(ANSWER, text=text)


def plain(line: Line) -> str:
    return "".join(text for text, _ in line)


def style_of(line: Line, part: str) -> str:
    return next(style for text, style in line if part in text)


@pytest.mark.parametrize(
    ("level_dbfs", "shown"),
    [
        (-inf, " -99 dB           ┆    │                         idle"),
        (-60.0, " -60 dB ██████████┆    │                         idle"),
        (-40.0, " -40 dB ██████████┆████│████                     idle"),
        (0.0, "   0 dB ██████████┆████│████████████████████████ idle"),
    ],
)
def test_the_bar_is_as_long_as_it_is_loud(level_dbfs: float, shown: str) -> None:
    assert plain(render(state(level_dbfs), 120)) == shown


def test_colours_tell_speech_from_the_room_and_from_clipping() -> None:
    assert style_of(render(state(-51.0)), "█") == "blue"
    assert style_of(render(state(-50.0)), "█") == "green"
    assert style_of(render(state(-2.0)), "█") == "bold red"


@pytest.mark.parametrize("name", ["idle", "speech", "playing", "muted", "waiting for wake-up"])
def test_what_the_satellite_does_is_told_at_any_width(name: str) -> None:
    assert plain(render(state(name=name), 80)).endswith(f" {name}")


def test_what_is_wrong_fits_into_a_window_of_100_columns() -> None:
    line = plain(render(state(name="waiting for wake-up", connected=False, waiting=3), 99))
    assert line.endswith("waiting for wake-up  offline  3 to send  6 dropped")
    assert "dropped" not in plain(render(QUIET))


@given(
    st.builds(
        MeterState,
        st.floats(-200, 20) | st.just(-inf),
        st.floats(-200, 20),
        st.floats(0, 40),
        st.sampled_from(["idle", "waiting for wake-up"]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.booleans(),
    ),
    st.integers(0, 300),
)
def test_a_line_is_never_wider_than_its_window(shown: MeterState, width: int) -> None:
    line = plain(render(shown, width))
    assert len(line) <= width
    if width > 20:
        assert line.count("│") == 1


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (ANSWER, "Turn on the light.  [0.35 s]"),
        (replace(ANSWER, late=True, latency_s=31.0), "Turn on the light.  [31.00 s, too late]"),
        (replace(ANSWER, resend=Resend.SAME_ID), "Turn on the light.  [0.35 s, cut off]"),
        (replace(ANSWER, repeated=True), "Turn on the light.  [0.35 s, repeated]"),
        (replace(ANSWER, ours=False, latency_s=None), "Turn on the light.  [not said here]"),
        (NOTHING, "(no_speech)  [0.35 s]"),
        (
            replace(NOTHING, outcome="error", error_code="overloaded", detail="the queue is full"),
            "(overloaded: the queue is full)  [0.35 s]",
        ),
        (said("a\x1b[2Jb\nc\u202ed"), "a [2Jb c d  [0.35 s]"),
        (replace(NOTHING, outcome="a\rb"), "(a b)  [0.35 s]"),
    ],
)
def test_an_answer_is_one_line(shown: ServiceAnswer, line: str) -> None:
    assert plain(describe(shown)) == line


class Terminal:
    """A pseudo-terminal, and what a person would see on it."""

    def __init__(self, encoding: str = "utf-8", columns: int = 100, no_color: bool = False) -> None:
        self._master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w", encoding=encoding, errors="backslashreplace")
        environ = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        self.console = Console(file=self.file, no_color=no_color, _environ=environ)
        self.received = ""
        self.frames = 0

    def lines(self) -> list[str]:
        """The screen; more columns than any line needs."""
        self.receive()
        lines, column = [""], 0
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]", self.received):
            if part == "\r":
                column = 0
            elif part == "\n":
                lines.append("")
            elif part == "\x1b[K":
                lines[-1] = lines[-1][:column]
            elif not part.startswith("\x1b"):
                lines[-1] = f"{lines[-1][:column]}{part}{lines[-1][column + 1 :]}"
                column += 1
        return lines

    def receive(self) -> str:
        """What came in since the last time."""
        new = b""
        while select.select([self._master], [], [], 0.05)[0]:
            new += os.read(self._master, 65536)
        text = new.decode()
        self.received += text
        self.frames += text.count(" dB ")
        return text

    def close(self) -> None:
        self.file.close()
        os.close(self._master)


@contextmanager
def opened(
    encoding: str = "utf-8", columns: int = 100, no_color: bool = False
) -> Iterator[Terminal]:
    terminal = Terminal(encoding, columns, no_color)
    try:
        yield terminal
    finally:
        terminal.close()


def test_the_meter_stays_below_the_words() -> None:
    with opened() as terminal:
        meter = LevelMeter(terminal.console)
        meter.show(state(-60.0), 0.0)
        meter.tell(said("Turn on the light."))
        meter.show(state(-40.0, "speech"), 0.03)
        meter.tell(NOTHING)
        meter.show(state(-30.0, "idle"), 0.06)
        first, second, line = terminal.lines()
        assert first == "Turn on the light.  [0.35 s]"
        assert second == "(no_speech)  [0.35 s]"
        assert line.startswith(" -30 dB █")
        assert line.endswith(" idle")
        meter.tell(said("And off."))
        meter.close()
        assert terminal.lines() == [first, second, "And off.  [0.35 s]", ""]


def test_ten_frames_a_second_are_drawn_at_most_and_the_loudest_sound_is_seen() -> None:
    with opened() as terminal:
        meter = LevelMeter(terminal.console)
        for number in range(34):
            meter.show(state(-20.0 if number == 3 else -60.0), number * 0.03)
        terminal.receive()
        assert 8 <= terminal.frames <= 10
        assert terminal.received.count(" -20 dB ") == 1


def test_a_narrow_window_is_not_overfull() -> None:
    with opened(columns=20) as terminal:
        LevelMeter(terminal.console).show(state(0.0), 0.0)
        (line,) = terminal.lines()
        assert line == "   0 dB ██┆│██████ "


def test_a_log_message_has_a_line_of_its_own() -> None:
    with opened() as terminal:
        meter = LevelMeter(terminal.console)
        handler = logging.StreamHandler(terminal.file)
        handler.addFilter(meter.give_way)
        record = logging.LogRecord("x", logging.WARNING, "", 0, "the broker is away", (), None)
        meter.show(state(), 0.0)
        for _ in range(2):
            handler.handle(record)
        meter.show(state(), 1.0)
        *messages, line = terminal.lines()
        assert messages == ["the broker is away"] * 2
        assert line.startswith(" -60 dB █")


def test_a_stopped_terminal_does_not_stop_the_satellite_and_loses_no_words() -> None:
    with opened() as terminal:
        meter = LevelMeter(terminal.console)
        termios.tcflow(terminal.file.fileno(), termios.TCOOFF)
        meter.tell(said("Turn on the light."))
        meter.show(state(), 0.0)
        assert terminal.lines() == [""]
        for number in range(MAX_WAITING_LINES):
            meter.tell(said(f"Number {number}."))
        termios.tcflow(terminal.file.fileno(), termios.TCOON)
        meter.show(state(), 1.0)
        assert [line.split("  ")[0] for line in terminal.lines()[:-1]] == [
            f"Number {number}." for number in range(MAX_WAITING_LINES)
        ]


def test_colours_are_for_terminals_that_have_them_and_people_who_want_them() -> None:
    with opened() as coloured, opened(no_color=True) as plain_one:
        for terminal in (coloured, plain_one):
            LevelMeter(terminal.console).show(state(-30.0), 0.0)
        assert coloured.lines() == plain_one.lines()
        assert "\x1b[32m█" in coloured.received
        assert re.findall(r"\x1b\[[^K]", plain_one.received) == []


def test_a_terminal_without_unicode_gets_a_bar_that_it_can_show() -> None:
    with opened("latin-1") as terminal:
        LevelMeter(terminal.console).show(state(-40.0), 0.0)
        (line,) = terminal.lines()
        assert line.startswith(" -40 dB ##########:####|####  ")


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "dumb terminal"])
def test_elsewhere_only_words_to_act_upon_go_out_line_by_line(terminal: bool) -> None:
    output = io.StringIO()
    environ = {"TERM": "dumb"}
    meter = LevelMeter(Console(file=output, force_terminal=terminal, _environ=environ))
    meter.show(state(), 0.0)
    meter.tell(said("Turn on\nthe light."))
    meter.tell(NOTHING)
    meter.tell(replace(said("half a comm"), resend=Resend.SAME_ID, act_until=None))
    meter.tell(replace(said("of yesterday"), late=True, act_until=None))
    meter.tell(said("x" * 1000))
    record = logging.LogRecord("x", logging.WARNING, "", 0, "message", (), None)
    assert meter.give_way(record)
    meter.close()
    assert output.getvalue() == f"Turn on the light.\n{'x' * 1000}\n"
