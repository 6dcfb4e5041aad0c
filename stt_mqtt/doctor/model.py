"""Checks the files of the models, and has the model transcribe a recorded command."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

from stt_mqtt.app.languages import check_languages
from stt_mqtt.app.preparation import spoken_languages
from stt_mqtt.app.sample import SAMPLE_TEXT, read_sample
from stt_mqtt.config import Config
from stt_mqtt.doctor.machine import CPU, MEMORY, cpu_features, lacks_instructions, memory_left_mb
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.engine.compute_types import supported_compute_types
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.errors import ConfigError, ModelError, UtteranceError
from stt_mqtt.types import SAMPLE_RATE, Batch, Utterance

if TYPE_CHECKING:
    from stt_mqtt.core.probe import Evidence

MODEL, LANGUAGES, SAMPLE = "model", "languages", "sample"
WITHOUT = "a gateway of a fleet has no model: workers transcribe"
MAX_SAMPLE_S = 10.0
SLOW_RTF = 1.0
"""Seconds of work per second of speech above which answers come late."""
NEARLY = 0.6
"""Least similarity of the words for a warning instead of a failure."""
CHOSEN = {"default", "auto"}
"""Compute types that CTranslate2 replaces by one that the processor has."""
FASTER = "set a smaller engine.model, or end other programs"


def check_models(subject: Subject) -> list[Finding]:
    """The files of every rung are there, complete and undamaged; the languages are theirs."""
    config = subject.config
    findings = list(_files(config)) if config.has_model else [ok(MODEL, WITHOUT)]
    # A worker of a fleet transcribes what its gateways ask for.
    return [*findings, *_languages(config)] if config.has_doors else findings


def _files(config: Config) -> Iterator[Finding]:
    for model in dict.fromkeys(rung.model for rung in config.rungs):
        try:
            found = resolve(model, default_models_dir())
        except ModelError as error:
            detail, _, what_to_do = str(error).partition("; ")
            yield fail(MODEL, detail, what_to_do or "check engine.model, or the model of the rung")
        else:
            yield ok(MODEL, f"{found.name} is complete: {found.folder}")


def _languages(config: Config) -> Iterator[Finding]:
    try:
        doubts = check_languages(config, spoken_languages(config))
    except ConfigError as error:
        yield from (fail(LANGUAGES, *_parted(problem)) for problem in error.problems)
    else:
        yield from (warn(LANGUAGES, *_parted(doubt)) for doubt in doubts)


def check_sample(subject: Subject) -> list[Finding]:
    """A model transcribes a recording: that of the service, or one that is loaded for it."""
    if not subject.config.has_model:
        return [ok(SAMPLE, WITHOUT)]
    if subject.service is not None:
        return [*_compute_types(subject.config), _of_evidence(subject.service.probe())]
    if lacks_instructions(platform.machine(), cpu_features(subject.machine)):
        detail = "no model was loaded, because the processor cannot run it"
        return [fail(SAMPLE, detail, f"see {CPU}")]
    from stt_mqtt.engine.loading import needed_mb, preferred_rung

    try:
        needed = needed_mb(preferred_rung(subject.config))
    except ModelError:
        return [fail(SAMPLE, "there is no model to try", f"see {MODEL}")]
    if needed > memory_left_mb(subject.machine):
        detail = "no model was loaded, because memory is short"
        return [fail(SAMPLE, detail, f"see {MEMORY}", temporary=True)]
    return [*_compute_types(subject.config), _loaded_and_tried(subject.config)]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model made of the recording: the text, after so many seconds."""

    text: str
    took_s: float
    timeout_s: float


