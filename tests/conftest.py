"""Brokers for every test, and the rule that nothing is skipped in CI."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

from stt_mqtt.observe import logs
from tests.thorough import examples
from tools.brokers import (
    KEEPS_ALL,
    MOSQUITTO,
    OPENSSL,
    Broker,
    Certificates,
    EmbeddedProcess,
    Mosquitto,
    MosquittoOptions,
    describe_broker,
    make_certificates,
)

MAX_PROCESSES = 8
IN_CI = os.environ.get("CI") == "true"

TESTS = Path(__file__).parent
COVERED_BY = {
    "audio", "config", "core", "test_errors.py", "test_hints.py", "test_types.py",
}  # fmt: skip
"""The tests of the packages that must be covered. Only they are watched for coverage, without
random examples, which reach something else each time. To watch makes slower by a third or more."""

# An example that takes long says how busy the machine is, and nothing else.
hypothesis.settings.register_profile(
    "patient",
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")


# Otherwise each process, and each program that a test starts, compiles all code anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and the programs of the tests inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: half of the time a test waits. Each may hold a model.

    Files that are named run in this process, which is quicker for a few.
    """
    if all(".py" in argument for argument in config.args):
        config.option.dist = "no"
        return 0
    return min(2 * len(os.sched_getaffinity(0)), MAX_PROCESSES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        covers = item.path.relative_to(TESTS).parts[0] in COVERED_BY
        if not covers or item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")


def pytest_report_header() -> str:
    return describe_broker()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that CI skips has shown nothing."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, which CI does not accept: {call.excinfo and call.excinfo.value}"
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is imported."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept: {collector.nodeid}"
    return report


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Whoever sets up the log of the program leaves the one of the tests as it was."""
    root, own = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers, root.level = before[0], before[1]
    own.setLevel(before[2])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A fresh broker without login: Mosquitto, or the embedded one where that is missing."""
    with a_broker(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The same for all tests of a module, which use topics of their own."""
    with a_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@contextmanager
def a_broker(folder: Path) -> Iterator[Broker]:
    running: Broker = EmbeddedProcess(folder) if MOSQUITTO is None else Mosquitto(folder, KEEPS_ALL)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[[MosquittoOptions], Mosquitto]]:
    """Makes running Mosquittos as a test wants them; the test is marked `needs_mosquitto`."""
    with ExitStack() as running:

        def make(options: MosquittoOptions) -> Mosquitto:
            made = Mosquitto(tmp_path, options)
            running.callback(made.stop)
            made.start()
            return made

        yield make


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Callable[[tuple[str, str] | None], EmbeddedProcess]]:
    """Makes running embedded brokers, with a login or None."""
    with ExitStack() as running:

        def make(login: tuple[str, str] | None) -> EmbeddedProcess:
            made = EmbeddedProcess(tmp_path, login)
            running.callback(made.stop)
            made.start()
            return made

        yield make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority with a server (localhost) and a client certificate."""
    if OPENSSL is None:
        pytest.skip("needs the openssl command, which is not installed")
    return make_certificates(tmp_path_factory.mktemp("certificates"))
