"""Runs a command of the user for each transcript, as in `notify-send {text}`.

A transcript comes from a room and through a broker. It is data, never part of a command: there is
no shell, and the text is at most one argument or a part of one.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from math import inf
from pathlib import PurePath
from typing import NamedTuple

from stt_mqtt.config.environment import PREFIX
from stt_mqtt.errors import ConfigError
from stt_mqtt.satellite.sleep import asleep_s

log = logging.getLogger(__name__)

PLACEHOLDER = "{text}"
VARIABLE = "STT_MQTT_TEXT"
"""Environment variable that also holds the text."""
MAX_TEXT = 4096
"""Most characters of a text; twenty seconds of speech have a tenth of that."""
MAX_WAITING = 8
"""Most texts that wait while a command runs. The oldest is dropped first."""
COMMAND_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
_POLL_S = 0.2

_SHELLS = frozenset({"sh", "ash", "bash", "dash", "fish", "ksh", "zsh"})
_SCRIPT_OPTION = re.compile(r"-[a-z]*c")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All but tab and line feed."""
_MEANS_MORE = ("-", "+", "@")
"""What options begin with, and the names of files in the arguments of many programs."""


class TextCommand:
    """The command of the user, split into arguments."""

    def __init__(self, template: str) -> None:
        """Raises `ConfigError` if it cannot be run or would pass the text to a shell."""
        try:
            parts = shlex.split(template)
        except ValueError as error:
            raise _unusable(
                f"{error}; a quotation mark or a backslash too many, or too few"
            ) from None
        if not parts or not parts[0]:
            raise _unusable("the command is empty; write for example: notify-send {text}")
        self.program = PurePath(parts[0]).name
        """Name for messages. The arguments may be private."""
        if PLACEHOLDER in parts[0]:
            raise _unusable(f"{PLACEHOLDER} cannot be the program, or a part of its name")
        if _is_in_a_script(parts):
            raise _unusable(
                "a shell would run what is spoken; "
                f'write "${VARIABLE}" (in double quotes) in its script instead of {PLACEHOLDER}'
            )
        found = shutil.which(parts[0])
        if found is None:
            raise _unusable(f"there is no program {parts[0]} to run; look at its name and at PATH")
        self._arguments = [os.fsencode(part) for part in (os.path.abspath(found), *parts[1:])]

    def start(self, text: str) -> subprocess.Popen[bytes]:
        """Start the command for `text` in its own process group. Raises OSError."""
        words = clean(text)
        argument = f" {words}" if words.startswith(_MEANS_MORE) else words
        # The environment may have our settings, such as the password.
        environ = {
            name: value
            for name, value in os.environb.items()
            if not name.upper().startswith(PREFIX.encode())
        }
        environ[VARIABLE.encode()] = words.encode()
        # The command must not read the terminal or the audio on standard input.
        return subprocess.Popen(  # noqa: S603
            [part.replace(PLACEHOLDER.encode(), argument.encode()) for part in self._arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


class _Waiting(NamedTuple):
    text: str
    until: float
    """When it is too old, in monotonic seconds."""
    asleep_s: float
    """How long the machine had slept when it came."""


class TextCommandRunner:
    """Runs the command for one text after the other, in its own thread."""

    def __init__(self, command: TextCommand) -> None:
        self._command = command
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._closing = False
        self._give_up_at = inf
        self._thread = threading.Thread(target=self._work, name="on-text", daemon=True)
        self._thread.start()

    def push(self, text: str, until: float) -> None:
        """Run it for `text` if its turn comes before `until` in monotonic seconds; never waits.

        The time that the machine sleeps counts, too.
        """
        with self._changed:
            if self._closing:
                return
            if len(self._waiting) == MAX_WAITING:
                self._waiting.popleft()
                log.warning("%s is too slow: its oldest text is dropped", self._command.program)
            self._waiting.append(_Waiting(text, until, asleep_s()))
            self._changed.notify()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Run waiting texts within `timeout_s`, then kill the command and drop the rest."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s + 2 * _POLL_S)

    def _work(self) -> None:
        while (text := self._next()) is not None:
            self._run(text)

    def _next(self) -> str | None:
        """Wait for the next text that is not too old. None: the runner was closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return None
                one = self._waiting.popleft()
            slept_s = asleep_s() - one.asleep_s
            if time.monotonic() < min(one.until - slept_s, self._give_up_at):
                return one.text
            log.warning("%s is not run for a text that had to wait too long", self._command.program)

    def _run(self, text: str) -> None:
        program = self._command.program
        try:
            process = self._command.start(text)
        except OSError as error:
            log.warning("%s cannot be run: %s", program, error.strerror)
            return
        status = self._wait(process)
        if status is None:
            log.warning("%s did not end and was killed", program)
        elif status < 0:
            log.warning("%s was ended by signal %d", program, -status)
        elif status > 0:
            log.warning("%s ended with status %d", program, status)

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The exit status. None: it took too long and was killed with its process group."""
        latest = time.monotonic() + COMMAND_TIMEOUT_S
        while time.monotonic() < min(latest, self._give_up_at):
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_S)
        # The process was not reaped yet, so its id cannot be reused.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def clean(text: str) -> str:
    """`text` without control characters, at most `MAX_TEXT` characters."""
    return _CONTROL.sub("", text[:MAX_TEXT]).encode("utf-8", "replace").decode()


def _is_in_a_script(parts: Sequence[str]) -> bool:
    """Whether the words would be in a script that a shell reads: `sudo sh -c "echo {text}"`."""
    if not any(PurePath(part).name in _SHELLS for part in parts):
        return False
    return any(
        PLACEHOLDER in script and _SCRIPT_OPTION.fullmatch(option)
        for option, script in pairwise(parts)
    )


def _unusable(problem: str) -> ConfigError:
    return ConfigError([f"satellite.on_text: {problem}"])
