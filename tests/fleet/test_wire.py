from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.errors import InferenceFailedError, OverloadedError, UtteranceError
from stt_mqtt.fleet.wire import (
    MAX_OBJECT_BYTES,
    Job,
    JobResult,
    WireError,
    decode_job,
    decode_result,
    decode_worker,
    encode_job,
    encode_result,
    encode_worker,
)
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.stages import Stage
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    Completion,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Phrase,
    Transcript,
    Utterance,
)
from tests.thorough import examples

NOW = 50.0
SPOKEN = Utterance(
    key=DeviceKey("native", "kitchen.window", "1"),
    id="a-1",
    audio=EncodedAudio(AudioFormat(Codec.OPUS, 16_000, 1), b"\0\xff" * 50, Hint.CLIPPING),
    language="en",
    prompt="Cooking.",
    end=EndReason.STOP,
    ended_at=NOW,
    age_s=0.5,
    seconds=1.5,
    truncated=True,
    reject_over_cap=True,
    lost_chunks=2,
    languages=("en", "de"),
    hotwords=("Siobhan",),
    phrases=False,
    area="Kitchen",
)
JOB = Job("hall", 1_764_000_000_001, 2, 7.5, True, SPOKEN)
HEARD = InferenceResult(
    audio_s=1.5,
    transcript=Transcript(
        "Turn on the lamp.",
        "en",
        0.9,
        0.01,
        heard="turn on the damp",
        phrase=Phrase(
            "HassTurnOn", {"name": "lamp", "level": 5}, {"name": "light.lamp"}, -1.5, 2.0
        ),
        completion=Completion.EXTENDABLE,
        end_prob=0.4,
    ),
    truncated=True,
    infer_s=0.2,
    work_s=0.1,
    model="tiny.en",
    rung="fast",
    retried=True,
    hint=Hint.OFFSET,
    stages={Stage.DECODE: 0.01},
    levels=Levels(-20.0, -60.0, 0.0),
)
WORKER = WorkerStatus(
    "cellar", 2, 3, 1, 0.05, "fast", "tiny.en", frozenset({"en"}), done=5, failed=1, leaving=True
)
ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([encode_job(JOB), encode_result(JobResult(1, "w", HEARD))]).flatmap(
        lambda data: st.integers(0, len(data)).map(lambda cut: data[:cut] + b"0" + data[cut:])
    ),
)


def test_a_job_arrives_with_its_settings_and_its_audio_as_it_came() -> None:
    assert decode_job(encode_job(JOB), NOW) == JOB
    assert JOB.id == "hall.1764000000001"


def test_the_audio_of_a_stored_job_is_not_in_the_message() -> None:
    stored = replace(JOB, stored=True)
    assert encode_job(JOB).endswith(SPOKEN.audio.data)
    assert len(encode_job(stored)) < len(encode_job(JOB)) - 90
    assert decode_job(encode_job(stored), NOW).utterance.audio.data == b""


@pytest.mark.parametrize("gone", ["context", "memo"])
def test_what_belongs_to_the_process_of_the_gateway_stays_there(gone: str) -> None:
    job = replace(JOB, utterance=replace(SPOKEN, context="c", memo="m"))
    assert getattr(decode_job(encode_job(job), NOW).utterance, gone) is None


@pytest.mark.parametrize("verdict", [HEARD, InferenceResult(2.0), InferenceResult(0.5, infer_s=1)])
def test_a_finding_arrives_as_it_was(verdict: InferenceResult) -> None:
    result = decode_result(encode_result(JobResult(7, "cellar", verdict)))
    assert result == JobResult(7, "cellar", verdict)
    assert isinstance(result.verdict, InferenceResult)
    assert result.verdict.stages == verdict.stages


@pytest.mark.parametrize("kind", UtteranceError.__subclasses__())
def test_every_error_arrives_with_its_code_its_message_and_its_hint(
    kind: type[UtteranceError],
) -> None:
    error = kind("what to do")
    error.hint = Hint.CLIPPING
    verdict = decode_result(encode_result(JobResult(7, "cellar", error))).verdict
    assert type(verdict) is kind
    assert str(verdict) == "what to do"
    assert isinstance(verdict, UtteranceError)
    assert verdict.hint is Hint.CLIPPING


def test_an_error_of_a_later_version_is_a_failed_inference() -> None:
    data = encode_result(JobResult(7, "cellar", OverloadedError("full")))
    verdict = decode_result(data.replace(b"overloaded", b"exhausted")).verdict
    assert type(verdict) is InferenceFailedError


def test_a_heartbeat_arrives_as_it_was() -> None:
    assert decode_worker(encode_worker(WORKER)) == WORKER


def test_a_worker_that_leaves_has_no_slots() -> None:
    assert WORKER.slots == 0
    assert replace(WORKER, leaving=False).slots == 6


def test_another_version_is_refused() -> None:
    for decode, data in (
        (decode_result, encode_result(JobResult(1, "w", HEARD))),
        (decode_worker, encode_worker(WORKER)),
        (lambda job: decode_job(job, NOW), encode_job(JOB)),
    ):
        decode(data)
        with pytest.raises(WireError, match=r"^v: "):
            decode(data.replace(b'"v":1', b'"v":2'))


@pytest.mark.parametrize("both", [{}, {"found": {"audio_s": 1}, "error": "x"}])
def test_a_result_is_either_a_finding_or_an_error(both: dict[str, object]) -> None:
    with pytest.raises(WireError):
        decode_result(json.dumps({"v": 1, "number": 1, "worker": "w", **both}).encode())


def test_an_object_that_is_too_large_is_not_read() -> None:
    with pytest.raises(WireError, match="bytes"):
        decode_result(b" " * (MAX_OBJECT_BYTES + 1))


def _refusal(decode: Callable[[bytes], object], data: bytes) -> str:
    try:
        decode(data)
    except WireError as error:
        return f"{error} {error.__cause__}"
    return "None"


@settings(max_examples=examples(100))
@given(ANYTHING)
def test_other_bytes_are_refused_without_being_quoted(data: bytes) -> None:
    for decode in (decode_result, decode_worker, lambda job: decode_job(job, NOW)):
        said = _refusal(decode, data)
        assert "lamp" not in said
        assert said.endswith("None")
