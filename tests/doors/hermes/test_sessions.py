from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.hermes.sessions import MAX_REASONS, MAX_TOGGLED_SITES, Toggles
from stt_mqtt.errors import OverloadedError


def test_a_site_is_on_until_the_last_reason_is_gone() -> None:
    toggles = Toggles()
    toggles.off("kitchen", "ttsSay")
    toggles.off("kitchen", "playAudio")
    toggles.on("kitchen", "ttsSay")
    assert toggles.is_off("kitchen")
    toggles.on("kitchen", "playAudio")
    assert not toggles.is_off("kitchen")


def test_on_without_a_reason_ends_all_reasons() -> None:
    toggles = Toggles()
    toggles.off("kitchen", "ttsSay")
    toggles.off("kitchen", "")
    toggles.on("kitchen", "ttsSay")
    assert toggles.is_off("kitchen")
    toggles.off("kitchen", "ttsSay")
    toggles.on("kitchen", "")
    assert not toggles.is_off("kitchen")


def test_one_site_does_not_mute_another() -> None:
    toggles = Toggles()
    toggles.off("kitchen", "ttsSay")
    assert not toggles.is_off("bath")
    toggles.on("bath", "")
    assert toggles.is_off("kitchen")


def test_all_sites_are_those_that_are_known_and_those_that_are_not() -> None:
    toggles = Toggles()
    toggles.off("kitchen", "ttsSay")
    toggles.off(None, "")
    assert toggles.is_off("kitchen")
    assert toggles.is_off("bath")
    toggles.on("bath", "")
    assert not toggles.is_off("bath")
    assert toggles.is_off("attic")
    toggles.on(None, "")
    assert not any(map(toggles.is_off, ("kitchen", "bath", "attic")))


def test_more_sites_than_are_remembered_stay_as_they_are() -> None:
    toggles = Toggles()
    for number in range(MAX_TOGGLED_SITES):
        toggles.off(f"site {number}", "")
    with pytest.raises(OverloadedError):
        toggles.off("one more", "")
    assert not toggles.is_off("one more")
    assert toggles.is_off("site 0")
    toggles.on("site 0", "")
    toggles.off("one more", "")
    assert toggles.is_off("one more")


def test_more_reasons_than_are_remembered_are_refused_but_all_sites_can_be_off() -> None:
    toggles = Toggles()
    for number in range(MAX_REASONS):
        toggles.off("kitchen", f"reason {number}")
    toggles.off("kitchen", "reason 0")
    with pytest.raises(OverloadedError):
        toggles.off("kitchen", "one more")
    toggles.off(None, "")
    for number in range(MAX_REASONS):
        toggles.on("kitchen", f"reason {number}")
    assert toggles.is_off("kitchen")
    toggles.on(None, "")
    assert not toggles.is_off("kitchen")


sites = st.sampled_from(["kitchen", "bath", None])
reasons = st.sampled_from(["", "ttsSay", "playAudio"])


@given(st.lists(st.tuples(st.booleans(), sites, reasons), max_size=30))
def test_toggles_are_sets_of_reasons_by_site(steps: list[tuple[bool, str | None, str]]) -> None:
    toggles = Toggles()
    expected: dict[str, set[str]] = {"kitchen": set(), "bath": set(), "attic": set()}
    for off, site, reason in steps:
        (toggles.off if off else toggles.on)(site, reason)
        for name in expected if site is None else [site]:
            if off:
                expected[name].add(reason)
            elif reason:
                expected[name].discard(reason)
            else:
                expected[name].clear()
        assert {name: toggles.is_off(name) for name in expected} == {
            name: bool(why) for name, why in expected.items()
        }
