"""Recognises phrases of the home's book by sound.

The book names phrases that sound like the hypotheses of the model. The model then gives the
probability of each of them for the same speech. A phrase replaces the transcript only if it is
likely enough beside what was heard and beside the next phrase.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from stt_mqtt.engine.transcriber import Hypothesis, ScoredText, Transcriber
from stt_mqtt.phrases.book import CompiledBook, PhraseBook
from stt_mqtt.phrases.completion import completion_of
from stt_mqtt.phrases.match import PhraseCandidate, matches
from stt_mqtt.phrases.sounds import key_of, words_of
from stt_mqtt.types import Completion

log = logging.getLogger(__name__)

MAX_CANDIDATES = 5
"""Most phrases whose probability is asked for."""
LONG_STATES = 150
MAX_LONG_CANDIDATES = 3
"""The same for speech of more than `LONG_STATES` states, where a score costs more."""
NEAR_COST = 1.5
"""A candidate whose total cost is higher than the lowest by more is left out."""
BEST = 3
"""Number of candidates whose probability without sound is asked for."""
SILENT_STATES = 20
PRIOR_SHARE = 0.5
MIN_MARGIN = 0.5
"""Least margin in nats. Two phrases that are closer are a tie."""
WIDE_MARGIN = 10.0
"""A wider margin says no more. Without another phrase it is as wide."""
MIN_SCORE = -3.5
"""Least mean log-probability of the tokens of a phrase."""
ODDS = -2.88
WORD_WEIGHT = 0.85
MANY_WORDS = 8
ONE_WORD = 3.6
DEFICIT_WEIGHT = 0.58
LENGTH_WEIGHT = 0.33
PRIOR_WEIGHT = 0.28
COST_WEIGHT = 7.48
MARGIN_WEIGHT = 0.18
"""Weights of the log-odds that a candidate was said. docs/decisions.md has how they were fitted."""


@dataclass(slots=True)
class CurrentBook:
    """The book in use. The event loop replaces it, inference threads read it."""

    book: PhraseBook


@dataclass(frozen=True, slots=True)
class PhraseEvidence:
    """What speaks for a phrase and against it.

    `score`: mean log-probability of its tokens. `deficit`: where it differs from the transcript, by
    how many nats the transcript is more probable; the largest of all places. `length`: how many
    tokens that place has. `prior`: by how many nats the phrase is more probable without any sound.
    `cost`: how differently it sounds from what was heard, per sound. `words`: how many it has.
    `margin`: by how many nats it is above the next phrase. None: there is no other.
    """

    score: float
    deficit: float
    length: int
    prior: float
    cost: float
    words: int
    margin: float | None

    @property
    def is_accepted(self) -> bool:
        """Whether the phrase replaces the transcript."""
        margin = WIDE_MARGIN if self.margin is None else min(self.margin, WIDE_MARGIN)
        odds = (
            ODDS
            + WORD_WEIGHT * min(self.words, MANY_WORDS)
            + (ONE_WORD if self.words == 1 else 0.0)
            - DEFICIT_WEIGHT * self.deficit
            + LENGTH_WEIGHT * self.length
            - PRIOR_WEIGHT * self.prior
            - COST_WEIGHT * self.cost
            + MARGIN_WEIGHT * margin
        )
        return odds > 0 and margin >= MIN_MARGIN and self.score >= MIN_SCORE


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
    is_long = len(hypothesis.states) > LONG_STATES
    likely = _likely(found.near)[: MAX_LONG_CANDIDATES if is_long else MAX_CANDIDATES]
    chosen, evidence = choose(transcriber, hypothesis, likely)
    if not evidence.is_accepted:
        return hypothesis
    phrase = replace(chosen.phrase, score=evidence.score, margin=evidence.margin)
    return replace(hypothesis, text=chosen.text, heard=hypothesis.text, phrase=phrase)


def completed(book: PhraseBook, hypothesis: Hypothesis, area: str | None) -> Hypothesis:
    """The hypothesis with how much of a phrase of the book its text is."""
    compiled = book.compiled(hypothesis.language, area)
    if compiled is None or not hypothesis.text:
        return hypothesis
    completion = completion_of(compiled, hypothesis.text)
    if completion is Completion.NONE and _is_similar(compiled, hypothesis):
        completion = Completion.SIMILAR
    if completion is Completion.COMPLETE and not _is_last_word_heard(compiled, hypothesis):
        completion = Completion.SIMILAR
    return replace(hypothesis, completion=completion)


def _is_last_word_heard(book: CompiledBook, hypothesis: Hypothesis) -> bool:
    """Whether the last word of the phrase was heard, by its sound, as a word or two near the end.

    If it was not, the speaker may go on: "turn off the lights in the off", and then "office".
    """
    if hypothesis.heard is None:
        return True
    said, heard = (words_of(text, book.language) for text in (hypothesis.text, hypothesis.heard))
    keys = [key_of(word, book.language) for word in heard[(len(heard) - 1) // 2 :]]
    pairs = [first + second for first, second in pairwise(keys)]
    return key_of(said[-1], book.language) in {*keys, *pairs}


def _is_similar(book: CompiledBook, hypothesis: Hypothesis) -> bool:
    """Whether one word was heard that sounds similar to a phrase of one word."""
    if " " in hypothesis.text:
        return False
    found = matches(book, (hypothesis.text, *hypothesis.alternatives), MAX_CANDIDATES)
    return any(" " not in candidate.text for candidate in found.near)


def choose(
    transcriber: Transcriber, hypothesis: Hypothesis, candidates: Sequence[PhraseCandidate]
) -> tuple[PhraseCandidate, PhraseEvidence]:
    """The most probable candidate, and the evidence for it.

    All phrases of the book are taken to be said equally often. So half of what makes a phrase
    probable without any sound is subtracted, for the best few.
    """
    assert hypothesis.states is not None
    texts = [hypothesis.text, *(candidate.written for candidate in candidates)]
    free, *given = transcriber.score(hypothesis.states, texts, hypothesis.language)
    likely = sorted(
        range(len(candidates)),
        key=lambda index: candidates[index].total_cost - given[index].total,
    )[:BEST]
    silence = np.zeros((SILENT_STATES, hypothesis.states.shape[1]), np.float32)
    texts = [hypothesis.text, *(candidates[index].written for index in likely)]
    free_prior, *priors = transcriber.score(silence, texts, hypothesis.language)
    totals = {
        index: given[index].total - PRIOR_SHARE * prior.total - candidates[index].total_cost
        for index, prior in zip(likely, priors, strict=True)
    }
    best, *others = sorted(likely, key=lambda index: -totals[index])
    deficit, length = _deficit(free, given[best])
    evidence = PhraseEvidence(
        score=given[best].total / max(1, len(given[best].tokens)),
        deficit=deficit,
        length=length,
        prior=priors[likely.index(best)].total - free_prior.total,
        cost=candidates[best].cost,
        words=len(candidates[best].written.split()),
        margin=totals[best] - totals[others[0]] if others else None,
    )
    return candidates[best], evidence


def _deficit(free: ScoredText, phrase: ScoredText) -> tuple[float, int]:
    """By how many nats the transcript is more probable where the two differ, at most.

    Also returns how many tokens differ there. A place ends with the next token that both have,
    which shows what was left out before it.
    """
    matcher = SequenceMatcher(None, free.tokens, phrase.tokens, autojunk=False)
    return max(
        (
            (sum(free.log_probs[i : j + 1]) - sum(phrase.log_probs[k : m + 1]), max(j - i, m - k))
            for kind, i, j, k, m in matcher.get_opcodes()
            if kind != "equal"
        ),
        default=(0.0, 1),
    )


def _likely(near: Sequence[PhraseCandidate]) -> list[PhraseCandidate]:
    lowest = min(candidate.total_cost for candidate in near)
    return [candidate for candidate in near if candidate.total_cost <= lowest + NEAR_COST]
