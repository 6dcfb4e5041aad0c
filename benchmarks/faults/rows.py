"""The rows of the table: what became of the speech in a fault, and whether the promise held."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.faults.house import (
    HIT,
    MAX_SAID_CHARACTERS,
    WELL_TIMEOUT_S,
    Fault,
    Happened,
    House,
)
from benchmarks.faults.ledger import Spoken
from benchmarks.harness import percentile

DEFECTS = ("Traceback", "please report")
LINE_START = r"^\S+ [A-Z]+ +\S+ \S+ "
"""Time, level, device and utterance."""
LOST, REFUSED = ("lost", "open"), "refused"


def row_of(one: Happened, house: House) -> dict[str, Any]:
    """The row of a fault that has happened."""
    fault, until = one.fault, one.well_at or time.monotonic()
    unhit = {room.name for room in house.rooms} - HIT[fault.hits]
    spoken = [
        each
        for each in house.ledger.spoken
        if each.opened_at < one.ended_at
        and (each.settled_at is None or each.settled_at >= one.began_at)
    ]
    beside = [each for each in house.ledger.spoken if each.room in unhit]
    latency = _latencies(beside, one.began_at, until)
    calm = _latencies(beside, *house.calm)
    p95, calm_p95 = percentile(latency, 0.95), percentile(calm, 0.95)
    counted = Counter(map(_outcome, spoken))
    said = re.search(fault.says, one.log) if fault.says else None
    row = {
        "fault": fault.name,
        "group": fault.group,
        "hits": fault.hits.value,
        "took_s": round(one.ended_at - one.began_at, 1),
        "opened": len(spoken),
        "outcomes": dict(counted),
        "said_again": sum(each.said > 1 or not each.first for each in spoken),
        "repeated": sum(any(heard.repeated for heard in each.answers) for each in spoken),
        "copies": sum(each.copies for each in spoken),
        "doubled": sum(each.outcomes > 1 for each in spoken),
        "pieces": one.pieces,
        "refused": one.refused,
        "restarts": one.restarts,
        "beside": len(latency),
        "p95_s": p95,
        "calm": len(calm),
        "calm_p95_s": calm_p95,
        "factor": round(p95 / calm_p95, 2) if p95 and calm_p95 else None,
        "well_after_s": one.well_at and round(one.well_at - one.ended_at, 1),
        "counted": one.counted,
        "says": _line_of(said, one.log) if said else "",
        "notes": one.notes,
        "not_heard": [_details(each, one) for each in spoken if _outcome(each) != "text"],
        "defects_in_log": sum(one.log.count(sign) for sign in DEFECTS),
    }
    harmed = [_outcome(each) for each in spoken if fault.spares or each.room in unhit]
    row["broken"] = one.broken + _broken(fault, row, harmed)
    return row


def _broken(fault: Fault, row: Mapping[str, Any], harmed: Sequence[str]) -> list[str]:
    """What of the promise does not hold."""
    found = []
    if row["doubled"] and not fault.rivals:
        found.append(f"{row['doubled']} utterances have more than one outcome")
    lost = {name: count for name, count in row["outcomes"].items() if name in LOST}
    if lost and not fault.dies:
        found.append(f"without an outcome: {lost}")
    bad = Counter(name for name in harmed if name not in {"text", "other words"})
    if bad:
        found.append(f"rooms that should be heard: {dict(bad)}")
    if row["well_after_s"] is None:
        found.append(f"not well within {WELL_TIMEOUT_S:g} s")
    if fault.says and not row["says"]:
        found.append(f"the log says nothing like {fault.says}")
    if row["defects_in_log"] and not fault.raises:
        found.append(f"{row['defects_in_log']} defects in the log")
    if row["restarts"] and not fault.dies:
        found.append(f"the process ended and was started again {row['restarts']} times")
    return found


def _outcome(spoken: Spoken) -> str:
    """What became of an utterance, as a column of the table."""
    heard = spoken.answer
    if heard is None:
        return REFUSED if spoken.lost == REFUSED else "lost" if spoken.lost else "open"
    if heard.incomplete or heard.cut:
        return "in part"
    if heard.kind in {"transcript", "no_speech"}:
        return "text" if spoken.right else "other words" if spoken.arrived else "with gaps"
    return heard.code or heard.kind


def _details(spoken: Spoken, during: Happened) -> dict[str, Any]:
    """What became of one utterance, with seconds since the fault began. Without its words."""

    def since(at: float | None) -> float | None:
        return at and round(at - during.began_at, 2)

    return {
        "id": spoken.id,
        "outcome": _outcome(spoken),
        "said": spoken.said,
        "opened_s": since(spoken.opened_at),
        "ended_s": since(spoken.ended_at),
        "settled_s": since(spoken.settled_at),
        "answers": len(spoken.answers),
        "heard": None if spoken.answer is None else spoken.answer.facts,
    }


def _latencies(spoken: Sequence[Spoken], since: float, until: float) -> list[float]:
    """Of the utterances that ended between two times."""
    return [
        one.latency_s
        for one in spoken
        if one.latency_s is not None and since <= (one.ended_at or 0.0) <= until
    ]


def _line_of(found: re.Match[str], log: str) -> str:
    """The message of the log's line in which something was found."""
    start = log.rfind("\n", 0, found.start()) + 1
    end = log.find("\n", found.end())
    line = log[start : end if end >= 0 else len(log)]
    return re.sub(LINE_START, "", line)[:MAX_SAID_CHARACTERS]
