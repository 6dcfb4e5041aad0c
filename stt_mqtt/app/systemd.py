"""Notifies systemd of the state of the service (sd_notify(3)).

The protocol is one datagram of `NAME=value` lines to the socket in `NOTIFY_SOCKET`. The package
`sdnotify` on the Python package index is not used, because its last release was in 2017.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 0.5
"""Longest time that the caller is blocked if the service manager does not read."""
MAX_STATUS_CHARACTERS = 200


class Notifier:
    """Notifies the service manager that started this process, if there is one.

    Nothing here raises, so a failed notification does not stop the service.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_interval_s = _watchdog_interval_s(environ)
        self._is_ready = False
        self._failed_before = False

    @property
    def watchdog_interval_s(self) -> float | None:
        """Seconds between two calls of `alive`: half of the timeout. None: there is no timeout."""
        return self._watchdog_interval_s if self._address is not None else None

    def ready(self) -> None:
        """The service has started."""
        self._is_ready = True
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins. Sends nothing while the service starts or stops."""
        if self._is_ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """The reload has ended, also after an error. Sends nothing during start and stop."""
        if self._is_ready:
            self._send("READY=1")

    def stopping(self, within_s: float) -> None:
        """The service stops and needs up to `within_s` seconds for it."""
        self._is_ready = False
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    def status(self, text: str) -> None:
        """Set the status text of `systemctl status`."""
        line = " ".join(text.split())[:MAX_STATUS_CHARACTERS]
        self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog. Call this every `watchdog_interval_s`."""
        self._send("WATCHDOG=1")

    async def stay_alive(self) -> None:
        """Feed the watchdog while the event loop runs."""
        interval_s = self.watchdog_interval_s
        while interval_s is not None:
            self.alive()
            await asyncio.sleep(interval_s)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(lines).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendto(message, self._address)
        except OSError as error:
            if not self._failed_before:
                log.debug("the service manager was not told %s: %s", lines[0], error)
            self._failed_before = True


def _address(named: str) -> bytes | None:
    """The address of the socket: a path, or an abstract name after a zero byte."""
    if named.startswith("@"):
        return b"\0" + os.fsencode(named[1:])
    return os.fsencode(named) if named.startswith("/") else None


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    meant_for = environ.get("WATCHDOG_PID")
    patience_us = environ.get("WATCHDOG_USEC", "")
    if meant_for not in {None, str(os.getpid())} or not patience_us.isdecimal():
        return None
    return int(patience_us) / 2e6 or None
