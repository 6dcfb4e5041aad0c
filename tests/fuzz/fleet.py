"""What the processes of a fleet send each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from stt_mqtt.fleet.wire import (
    JobResult,
    WireError,
    decode_job,
    decode_result,
    decode_worker,
    encode_job,
    encode_result,
    encode_worker,
)
from tests.fleet.test_wire import HEARD, JOB, WORKER
from tests.fuzz.target import Target


def _job(data: bytes) -> None:
    with suppress(WireError):
        decode_job(data, 0.0)


def _result(data: bytes) -> None:
    with suppress(WireError):
        decode_result(data)


def _heartbeat(data: bytes) -> None:
    with suppress(WireError):
        decode_worker(data)


def _seeds(data: bytes) -> Callable[[], list[bytes]]:
    return lambda: [data]


TARGETS = (
    Target("fleet-job", _job, 20_000, seeds=_seeds(encode_job(JOB))),
    Target("fleet-result", _result, 20_000, seeds=_seeds(encode_result(JobResult(1, "w", HEARD)))),
    Target("fleet-heartbeat", _heartbeat, 10_000, seeds=_seeds(encode_worker(WORKER))),
)
