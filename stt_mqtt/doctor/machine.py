"""Checks of the machine: clock, processor and memory."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import inf

from stt_mqtt.config import Config
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import Machine, Subject
from stt_mqtt.engine.resources import choose_parallelism, free_mb, read_if_there, usable_cores
from stt_mqtt.errors import ModelError
from stt_mqtt.observe.process import rss_mb

CLOCK, CPU, MEMORY = "clock", "cpu", "memory"

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""The program is younger than this. A clock before it was never set."""
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_NEEDED = {"x86_64": "sse4_1", "aarch64": "asimd"}
"""The instructions without which CTranslate2 does not run, as `/proc/cpuinfo` names them."""
_FAST = {"x86_64": ("avx2", "avx"), "aarch64": ("asimddp",)}
"""Instructions that make int8 fast, best first."""
_COST = {
    "x86_64": "so transcription takes 1.5 to 2 times as long",
    "aarch64": "so transcription takes longer",
}
"""What the first of them costs. Measured with `tiny.en` and `base`, AVX2 against AVX."""


def check_clock(subject: Subject) -> list[Finding]:
    """A wrong clock breaks certificates, and speech looks too old or too new."""
    epoch = subject.machine.epoch()
    if not EARLIEST.timestamp() <= epoch < LATEST.timestamp():
        return [
            fail(
                CLOCK,
                f"the clock says {_day(epoch)}, which cannot be right: certificates are refused "
                "and results have a wrong time",
                "let a time server set it (systemd-timesyncd or chrony), or set it by hand",
                temporary=True,
            )
        ]
    synchronised = subject.machine.is_synchronised()
    if synchronised is False:
        return [
            warn(
                CLOCK,
                f"the clock says {_day(epoch)}, but no time server sets it",
                "start systemd-timesyncd or chrony, unless the host of this machine sets its clock",
            )
        ]
    said = "a time server sets it" if synchronised else "the system does not say who sets it"
    return [ok(CLOCK, f"the clock says {_day(epoch)}; {said}")]


def check_cpu(subject: Subject) -> list[Finding]:
    """The instructions that CTranslate2 uses, and the cores that the process may use."""
    engine, cores = subject.config.engine, usable_cores(subject.machine.root)
    if not subject.config.has_model:
        return list(_about_cores(cores)) or [ok(CPU, f"{platform.machine()}; {cores:g} cores")]
    features = cpu_features(subject.machine)
    parallelism = choose_parallelism(cores, engine.workers, engine.threads)
    findings = [*_about_instructions(platform.machine(), features), *_about_cores(cores)]
    threads = f"engine.workers {parallelism.workers} x engine.threads {parallelism.threads}"
    if parallelism.oversubscribes(cores):
        detail = f"{threads} is more than the {cores:g} cores that the service may use"
        findings.append(warn(CPU, detail, "set fewer workers or threads"))
    fast = [name for name in _FAST.get(platform.machine(), ()) if name in features]
    has = f" with {', '.join(fast)}" if fast else ""
    return findings or [ok(CPU, f"{platform.machine()}{has}; {cores:g} cores, {threads}")]


def _about_instructions(machine: str, features: frozenset[str]) -> Iterator[Finding]:
    """What the processor lacks. No `features`: the system does not say which it has."""
    if machine not in _NEEDED:
        detail = f"CTranslate2 is not built for {machine}"
        yield fail(CPU, detail, "use a 64-bit x86 or ARM system")
    elif lacks_instructions(machine, features):
        detail = f"the processor lacks {_NEEDED[machine]}, which the model needs"
        yield fail(CPU, detail, "use another machine")
    elif features and _FAST[machine][0] not in features:
        yield warn(
            CPU,
            f"the processor lacks {_FAST[machine][0]}, {_COST[machine]}",
            "if answers are late, use the smallest model, or another machine for the service",
        )


def lacks_instructions(machine: str, features: frozenset[str]) -> bool:
    """Whether the system would end a process that loads a model.

    `machine`: the architecture. `features`: as in `cpu_features`.
    """
    return bool(features) and machine in _NEEDED and _NEEDED[machine] not in features


def _about_cores(cores: float) -> Iterator[Finding]:
    if cores < 1:
        detail = f"only {cores:g} of a core may be used"
        yield warn(CPU, detail, "raise the CPU limit to 1 or more")


def cpu_features(machine: Machine) -> frozenset[str]:
    """The instruction sets that `/proc/cpuinfo` names. Empty: it says nothing."""
    for line in read_if_there(machine.root / "proc/cpuinfo").splitlines():
        name, _, names = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(names.split())
    return frozenset()


def check_memory(subject: Subject) -> list[Finding]:
    """Whether each rung fits into the free memory. The service has one in memory already."""
    free = memory_left_mb(subject.machine)
    told = "no limit is known" if free == inf else f"{free:.0f} MB are free"
    if subject.service is not None:
        return _beside_service(subject.config, free, told, subject.service.rung)
    short = [(model, mb) for model, mb in _needs(subject.config) if mb > free]
    findings = [
        fail(
            MEMORY,
            f"model {model} needs about {mb:.0f} MB and {free:.0f} MB are free",
            "end other programs, raise the memory limit, or set a smaller engine.model; if the "
            "service runs on this machine, its status page checks it without a second model",
            temporary=True,
        )
        for model, mb in short
    ]
    needs = [mb for _, mb in _needs(subject.config)]
    needed = f"; the largest model needs about {max(needs):.0f} MB" if needs else ""
    return findings or [ok(MEMORY, told + needed)]


def memory_left_mb(machine: Machine) -> float:
    """Memory that this process may still allocate, in MB; infinite if it is unknown."""
    limit = machine.address_space_mb()
    left = free_mb(machine.root)
    return left if limit < 0 else min(left, max(limit - _address_space_used_mb(machine), 0.0))


def _beside_service(config: Config, free: float, told: str, active: str) -> list[Finding]:
    uses = f"the service uses {rss_mb():.0f} MB, {told}"
    names = {rung.model for rung in config.rungs if rung.name != active}
    short = [model for model, mb in _needs(config) if model in names and mb > free]
    if short:
        return [
            warn(
                MEMORY,
                f"{uses}; that is too little to change to {', '.join(short)}",
                "end other programs, raise the memory limit, or take that rung out of the ladder",
            )
        ]
    return [ok(MEMORY, uses)]


def _needs(config: Config) -> Iterable[tuple[str, float]]:
    """Each model that is on this machine, with the memory that it needs in MB."""
    from stt_mqtt.engine.loading import needed_mb

    needs: dict[str, float] = {}
    for rung in config.rungs if config.has_model else ():
        try:
            needs[rung.model] = max(needed_mb(rung), needs.get(rung.model, 0.0))
        except ModelError:
            # The check of the models says so.
            continue
    return needs.items()


def _address_space_used_mb(machine: Machine) -> float:
    for line in read_if_there(machine.root / "proc/self/status").splitlines():
        name, _, rest = line.partition(":")
        if name == "VmSize":
            return int(rest.split()[0]) * 1024 / 1e6
    return 0.0


def _day(epoch: float) -> str:
    try:
        return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{epoch:.0f} s after 1970"
