"""What the checks found, and the exit status that follows. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from stt_mqtt.errors import EXIT_CONFIG, EXIT_TEMPORARY, SttMqttError

MIN_SECRET = 3
"""Shorter secrets are not looked for in texts: they would blacken ordinary words."""
HIDDEN = "***"
MAX_TEXT = 600
"""Most characters of a detail and of what to do."""

_LOGIN_IN_URL = re.compile(r"(?<=://)[^\s/@]+@")


class Status(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `name`: what was checked, a stable word.

    `temporary`: whether a failure may pass without a change of the configuration.
    """

    name: str
    status: Status
    detail: str
    what_to_do: str = ""
    temporary: bool = False

    def as_json(self) -> dict[str, str]:
        """The finding for `--json` and the status page."""
        return {
            "name": self.name,
            "status": self.status.value,
            "detail": self.detail,
            "what_to_do": self.what_to_do,
        }


def ok(name: str, detail: str) -> Finding:
    """A check that found nothing wrong."""
    return Finding(name, Status.OK, detail)


def warn(name: str, detail: str, what_to_do: str) -> Finding:
    """The service works, but not as well as it could."""
    return Finding(name, Status.WARN, detail, what_to_do)


def fail(name: str, detail: str, what_to_do: str, *, temporary: bool = False) -> Finding:
    """The service does not work, or not with everything that the configuration asks for."""
    return Finding(name, Status.FAIL, detail, what_to_do, temporary)


def failed(name: str, error: SttMqttError) -> Finding:
    """The failure that an error stands for. Its part after a semicolon says what to do."""
    detail, _, what_to_do = str(error).partition("; ")
    return fail(name, detail, what_to_do, temporary=error.exit_code != EXIT_CONFIG)


def exit_status(findings: Iterable[Finding]) -> int:
    """0, or 78 if the configuration has to be changed, or 75 if the failures may pass."""
    failures = [finding for finding in findings if finding.status is Status.FAIL]
    if not failures:
        return 0
    return EXIT_TEMPORARY if all(one.temporary for one in failures) else EXIT_CONFIG


def summary(findings: Iterable[Finding]) -> str:
    """How many checks had which result, such as `11 ok, 1 warning, 0 failures`."""
    count = Counter(finding.status for finding in findings)
    return ", ".join(
        (
            f"{count[Status.OK]} ok",
            f"{count[Status.WARN]} warning{'' if count[Status.WARN] == 1 else 's'}",
            f"{count[Status.FAIL]} failure{'' if count[Status.FAIL] == 1 else 's'}",
        )
    )


@dataclass(frozen=True, slots=True)
class Redactor:
    """Removes secrets and logins in URLs from texts, and shortens these to one line."""

    secrets: frozenset[str] = frozenset()

    def clean(self, finding: Finding) -> Finding:
        """The finding without secrets."""
        return replace(
            finding, detail=self.text(finding.detail), what_to_do=self.text(finding.what_to_do)
        )

    def text(self, text: str) -> str:
        """A text without secrets, on one line."""
        # The longest first: one secret may be a part of another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= MIN_SECRET:
                text = text.replace(secret, HIDDEN)
        text = " ".join(_LOGIN_IN_URL.sub("", text).split())
        printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        return printable if len(printable) <= MAX_TEXT else printable[: MAX_TEXT - 1] + "…"
