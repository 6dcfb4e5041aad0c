"""What `stt-mqtt satellite` shows: a level meter on one line, and the words above it.

The line is drawn ten times a second, also on small computers. So rich only chooses the colours. Its
console would take ten times as long, its live display even longer.
"""

from __future__ import annotations

import logging
import select
import threading
from collections import deque
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from stt_mqtt.satellite.answers import MAX_PAYLOAD_BYTES, ServiceAnswer
from stt_mqtt.satellite.control import one_line
from stt_mqtt.types import OutcomeKind

Line: TypeAlias = list[tuple[str, str]]
"""Texts and their styles, as `rich.text.Text.assemble` takes them."""

FRAME_S = 0.1
"""Least time between two frames."""
MAX_WAITING_LINES = 100
"""Most lines that wait while the terminal is stopped. The oldest is dropped first."""
LOWEST_DBFS = -80.0
CLIPPING_DBFS = -3.0
MAX_CELLS = 40
"""Width of the bar: 2 dB for each character."""
MIN_CELLS = 10
_BESIDE_BAR = 48
"""Characters of the level, the state and what waits."""

_ERASE = "\x1b[K"
"""Erases the rest of the line."""
_STATE_STYLES = {"speech": "bold green", "playing": "yellow", "muted": "bold yellow"}
_BLOCK, _FLOOR, _THRESHOLD = "█", "┆", "│"
_PLAIN = str.maketrans({_BLOCK: "#", _FLOOR: ":", _THRESHOLD: "|"})


@dataclass(frozen=True, slots=True)
class MeterState:
    """What the meter shows. Levels in dB relative to a full-scale sine."""

    level_dbfs: float
    floor_dbfs: float
    """Level of the room."""
    begin_db: float
    """How far above `floor_dbfs` speech begins, in dB."""
    state: str
    """What the satellite does: idle, speech, held, waiting, playing or muted."""
    spooled: int
    """Utterances that wait for the broker."""
    dropped: int
    """Utterances that will never be sent."""
    connected: bool


def render(state: MeterState, width: int = 80) -> Line:
    """The meter as one line of at most `width` characters."""
    cells = max(min(MAX_CELLS, width - _BESIDE_BAR), MIN_CELLS)
    level = _cell(state.level_dbfs, cells)
    threshold = _cell(state.floor_dbfs + state.begin_db, cells - 1)
    bar = list(_BLOCK * level + " " * (cells - level))
    bar[_cell(state.floor_dbfs, cells - 1)] = _FLOOR
    style = "green" if state.level_dbfs >= state.floor_dbfs + state.begin_db else "blue"
    style = "bold red" if state.level_dbfs >= CLIPPING_DBFS else style
    line = [
        (f"{min(max(state.level_dbfs, -99.0), 0.0):4.0f} dB ", ""),
        ("".join(bar[:threshold]), style),
        (_THRESHOLD, "yellow"),
        ("".join(bar[threshold + 1 :]), style),
        (f" {state.state}", _STATE_STYLES.get(state.state, "dim")),
    ]
    if not state.connected:
        line.append(("  offline", "bold red"))
    if state.spooled:
        line.append((f"  {state.spooled} to send", "yellow"))
    if state.dropped:
        line.append((f"  {state.dropped} dropped", "red"))
    return _cut(line, width)


def describe(answer: ServiceAnswer) -> Line:
    """An answer as one line for a person."""
    reason = ": ".join(_clean(part) for part in (answer.error_code, answer.detail) if part)
    if answer.outcome == OutcomeKind.TRANSCRIPT:
        line = [(_clean(answer.text), "bold")]
    else:
        line = [(f"({reason or _clean(answer.outcome)})", "red" if reason else "dim")]
    notes = [] if answer.latency_s is None else [f"{answer.latency_s:.2f} s"]
    notes += ["too late"] if answer.late else []
    notes += ["cut off"] if answer.cut else []
    notes += ["repeated"] if answer.repeated else []
    notes += [] if answer.ours else ["not said here"]
    return [*line, (f"  [{', '.join(notes)}]", "dim")]


def _clean(text: str) -> str:
    return one_line(text, MAX_PAYLOAD_BYTES)


class LevelMeter:
    """The line at the bottom of a terminal. Elsewhere there is none, and words go out as lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._is_plain = not console.encoding.lower().startswith("utf")
        colorful = console.color_system is not None and not console.no_color
        self._colors = ColorSystem.STANDARD if colorful else None
        self._paints: dict[str, str] = {}
        self._due_at = -inf
        self._loudest_dbfs = -inf
        self._lines: deque[Line] = deque(maxlen=MAX_WAITING_LINES)
        self._lock = threading.Lock()
        self._is_drawn = False

    def show(self, state: MeterState, now: float) -> None:
        """Draw the state if a frame is due, with the loudest level since the last frame.

        `now` is monotonic seconds.
        """
        if not self._is_live:
            return
        self._loudest_dbfs = max(self._loudest_dbfs, state.level_dbfs)
        if now < self._due_at or not self._is_writable():
            return
        loudest = replace(state, level_dbfs=self._loudest_dbfs)
        self._write(render(loudest, self._console.width - 1))
        self._due_at, self._loudest_dbfs = now + FRAME_S, -inf

    def tell(self, answer: ServiceAnswer) -> None:
        """Show an answer. Without a terminal: only transcripts to act upon, one per line."""
        if self._is_live:
            self._lines.append(describe(answer))
            self._due_at = -inf
        elif answer.act_until is not None:
            self._put(f"{_clean(answer.text)}\n")

    def give_way(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """A filter for log handlers: removes the meter, so that a message has its own line."""
        with self._lock:
            if self._is_drawn:
                self._is_drawn = False
                self._put(f"\r{_ERASE}")
        return True

    def close(self) -> None:
        """Show the lines that wait, and remove the meter."""
        if self._is_live:
            self._write([])

    def _write(self, line: Line) -> None:
        parts = []
        while self._lines:
            parts.append(f"\r{self._painted(self._lines.popleft())}{_ERASE}\n")
        parts.append(f"\r{self._painted(line)}{_ERASE}\r")
        with self._lock:
            self._is_drawn = bool(line)
            self._put("".join(parts))

    def _put(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()

    def _painted(self, line: Line) -> str:
        """The line with colours, if the terminal has them."""
        text = "".join(self._paint(style).format(text) for text, style in line)
        return text.translate(_PLAIN) if self._is_plain else text

    def _paint(self, style: str) -> str:
        """Format string for a text of this style."""
        if style not in self._paints:
            self._paints[style] = Style.parse(style).render("{}", color_system=self._colors)
        return self._paints[style]

    def _is_writable(self) -> bool:
        """Whether writing would not block, as on a terminal stopped with Ctrl-S."""
        return bool(select.select([], [self._console.file], [], 0)[1])


def _cell(dbfs: float, cells: int) -> int:
    """How many of `cells` a level fills."""
    share = 1 - min(max(dbfs, LOWEST_DBFS), 0.0) / LOWEST_DBFS
    return round(share * cells)


def _cut(line: Line, width: int) -> Line:
    """At most `width` characters: in a narrow window the end is missing, which says least."""
    kept = []
    for text, style in line:
        kept.append((text[:width], style))
        width -= len(kept[-1][0])
    return kept
