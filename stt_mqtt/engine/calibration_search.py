"""Finding a model's calibration: which windows to try, trying them, and choosing among them.

What encodes the speech is the same for several tails of silence, so each piece of speech is
encoded once for them and decoded with each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import sqrt

from stt_mqtt.engine.calibration import FULL_WINDOW, Calibration, Floats, Window
from stt_mqtt.engine.quality import is_clear
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.engine.window import Silence
from stt_mqtt.types import Samples

SILENCE_LEVEL = -0.7
"""Log-mel value of the cached silence; what room tone comes to after Whisper's normalisation."""
LEAD_S = 0.5
PAD_AND_MIN_S = ((1.5, 4.0), (2.0, 5.0), (2.5, 6.0), (3.0, 8.0), (5.0, 10.0))
TAILS = ((1500, 1), (500, 1), (300, 1), (1500, 2))
"""States of silence behind the window, and of how many one is taken."""
WINDOWS = (
    FULL_WINDOW,
    *(
        Window(LEAD_S, pad_s, min_s, states, stride)
        for pad_s, min_s in PAD_AND_MIN_S
        for states, stride in TAILS
    ),
)
"""What is tried; those that differ in the tail only stand together."""
WER_MARGIN = 0.005
"""Wrong words per word that a cheaper window may cost."""
CHANCE = 1.645
"""Standard errors by which a window may be worse than the full one, which chance exceeds in 5 %."""
CLEAR_NO_SPEECH_PROBS = (0.15, 0.2, 0.25, 0.3, 0.4)
USUAL_CLEAR_NO_SPEECH_PROB = 0.25


@dataclass(frozen=True, slots=True)
class Score:
    """How well clips were heard: wrong of so many words, and clips without any wrong one."""

    wrong: int = 0
    words: int = 0
    exact: int = 0
    clips: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.wrong + other.wrong,
            self.words + other.words,
            self.exact + other.exact,
            self.clips + other.clips,
        )

    @property
    def wer(self) -> float:
        """Word error rate, 0.1 for one wrong word in ten."""
        return self.wrong / max(self.words, 1)

    @property
    def exact_share(self) -> float:
        """Share of the clips in which every word is right."""
        return self.exact / max(self.clips, 1)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a window made of all clips: the score of each, and the CPU time of all.

    `loops`: numbers of the clips in which it repeats itself.
    """

    window: Window
    scores: tuple[Score, ...]
    cpu_s: float
    loops: frozenset[int]

    @property
    def score(self) -> Score:
        """The sum over all clips."""
        return sum(self.scores, Score())

    def score_in(self, language: str, languages: Sequence[str]) -> Score:
        """The sum over the clips in a language; `languages` has the one of each clip."""
        spoken = zip(self.scores, languages, strict=True)
        return sum((score for score, spoken_in in spoken if spoken_in == language), Score())

    @property
    def cpu_ms_per_clip(self) -> float:
        """CPU time of encoder and decoder, in milliseconds."""
        return 1000 * self.cpu_s / max(self.score.clips, 1)


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """What the search needs of a model.

    `encode`: states of a piece of speech in a window, shape (states, width), without a tail.
    `decode`: what was said, by states with their tail.
    """

    encode: Callable[[Samples, Window], Floats]
    decode: Callable[[Floats, Speech], Hypothesis]
    silence: Silence

    @classmethod
    def of(cls, transcriber: WhisperTranscriber) -> RecordedModel:
        """Those of a model that was loaded without a calibration, with the beam of its rung."""
        silence = transcriber.loaded.hear_silence(SILENCE_LEVEL)
        return cls(transcriber.loaded.states, transcriber.heard_in, silence)


def hear(
    ears: RecordedModel, speech: Speech, windows: Sequence[Window], cpu_clock: Callable[[], float]
) -> Iterator[tuple[Window, Hypothesis, float]]:
    """What each window makes of a piece of speech, and its CPU seconds.

    Raises what encoder and decoder raise.
    """
    for bare, tails in groupby(windows, key=_without_tail):
        before = cpu_clock()
        states = ears.encode(speech.samples, bare)
        encoding_s = cpu_clock() - before
        for window in tails:
            before = cpu_clock()
            hypothesis = ears.decode(ears.silence.behind(states, window), speech)
            yield window, hypothesis, encoding_s + cpu_clock() - before


def _without_tail(window: Window) -> Window:
    return replace(window, tail_states=0, tail_stride=1)


def choose(trials: Sequence[Trial], languages: Sequence[str]) -> tuple[Window, Window]:
    """The windows of the first and of the second look; `languages` has the one of each clip.

    The first one is the cheapest whose words are as good as the best, within `WER_MARGIN`; the
    second the one with the best words. Neither repeats itself where the full window, which is
    among the trials and never ruled out, does not; nor is it worse than that in any language,
    beyond chance.
    """
    (full,) = (trial for trial in trials if trial.window == FULL_WINDOW)
    sound = [
        trial
        for trial in trials
        if trial.loops <= full.loops and not worse_languages(trial, full, languages)
    ]
    second = min(sound, key=lambda trial: (trial.score.wer, trial.cpu_s))
    good = [trial for trial in sound if trial.score.wer <= second.score.wer + WER_MARGIN]
    first = min(good, key=lambda trial: trial.cpu_s)
    return first.window, second.window


def worse_languages(trial: Trial, other: Trial, languages: Sequence[str]) -> list[str]:
    """The languages in which a trial has more wrong words than another, beyond chance.

    The clips are compared one by one. If neither were better, the sum of the differences would
    have the root of the sum of their squares as its standard error.
    """
    differences: dict[str, list[int]] = {}
    for mine, its, language in zip(trial.scores, other.scores, languages, strict=True):
        differences.setdefault(language, []).append(mine.wrong - its.wrong)
    return [
        language
        for language, found in differences.items()
        if sum(found) > CHANCE * sqrt(sum(difference**2 for difference in found))
    ]


def clear_no_speech_prob(noise: Sequence[Hypothesis]) -> float:
    """The `no_speech_prob` below which there is speech beyond doubt.

    The largest of a few, up to 0.4, below which nothing falls that the model has heard in `noise`;
    without noise a usual one. Where noise goes below the smallest that one is taken nevertheless:
    less would have the voice detector asked about nearly all real speech.
    """
    if not noise:
        return USUAL_CLEAR_NO_SPEECH_PROB
    safe = [
        bound
        for bound in CLEAR_NO_SPEECH_PROBS
        if not any(heard.text and is_clear(heard, bound) for heard in noise)
    ]
    return max(safe, default=min(CLEAR_NO_SPEECH_PROBS))


def calibration(
    trials: Sequence[Trial], languages: Sequence[str], noise: Sequence[Hypothesis]
) -> Calibration:
    """The calibration that the trials speak for; `noise`: what its first look heard in noise."""
    first, second = choose(trials, languages)
    return Calibration(first, second, SILENCE_LEVEL, clear_no_speech_prob(noise))
