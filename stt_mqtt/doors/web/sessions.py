"""The token, the cookies that stand for it, and how often it may be guessed."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from secrets import token_bytes, token_hex

LIFETIME_S = 30 * 24 * 3600
"""How long a cookie is valid after the last visit."""
RENEW_S = 24 * 3600
"""A cookie older than this is replaced, so that a browser in use never has to log in again."""

MAX_FAILURES = 5
FAILURES_S = 60.0
"""After `MAX_FAILURES` different wrong tokens within this time, an address must wait until it has
passed."""
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
    """Counts different wrong tokens by address. `now` is in monotonic seconds.

    The same wrong token again is no new guess: a program with an old token would otherwise lock out
    all others of its network, or all behind a proxy.
    """

    def __init__(self) -> None:
        self._key = token_bytes(32)
        self._guesses: OrderedDict[str, OrderedDict[bytes, float]] = OrderedDict()
        """The last `MAX_FAILURES` wrong tokens of each address, as digests, with their times."""

    def wait_s(self, address: str, now: float) -> float:
        """How long an address must wait before its next attempt; 0: it may try."""
        guesses = self._guesses.get(address)
        if guesses is None or len(guesses) < MAX_FAILURES:
            return 0.0
        return max(next(iter(guesses.values())) + FAILURES_S - now, 0.0)

    def note(self, address: str, token: str, now: float) -> None:
        """An address sent a wrong token."""
        guesses = self._guesses.setdefault(address, OrderedDict())
        self._guesses.move_to_end(address)
        if len(self._guesses) > MAX_ADDRESSES:
            self._guesses.popitem(last=False)
        digest = hmac.digest(self._key, token.encode("utf-8", "replace"), hashlib.sha256)
        if now - guesses.get(digest, now - FAILURES_S) < FAILURES_S:
            return
        guesses[digest] = now
        guesses.move_to_end(digest)
        if len(guesses) > MAX_FAILURES:
            guesses.popitem(last=False)

    def forgive(self, address: str) -> None:
        """An address sent the token."""
        self._guesses.pop(address, None)
