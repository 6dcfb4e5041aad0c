"""Faults of process, disk, clock, memory and model."""

from __future__ import annotations

from benchmarks.faults.house import Fault

FAULTS: tuple[Fault, ...] = ()
