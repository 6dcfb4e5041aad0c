from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.web.places import Places, address_of


class Guests:
    """Takes places, and remembers who lost one."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.places = Places(most, most_of_one)
        self.displaced: list[str] = []

    def take(self, address: str, name: str) -> bool:
        return self.places.take(address, name, lambda: self.displaced.append(name))


def test_one_address_has_no_more_than_its_places() -> None:
    guests = Guests(10, 2)
    assert [guests.take("a", name) for name in "123"] == [True, True, False]
    assert guests.take("b", "4")
    guests.places.leave("1")
    assert guests.take("a", "5")
    assert guests.displaced == []


def test_a_newcomer_gets_the_newest_place_of_the_address_with_the_most() -> None:
    guests = Guests(3, 3)
    for name in ("1", "2", "3"):
        assert guests.take("a", name)
    assert guests.take("b", "4")
    assert guests.displaced == ["3"]
    # Both would have two of three: taking another place would only turn the tables.
    assert not guests.take("b", "5")
    assert guests.take("c", "6")
    assert guests.displaced == ["3", "2"]
    assert len(guests.places) == 3


def test_who_was_displaced_may_leave_later_without_an_effect() -> None:
    guests = Guests(1, 1)
    assert guests.take("a", "1")
    guests.places.leave("1")
    guests.places.leave("1")
    assert guests.take("b", "2")
    assert len(guests.places) == 1


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_no_bound_is_ever_exceeded_and_nobody_is_displaced_for_one_who_holds_as_many(
    steps: list[tuple[str, bool]],
) -> None:
    guests = Guests(5, 4)
    held: dict[str, str] = {}
    for number, (address, arrives) in enumerate(steps):
        name = f"{address}{number}"
        if arrives:
            before = sum(one == address for one in held.values())
            displaced = len(guests.displaced)
            if guests.take(address, name):
                held[name] = address
            for lost in guests.displaced[displaced:]:
                most = sum(one == held[lost] for one in held.values())
                assert most > before + 1
                del held[lost]
        elif held:
            name = next(iter(held))
            guests.places.leave(name)
            del held[name]
        assert len(guests.places) == len(held) <= 5
        assert all(list(held.values()).count(one) <= 4 for one in held.values())


@pytest.mark.parametrize(
    ("peername", "address"),
    [
        (("192.168.1.5", 1), "192.168.1.5"),
        (("::ffff:192.168.1.5", 1, 0, 0), "192.168.1.5"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("::1", 1, 0, 0), "::1"),
        (("strange", 1), "strange"),
        ((), ""),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_are_counted_by_machine(peername: object, address: str) -> None:
    assert address_of(peername) == address
