"""A house in which four rooms speak, the faults that hit it, and what became of the speech."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.faults.ledger import Ledger, Recording
from benchmarks.faults.rooms import NativeRoom, PlainRoom, Room, WyomingRoom
from benchmarks.harness import HEALTH_TOPIC, TAIL_CHARACTERS, say
from tools.brokers import (
    Mosquitto,
    MosquittoOptions,
    eventually,
    free_port,
    make_certificates,
)
from tools.program import Peer, await_online
from tools.proxy import Proxy
from tools.supervisor import SupervisedService

KITCHEN, BATH, BEDROOM, TV = "kitchen", "bath", "bedroom", "tv"
"""The rooms. The bath has a line of its own to the broker; the TV is Home Assistant by Wyoming."""
WARM_TIMEOUT_S = 90.0
WELL_TIMEOUT_S = 150.0
"""A house that is not well by then has not survived."""
QUICK_S = 3.0
LATE_S = 3.0
"""After the last fault, for answers that should not come."""
RESTART_S = 2.0
"""The supervisor waits less than the unit, so that a run takes less long."""
HEALTH_TIMEOUT_S = 15.0
MAX_SAID_CHARACTERS = 240


class Hits(StrEnum):
    """Whom a fault hits."""

    NOBODY = "nobody"
    ROOM = "the bath"
    KITCHEN = "the kitchen"
    MQTT = "rooms on MQTT"
    WYOMING = "Home Assistant"
    ALL = "all rooms"


HIT = {
    Hits.NOBODY: set[str](),
    Hits.ROOM: {BATH},
    Hits.KITCHEN: {KITCHEN},
    Hits.MQTT: {KITCHEN, BATH, BEDROOM},
    Hits.WYOMING: {TV},
    Hits.ALL: {KITCHEN, BATH, BEDROOM, TV},
}


def _nothing_missing() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a house has that others do not. Faults with the same one share a house.

    `config`: of the service. `broker`: options of Mosquitto. `tls`: the service connects with TLS.
    `launcher`: words before the program, made from the folder of the house. `environment`:
    variables of the program. `missing`: why this machine cannot have such a house; None: it can.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    broker: MosquittoOptions = field(default_factory=MosquittoOptions)
    tls: bool = False
    launcher: Callable[[Path], Sequence[str]] = lambda _folder: ()
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: Callable[[], str | None] = _nothing_missing


PLAIN = Setup()


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the table.

    `inflict` does it and undoes it, and blocks meanwhile. `says`: a regular expression that the log
    of the service must have from then on; empty: it need not say anything. `dies`: the process
    ends, so what a room that says nothing twice had open may be lost. `spares`: whom it hits is
    slowed down at most, and heard to the last word. `rivals`: another service answers, too, so
    there may be two outcomes. `raises`: the log has tracebacks on purpose. `quick`: part of a quick
    run.
    """

    name: str
    group: str
    inflict: Callable[[House], None]
    hits: Hits
    says: str = ""
    setup: Setup = PLAIN
    dies: bool = False
    spares: bool = False
    rivals: bool = False
    raises: bool = False
    quick: bool = False


