"""Who is at home: whom a crowd does not delay."""

from __future__ import annotations

from stt_mqtt.core.regulars import ADMITTED_AT_ONCE, ADMITTED_EVERY_S, MAX_REGULARS, Regulars

KITCHEN = ("native", "kitchen")


def crowd(count: int, prefix: str = "new") -> list[tuple[str, str]]:
    return [("native", f"{prefix}-{number}") for number in range(count)]


def test_a_configured_name_is_a_regular_from_the_start_at_every_door() -> None:
    regulars = Regulars({"kitchen"}.__contains__)
    assert KITCHEN in regulars
    assert ("wyoming", "kitchen") in regulars
    assert ("native", "bath") not in regulars


def test_a_name_in_which_words_were_heard_is_a_regular() -> None:
    regulars = Regulars()
    assert KITCHEN not in regulars
    regulars.heard(KITCHEN, 5.0)
    assert KITCHEN in regulars
    assert ("wyoming", "kitchen") not in regulars


def test_a_crowd_that_says_real_words_becomes_regular_only_one_by_one() -> None:
    regulars = Regulars()
    for name in crowd(1000):
        regulars.heard(name, 5.0)
    assert sum(name in regulars for name in crowd(1000)) == ADMITTED_AT_ONCE
    regulars.heard(KITCHEN, 5.0 + ADMITTED_EVERY_S)
    regulars.heard(("native", "bath"), 5.0 + ADMITTED_EVERY_S)
    assert KITCHEN in regulars
    assert ("native", "bath") not in regulars


def test_configured_names_and_regulars_take_no_turn_of_new_ones() -> None:
    regulars = Regulars({"kitchen"}.__contains__)
    first, *others = crowd(ADMITTED_AT_ONCE)
    for _ in range(100):
        regulars.heard(KITCHEN, 5.0)
        regulars.heard(first, 5.0)
    for name in others:
        regulars.heard(name, 5.0)
        assert name in regulars


def test_the_regular_that_was_silent_longest_leaves_when_there_are_too_many() -> None:
    regulars = Regulars()
    names = crowd(MAX_REGULARS)
    for number, name in enumerate(names):
        regulars.heard(name, number * ADMITTED_EVERY_S)
    regulars.heard(names[0], MAX_REGULARS * ADMITTED_EVERY_S)
    regulars.heard(KITCHEN, MAX_REGULARS * ADMITTED_EVERY_S)
    assert KITCHEN in regulars
    assert names[0] in regulars
    assert names[1] not in regulars
