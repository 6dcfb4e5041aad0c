from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stt_mqtt.engine.ladder import (
    Candidate,
    Choice,
    LadderState,
    Load,
    Policy,
    RungCost,
    choose,
    forecast,
    shares_model,
)
from stt_mqtt.engine.load_meter import ArrivalRate
from stt_mqtt.rungs import Rung

POLICY = Policy(promised_wait_s=1.0, min_stay_s=60.0)
LONG_AGO = -1e9


def candidate(name: str, work_s: float, memory_mb: float = 0.0, model: str = "") -> Candidate:
    """A rung that takes `work_s` for every utterance, however long."""
    return Candidate(Rung(name, model or name, 5, "int8"), RungCost(work_s, 0.0, memory_mb))


def without_cost(name: str) -> Candidate:
    return Candidate(Rung(name, name, 5, "int8"), None, "no such model")


def load(per_s: float, waiting: int = 0, free_mb: float = inf) -> Load:
    return Load(ArrivalRate(per_s, 0.0), waiting, 0.0, workers=1, free_mb=free_mb)


LADDER = (candidate("best", 0.4), candidate("fast", 0.2), candidate("last", 0.1))


def move(index: int, wanted: Load, ladder: tuple[Candidate, ...] = LADDER) -> Choice:
    """The choice on a rung that was reached long ago."""
    return choose(ladder, POLICY, LadderState(index, LONG_AGO), wanted, 0.0)


def test_rungs_share_a_model_of_one_name_and_number_type() -> None:
    best = Rung("best", "large", 5, "int8")
    assert shares_model(best, Rung("quick", "large", 1, "int8"))
    assert not shares_model(best, Rung("small", "tiny", 5, "int8"))
    assert not shares_model(best, Rung("wide", "large", 5, "float32"))


def test_a_load_is_forecast_from_utterances_and_audio_and_shared_by_the_workers() -> None:
    cost = RungCost(0.2, 0.1, 0.0)
    expected = forecast(cost, Load(ArrivalRate(2.0, 6.0), 4, 12.0, workers=2))
    assert expected.use == pytest.approx(0.5)
    assert expected.wait_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("index", "wanted", "target", "reason"),
    [
        (0, load(1), 0, "staying on best: best would be busy 40 %, which is little enough"),
        (0, load(2.5), 1, "down to fast: best would be busy 100 %"),
        (0, load(0, 3), 1, "down to fast: best would let wait 1.2 s where 1 s are promised"),
        (0, load(100), 1, "down to fast: best would be busy 4000 %"),
        (1, load(1), 0, "up to best: best would be busy 40 %, which is little enough"),
        (1, load(1.5), 1, "staying on fast: best would be busy 60 %"),
        (1, load(0, 2), 1, "staying on fast: best would take 0.8 s for what waits"),
        (1, load(3.5), 1, "staying on fast: best would be busy 140 %"),
        (2, load(1), 1, "up to fast: fast would be busy 20 %, which is little enough"),
        (
            2,
            load(12),
            2,
            "staying on last: last would be busy 120 %, but no rung that costs less can be had",
        ),
    ],
)
def test_every_answer_has_its_reason(index: int, wanted: Load, target: int, reason: str) -> None:
    assert move(index, wanted) == Choice(target, reason)


def test_a_move_that_the_stay_forbids_is_announced() -> None:
    busy = choose(LADDER, POLICY, LadderState(0, 10.0), load(3.5), 28.0)
    assert busy == Choice(0, "staying on best, fast not before 42 s: best would be busy 140 %")
    idle = choose(LADDER, POLICY, LadderState(2, 10.0), load(0), 69.9)
    assert idle.index == 2
    assert choose(LADDER, POLICY, LadderState(2, 10.0), load(0), 70.0).index == 1


def test_a_state_begins_anew_only_with_a_move() -> None:
    state = LadderState(1, 5.0)
    assert state.after(Choice(1, "r"), 9.0, POLICY) == state
    assert state.after(Choice(2, "r"), 9.0, POLICY) == LadderState(2, 9.0)


