"""Chooses the rung by load. Pure functions.

A move goes one useful rung up or down, after a minimum stay. The thresholds for down and up differ.
Each move up that did not last doubles the stay before the next one. Every choice has a reason in
words. The estimates ignore that batches save time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from stt_mqtt.engine.load_meter import ArrivalRate
from stt_mqtt.rungs import Rung

TYPICAL_AUDIO_S = 3.0
"""Length of a typical command, by which rungs are compared, in seconds."""
LASTING_STAYS = 10
"""A move up that is reverted within this many minimum stays did not last."""
MAX_PATIENCE = 32


@dataclass(frozen=True, slots=True)
class RungCost:
    """The cost of a rung on this machine: time of one worker, and memory to load its model."""

    utterance_s: float
    """Seconds of work per utterance."""
    per_audio_s: float
    """Additional seconds of work per second of audio."""
    memory_mb: float
    """Memory to load the model, in MB; the same for all rungs of a model."""

    def work_s(self, utterances: float, audio_s: float) -> float:
        """Seconds of one worker for `utterances` with `audio_s` seconds of audio in total."""
        return utterances * self.utterance_s + audio_s * self.per_audio_s

    @property
    def typical_s(self) -> float:
        """Seconds of one worker for a typical command."""
        return self.work_s(1.0, TYPICAL_AUDIO_S)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rung and its cost. A rung without a cost is not chosen; `reason` says why."""

    rung: Rung
    cost: RungCost | None
    reason: str = "its cost is not known"

    @property
    def name(self) -> str:
        """Name of the rung."""
        return self.rung.name


def shares_model(one: Rung, other: Rung) -> bool:
    """Whether two rungs use the same loaded model, so that a change loads nothing."""
    return (one.model, one.compute_type) == (other.model, other.compute_type)


@dataclass(frozen=True, slots=True)
class Load:
    """The arriving and waiting work, and the resources for it."""

    arrivals: ArrivalRate
    waiting: int
    """Utterances in the queue."""
    waiting_audio_s: float
    workers: int
    """Utterances transcribed at once, at least 1."""
    free_mb: float = inf
    """Memory for a model that is loaded beside the current one, in MB."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to move. A use is a share of the time of the workers. `use_up` is below `use_down`."""

    promised_wait_s: float
    min_stay_s: float
    use_down: float = 0.85
    """The ladder leaves a rung that would be busier than this."""
    use_up: float = 0.6
    """The ladder takes a better rung only if it would be less busy than this."""
    wait_up: float = 0.5
    """The ladder takes a better rung only if it clears the queue in this share of the wait."""

    def __post_init__(self) -> None:
        if not (self.use_up < self.use_down and self.wait_up < 1.0):
            raise ValueError("the thresholds up must be below the thresholds down")


@dataclass(frozen=True, slots=True)
class Choice:
    """The index of the chosen rung, and the reason in words."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class LadderState:
    """The index of the rung in use, and since when, on the clock of `now`."""

    index: int
    since: float
    climbed: bool = False
    """Whether the last move was up."""
    patience: int = 1
    """Minimum stays before the next move up. Doubles with every move up that did not last."""

    def after(self, choice: Choice, now: float, policy: Policy) -> LadderState:
        """The state after `choice` is carried out at `now`."""
        if choice.index == self.index:
            return self
        patience = self.patience
        if choice.index > self.index and self.climbed:
            lasted = now - self.since >= LASTING_STAYS * policy.min_stay_s
            patience = 1 if lasted else min(2 * patience, MAX_PATIENCE)
        return LadderState(choice.index, now, choice.index < self.index, patience)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected effect of a load on a rung."""

    use: float
    """Share of the workers' time for arriving speech. Over 1 the rung cannot keep up."""
    wait_s: float
    """Seconds until the current queue is done."""


def forecast(cost: RungCost, load: Load) -> Forecast:
    """The forecast for a rung of this `cost` under `load`."""
    arrivals = load.arrivals
    return Forecast(
        cost.work_s(arrivals.utterances_per_s, arrivals.audio_s_per_s) / load.workers,
        cost.work_s(load.waiting, load.waiting_audio_s) / load.workers,
    )


