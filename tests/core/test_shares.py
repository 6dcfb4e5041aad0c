"""Which names leave the free threads to others."""

from __future__ import annotations

from collections import Counter

from stt_mqtt.core.shares import Speaking, held_back
from stt_mqtt.types import DeviceKey

HOST, KITCHEN, BATH = ("wyoming", "10.0.0.9"), ("native", "kitchen"), ("native", "bath")


def test_a_host_alone_has_all_threads() -> None:
    assert held_back(4, Counter({HOST: 3}), Counter({HOST: 60}), set()) == set()


def test_a_host_whose_rooms_wait_leaves_a_thread_for_each_other_room_that_speaks() -> None:
    waiting = Counter({HOST: 60})
    assert held_back(4, Counter({HOST: 2}), waiting, {KITCHEN}) == set()
    assert held_back(4, Counter({HOST: 3}), waiting, {KITCHEN}) == {HOST}
    assert held_back(4, Counter({HOST: 2}), waiting, {KITCHEN, BATH}) == {HOST}
    assert held_back(4, Counter({HOST: 2, BATH: 1}), waiting, {KITCHEN}) == {HOST}


def test_everybody_may_have_one_thread() -> None:
    assert held_back(2, Counter({BATH: 1}), Counter({HOST: 60}), {KITCHEN, BATH}) == set()


def test_a_host_of_which_no_more_wait_than_there_are_threads_is_never_held_back() -> None:
    assert held_back(2, Counter({HOST: 1}), Counter({HOST: 2}), {KITCHEN}) == set()


def test_a_name_speaks_as_long_as_one_of_its_parts_does() -> None:
    speaking = Speaking()
    one, other = DeviceKey(*HOST, "1"), DeviceKey(*HOST, "2")
    for key in (one, other, one):
        speaking.note(key, speaks=True)
    speaking.note(one, speaks=False)
    assert speaking.names == {HOST}
    speaking.note(other, speaks=False)
    speaking.note(other, speaks=False)
    assert speaking.names == set()
