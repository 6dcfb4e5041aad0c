"""The short version of `python -m tests.fuzz`, and whether it finds what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import audio_seeds, broken, campaign, mutation, results
from tests.fuzz.campaign import Plan, Tally
from tests.fuzz.choices import Choices
from tests.fuzz.containers import with_checksums
from tests.fuzz.target import How, Kind
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600.0
SEED = 1042
"""With it, one case of each target that is to fail is bad."""
SHORT = 5_000
"""Cases of all targets together. They take some 10 s of CPU time."""


def test_every_target_is_well_in_a_short_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--together", "--cases", str(SHORT)]
    done = subprocess.run(
        [*command, "--failures", str(tmp_path), "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "fuzz.md").read_text()
    assert all(f"| {target.name} |" in page for target in TARGETS)


def test_a_whole_run_has_a_million_cases() -> None:
    assert sum(target.cases for target in TARGETS) >= 1_000_000
    assert len({target.name for target in TARGETS}) == len(TARGETS)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tally]:
    """What a run finds in targets that fail."""
    folder = tmp_path_factory.mktemp("failures")
    families = {target.name: broken.__name__ for target in broken.TARGETS}
    plan = Plan(SEED, guided=False, failures=folder, families=families)
    cases = {target.name: broken.CASES for target in broken.TARGETS}
    return {one.target: one for one in campaign.run_together(broken.TARGETS, cases, plan)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("raises", Kind.EXCEPTION),
        ("logs", Kind.EXCEPTION),
        ("dies", Kind.CRASH),
        ("hangs", Kind.HANG),
        ("eats", Kind.MEMORY),
        ("forgets", Kind.UNANSWERED),
    ],
)
def test_a_failure_is_found_and_its_case_is_saved(
    found: dict[str, Tally], name: str, kind: Kind
) -> None:
    tally = found[name]
    assert tally.cases == broken.CASES
    ((what, count),) = tally.failed.items()
    assert count == 1
    assert what.startswith(f"{kind}: ")
    file = tally.shown[what]["file"]
    assert file is not None
    assert broken.BAD in Path(file).read_bytes()


def test_the_table_counts_failures(found: dict[str, Tally]) -> None:
    *_, last = results.table(list(found.values()))
    assert last.endswith(f"| {len(broken.TARGETS)} |")


def test_a_case_depends_on_its_seed_only() -> None:
    seeds = list(audio_seeds.seeds("ogg"))
    cases = [mutation.case(f"1/ogg/{number}", seeds, 4096) for number in range(50)]
    assert cases == [mutation.case(f"1/ogg/{number}", seeds, 4096) for number in range(50)]
    assert len(set(cases)) > 40
    assert max(map(len, cases)) <= 4096


def test_a_structured_case_mostly_gives_a_value() -> None:
    structured = [target for target in TARGETS if target.how is How.STRUCTURED]
    for target in structured:
        given = [
            target.run(mutation.random_bytes(str(number), target.max_bytes))  # type: ignore[func-returns-value]
            for number in range(20)
        ]
        assert sum(one is not None for one in given) > 10, target.name


def test_bytes_decide_everything_and_then_nothing_more() -> None:
    choices = Choices(b"audio\x02\x01\x01\x05")
    assert choices.number(7) == 5
    assert choices.flag()
    assert choices.pick("abc") == "b"
    assert choices.take(4) == b"au"
    assert choices.rest() == b"dio"
    assert not choices
    assert (choices.number(9), choices.take(9), choices.flag()) == (0, b"", False)


def test_checksums_of_a_right_file_stay() -> None:
    for seed in audio_seeds.seeds("ogg"):
        assert with_checksums(seed) == seed
        assert with_checksums(seed[:100] + b"x" + seed[101:])[:22] == seed[:22]
