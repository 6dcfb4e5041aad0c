"""Who owns a name among the live gateways."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.fleet.ring import MAX_GATEWAYS, Here, Ring, decode_message, encode_message, owner
from stt_mqtt.fleet.wire import WireError
from tests.thorough import examples

NAMES = [f"room-{number}" for number in range(400)]
gateways = st.sets(st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True), min_size=2, max_size=8)


def owners(names: set[str]) -> dict[str, str | None]:
    return {name: owner(name, names) for name in NAMES}


@given(gateways)
@settings(max_examples=examples(30), deadline=None)
def test_when_a_gateway_goes_only_its_own_names_move(names: set[str]) -> None:
    gone = min(names)
    before, after = owners(names), owners(names - {gone})
    for name in NAMES:
        assert after[name] == before[name] or before[name] == gone


@given(gateways)
@settings(max_examples=examples(30), deadline=None)
def test_the_names_are_shared_fairly(names: set[str]) -> None:
    counts = Counter(owners(names).values())
    fair = len(NAMES) / len(names)
    # Five standard deviations of a binomial distribution.
    spread = 5 * (fair * (1 - 1 / len(names))) ** 0.5
    assert all(abs(counts[name] - fair) <= spread for name in names)


@given(gateways, st.text(max_size=40))
@settings(max_examples=examples(30), deadline=None)
def test_the_order_of_the_gateways_does_not_matter(names: set[str], name: str) -> None:
    assert owner(name, sorted(names)) == owner(name, sorted(names, reverse=True)) in names


def test_without_a_gateway_nobody_owns_anything() -> None:
    assert owner("kitchen", ()) is None


def test_who_owns_what_is_the_same_in_all_versions() -> None:
    # Gateways of different versions share the names while a fleet is updated.
    ring = Ring(1, "a", ("a", "b", "c"))
    found = {name: ring.owner(name) for name in ("bridge", "kitchen", "bath", "Küche")}
    assert found == {"bridge": "b", "kitchen": "a", "bath": "a", "Küche": "c"}


@pytest.mark.parametrize(
    "message",
    [
        Ring(3, "a", ("a", "b"), ("c",)),
        Here("a", "0f", asks=True, sees=False, joins=True),
        Here("a", "0f", asks=False, sees=True, joins=False, leaving=True, left=True),
    ],
)
def test_a_message_is_read_as_it_was_written(message: Ring | Here) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b'{"epoch":1,"by":"a","gateways":["a"],"leaving":[],"v":2}',
        b'{"epoch":-1,"by":"a","gateways":["a"],"leaving":[],"v":1}',
        b'{"epoch":1,"by":"a.b","gateways":["a"],"leaving":[],"v":1}',
        b'{"epoch":1,"by":"a","gateways":[' + b'"a",' * MAX_GATEWAYS + b'"a"],"v":1}',
        b'{"here":"a","session":"","asks":true,"sees":true,"joins":true,"v":1}',
    ],
)
def test_what_is_no_message_is_refused_without_quoting_it(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(payload)