@dataclass(slots=True)
class Happened:
    """A fault that happened. Times are of `time.monotonic`."""

    fault: Fault
    began_at: float
    log_from: int
    refused_before: int
    starts_before: int
    ended_at: float = 0.0
    well_at: float | None = None
    log: str = ""
    pieces: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    restarts: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class House:
    """Broker, service and rooms. `open_house` makes one.

    `service_line`: between the service and the broker. `bath_line`: between the bath and it.
    """

    def __init__(self, stack: ExitStack, setup: Setup, recordings: Sequence[Recording]) -> None:
        self.setup = setup
        self.recordings = recordings
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.certificates = make_certificates(self.folder) if setup.tls else None
        self.tls_port = free_port()
        self.broker = Mosquitto(self.folder, self.broker_options)
        self.broker.start()
        stack.callback(self.broker.stop)
        port = self.tls_port if setup.tls else self.broker.port
        self.service_line = stack.enter_context(closing(Proxy(port)))
        self.bath_line = stack.enter_context(closing(Proxy(self.broker.port)))
        self.wyoming_port = free_port()
        self.ledger = Ledger()
        self.witness = stack.enter_context(
            closing(Peer(self.broker, "stt/bridge/#", "homeassistant/#"))
        )
        self.service = SupervisedService(
            self.folder,
            self.service_line,
            restart_s=RESTART_S,
            launcher=setup.launcher(self.folder),
            environment=setup.environment,
            **self.config,
        )
        stack.callback(self.service.stop)
        self.rooms = self._make_rooms()
        self.calm: tuple[float, float] = (0.0, 0.0)
        self.quick = False
        self.happened: list[Happened] = []

    @property
    def broker_options(self) -> MosquittoOptions:
        """What the broker is started with. With TLS it has a second listener, for the service."""
        if self.certificates is None:
            return self.setup.broker
        lines = (*self.setup.broker.lines, f"listener {self.tls_port} 127.0.0.1")
        return replace(self.setup.broker, certificates=self.certificates, lines=lines)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the service; what is not here is set by `Service`."""
        config = dict(self.setup.config)
        config["wyoming"] = {"listen": [f"tcp://127.0.0.1:{self.wyoming_port}"]}
        if self.certificates is not None:
            tls = {"ca_file": str(self.certificates.ca)}
            config["mqtt"] = {"host": "localhost", "tls": tls, **config.get("mqtt", {})}
        return config

    def _make_rooms(self) -> list[Room]:
        size, shares = len(self.recordings), len((KITCHEN, BATH, BEDROOM, TV))
        # Each begins elsewhere, so that they do not speak in step.
        spoken = [
            [*self.recordings[at:], *self.recordings[:at]]
            for at in (number * size // shares for number in range(shares))
        ]
        return [
            NativeRoom(KITCHEN, self.broker, spoken[0], self.ledger),
            NativeRoom(BATH, self.bath_line, spoken[1], self.ledger),
            PlainRoom(BEDROOM, self.broker, spoken[2], self.ledger),
            WyomingRoom(TV, self.wyoming_port, spoken[3], self.ledger),
        ]

    # For faults ----------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """The health of the service, now. Raises AssertionError if it does not answer."""
        asked = len(self.witness.payloads(HEALTH_TOPIC))
        self.witness.publish("stt/bridge/request/health_check")
        answers = self.witness.json(HEALTH_TOPIC, asked + 1, HEALTH_TIMEOUT_S)
        data: dict[str, Any] = answers[-1]["data"]
        return data

    def note(self, text: str) -> None:
        """Have the table say `text` of the fault that happens now."""
        self.happened[-1].notes.append(text)

    def check(self, holds: bool, what: str) -> None:
        """The promise is broken unless `holds`."""
        if not holds:
            say(f"broken: {what}")
            self.happened[-1].broken.append(what)

    def await_(self, predicate: Callable[[], Any], timeout_s: float, what: str) -> bool:
        """Wait until `predicate` is true. If that takes too long, the promise is broken."""
        holds = self.ledger.await_(predicate, timeout_s)
        self.check(holds, f"not within {timeout_s:g} s: {what}")
        return holds

    def new_log(self) -> str:
        """What the service has logged since the fault began."""
        return self.service.log[self.happened[-1].log_from :]

    def await_log(self, pattern: str, timeout_s: float) -> bool:
        """Wait until the service has logged a text that matches."""
        return self.await_(lambda: re.search(pattern, self.new_log()), timeout_s, pattern)

    def endure(self, seconds: float) -> None:
        """Let a fault last, in a quick run less long."""
        time.sleep(min(seconds, QUICK_S) if self.quick else seconds)

    def await_speech(self, room: str) -> None:
        """Wait until a room is in the middle of an utterance."""
        opened = time.monotonic()

        def in_the_middle() -> bool:
            return any(
                one.room == room and one.ended_at is None and one.opened_at > opened
                for one in self.ledger.spoken
            )

        eventually(in_the_middle)
        time.sleep(1.0)

    # The course of it ----------------------------------------------------------------------------

    def warm_up(self, calm_s: float) -> None:
        """Wait until all rooms have right answers, then measure them in calm."""
        began = time.monotonic()
        if not self.ledger.await_(lambda: self._well_at(began) is not None, WARM_TIMEOUT_S):
            raise RuntimeError(f"the rooms were never well: {self.service.log[-TAIL_CHARACTERS:]}")
        calm_from = time.monotonic()
        time.sleep(calm_s)
        self.calm = (calm_from, time.monotonic())

    def suffer(self, fault: Fault) -> None:
        """Have a fault happen, and wait until all is well again."""
        say(fault.name)
        now = time.monotonic()
        ledger, strangers = self.ledger, len(self.ledger.strangers)
        happened = Happened(
            fault,
            now,
            len(self.service.log),
            ledger.refused,
            self.service.starts,
        )
        self.happened.append(happened)
        before = self._counters()
        try:
            fault.inflict(self)
        except AssertionError as error:
            self.check(False, str(error)[:MAX_SAID_CHARACTERS])
        happened.ended_at = time.monotonic()
        ledger.await_(lambda: self._well_at(happened.ended_at) is not None, WELL_TIMEOUT_S)
        happened.well_at = self._well_at(happened.ended_at)
        happened.log = self.new_log()
        if happened.well_at is not None:
            happened.counted = dict(self._counters() - before)
        happened.pieces = dict(
            Counter(
                "in part" if each.incomplete else each.code or each.kind
                for each in ledger.strangers[strangers:]
            )
        )
        happened.refused = ledger.refused - happened.refused_before
        happened.restarts = self.service.starts - happened.starts_before
        if happened.well_at is not None:
            say(f"well after {happened.well_at - happened.ended_at:.1f} s")

    def _counters(self) -> Counter[str]:
        """What the process has refused and dropped so far, by code and reason."""
        try:
            counters = self.health()["counters"]
        except AssertionError:
            self.check(False, "the service tells nothing of its health")
            return Counter()
        return Counter(counters["errors"]) + Counter(counters["dropped"])

    def _well_at(self, since: float) -> float | None:
        """When every room had a right answer to what it began after `since`; None: not yet."""
        at = since
        for room in self.rooms:
            right = [
                one.answers[0].at
                for one in list(self.ledger.spoken)
                if one.room == room.name and one.opened_at >= since and one.said == 1 and one.right
            ]
            if not right:
                return None
            at = max(at, right[0])
        return at


@contextmanager
def open_house(setup: Setup, recordings: Sequence[Recording], calm_s: float) -> Iterator[House]:
    """A house whose rooms speak, warmed up. At the end they have said all and it is closed."""
    with ExitStack() as stack:
        house = House(stack, setup, recordings)
        try:
            await_online(house.service, house.witness)
            for room in house.rooms:
                room.start()
                stack.callback(room.join)
                stack.callback(room.stop)
            house.warm_up(calm_s)
            yield house
            house.endure(LATE_S)
        except BaseException:
            say(f"the end of the service's log: {house.service.log[-TAIL_CHARACTERS:]}")
            raise
        finally:
            for room in house.rooms:
                room.stop()