def test_every_move_up_that_did_not_last_doubles_the_stay_before_the_next_one() -> None:
    state, now, pauses = LadderState(1, 0.0), 0.0, []
    for _ in range(7):
        below = now
        while state.index == 1:
            now += 1.0
            state = state.after(choose(LADDER, POLICY, state, load(0), now), now, POLICY)
        pauses.append(now - below)
        while state.index == 0:
            now += 1.0
            state = state.after(choose(LADDER, POLICY, state, load(4), now), now, POLICY)
    assert pauses == [60 * 2**number for number in (0, 1, 2, 3, 4, 5, 5)]


def test_a_move_up_that_lasted_restores_the_patience() -> None:
    state = LadderState(0, 0.0, climbed=True, patience=8)
    assert state.after(Choice(1, "r"), 599.0, POLICY).patience == 16
    down = state.after(Choice(1, "r"), 600.0, POLICY)
    assert down.patience == 1


def test_going_down_further_and_up_keeps_the_patience() -> None:
    down = LadderState(1, 0.0, patience=4).after(Choice(2, "r"), 60.0, POLICY)
    assert down == LadderState(2, 60.0, patience=4)
    assert down.after(Choice(1, "r"), 300.0, POLICY) == LadderState(1, 300.0, True, 4)


def test_patience_holds_back_no_move_down() -> None:
    state = LadderState(1, 0.0, patience=32)
    assert choose(LADDER, POLICY, state, load(5), 60.0).index == 2
    waiting = choose(LADDER, POLICY, state, load(0), 60.0)
    assert waiting.reason.startswith("staying on fast, best not before 1860 s: ")


def test_a_rung_without_a_cost_is_skipped_and_named() -> None:
    ladder = (LADDER[0], without_cost("lost"), LADDER[2])
    assert move(0, load(3.5), ladder).index == 2
    assert move(2, load(0), ladder).index == 0
    assert move(1, load(0), (without_cost("lost"), *LADDER)) == Choice(
        1, "staying on best: lost cannot be used (no such model)"
    )


def test_a_model_that_does_not_fit_is_skipped_and_named() -> None:
    ladder = (candidate("big", 0.4, 900), candidate("mid", 0.2, 400), candidate("tiny", 0.1, 100))
    assert move(2, load(0, free_mb=500), ladder).index == 1
    assert move(0, load(3, free_mb=100), ladder).index == 2
    assert move(2, load(0, free_mb=300), ladder) == Choice(
        2, "staying on tiny: mid needs 400 MB and 300 MB are free"
    )


def test_another_beam_of_the_loaded_model_needs_no_memory() -> None:
    ladder = (candidate("wide", 0.4, 900, "m"), candidate("narrow", 0.2, 900, "m"))
    assert move(0, load(3, free_mb=0), ladder).index == 1
    assert move(1, load(0, free_mb=0), ladder).index == 0


def test_a_rung_below_that_costs_no_less_is_passed_over() -> None:
    ladder = (candidate("best", 0.2), candidate("worse", 0.3), candidate("last", 0.1))
    assert move(0, load(4.5), ladder).index == 2
    assert move(2, load(0), ladder).index == 0


@pytest.mark.parametrize("per_s", [0.0, 3.5, 9.0])
def test_a_rung_in_use_is_left_for_a_better_one_that_costs_no_more(per_s: float) -> None:
    ladder = (candidate("best", 0.2), candidate("worse", 0.3))
    choice = move(1, load(per_s), ladder)
    assert choice.index == 0
    assert choice.reason.startswith("up to best: best ")


def test_a_rung_in_use_whose_cost_is_not_known_is_left() -> None:
    lost = without_cost("lost")
    reason = "lost cannot be used (no such model)"
    assert move(1, load(9), (LADDER[0], lost, LADDER[2])) == Choice(2, f"down to last: {reason}")
    assert move(1, load(9), (LADDER[0], lost)).index == 0
    assert move(0, load(9), (lost,)) == Choice(
        0, f"staying on lost: {reason}, but no rung that costs less can be had"
    )


