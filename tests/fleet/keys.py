"""NKeys for tests."""

from __future__ import annotations

import nkeys


def seed_of(number: int, kind: int = nkeys.PREFIX_BYTE_USER) -> str:
    """A seed; the same for the same number."""
    seed: bytes = nkeys.encode_seed(bytes([number]) * 32, kind)
    return seed.decode()


def public_key_of(seed: str) -> str:
    """The public key that belongs to a seed, for the configuration of a server."""
    key: bytes = nkeys.from_seed(bytearray(seed.encode())).public_key
    return key.decode()
