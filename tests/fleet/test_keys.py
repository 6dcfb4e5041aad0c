"""Keys of users, compared with those of the library of the makers of NATS."""

from __future__ import annotations

import base64

import nkeys
import pytest

from stt_mqtt.fleet.keys import UserKey

KEY = UserKey.read(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode())


def test_a_key_is_one_of_nats() -> None:
    ours = UserKey.new()
    theirs = nkeys.from_seed(ours.seed.encode())
    assert theirs.public_key.decode() == ours.public
    assert theirs.verify(b"nonce", base64.b64decode(ours.sign("nonce")))


def test_a_seed_that_was_made_elsewhere_is_read() -> None:
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    ours = UserKey.read(seed.decode())
    assert ours.public == nkeys.from_seed(seed).public_key.decode()
    assert ours.seed == seed.decode()


def test_no_key_comes_twice() -> None:
    assert len({UserKey.new().seed for _ in range(20)}) == 20


def test_a_typing_error_in_a_seed_is_noticed() -> None:
    seed = UserKey.new().seed
    for place in range(len(seed)):
        wrong = seed[:place] + ("A" if seed[place] != "A" else "B") + seed[place + 1 :]
        with pytest.raises(ValueError, match="not the NKey seed of a user"):
            UserKey.read(wrong)


@pytest.mark.parametrize(
    "seed",
    [
        "",
        "SU",
        "secret",
        KEY.public,
        KEY.seed.lower(),
        KEY.seed + "\n",
        nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT).decode(),
        "SUÄ" + "A" * 55,
    ],
)
def test_what_is_no_seed_of_a_user_is_refused_without_quoting_it(seed: str) -> None:
    with pytest.raises(ValueError, match=r"^not the NKey seed of a user$"):
        UserKey.read(seed)


def test_a_key_is_never_printed_with_its_secret() -> None:
    key = UserKey.new()
    assert repr(key) == f"UserKey(public='{key.public}')"