@pytest.mark.parametrize("wrong", [{"use_up": 0.85}, {"wait_up": 1.0}])
def test_thresholds_that_would_make_it_flap_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be below"):
        Policy(1.0, 60.0, **wrong)


SECONDS = st.floats(0.001, 5.0)
COSTS = st.builds(RungCost, SECONDS, st.floats(0, 1), st.floats(0, 2000))
LOADS = st.builds(
    Load,
    st.builds(ArrivalRate, st.floats(0, 20), st.floats(0, 100)),
    st.integers(0, 64),
    st.floats(0, 300),
    st.integers(1, 8),
    st.floats(0, 2000),
)


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Candidate, ...]:
    """Rungs in any order of cost, some without one, some of the same model."""
    costs = draw(st.lists(st.one_of(COSTS, st.none()), min_size=1, max_size=8))
    models = [draw(st.sampled_from("abc")) for _ in costs]
    return tuple(
        Candidate(Rung(f"r{number}", model, 5, "int8"), cost)
        for number, (model, cost) in enumerate(zip(models, costs, strict=True))
    )


@st.composite
def ordered_ladders(draw: st.DrawFn) -> tuple[Candidate, ...]:
    """Rungs of which none costs more than the one before; the same memory for the same model."""
    ladder = draw(ladders())
    known = [c for c in ladder if c.cost is not None]
    first = sorted((c.cost.utterance_s for c in known if c.cost), reverse=True)
    second = sorted((c.cost.per_audio_s for c in known if c.cost), reverse=True)
    memory_mb = {model: draw(st.floats(0, 2000)) for model in "abc"}
    parts = iter(zip(first, second, strict=True))
    ordered = []
    for rung in ladder:
        if rung.cost is None:
            ordered.append(rung)
        else:
            utterance_s, per_audio_s = next(parts)
            cost = RungCost(utterance_s, per_audio_s, memory_mb[rung.rung.model])
            ordered.append(replace(rung, cost=cost))
    return tuple(ordered)


def available(ladder: tuple[Candidate, ...], active: int, free_mb: float) -> list[int]:
    """Rungs that have a cost and fit, said once more."""
    return [
        number
        for number, rung in enumerate(ladder)
        if rung.cost is not None
        and (
            (rung.rung.model, rung.rung.compute_type)
            == (ladder[active].rung.model, ladder[active].rung.compute_type)
            or rung.cost.memory_mb <= free_mb
        )
    ]


def typical_s(rung: Candidate) -> float:
    assert rung.cost is not None
    return rung.cost.typical_s


def path(ladder: tuple[Candidate, ...], start: int, constant: Load) -> list[int]:
    """The rungs passed under a constant load, the stay always over."""
    state, passed = LadderState(start, LONG_AGO), [start]
    for minute in range(2 * len(ladder) + 2):
        choice = choose(ladder, POLICY, state, constant, minute * 60.0)
        state = state.after(choice, minute * 60.0, POLICY)
        passed.append(state.index)
    return passed


def goes_one_way_and_stays(passed: list[int], rungs: int) -> bool:
    return passed in (sorted(passed), sorted(passed, reverse=True)) and (
        len(set(passed[rungs:])) == 1
    )


@given(ladders(), LOADS, st.data())
def test_constant_load_never_flaps(
    ladder: tuple[Candidate, ...], constant: Load, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(ladder) - 1))
    assert goes_one_way_and_stays(path(ladder, start, replace(constant, free_mb=inf)), len(ladder))


@given(ordered_ladders(), LOADS, st.data())
def test_constant_load_never_flaps_where_memory_is_short(
    ladder: tuple[Candidate, ...], constant: Load, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(ladder) - 1))
    assert goes_one_way_and_stays(path(ladder, start, constant), len(ladder))


