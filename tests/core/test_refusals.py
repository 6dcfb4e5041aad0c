"""When speech is too old for another machine, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.refusals import unless_late
from stt_mqtt.errors import CorruptAudioError, ExpiredError
from stt_mqtt.types import Verdict
from tests.core.test_queue import utterance
from tests.fakes import heard, nothing_heard

LIMITS = LimitsConfig(max_age_s=30.0)
SPOOLED = utterance("kitchen", ended_at=100.0, age_s=20.0)
"""It is too old from 110 s on."""


@pytest.mark.parametrize(
    ("verdict", "now", "is_late"),
    [
        (replace(heard(), infer_s=2.0), 111.9, False),
        (replace(heard(), infer_s=2.0), 112.0, True),
        (nothing_heard(), 109.9, False),
        (nothing_heard(), 110.0, True),
        (CorruptAudioError("noise"), 120.0, False),
    ],
)
def test_what_another_machine_began_when_the_speech_was_too_old_is_expired(
    verdict: Verdict, now: float, is_late: bool
) -> None:
    told = unless_late(SPOOLED, verdict, now, LIMITS)
    assert isinstance(told, ExpiredError) is is_late
    assert is_late or told is verdict
