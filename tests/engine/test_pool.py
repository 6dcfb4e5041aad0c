from __future__ import annotations

import threading
from queue import Queue

import pytest

from stt_mqtt.engine.pool import InferencePool, Verdict
from stt_mqtt.errors import CorruptAudioError, InferenceFailedError
from stt_mqtt.types import Heard, Utterance
from tests.engine.test_queue import utterance
from tests.fakes import heard


def hear_or_break(item: Utterance) -> Heard:
    if item.id == "corrupt":
        raise CorruptAudioError("noise")
    if item.id == "defect":
        raise ZeroDivisionError
    return heard(item.id)


def test_every_job_is_answered_once_whatever_the_work_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: Queue[tuple[int, Verdict]] = Queue()
    pool = InferencePool(hear_or_break, 2, lambda job, verdict: answers.put((job, verdict)))
    for job, id in enumerate(["good", "corrupt", "defect", "good"]):
        pool.submit(job, utterance("a", id))
    verdicts = dict(answers.get(timeout=10) for _ in range(4))
    assert pool.close(timeout_s=10)
    assert verdicts[0] == verdicts[3] == heard("good")
    assert isinstance(verdicts[1], CorruptAudioError)
    assert isinstance(verdicts[2], InferenceFailedError)
    assert "ZeroDivisionError" in str(verdicts[2])
    assert answers.empty()
    assert "inference failed" in caplog.text


def test_other_work_is_used_from_the_next_utterance_on() -> None:
    answers: Queue[Verdict] = Queue()
    pool = InferencePool(hear_or_break, 1, lambda _, verdict: answers.put(verdict))
    pool.replace_work(lambda _: heard("other"))
    pool.submit(1, utterance("a", "good"))
    assert answers.get(timeout=10) == heard("other")
    assert pool.close(timeout_s=10)


def test_a_thread_that_hangs_is_told_of_when_the_pool_closes() -> None:
    release, started = threading.Event(), threading.Event()

    def hang(_: Utterance) -> Heard:
        started.set()
        release.wait(10)
        return heard()

    pool = InferencePool(hang, 1, lambda *_: None)
    pool.submit(1, utterance("a"))
    assert started.wait(10)
    assert not pool.close(timeout_s=0.01)
    release.set()
