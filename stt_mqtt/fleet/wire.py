"""What gateways and workers send each other: jobs, results and heartbeats, as bytes.

A job is the length of its header (4 bytes, big-endian), the header as a JSON object, and the audio
as it came. Everything else is one JSON object. Each object has its version under the key `v`. What
is no message of this version raises `WireError`. pydantic writes, reads and checks the objects.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.hints import Hint
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
    Verdict,
)

VERSION: Final = 1
MAX_HEADER_BYTES = 64 * 1024
"""Longest header of a job: a prompt and hotwords have a few thousand characters at most."""
MAX_OBJECT_BYTES = 256 * 1024
"""Longest result or heartbeat."""
_LENGTH = struct.Struct("!I")
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

T = TypeVar("T")


class WireError(Exception):
    """Bytes that are no message of this version. The message says why, without quoting them."""


@dataclass(frozen=True, slots=True)
class Job:
    """A finished utterance on its way to a worker.

    `gateway` and `number` identify it; numbers of a gateway never come again, also after a restart.
    `attempt`: how often the gateway published it. `left_s`: seconds until its outcome is due, when
    it was published. `may_retry`: see `Batch`. `stored`: its audio is in the object store, under
    its `id`, and not in the message. `waiting` and `waiting_s`: utterances that waited at the
    gateway then, and their seconds of audio.
    """

    gateway: str
    number: int
    attempt: int
    left_s: float
    may_retry: bool
    utterance: Utterance
    stored: bool = False
    waiting: int = 0
    waiting_s: float = 0.0

    @property
    def id(self) -> str:
        """The id of the message, by which the server drops duplicates."""
        return f"{self.gateway}.{self.number}"


@dataclass(frozen=True, slots=True)
class JobResult:
    """The verdict of a worker on a job. `number`: that of the job at its gateway."""

    number: int
    worker: str
    verdict: Verdict


def encode_job(job: Job) -> bytes:
    """The job as a message."""
    header = _HEADERS.dump_json(_header_of(job))
    audio = b"" if job.stored else job.utterance.audio.data
    return b"".join((_LENGTH.pack(len(header)), header, audio))


def decode_job(data: bytes, now: float) -> Job:
    """The job in a message. If it is `stored`, its audio is empty. Raises WireError.

    `now`: monotonic seconds of this process; the utterance counts as ended then.
    """
    if len(data) < _LENGTH.size:
        raise WireError("a job without a header")
    (length,) = _LENGTH.unpack_from(data)
    end = _LENGTH.size + length
    if length > MAX_HEADER_BYTES or end > len(data):
        raise WireError("the header of a job is longer than the job")
    return _job_of(load_object(_HEADERS, data[_LENGTH.size : end]), data[end:], now)


def encode_result(result: JobResult) -> bytes:
    """The result as a message."""
    verdict = result.verdict
    if isinstance(verdict, UtteranceError):
        error = _Error(verdict.code, str(verdict), verdict.hint)
        return _RESULTS.dump_json(_Result(VERSION, result.number, result.worker, error=error))
    return _RESULTS.dump_json(_Result(VERSION, result.number, result.worker, found=verdict))


def decode_result(data: bytes) -> JobResult:
    """The result in a message. Raises WireError."""
    result = load_object(_RESULTS, data)
    if (result.error is None) == (result.found is None):
        raise WireError("a result needs a finding or an error")
    verdict = result.found if result.error is None else _error_of(result.error)
    assert verdict is not None
    return JobResult(result.number, result.worker, verdict)


def encode_worker(status: WorkerStatus) -> bytes:
    """The heartbeat of a worker as a message."""
    return _HEARTBEATS.dump_json(_Heartbeat(VERSION, status))


def decode_worker(data: bytes) -> WorkerStatus:
    """The heartbeat of a worker in a message. Raises WireError."""
    return load_object(_HEARTBEATS, data).worker


@checked(frozen=True, slots=True, config=_STRICT)
class _JobHeader:
    """The header of a job. The keys are part of the wire contract between the processes."""

    v: Literal[1]
    id: str
    gateway: str
    number: int
    attempt: int
    left_s: float
    may_retry: bool
    stored: bool
    waiting: int
    waiting_s: float
    device: DeviceKey
    format: AudioFormat | None
    decoded: bool
    ready: bool
    hint: Hint | None
    language: str | None
    languages: tuple[str, ...]
    prompt: str | None
    hotwords: tuple[str, ...]
    phrases: bool
    area: str | None
    end: EndReason | None
    age_s: float
    seconds: float
    truncated: bool
    reject_over_cap: bool
    lost_chunks: int


@checked(frozen=True, slots=True, config=_STRICT)
class _Error:
    code: str
    message: str
    hint: Hint | None


@checked(frozen=True, slots=True, config=_STRICT)
class _Result:
    v: Literal[1]
    number: int
    worker: str
    found: InferenceResult | None = None
    error: _Error | None = None


@checked(frozen=True, slots=True, config=_STRICT)
class _Heartbeat:
    v: Literal[1]
    worker: WorkerStatus


def _header_of(job: Job) -> _JobHeader:
    utterance = job.utterance
    audio = utterance.audio
    return _JobHeader(
        v=VERSION,
        id=utterance.id,
        gateway=job.gateway,
        number=job.number,
        attempt=job.attempt,
        left_s=job.left_s,
        may_retry=job.may_retry,
        stored=job.stored,
        waiting=job.waiting,
        waiting_s=job.waiting_s,
        device=utterance.key,
        format=audio.format,
        decoded=audio.decoded,
        ready=audio.ready,
        hint=audio.hint,
        language=utterance.language,
        languages=utterance.languages,
        prompt=utterance.prompt,
        hotwords=utterance.hotwords,
        phrases=utterance.phrases,
        area=utterance.area,
        end=utterance.end,
        age_s=utterance.age_s,
        seconds=utterance.seconds,
        truncated=utterance.truncated,
        reject_over_cap=utterance.reject_over_cap,
        lost_chunks=utterance.lost_chunks,
    )


def _job_of(header: _JobHeader, data: bytes, now: float) -> Job:
    audio = EncodedAudio(header.format, data, header.hint, header.decoded, header.ready)
    utterance = Utterance(
        key=header.device,
        id=header.id,
        audio=audio,
        language=header.language,
        prompt=header.prompt,
        end=header.end,
        ended_at=now,
        age_s=header.age_s,
        seconds=header.seconds,
        truncated=header.truncated,
        reject_over_cap=header.reject_over_cap,
        lost_chunks=header.lost_chunks,
        languages=header.languages,
        hotwords=header.hotwords,
        phrases=header.phrases,
        area=header.area,
    )
    return Job(
        header.gateway,
        header.number,
        header.attempt,
        header.left_s,
        header.may_retry,
        utterance,
        header.stored,
        header.waiting,
        header.waiting_s,
    )


def _error_of(told: _Error) -> UtteranceError:
    """The error with this code. One that this version does not know is a failed inference."""
    kinds = {kind.code: kind for kind in UtteranceError.__subclasses__()}
    error = kinds.get(told.code, InferenceFailedError)(told.message)
    error.hint = told.hint
    return error


_HEADERS = TypeAdapter(_JobHeader)
_RESULTS = TypeAdapter(_Result)
_HEARTBEATS = TypeAdapter(_Heartbeat)


def load_object(adapter: TypeAdapter[T], data: bytes, max_bytes: int = MAX_OBJECT_BYTES) -> T:
    """The JSON object in a message, checked. Raises WireError, which quotes no value."""
    if len(data) > max_bytes:
        raise WireError(f"more than {max_bytes} bytes in an object")
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        # What pydantic says of a value may quote it, and values are spoken words.
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the object"
        raise WireError(f"{where}: {first['type']}") from None