def judged(heard: Heard, loading: str = "") -> Finding:
    """Whether the words are right and came in time. `loading`: what to say of the loading."""
    audio_s = sample_s()
    rtf = heard.took_s / audio_s
    speed = f"{audio_s:.1f} s of speech took {heard.took_s:.2f} s (real-time factor {rtf:.2f})"
    likeness = SequenceMatcher(None, _words(heard.text), _words(SAMPLE_TEXT)).ratio()
    if likeness < 1:
        make = warn if likeness >= NEARLY else fail
        return make(
            SAMPLE,
            f"the model heard {heard.text!r} instead of {SAMPLE_TEXT!r}; {speed}",
            "check that engine.model is a Whisper model, and fetch it again",
        )
    if heard.took_s > heard.timeout_s:
        detail = f"{speed}, longer than limits.inference_timeout_s {heard.timeout_s:g}"
        return fail(SAMPLE, detail, FASTER, temporary=True)
    if rtf > SLOW_RTF:
        return warn(SAMPLE, f"the words are right, but {speed}", FASTER)
    return ok(SAMPLE, f"the model heard {heard.text!r}; {loading}{speed}")


@cache
def sample_s() -> float:
    """Length of the recording in seconds."""
    from stt_mqtt.audio.decode import decode

    return len(decode(read_sample(), MAX_SAMPLE_S).samples) / SAMPLE_RATE


def _compute_types(config: Config) -> Iterator[Finding]:
    """Compute types of rungs that CTranslate2 does not have on this processor."""
    supported = supported_compute_types()
    for name in dict.fromkeys(rung.compute_type for rung in config.rungs):
        if name not in supported and name not in CHOSEN:
            yield warn(
                CPU,
                f"the processor does not compute with {name}, so another type is used, which may "
                "need more memory",
                f"set compute_type to one of: {', '.join(sorted(supported))}",
            )


def _of_evidence(evidence: Evidence) -> Finding:
    if evidence.problem is not None:
        what_to_do = "see the log of the service; if a thread hangs, start the service again"
        return fail(SAMPLE, evidence.problem, what_to_do, temporary=True)
    if evidence.text is None or evidence.took_s is None:
        return ok(SAMPLE, "the threads are needed for speech, and transcribe it")
    from stt_mqtt.core.probe import TIMEOUT_S

    return judged(Heard(evidence.text, evidence.took_s, TIMEOUT_S))


def _loaded_and_tried(config: Config) -> Finding:
    """Load the preferred rung and transcribe. Raises `ModelError`."""
    from stt_mqtt.core.probe import LANGUAGE, PROBE
    from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
    from stt_mqtt.engine.pipeline import Pipeline
    from stt_mqtt.engine.recognizer import Recognizer
    from stt_mqtt.engine.voice import VoiceDetector

    rung = preferred_rung(config)
    started = time.perf_counter()
    try:
        transcriber = load_rung(rung, parallelism_of(config))
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, MemoryError) or "allocate" in str(cause):
            return fail(SAMPLE, str(error), "end other programs", temporary=True)
        raise
    loaded_s = time.perf_counter() - started
    recognizer = Recognizer(transcriber, VoiceDetector.load())
    pipeline = Pipeline(
        recognizer, config.gate, config.limits.max_decoded_s, rung.name, transcriber.languages
    )
    sample = Utterance(PROBE, PROBE.name, read_sample(), LANGUAGE, None, None, 0.0, phrases=False)
    started = time.perf_counter()
    ((_, verdict),) = pipeline.run(Batch(0, (sample,), may_retry=True, together=1))
    took_s = time.perf_counter() - started
    transcriber.close()
    if isinstance(verdict, UtteranceError):
        what_to_do = "see the other failures; if there are none, fetch the model again"
        return fail(SAMPLE, f"the model failed: {verdict.detail}", what_to_do)
    text = "" if verdict.transcript is None else verdict.transcript.free
    heard = Heard(text, took_s, config.limits.inference_timeout_s)
    return judged(heard, f"{transcriber.model} loaded in {loaded_s:.1f} s, ")


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _parted(sentence: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    detail, _, what_to_do = sentence.partition("; ")
    return detail, what_to_do
