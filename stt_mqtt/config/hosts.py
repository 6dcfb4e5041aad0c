"""What may stand where the name or address of a broker is asked for."""

from __future__ import annotations

import re
from ipaddress import ip_address

FORM = "must be a name or an address alone, as in broker.lan, 192.168.1.5 or ::1"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"[^\s/@:?#,%\[\]]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_WITH_TLS = {"mqtts", "ssl", "tls"}
_IN_WEB_SOCKETS = {"ws", "wss"}


def host_problem(text: str) -> str | None:
    """Why `text` is no host, and what to write instead; None: it is one.

    A login in it is never repeated.
    """
    if _is_host(text):
        return None
    scheme = _SCHEME.match(text)
    protocol = "" if scheme is None else scheme[1].lower()
    if protocol in _IN_WEB_SOCKETS:
        return f"{FORM}; MQTT over WebSockets is not spoken, only MQTT itself (mqtt.port)"
    rest = text if scheme is None else text[scheme.end() :]
    if "@" in rest:
        return f"{FORM}; the login belongs under mqtt.username and mqtt.password"
    host, port = _split(rest.partition("/")[0])
    if not _is_host(host):
        return FORM
    parts = [f"host: {host}"]
    if port is not None:
        parts.append(f"port: {port}")
    if protocol in _WITH_TLS:
        parts.append("tls: {}")
    return f"{FORM}; write {' and '.join(parts)}"


def _is_host(text: str) -> bool:
    if ":" in text:
        return _is_address(text)
    return text.isprintable() and _NAME.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str | None]:
    """Host and port of `text`, as far as they can be told apart."""
    if _is_address(text):
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    elif _PORT.fullmatch(port) is None:
        return text, None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port or None
