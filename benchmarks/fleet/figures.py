"""What is calculated from a ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, median

from benchmarks.fleet.ledger import HEARD, Done, Said
from benchmarks.harness import percentile


def rate(said: Iterable[Said], since: float, until: float) -> float:
    """Transcripts per second between two times."""
    heard = sum(
        one.answers[0].kind == HEARD and since <= one.answers[0].at < until
        for one in said
        if one.answers
    )
    return heard / (until - since)


def linear(rates: dict[int, float]) -> float | None:
    """The rate of most workers as a share of what as many times the rate of fewest would be."""
    few, many = min(rates), max(rates)
    return round(rates[many] * few / (rates[few] * many), 3) if rates[few] else None


def jain(values: Sequence[float]) -> float | None:
    """Jain's index: 1 if all values are equal, 1/n if one has everything; None of none."""
    squares = len(values) * sum(value**2 for value in values)
    return round(sum(values) ** 2 / squares, 4) if squares else None


def shares_served(said: Iterable[Said]) -> dict[str, float]:
    """By room: transcripts for each utterance that was sent."""
    rooms: dict[str, list[bool]] = defaultdict(list)
    for one in said:
        rooms[one.room].append(bool(one.answers) and one.answers[0].kind == HEARD)
    return {room: mean(heard) for room, heard in rooms.items()}


def worst_room_s(said: Iterable[Said], share: float = 0.99) -> float | None:
    """The mean wait of a room, which `share` of the rooms do not exceed."""
    rooms: dict[str, list[float]] = defaultdict(list)
    for one in said:
        if one.wait_s is not None:
            rooms[one.room].append(one.wait_s)
    return percentile([mean(waits) for waits in rooms.values()], share)


def share_after_s(
    done: Sequence[Done], worker: str, joined_at: float, fair: float, window_s: float
) -> float | None:
    """Seconds from `joined_at` until a worker does its share of the work; None: never.

    It does from the beginning of the first window in which at least 80 % of `fair`, its share of
    all slots, of the results are its own. Windows begin at its results: the time until its first
    one counts, and that result ended what the worker began when it had the slot.
    """
    for first in (one.at for one in done if one.worker == worker and one.at >= joined_at):
        own = [one.worker == worker for one in done if first <= one.at < first + window_s]
        if mean(own) >= 0.8 * fair:
            return round(first - joined_at, 3)
    return None


def added_ms(pairs: Sequence[tuple[Said, Said]]) -> dict[str, float | None]:
    """What the way over the fleet adds, in ms. A pair: the same utterance, without it and with it.

    The time of the transcription is left out on both sides, since it differs from run to run. Its
    rest is compared with the median of the rest without the fleet.
    """
    near = [one.wait_s for one, _ in pairs if one.wait_s is not None]
    far = [one.wait_s for _, one in pairs if one.wait_s is not None]
    if not near or not far:
        return {"p50": None, "p95": None}
    base = median(near)
    return {
        name: round(1e3 * ((percentile(far, at) or 0.0) - base), 2)
        for name, at in (("p50", 0.5), ("p95", 0.95))
    }
