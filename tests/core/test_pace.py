from __future__ import annotations

from stt_mqtt.core.pace import Pace


def test_so_many_at_once_and_then_one_at_a_time() -> None:
    pace = Pace(3, 10.0)
    assert [pace.takes(100.0) for _ in range(4)] == [True, True, True, False]
    assert pace.free_at == 110.0
    assert not pace.takes(109.0)
    assert pace.takes(110.0)
    assert not pace.takes(119.0)


def test_what_was_not_used_is_saved_up_to_the_first_number() -> None:
    pace = Pace(2, 10.0)
    for _ in range(2):
        pace.takes(0.0)
    assert [pace.takes(1000.0) for _ in range(3)] == [True, True, False]
