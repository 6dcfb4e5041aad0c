"""The state of the devices and the service, collected from messages. Pure.

Any client may publish anything: malformed messages are ignored, and all texts are safe to print.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stt_mqtt.doors.native.topics import Topics, is_device
from stt_mqtt.types import DeviceState, OutcomeKind

MAX_DEVICES = 1000
MAX_PAYLOAD_BYTES = 1024 * 1024
"""Largest message. `health` of ten thousand devices fits."""
MAX_TEXT = 300
"""Most characters of a text from a message."""
MAX_NUMBER = 1e9

_STATES = frozenset(DeviceState)


@dataclass(frozen=True, slots=True)
class WatchedUtterance:
    """One result. All texts are safe to print."""

    device: str
    outcome: str
    """The outcome, or the code if it is an error."""
    text: str
    latency_s: float | None
    at: float
    """When it came in, on the clock of the caller."""
    hint: str = ""
    """The hint about the audio."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device; `state` is empty and `last` None until something is known."""

    device: str
    seen_at: float
    state: str = ""
    last: WatchedUtterance | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What is known of the service; None or empty: not known."""

    online: bool | None = None
    version: str = ""
    model: str = ""
    queued: int | None = None
    cpu: float | None = None
    """Cores in use."""
    rss_mb: float | None = None
    workers: int | None = None
    """Workers of its fleet. None: it has no fleet."""


class Overview:
    """Collects messages into one row per device."""

    def __init__(self, topics: Topics) -> None:
        self.service = ServiceStatus()
        self._topics = topics
        self._rows: dict[str, DeviceRow] = {}

    @property
    def filters(self) -> tuple[str, ...]:
        """The filters to subscribe to. The first one includes the state of the service."""
        bridge = (self._topics.of_bridge("info"), self._topics.of_bridge("health"))
        return (
            self._topics.of_device("+", "state"),
            self._topics.of_device("+", "result"),
            *bridge,
        )

    @property
    def devices(self) -> int:
        """Number of known devices."""
        return len(self._rows)

    def forget_service(self) -> None:
        """Clear the state of the service. A new connection gets it again."""
        self.service = ServiceStatus()
        self._rows = {name: replace(row, state="") for name, row in self._rows.items()}

    def rows(self, limit: int) -> list[DeviceRow]:
        """The `limit` devices that were seen last, by name."""
        latest = sorted(self._rows.values(), key=lambda row: row.seen_at, reverse=True)
        return sorted(latest[:limit], key=lambda row: row.device)

    def take(self, topic: str, payload: bytes, now: float) -> WatchedUtterance | None:
        """Process a message that arrived at `now`; return the utterance if it is a result."""
        base, bridge = f"{self._topics.base}/", self._topics.of_bridge("")
        if not topic.startswith(base) or len(payload) > MAX_PAYLOAD_BYTES:
            return None
        device, _, name = topic.removeprefix(base).partition("/")
        if topic.startswith(bridge):
            self._take_bridge(name, payload)
        elif is_device(device) and name == "state":
            self._take_state(device, payload, now)
        elif is_device(device) and name == "result":
            return self._take_result(device, payload, now)
        return None

    def _take_bridge(self, name: str, payload: bytes) -> None:
        if name == "state":
            if payload in (b"online", b"offline"):
                self.service = replace(self.service, online=payload == b"online")
            return
        fields = _parse(payload)
        if fields is None:
            return
        if name == "info":
            models = fields.get("models")
            names = [_text(model) for model in models[:3]] if isinstance(models, list) else []
            workers = _section(fields, "fleet").get("workers")
            self.service = replace(
                self.service,
                version=_text(fields.get("version")),
                model=", ".join(names),
                workers=len(workers) if isinstance(workers, list) else None,
            )
        elif name == "health":
            queued = _number(_section(fields, "queue").get("jobs"))
            self.service = replace(
                self.service,
                queued=None if queued is None else int(queued),
                cpu=_number(_section(fields, "load").get("cpu")),
                rss_mb=_number(fields.get("rss_mb")),
            )

    def _take_state(self, device: str, payload: bytes, now: float) -> None:
        if not payload:
            self._rows.pop(device, None)
            return
        state = payload[:64].decode("ascii", "replace")
        if state in _STATES:
            self._keep(replace(self._row(device, now), state=state, seen_at=now))

    def _take_result(self, device: str, payload: bytes, now: float) -> WatchedUtterance | None:
        fields = _parse(payload)
        if fields is None:
            return None
        outcome = _text(fields.get("outcome"))
        if not outcome:
            return None
        if outcome == OutcomeKind.ERROR:
            outcome = _text(_section(fields, "error").get("code")) or outcome
        latency_s = _number(fields.get("latency_s"))
        text, hint = _text(fields.get("text")), _text(fields.get("hint"))
        utterance = WatchedUtterance(device, outcome, text, latency_s, now, hint)
        self._keep(replace(self._row(device, now), last=utterance, seen_at=now))
        return utterance

    def _row(self, device: str, now: float) -> DeviceRow:
        return self._rows.get(device) or DeviceRow(device, now)

    def _keep(self, row: DeviceRow) -> None:
        """Put the row last: the first one is then the least recently seen."""
        self._rows.pop(row.device, None)
        self._rows[row.device] = row
        if len(self._rows) > MAX_DEVICES:
            del self._rows[next(iter(self._rows))]


def utterance_line(utterance: WatchedUtterance) -> str:
    """A result as one line."""
    said = utterance.text or f"({utterance.outcome})"
    latency = "" if utterance.latency_s is None else f"  [{utterance.latency_s:.2f} s]"
    hint = f"  {utterance.hint}" if utterance.hint else ""
    return f"{utterance.device}: {said}{latency}{hint}"


def ago(seconds: float) -> str:
    """A time span in words: `5 min ago`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now" if seconds < 1 else f"{int(seconds)} s ago"


def printable(text: str) -> str:
    """`text` on one line, control and formatting characters written out as escapes."""
    kept = text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")
    return "".join(
        character
        if character.isprintable()
        else " "
        if character.isspace()
        else character.encode("unicode_escape").decode("ascii")
        for character in kept
    )


def _parse(payload: bytes) -> Mapping[str, object] | None:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _section(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A number that can be printed: no NaN, not negative, at most `MAX_NUMBER`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_NUMBER else None
