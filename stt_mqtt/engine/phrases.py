"""Recognises phrases of the home's book by sound.

The book names phrases that sound like the hypotheses of the model. The model then gives the
probability of each of them for the same speech. A phrase replaces the transcript only if it is
likely enough beside what was heard and beside the next phrase.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stt_mqtt.engine.transcriber import Hypothesis, Transcriber
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import Candidate, matches

log = logging.getLogger(__name__)

MAX_CANDIDATES = 8
"""Most phrases whose probability is asked for."""
NEAR_COST = 4.0
"""A candidate whose total cost is higher than the lowest by more is left out."""


@dataclass(slots=True)
class CurrentBook:
    """The book in use. The event loop replaces it, inference threads read it."""

    book: PhraseBook


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a candidate.

    `score`: its mean log-probability per token. `behind`: by how many nats per token the free
    transcript is more probable. `cost`: how differently it sounds from the hypotheses, per sound.
    `margin`: by how many nats it is above the next candidate. None: there is no other.
    """

    score: float
    behind: float
    cost: float
    margin: float | None


def recognize(
    book: PhraseBook, transcriber: Transcriber, hypothesis: Hypothesis, area: str | None
) -> Hypothesis:
    """The hypothesis with the phrase that was said, or unchanged if it is none."""
    compiled = book.compiled(hypothesis.language, area)
    if compiled is None or not hypothesis.text:
        return hypothesis
    found = matches(compiled, (hypothesis.text, *hypothesis.alternatives), MAX_CANDIDATES)
    if found.exact is not None:
        phrase = replace(found.exact.phrase, score=hypothesis.mean_log_prob)
        return replace(hypothesis, text=found.exact.text, heard=hypothesis.text, phrase=phrase)
    if not found.near or hypothesis.states is None:
        return hypothesis
    chosen, evidence = choose(transcriber, hypothesis, _likely(found.near))
    if not is_accepted(evidence):
        return hypothesis
    phrase = replace(chosen.phrase, score=evidence.score, margin=evidence.margin)
    return replace(hypothesis, text=chosen.text, heard=hypothesis.text, phrase=phrase)


def choose(
    transcriber: Transcriber, hypothesis: Hypothesis, candidates: Sequence[Candidate]
) -> tuple[Candidate, Evidence]:
    """The most probable candidate, and what speaks for it."""
    assert hypothesis.states is not None
    texts = [hypothesis.text, *(candidate.written for candidate in candidates)]
    free, *given = transcriber.log_probs(hypothesis.states, texts, hypothesis.language)
    totals = [
        sum(log_probs) - candidate.total_cost
        for log_probs, candidate in zip(given, candidates, strict=True)
    ]
    ranked = sorted(range(len(candidates)), key=lambda index: -totals[index])
    best = ranked[0]
    tokens = max(len(given[best]), 1)
    return candidates[best], Evidence(
        score=sum(given[best]) / tokens,
        behind=(sum(free) - sum(given[best])) / max(tokens, len(free)),
        cost=candidates[best].cost,
        margin=totals[best] - totals[ranked[1]] if len(ranked) > 1 else None,
    )


def is_accepted(evidence: Evidence) -> bool:
    """Whether a candidate replaces the transcript."""
    return evidence.behind < 1.0 and evidence.cost < 0.5


def _likely(near: Sequence[Candidate]) -> list[Candidate]:
    lowest = min(candidate.total_cost for candidate in near)
    return [candidate for candidate in near if candidate.total_cost <= lowest + NEAR_COST]