def choose(
    candidates: Sequence[Candidate], policy: Policy, state: LadderState, load: Load, now: float
) -> Choice:
    """Choose the rung for `now`: the best one that keeps the promised wait, or a step towards it.

    `candidates` are the rungs, best first. Rungs are skipped if they have no cost, if their model
    does not fit into memory, or if they cost no less than a better one.
    """
    target, why = _target(_Ladder(candidates, policy, state.index, load))
    name = candidates[state.index].name
    if target == state.index:
        return Choice(target, f"staying on {name}: {why}")
    to = candidates[target].name
    stayed_s = now - state.since
    stay_s = policy.min_stay_s * (state.patience if target < state.index else 1)
    if stayed_s < stay_s:
        left = f"{stay_s - stayed_s:.0f} s"
        return Choice(state.index, f"staying on {name}, {to} not before {left}: {why}")
    return Choice(target, f"{'up' if target < state.index else 'down'} to {to}: {why}")


@dataclass(frozen=True, slots=True)
class _Ladder:
    candidates: Sequence[Candidate]
    policy: Policy
    active: int
    load: Load

    def cost(self, index: int) -> RungCost | None:
        return self.candidates[index].cost

    def name(self, index: int) -> str:
        return self.candidates[index].name

    def misfit(self, index: int) -> str | None:
        """Why the rung cannot be used at all; None: it can."""
        candidate = self.candidates[index]
        if candidate.cost is None:
            return f"{candidate.name} cannot be used ({candidate.reason})"
        loaded = shares_model(candidate.rung, self.candidates[self.active].rung)
        if not loaded and candidate.cost.memory_mb > self.load.free_mb:
            return (
                f"{candidate.name} needs {candidate.cost.memory_mb:.0f} MB "
                f"and {max(0.0, self.load.free_mb):.0f} MB are free"
            )
        return None

    def useful(self) -> list[int]:
        """Indices of rungs that can be used and cost less than every better one, best first."""
        chosen: list[int] = []
        least_s = inf
        for index, candidate in enumerate(self.candidates):
            cost = candidate.cost
            if cost is not None and self.misfit(index) is None and cost.typical_s < least_s:
                least_s = cost.typical_s
                chosen.append(index)
        return chosen

    def overload(self, index: int) -> str | None:
        """Why the load is too high for the rung; None: it keeps the promised wait."""
        cost = self.cost(index)
        if cost is None:
            return self.misfit(index)
        expected = forecast(cost, self.load)
        name = self.name(index)
        if expected.use > self.policy.use_down:
            return f"{name} would be busy {_percent(expected.use)}"
        if expected.wait_s > self.policy.promised_wait_s:
            return (
                f"{name} would let wait {expected.wait_s:.1f} s "
                f"where {self.policy.promised_wait_s:g} s are promised"
            )
        return None

    def hindrance(self, index: int) -> str | None:
        """Why a move up to this rung would not be safe; None: it would. The rung has a cost."""
        cost = self.cost(index)
        assert cost is not None
        expected = forecast(cost, self.load)
        if expected.use >= self.policy.use_up:
            return f"{self.name(index)} would be busy {_percent(expected.use)}"
        if expected.wait_s > self.policy.wait_up * self.policy.promised_wait_s:
            return f"{self.name(index)} would take {expected.wait_s:.1f} s for what waits"
        return None


def _target(ladder: _Ladder) -> tuple[int, str]:
    """The rung to move to after the stay, and why. The active rung means no move."""
    active = ladder.active
    useful = ladder.useful()
    above = max((index for index in useful if index < active), default=None)
    below = min((index for index in useful if index > active), default=None)
    hindrance = None if above is None else ladder.hindrance(above)
    if above is not None and hindrance is None:
        return above, _easy(ladder, above)
    overload = ladder.overload(active)
    if overload is not None and below is not None:
        return below, overload
    if above is not None and _no_worse(ladder, above, below):
        return above, f"{ladder.name(above)} is better and costs no more"
    if overload is not None:
        return active, f"{overload}, but no rung that costs less can be had"
    return active, hindrance or _best(ladder)


def _no_worse(ladder: _Ladder, above: int, below: int | None) -> bool:
    """Whether a better rung costs no more than the active one, so that it can stay."""
    cost, own = ladder.cost(above), ladder.cost(ladder.active)
    assert cost is not None
    cheap = own is None or cost.typical_s <= own.typical_s
    return cheap and (below is None or ladder.overload(above) is None)


def _best(ladder: _Ladder) -> str:
    """The reason for staying on a rung that is fast enough and has no useful rung above it."""
    misfits = [ladder.misfit(index) for index in range(ladder.active)]
    missing = next((why for why in reversed(misfits) if why is not None), None)
    return missing or _easy(ladder, ladder.active)


def _easy(ladder: _Ladder, index: int) -> str:
    cost = ladder.cost(index)
    assert cost is not None
    expected = forecast(cost, ladder.load)
    return f"{ladder.name(index)} would be busy {_percent(expected.use)}, which is little enough"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