MORE = st.builds(
    ArrivalRate,
    st.one_of(st.just(0.0), st.floats(0, 20)),
    st.one_of(st.just(0.0), st.floats(0, 100)),
)


@given(
    st.one_of(ladders(), ordered_ladders()),
    LOADS,
    MORE,
    st.integers(0, 20),
    st.floats(0, 100),
    st.data(),
)
def test_more_load_never_picks_a_better_rung(
    ladder: tuple[Candidate, ...],
    less: Load,
    arrivals: ArrivalRate,
    waiting: int,
    waiting_audio_s: float,
    data: st.DataObject,
) -> None:
    state = LadderState(
        data.draw(st.integers(0, len(ladder) - 1)),
        data.draw(st.floats(-200, 0)),
        patience=data.draw(st.integers(1, 3)),
    )
    more = replace(
        less,
        arrivals=ArrivalRate(
            less.arrivals.utterances_per_s + arrivals.utterances_per_s,
            less.arrivals.audio_s_per_s + arrivals.audio_s_per_s,
        ),
        waiting=less.waiting + waiting,
        waiting_audio_s=less.waiting_audio_s + waiting_audio_s,
    )
    quiet, busy = (choose(ladder, POLICY, state, wanted, 0.0) for wanted in (less, more))
    assert quiet.index <= busy.index


@given(ordered_ladders(), LOADS, MORE, st.integers(0, 20), st.data())
def test_more_load_never_picks_a_costlier_rung(
    ladder: tuple[Candidate, ...], less: Load, add: ArrivalRate, waiting: int, data: st.DataObject
) -> None:
    active = data.draw(st.integers(0, len(ladder) - 1))
    assume(ladder[active].cost is not None)
    more = replace(
        less,
        arrivals=ArrivalRate(
            less.arrivals.utterances_per_s + add.utterances_per_s,
            less.arrivals.audio_s_per_s + add.audio_s_per_s,
        ),
        waiting=less.waiting + waiting,
    )
    quiet, busy = (ladder[move(active, wanted, ladder).index] for wanted in (less, more))
    assert typical_s(busy) <= typical_s(quiet)


@given(
    ladders(),
    st.lists(st.tuples(st.floats(0, 200), LOADS), max_size=30),
    st.floats(1, 300),
    st.data(),
)
def test_no_sequence_breaks_the_minimum_stay(
    ladder: tuple[Candidate, ...],
    steps: list[tuple[float, Load]],
    min_stay_s: float,
    data: st.DataObject,
) -> None:
    policy = replace(POLICY, min_stay_s=min_stay_s)
    state = LadderState(data.draw(st.integers(0, len(ladder) - 1)), 0.0)
    now = 0.0
    for pause, wanted in steps:
        now += pause
        after = state.after(choose(ladder, policy, state, wanted, now), now, policy)
        if after.index != state.index:
            assert now - state.since >= min_stay_s
        state = after


@given(st.one_of(ladders(), ordered_ladders()), LOADS, st.floats(0, 120), st.data())
def test_every_step_goes_to_the_next_rung_that_can_be_had_and_has_a_reason(
    ladder: tuple[Candidate, ...], wanted: Load, now: float, data: st.DataObject
) -> None:
    active = data.draw(st.integers(0, len(ladder) - 1))
    choice = choose(ladder, POLICY, LadderState(active, 0.0), wanted, now)
    assert choice.reason.strip()
    assert ladder[active].name in choice.reason or ladder[choice.index].name in choice.reason
    if choice.index == active:
        return
    can_be_had = available(ladder, active, wanted.free_mb)
    assert choice.index in can_be_had
    low, high = sorted((active, choice.index))
    for passed in (number for number in can_be_had if low < number < high):
        better = [number for number in can_be_had if number < passed]
        assert any(typical_s(ladder[number]) <= typical_s(ladder[passed]) for number in better)
    if choice.index > active and ladder[active].cost is not None:
        assert typical_s(ladder[choice.index]) < typical_s(ladder[active])
