"""Asks a program over HTTP."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from email.message import Message
from urllib.error import HTTPError

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What it answered."""

    status: int
    text: str
    headers: Message


def get(port: int, path: str, **headers: str) -> Answer:
    """Ask a program on this machine. Raises OSError while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return Answer(response.status, response.read().decode(), response.headers)
    except HTTPError as refusal:
        with refusal:
            return Answer(refusal.status or 0, refusal.read().decode(), refusal.headers)
