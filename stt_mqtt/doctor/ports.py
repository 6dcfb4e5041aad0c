"""Checks the ports that the service listens on: free, its own, or taken by another program."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.doctor.listeners import Listener, connected, listeners_of, names_us
from stt_mqtt.doctor.report import Finding, fail, ok
from stt_mqtt.doctor.services import is_of_another
from stt_mqtt.doctor.subject import Subject

NAME = "ports"
_NOT_THE_PORT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Errors of an address that this machine does not have."""


def check_ports(subject: Subject) -> list[Finding]:
    """One finding for each address."""
    findings = []
    known: dict[ListenAddress, str] = {}
    for listener in listeners_of(subject.config):
        other = known.setdefault(listener.address, listener.key)
        if other != listener.key:
            detail = f"{listener.key} {listener.address.uri} is also that of {other}"
            findings.append(fail(NAME, detail, f"change {listener.key}"))
        else:
            findings.append(_examined(listener, subject))
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
            _check_socket(Path(address.path))
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            with socket.socket(family) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address.host, address.port))
    except OSError as error:
        key = listener.host_key if error.errno in _NOT_THE_PORT else listener.key
        return fail(
            NAME,
            f"the service cannot listen on {where}: {error.strerror or error}",
            f"change {key}",
        )
    return ok(NAME, f"{where} is free")


def _check_socket(path: Path) -> None:
    """Whether a socket can be made there, in place of one on which nobody listens, too."""
    if not os.path.isdir(path.parent):
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}")
    if os.path.exists(path) and not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket is there")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"the folder {path.parent} cannot be written")
