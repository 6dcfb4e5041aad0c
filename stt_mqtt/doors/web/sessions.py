"""The token, the cookies that stand for it, and how often it may be guessed."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict, deque
from secrets import token_hex

LIFETIME_S = 30 * 24 * 3600
"""How long a cookie is valid after the last visit."""
RENEW_S = 24 * 3600
"""A cookie older than this is replaced, so that a browser in use never has to log in again."""

MAX_FAILURES = 5
FAILURES_S = 60.0
"""After `MAX_FAILURES` wrong tokens within this time, an address must wait until it has passed."""
MAX_ADDRESSES = 1024
"""Addresses whose failures are remembered, the latest."""


class Sessions:
    """Makes and checks cookies. They hold no secret, and stay valid when the service restarts.

    A cookie is `<expiry>.<random>.<signature>`. The key of the signature is derived from the token,
    so a new token ends all sessions.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._key = hmac.digest(self._token, b"stt-mqtt cookie 1", hashlib.sha256)

    def is_token(self, text: str) -> bool:
        """Whether `text` is the token. Takes equally long for every text of one length."""
        return hmac.compare_digest(self._token, text.encode("utf-8", "replace"))

    def new(self, epoch: float) -> str:
        """A new cookie."""
        content = f"{int(epoch) + LIFETIME_S}.{token_hex(8)}"
        return f"{content}.{self._signature(content)}"

    def left_s(self, cookie: str, epoch: float) -> float | None:
        """How many seconds a cookie is still valid; None: it is not."""
        content, _, signature = cookie.rpartition(".")
        given = signature.encode("utf-8", "replace")
        if not hmac.compare_digest(self._signature(content).encode(), given):
            return None
        left_s = int(content.partition(".")[0]) - epoch
        return left_s if 0 < left_s <= LIFETIME_S else None

    def _signature(self, content: str) -> str:
        return hmac.digest(self._key, content.encode("utf-8", "replace"), hashlib.sha256).hex()


class Failures:
    """Counts wrong tokens by address. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """How long an address must wait before its next attempt; 0: it may try."""
        times = self._times.get(address)
        if times is None or len(times) < MAX_FAILURES:
            return 0.0
        return max(times[0] + FAILURES_S - now, 0.0)

    def note(self, address: str, now: float) -> None:
        """An address sent a wrong token."""
        times = self._times.setdefault(address, deque(maxlen=MAX_FAILURES))
        times.append(now)
        self._times.move_to_end(address)
        if len(self._times) > MAX_ADDRESSES:
            self._times.popitem(last=False)

    def forgive(self, address: str) -> None:
        """An address sent the token."""
        self._times.pop(address, None)
