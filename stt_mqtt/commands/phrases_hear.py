"""`stt-mqtt phrases hear FILE…`: which phrases a recording may be, and which is accepted."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from stt_mqtt.app.book import current_book
from stt_mqtt.commands.transcribe import (
    STRETCH_S,
    FileResult,
    asked_of,
    phrase_as_json,
    transcribe_file,
    worse,
)
from stt_mqtt.config import Config
from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
from stt_mqtt.engine.phrases import (
    MAX_CANDIDATES,
    MIN_MARGIN,
    CurrentBook,
    PhraseEvidence,
    choose,
    recognize,
)
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.transcriber import (
    DecodePass,
    Hypothesis,
    ScoredText,
    Speech,
    States,
    Transcriber,
)
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import UtteranceError
from stt_mqtt.observe import logs
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import PhraseCandidate, matches


@dataclass
class NotingTranscriber:
    """A model that notes its hypotheses and the texts that it scored."""

    model_in_use: Transcriber
    hypotheses: list[Hypothesis] = field(default_factory=list)
    scored: list[tuple[tuple[str, ...], list[ScoredText]]] = field(default_factory=list)

    @property
    def model(self) -> str:
        """As `Transcriber.model`."""
        return self.model_in_use.model

    @property
    def languages(self) -> frozenset[str]:
        """As `Transcriber.languages`."""
        return self.model_in_use.languages

    @property
    def clear_no_speech_prob(self) -> float:
        """As `Transcriber.clear_no_speech_prob`."""
        return self.model_in_use.clear_no_speech_prob

    @property
    def takes_names(self) -> bool:
        """As `Transcriber.takes_names`."""
        return self.model_in_use.takes_names

    def transcribe(
        self, speeches: Sequence[Speech], decode_pass: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        """As `Transcriber.transcribe`."""
        answers = self.model_in_use.transcribe(speeches, decode_pass)
        self.hypotheses += [answer for answer in answers if isinstance(answer, Hypothesis)]
        return answers

    def draft(self, speech: Speech, after: str) -> Hypothesis:
        """As `Transcriber.draft`."""
        return self.model_in_use.draft(speech, after)

    def score(self, states: States, texts: Sequence[str], language: str) -> list[ScoredText]:
        """As `Transcriber.score`."""
        scored = self.model_in_use.score(states, texts, language)
        self.scored.append((tuple(texts), scored))
        return scored

    def close(self) -> None:
        """As `Transcriber.close`."""
        self.model_in_use.close()


@dataclass(frozen=True, slots=True)
class Considered:
    """A phrase that may have been said. `scored` None: its probability was not asked for."""

    candidate: PhraseCandidate
    scored: ScoredText | None


@dataclass(frozen=True, slots=True)
class Consideration:
    """What was made of a hypothesis. `evidence`: that for the most probable phrase, `chosen`."""

    hypothesis: Hypothesis
    candidates: tuple[Considered, ...]
    chosen: PhraseCandidate | None
    evidence: PhraseEvidence | None
    accepted: bool
    reason: str


def hear(config: Config, options: argparse.Namespace) -> int:
    """Print what was heard in each file, and which phrases were considered."""
    logs.set_up(config.log)
    logging.getLogger(logs.ROOT).setLevel(logging.WARNING)
    current = current_book(config)
    assert current is not None
    rung = preferred_rung(config)
    listener = NotingTranscriber(load_rung(rung, parallelism_of(config)))
    recognizer = Recognizer(listener, VoiceDetector.load(), current)
    pipeline = Pipeline(recognizer, config.gate, STRETCH_S, rung.name, listener.languages)
    device = config.device(options.device) if options.device else config.device_defaults
    options.prompt = None
    asked = asked_of(options, device)
    code = 0
    for path in options.files:
        listener.hypotheses.clear()
        result = transcribe_file(path, pipeline, asked)
        code = worse(code, result)
        heard = [
            consider(current, listener, hypothesis, device.area)
            for hypothesis in listener.hypotheses
            if hypothesis.text and device.phrases
        ]
        if options.json:
            print(json.dumps(_as_json(result, heard), ensure_ascii=False), flush=True)
        else:
            print(_as_text(result, heard), flush=True)
    return code


def consider(
    current: CurrentBook, listener: NotingTranscriber, hypothesis: Hypothesis, area: str | None
) -> Consideration:
    """What the phrase book makes of a hypothesis, as the service does it."""
    book: PhraseBook = current.book
    compiled = book.compiled(hypothesis.language, area)
    if compiled is None:
        return _nothing(hypothesis, f"the book has no sentence in {hypothesis.language}")
    found = matches(compiled, (hypothesis.text, *hypothesis.alternatives), MAX_CANDIDATES)
    if found.exact is not None:
        exact = Considered(found.exact, None)
        return Consideration(
            hypothesis, (exact,), found.exact, None, True, "these words are a phrase of the book"
        )
    if not found.near or hypothesis.states is None:
        return _nothing(hypothesis, "nothing in the book sounds like this")
    listener.scored.clear()
    accepted = recognize(book, listener, hypothesis, area).phrase is not None
    scores = dict(zip(*listener.scored[0], strict=True)) if listener.scored else {}
    candidates = tuple(Considered(one, scores.get(one.written)) for one in found.near)
    asked = [one.candidate for one in candidates if one.scored is not None]
    if not asked:
        return Consideration(hypothesis, candidates, None, None, accepted, "no phrase was scored")
    chosen, evidence = choose(listener, hypothesis, asked)
    reason = _reason(evidence, accepted)
    return Consideration(hypothesis, candidates, chosen, evidence, accepted, reason)


def _nothing(hypothesis: Hypothesis, reason: str) -> Consideration:
    return Consideration(hypothesis, (), None, None, False, reason)


def _reason(evidence: PhraseEvidence, accepted: bool) -> str:
    if accepted:
        return "the phrase is probable enough beside what was heard"
    if evidence.margin is not None and evidence.margin < MIN_MARGIN:
        return f"another phrase is as probable: the margin must be {MIN_MARGIN:g}"
    return "the phrase is not probable enough beside what was heard"


def _as_json(result: FileResult, heard: list[Consideration]) -> dict[str, object]:
    transcript = None if result.result is None else result.result.transcript
    error = result.error
    return {
        "file": str(result.path),
        "text": "" if transcript is None else transcript.text,
        **phrase_as_json(result),
        "considered": [_consideration_as_json(one) for one in heard],
        "error": None if error is None else {"code": error.code, "detail": error.detail},
    }


def _consideration_as_json(one: Consideration) -> dict[str, object]:
    return {
        "text": one.hypothesis.text,
        "language": one.hypothesis.language,
        "alternatives": list(one.hypothesis.alternatives),
        "candidates": [
            {
                "text": considered.candidate.text,
                "id": considered.candidate.phrase.id,
                "slots": dict(considered.candidate.phrase.slots),
                "cost": round(considered.candidate.cost, 4),
                "score": None if considered.scored is None else round(_mean(considered.scored), 4),
                "total": None if considered.scored is None else round(considered.scored.total, 4),
            }
            for considered in one.candidates
        ],
        "chosen": None if one.chosen is None else one.chosen.text,
        "evidence": None if one.evidence is None else _rounded(asdict(one.evidence)),
        "accepted": one.accepted,
        "reason": one.reason,
    }


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in fields.items()
    }


def _as_text(result: FileResult, heard: list[Consideration]) -> str:
    lines = [str(result.path)]
    if result.error is not None:
        lines.append(f"  {result.error.code}: {result.error.detail}")
    elif not heard:
        lines.append("  nothing was heard")
    for one in heard:
        lines.append(f"  heard: {one.hypothesis.text} ({one.hypothesis.language})")
        lines += [f"  or:    {text}" for text in one.hypothesis.alternatives]
        if one.candidates:
            lines.append("    cost  per token    total  phrase")
        lines += [_line(considered) for considered in one.candidates]
        if one.evidence is not None and one.evidence.margin is not None:
            lines.append(f"  margin: {one.evidence.margin:.2f}")
        verdict = "accepted" if one.accepted else "left as heard"
        lines.append(f"  {verdict}: {one.reason}")
    return "\n".join(lines)


def _line(considered: Considered) -> str:
    candidate, scored = considered.candidate, considered.scored
    columns = f"{'':>11}{'':>9}" if scored is None else f"{_mean(scored):11.2f}{scored.total:9.2f}"
    slots = ", ".join(f"{name}={value}" for name, value in candidate.phrase.slots.items())
    meaning = f"{candidate.phrase.id} {slots}".strip()
    return f"    {candidate.cost:4.2f}{columns}  {candidate.text} ({meaning})"


def _mean(scored: ScoredText) -> float:
    return scored.total / max(1, len(scored.tokens))
