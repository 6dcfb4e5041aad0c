"""NKeys of users: what a process shows to the NATS servers instead of a password.

The seed stays with the process, and the servers know the public key. Both are Base32: a prefix that
says what it is, 32 bytes, and a checksum.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from stt_mqtt.errors import MissingExtraError

if TYPE_CHECKING:
    from nacl.signing import SigningKey

_USER = 20 << 3
_SEED_OF_A_USER = bytes([18 << 3 | _USER >> 5, (_USER & 31) << 3])
_TEXT_OF_A_SEED = re.compile(r"SU[A-Z2-7]{56}")


@dataclass(frozen=True, slots=True)
class UserKey:
    """The key of a user. `public`: what the servers know of it."""

    public: str
    _signing: SigningKey = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """A random key. Raises `MissingExtraError`."""
        return cls._of(_signing_key(None))

    @classmethod
    def read(cls, seed: str) -> Self:
        """The key with a seed. Raises ValueError if it is no seed of a user."""
        raw = base64.b32decode(f"{seed}======") if _TEXT_OF_A_SEED.fullmatch(seed) else b""
        body = raw[:-2]
        # The last letter has bits that mean nothing, so another one may give the same bytes.
        if body[:2] != _SEED_OF_A_USER or _text(body) != seed:
            raise ValueError("not the NKey seed of a user")
        return cls._of(_signing_key(body[2:]))

    @property
    def seed(self) -> str:
        """The secret. Whoever has it is this user."""
        return _text(_SEED_OF_A_USER + bytes(self._signing))

    def sign(self, nonce: str) -> str:
        """The answer to what a server wants to have signed, in Base64."""
        return base64.b64encode(self._signing.sign(nonce.encode()).signature).decode()

    @classmethod
    def _of(cls, signing: SigningKey) -> Self:
        return cls(_text(bytes([_USER]) + bytes(signing.verify_key)), signing)


def _signing_key(raw: bytes | None) -> SigningKey:
    try:
        from nacl.signing import SigningKey
    except ImportError:
        raise MissingExtraError("pynacl", "fleet") from None
    return SigningKey.generate() if raw is None else SigningKey(raw)


def _checked(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "little")


def _text(body: bytes) -> str:
    return base64.b32encode(_checked(body)).decode().rstrip("=")
