"""Drafts: transcriptions while somebody speaks, and the partial results that they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from stt_mqtt.core.partials import Partial
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import Completion, EndReason, OutcomeKind, Utterance, UtteranceStart
from tests.core.speech import WORDS, found, quiet
from tests.core.test_glimpses import BEDROOM, KITCHEN, PAUSE, Bench
from tests.fakes import heard

PARTIALS = {"device_defaults": {"partials": True}}
HALF = WORDS[: len(WORDS) * 2 // 3]
"""Words that go on."""
REST = WORDS[len(HALF) :]


@dataclass
class Readers:
    """A door that remembers partial results."""

    told: list[Partial] = field(default_factory=list)
    fails: bool = False

    def partial(self, partial: Partial) -> None:
        if self.fails:
            raise RuntimeError("no room")
        self.told.append(partial)

    @property
    def texts(self) -> list[tuple[int, str, int]]:
        return [(one.revision, one.text, one.stable) for one in self.told]


class DraftBench(Bench):
    """A bench whose door takes partial results."""

    def __init__(self, workers: int = 2, reads: bool = True, **config: Any) -> None:
        super().__init__(workers, **{**PARTIALS, **config})
        self.readers = Readers()
        self.service.attach("native", self.outlet, self.readers if reads else None)

    @property
    def drafts(self) -> list[Utterance]:
        return [item for item in self.pool.utterances if item.draft_after is not None]


def drafting(workers: int = 2, **config: Any) -> DraftBench:
    """A bench where a draft is made."""
    bench = DraftBench(workers, **config)
    bench.start(context="reader")
    bench.say(HALF)
    assert len(bench.drafts) == 1
    return bench


def test_a_draft_is_made_while_somebody_speaks_and_has_no_outcome() -> None:
    bench = drafting()
    (draft,) = bench.drafts
    assert draft.end is None
    assert draft.draft_after == ""
    assert HALF.startswith(draft.audio.data)
    bench.answer(heard("Turn on"))
    assert bench.readers.texts == [(1, "Turn on", 0)]
    (partial,) = bench.readers.told
    assert (partial.key, partial.id, partial.context) == (KITCHEN, "a", "reader")
    assert (partial.language, partial.confidence, partial.work_s) == ("en", 0.9, 0.08)
    assert bench.outlet.outcomes == []
    assert bench.service.metrics.drafts == 1
    assert bench.service.metrics.drafts_s == pytest.approx(0.08)
    assert bench.service.metrics.glimpses == 0
    assert bench.service.metrics.wasted_s == 0


def test_the_next_draft_goes_on_after_the_stable_text_in_the_same_language() -> None:
    bench = drafting()
    for _ in range(2):
        bench.answer(heard("Turn on the kitchen"))
        bench.say(REST + REST)
    (draft,) = bench.drafts
    assert draft.draft_after == "Turn on"
    assert draft.language == "en"


@pytest.mark.parametrize(
    "bench", [lambda: DraftBench(device_defaults={}), lambda: DraftBench(reads=False)]
)
def test_without_partials_or_a_door_that_takes_them_there_are_no_drafts(bench: Any) -> None:
    quiet_bench = bench()
    quiet_bench.start()
    quiet_bench.say(WORDS + WORDS)
    assert quiet_bench.drafts == []
    assert quiet_bench.service.metrics.drafts == 0


def test_nothing_is_drafted_in_silence() -> None:
    bench = DraftBench()
    bench.start()
    bench.say(quiet(2.0))
    assert bench.pool.submitted == []


def test_nothing_is_drafted_while_something_final_is_transcribed_on_the_only_thread() -> None:
    bench = DraftBench(workers=1)
    bench.submit_single(BEDROOM)
    bench.start()
    bench.say(HALF)
    assert bench.drafts == []
    bench.answer()
    bench.say(REST)
    assert len(bench.drafts) == 1


def test_nothing_is_drafted_while_more_people_speak_than_there_are_threads() -> None:
    bench = DraftBench(workers=1)
    bench.start(BEDROOM, "b")
    bench.say(HALF, BEDROOM)
    bench.answer()
    bench.start()
    bench.say(WORDS)
    assert bench.drafts == []
    bench.service.abort(BEDROOM, None)
    while bench.pool.submitted:
        bench.answer()
    bench.say(REST + REST)
    assert [draft.key for draft in bench.drafts] == [KITCHEN]


def test_nothing_is_drafted_for_which_there_is_no_memory() -> None:
    bench = DraftBench()
    bench.start()
    bench.service.budget.use(BEDROOM, 64 * 2**20 - len(HALF) * 5 // 4)
    bench.say(HALF)
    assert bench.pool.submitted == []
    assert bench.is_listening


def test_the_memory_of_a_draft_is_given_back() -> None:
    bench = drafting()
    bench.service.abort(KITCHEN, None)
    assert bench.used_bytes > 0
    bench.answer()
    assert bench.used_bytes == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_glimpse_that_is_due_during_a_draft_is_taken_after_it(workers: int) -> None:
    bench = drafting(workers)
    bench.say(REST + PAUSE)
    assert len(bench.pool.utterances) == len(bench.drafts) == 1
    bench.answer(heard("Turn on"))
    (glimpse,) = bench.pool.utterances
    assert glimpse.draft_after is None
    assert glimpse.end is None


def test_a_glimpse_of_another_device_is_not_lost_to_a_draft() -> None:
    bench = DraftBench(workers=1, devices={"bedroom": {"partials": False}})
    bench.start(BEDROOM, "b")
    bench.start()
    bench.say(HALF)
    bench.service.chunk(BEDROOM, WORDS + PAUSE, None, None)
    assert [one.key for one in bench.pool.utterances] == [KITCHEN]
    bench.answer()
    assert [one.key for one in bench.pool.utterances] == [BEDROOM]


def test_a_device_that_holds_silence_back_is_glimpsed_after_the_draft_without_a_busy_loop() -> None:
    bench = drafting()
    bench.pass_time(0.4)
    assert len(bench.drafts) == 1
    bench.answer(heard("Turn on"))
    assert [(one.end, one.draft_after) for one in bench.pool.utterances] == [(None, None)]


def test_a_final_utterance_does_not_wait_for_a_draft_if_a_thread_is_free() -> None:
    bench = drafting()
    bench.stop()
    assert bench.running == [("a", None), ("a", EndReason.STOP)]


def test_a_final_utterance_takes_the_only_thread_after_the_draft() -> None:
    bench = drafting(workers=1)
    bench.stop()
    bench.answer(heard("Turn on"))
    assert bench.running == [("a", EndReason.STOP)]
    bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]


def test_what_is_drafted_after_the_end_is_not_published() -> None:
    bench = drafting()
    bench.stop()
    bench.answer(heard("Turn on"))
    bench.start(id="b")
    assert bench.readers.told == []


def test_a_draft_of_the_utterance_before_says_nothing_about_this_one() -> None:
    bench = drafting()
    bench.service.abort(KITCHEN, None)
    bench.start(id="b")
    bench.answer(heard("Turn on"))
    assert bench.readers.told == []
    bench.say(HALF)
    assert [draft.id for draft in bench.drafts] == ["b"]


def test_a_draft_that_failed_changes_nothing_and_the_next_one_is_made() -> None:
    bench = drafting()
    bench.answer(InferenceFailedError("no memory"))
    assert bench.readers.told == []
    bench.say(REST)
    assert len(bench.drafts) == 1


def test_a_glimpse_is_a_revision_too_and_comes_before_the_outcome() -> None:
    bench = drafting()
    bench.answer(heard("Turn on"))
    bench.say(REST[:9600] + PAUSE)
    while bench.drafts:
        bench.answer(heard("Turn on"))
    bench.answer(found(Completion.COMPLETE))
    assert bench.readers.texts[-1][1] == "Turn on the light."
    assert bench.readers.texts[-1][0] > 1


def test_a_door_that_cannot_take_a_partial_result_loses_only_that() -> None:
    bench = drafting()
    bench.readers.fails = True
    bench.answer(heard("Turn on"))
    assert bench.service.metrics.dropped[DropReason.ANSWER.value] == 1
    bench.stop()
    bench.answer()
    assert [outcome.kind for outcome in bench.outlet.outcomes] == [OutcomeKind.TRANSCRIPT]


def test_a_draft_that_hangs_is_given_up_and_the_final_utterance_is_answered() -> None:
    bench = drafting(limits={"inference_timeout_s": 3.0})
    bench.stop()
    bench.pool.submitted.pop(0)
    bench.answer()
    bench.pass_time(4.0)
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.used_bytes == 0


def test_whole_utterances_are_not_drafted() -> None:
    bench = DraftBench()
    bench.service.single(KITCHEN, WORDS, UtteranceStart(id="s"))
    assert bench.drafts == []
    assert bench.running == [("s", EndReason.SINGLE)]
