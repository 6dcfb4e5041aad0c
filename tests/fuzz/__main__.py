"""Feeds the service hostile bytes: `python -m tests.fuzz`. See tests/fuzz/README.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import report
from tests.fuzz import campaign, results
from tests.fuzz.campaign import Plan, Tally
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import has_atheris

WHOLE = sum(target.cases for target in TARGETS)
LEAST = 50
"""Fewest cases of a target in a short run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Returns the exit status: 1 if a case failed."""
    options = _parser().parse_args(arguments)
    patterns = options.target or ["*"]
    targets = [one for one in TARGETS if any(fnmatchcase(one.name, p) for p in patterns)]
    if not targets:
        names = ", ".join(target.name for target in TARGETS)
        print(f"no such target; there are {names}", file=sys.stderr)
        return 2
    plan = Plan(
        seed=options.seed,
        guided=has_atheris() and not options.unguided,
        processes=options.processes,
        failures=options.failures.resolve(),
        until=time.monotonic() + 60 * options.minutes,
    )
    if options.repeat:
        if len(targets) != 1:
            print("--repeat needs one --target", file=sys.stderr)
            return 2
        tallies = [campaign.repeat(targets[0], case, plan) for case in options.repeat]
    else:
        measured = report.measured_on()
        cases = shares(targets, options.cases)
        run = campaign.run_together if options.together else campaign.run
        tallies = run(targets, cases, plan)
        print("\n".join(results.table(tallies)))
        if options.results is not None:
            results.write(options.results, tallies, results.data_of(tallies, plan.seed, measured))
    show_failures(tallies)
    return int(any(tally.failed or tally.gave_up for tally in tallies))


def shares(targets: Sequence[Target], cases: int | None) -> dict[str, int]:
    """How many cases of each target. `cases`: of all together, None: as many as they have."""
    own = sum(target.cases for target in targets)
    wanted = own if cases is None else cases
    return {one.name: max(round(one.cases * wanted / own), LEAST) for one in targets}


def show_failures(tallies: Sequence[Tally]) -> None:
    """Say what failed, and how to see it again."""
    for tally in tallies:
        for name, shown in tally.shown.items():
            print(f"\n{tally.target}: {tally.failed[name]} times {name}\n{shown['detail']}")
            if shown["file"] is not None:
                command = f"python -m tests.fuzz --target {tally.target} --repeat"
                print(f"again with: {command} {shown['file']}")
        if tally.gave_up:
            print(f"\n{tally.target}: given up, its process died too often")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, help=f"of all targets together; else {WHOLE:,}")
    parser.add_argument(
        "--target", action="append", help="a name or pattern, may be repeated; else all"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="most wall time")
    parser.add_argument("--processes", type=int, default=2, help="at once")
    parser.add_argument("--unguided", action="store_true", help="without atheris")
    parser.add_argument(
        "--together", action="store_true", help="all targets in one process, without atheris"
    )
    parser.add_argument(
        "--failures", type=Path, default=Plan().failures, help="folder for cases that failed"
    )
    parser.add_argument(
        "--results", type=Path, nargs="?", const=report.RESULTS, help="write the page, to a folder"
    )
    parser.add_argument("--repeat", type=Path, nargs="+", metavar="CASE", help="run these files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
