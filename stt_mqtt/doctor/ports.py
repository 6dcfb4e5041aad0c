"""Checks the ports that the service listens on: free, its own, or taken by another program."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from stt_mqtt.config import Scheme
from stt_mqtt.doctor.listeners import Listener, connected, listeners_of, names_us
from stt_mqtt.doctor.report import Finding, fail, ok
from stt_mqtt.doctor.services import is_of_another
from stt_mqtt.doctor.subject import Subject

NAME = "ports"


def check_ports(subject: Subject) -> list[Finding]:
    """One finding for each address."""
    findings = [_examined(listener, subject) for listener in listeners_of(subject.config)]
    return findings or [ok(NAME, "the service listens on no port")]


def _examined(listener: Listener, subject: Subject) -> Finding:
    where = f"{listener.key} {listener.address.uri}"
    try:
        with connected(listener.address) as sock:
            is_broker = listener.question is None
            is_ours = not is_of_another(subject) if is_broker else names_us(sock, listener)
    except OSError:
        return _unless_impossible(listener, where)
    if is_ours:
        return ok(NAME, f"{where} is in use by the service")
    if is_broker:
        return fail(
            NAME,
            f"{where} is taken by another program, so the embedded broker cannot start",
            "choose another broker.port, or set broker: external if that is your broker; if the "
            "service has only just started, run this again",
        )
    return fail(
        NAME,
        f"{where} is taken by another program",
        f"end that program, or change {listener.key}",
    )


def _unless_impossible(listener: Listener, where: str) -> Finding:
    """Nobody listens there. Can the service?"""
    address = listener.address
    try:
        if address.scheme is Scheme.UNIX:
            folder = Path(address.path).parent
            if not folder.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}")
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            with socket.socket(family) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address.host, address.port))
    except OSError as error:
        return fail(
            NAME,
            f"the service cannot listen on {where}: {error.strerror or error}",
            f"change {listener.key}",
        )
    return ok(NAME, f"{where} is free")
