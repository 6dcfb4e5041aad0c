"""What the log says of a connection that fails, and how often."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.mqtt.complaints import MAX_REASONS, STEADY_S, Complaints
from stt_mqtt.mqtt.reconnect import PEACE_S, Cause

GONE = "broker.lan:1883 cannot be reached: Name or service not known"


class Bench:
    """Complaints about one attempt after the other, at the times that the test says."""

    def __init__(self, client_id: str | None = None) -> None:
        self.complaints = Complaints(client_id)
        self.said: list[tuple[float, str]] = []

    def fail(
        self, now: float, reason: str = GONE, ended: Cause = Cause.UNREACHABLE, lived_s: float = 0.0
    ) -> None:
        complaint = self.complaints.about(ended, reason, lived_s, now)
        if complaint is not None:
            self.said.append((now, str(complaint)))

    def lose(self, now: float, lived_s: float = 1.0, ended: Cause = Cause.LOST) -> None:
        self.fail(now, "it broke", ended, lived_s)


def test_a_reason_is_said_at_once_then_after_1_2_4_minutes_and_at_last_every_hour() -> None:
    bench = Bench()
    for now in range(0, 6 * 3600, 3):
        bench.fail(1000.0 + now)
    minutes = [(now - 1000) / 60 for now, _ in bench.said]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]


def test_a_repetition_tells_how_long_it_has_been_so() -> None:
    bench = Bench()
    for now in (0.0, 60.0, 180.0, 3 * 3600.0):
        bench.fail(now)
    assert [text for _, text in bench.said] == [
        GONE,
        f"{GONE} (so for 1 min)",
        f"{GONE} (so for 3 min)",
        f"{GONE} (so for 3 h)",
    ]


def test_another_reason_is_said_at_once_and_is_the_one_that_is_repeated() -> None:
    bench = Bench()
    bench.fail(0.0, "a")
    bench.fail(3.0, "b")
    bench.fail(6.0, "a")
    bench.fail(60.0, "b")
    assert bench.said == [(0.0, "a"), (3.0, "b"), (60.0, "b (so for 1 min)")]


def test_reasons_that_never_end_do_not_fill_the_log() -> None:
    bench = Bench()
    for number in range(1000):
        bench.fail(number * 0.01, f"reason {number}")
    assert len(bench.said) == MAX_REASONS


def test_a_connection_that_lasted_ends_the_trouble_before_it() -> None:
    bench = Bench()
    bench.fail(0.0)
    bench.fail(300.0)
    bench.lose(400.0, lived_s=STEADY_S)
    bench.fail(401.0)
    assert bench.said[2:] == [(400.0, "it broke"), (401.0, GONE)]


def test_a_loss_now_and_then_is_said_each_time() -> None:
    bench = Bench("stt")
    for now in (0.0, 60.0, 120.0, 180.0):
        bench.lose(now, lived_s=50.0)
    assert [text for _, text in bench.said] == ["it broke"] * 4
    assert not bench.complaints.flapping


def test_three_losses_soon_after_it_came_up_make_the_identifier_the_likely_cause() -> None:
    bench = Bench("stt")
    for now in range(0, 50, 2):
        bench.lose(float(now))
    assert bench.said == [
        (0.0, "it broke"),
        (
            4.0,
            "it broke, again and again soon after it came up: it is likely that another client "
            "uses the identifier mqtt.client_id: stt; give each one of its own",
        ),
    ]
    assert bench.complaints.flapping


def test_an_identifier_of_our_own_making_is_not_suspected() -> None:
    bench = Bench()
    for now in range(0, 50, 2):
        bench.lose(float(now))
    assert bench.said[1] == (
        4.0,
        "it broke, again and again soon after it came up: the log of the broker says why",
    )


def test_a_broker_that_cannot_be_reached_in_between_is_another_trouble() -> None:
    bench = Bench("stt")
    for now in (0.0, 10.0, 20.0):
        bench.lose(now)
        bench.fail(now + 5.0)
    assert not bench.complaints.flapping


def test_a_takeover_names_the_identifier_at_once_and_then_ever_less_often() -> None:
    bench = Bench("stt")
    times = [0.0, 5.0, 35.0, 95.0, 215.0, 515.0, 1000.0]
    for now in times:
        bench.lose(now, lived_s=30.0, ended=Cause.TAKEN_OVER)
    text = (
        "it broke: another client uses the identifier mqtt.client_id: stt; give each one of its own"
    )
    assert bench.said == [
        (0.0, text),
        (95.0, f"{text} (so for 2 min)"),
        (215.0, f"{text} (so for 4 min)"),
        (515.0, f"{text} (so for 9 min)"),
        (1000.0, f"{text} (so for 17 min)"),
    ]


def test_a_takeover_after_a_long_peace_is_said_anew() -> None:
    bench = Bench("stt")
    bench.lose(0.0, ended=Cause.TAKEN_OVER)
    bench.lose(1000.0, lived_s=PEACE_S, ended=Cause.TAKEN_OVER)
    assert len({text for _, text in bench.said}) == 1
    assert len(bench.said) == 2


@given(
    st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 9), st.floats(0.75, 300)), max_size=60),
    st.sampled_from([None, "stt"]),
)
def test_while_nothing_lasts_the_pauses_between_repetitions_grow(
    endings: list[tuple[Cause, float, float]], client_id: str | None
) -> None:
    bench, now = Bench(client_id), 0.0
    for ended, lived_s, pause_s in endings:
        now += pause_s
        bench.fail(now, "a", ended, lived_s)
    repeated = [at for at, text in bench.said if "so for" in text]
    pauses = [later - earlier for earlier, later in pairwise(repeated)]
    assert all(pause >= 120.0 for pause in pauses)
    assert len(bench.said) - len(repeated) <= 4
