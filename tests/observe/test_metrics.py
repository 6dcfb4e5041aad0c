from __future__ import annotations

import pytest

from stt_mqtt.observe.metrics import Metrics
from stt_mqtt.types import InferenceResult, Transcript


def test_the_real_time_factor_is_a_running_mean_of_the_work() -> None:
    metrics = Metrics()
    words = Transcript("a", "en", 1.0, 0.0)
    metrics.count_inference(InferenceResult(2.0, words, infer_s=3.0, work_s=1.0))
    assert metrics.rtf == 0.5
    metrics.count_inference(InferenceResult(2.0))
    metrics.count_inference(InferenceResult(1.0, words, infer_s=3.0, work_s=1.5, retried=True))
    assert metrics.rtf == pytest.approx(0.6)
    assert (metrics.inferences, metrics.retries) == (2, 1)
