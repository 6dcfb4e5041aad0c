"""Whether a request is meant for this service: its headers `Host` and `Origin`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

SUPERVISOR = "172.30.32.2"
"""The address from which Home Assistant's Supervisor passes requests on to add-ons."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_OWN = frozenset({"same-origin", "none"})


def names_this_machine(host: str | None) -> bool:
    """Whether a `Host` header names this machine itself, with any port.

    A page of another site cannot use such a name. It could point its own name at 127.0.0.1.
    """
    name = _host_of(host)
    return name is not None and (name == "localhost" or is_loopback(name))


def is_loopback(address: str) -> bool:
    """Whether an address is that of this machine itself. A name is not."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_same_origin(headers: Mapping[str, str], behind_ingress: bool) -> bool:
    """Whether a page of this service sent the request, or a program that is no browser.

    `behind_ingress`: whether Home Assistant passed it on, with the host that the browser used in
    `X-Forwarded-Host`.
    """
    origin = headers.get("Origin")
    if origin is None:
        return headers.get("Sec-Fetch-Site", "none") in _OWN
    scheme, sent_by = _place(origin)
    if sent_by is None:
        return False
    hosts = [headers.get("Host")]
    if behind_ingress:
        hosts.append(headers.get("X-Forwarded-Host"))
    return any(sent_by == _place(f"{scheme}://{host}")[1] for host in hosts if host)


def _host_of(host: str | None) -> str | None:
    place = None if host is None else _place(f"http://{host}")[1]
    return None if place is None else place[0]


def _place(url: str) -> tuple[str, tuple[str, int] | None]:
    """Scheme, and host and port of an origin; None if it has no host."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return "", None
    if parts.hostname is None or parts.username is not None or parts.path not in {"", "/"}:
        return parts.scheme, None
    return parts.scheme, (parts.hostname, port)
