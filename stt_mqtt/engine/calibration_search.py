"""The search for a calibration: tries windows on recordings and chooses among them.

Windows that differ only in their tail of silence encode the same. So a piece of speech is encoded
once for all of them and decoded with each. The result is a `Calibration`. The command `calibrate`
runs the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import sqrt

from stt_mqtt.engine.calibration import FULL_WINDOW, Calibration, Floats, Window
from stt_mqtt.engine.loaded import Silence
from stt_mqtt.engine.quality import is_clear
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.types import Samples

SILENCE_LEVEL = -0.7
"""Log-mel value of the cached silence: that of room tone after Whisper's normalisation."""
LEAD_S = 0.5
PAD_AND_MIN_S = ((1.5, 4.0), (2.0, 5.0), (2.5, 6.0), (3.0, 8.0), (5.0, 10.0))
TAILS = ((1500, 1), (500, 1), (300, 1), (1500, 2))
"""The tails to try: `tail_states` and `tail_stride` of a window."""
WINDOWS = (
    FULL_WINDOW,
    *(
        Window(LEAD_S, pad_s, min_s, states, stride)
        for pad_s, min_s in PAD_AND_MIN_S
        for states, stride in TAILS
    ),
)
"""The windows to try. Those that differ only in the tail are adjacent."""
WER_MARGIN = 0.005
"""Increase of the word error rate that is accepted for a cheaper window."""
CHANCE = 1.645
"""Standard errors by which a window may be worse than the full one (exceeded by chance in 5 %)."""
CLEAR_NO_SPEECH_PROBS = (0.15, 0.2, 0.25, 0.3, 0.4)
USUAL_CLEAR_NO_SPEECH_PROB = 0.25


@dataclass(frozen=True, slots=True)
class Score:
    """Recognition score: wrong words and all words, exact clips and all clips."""

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
        """Share of clips without a wrong word."""
        return self.exact / max(self.clips, 1)


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a window: the score of each clip, and the CPU time of all.

    `loops`: indices of the clips in which the model repeats itself.
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
        """The sum over the clips in a language. `languages`: that of each clip."""
        spoken = zip(self.scores, languages, strict=True)
        return sum((score for score, spoken_in in spoken if spoken_in == language), Score())

    @property
    def cpu_ms_per_clip(self) -> float:
        """CPU time of encoder and decoder per clip, in milliseconds."""
        return 1000 * self.cpu_s / max(self.score.clips, 1)


@dataclass(frozen=True, slots=True)
class SplitModel:
    """A model whose encoder and decoder are called separately.

    `encode`: encoder states of speech in a window without a tail, shape (states, width). `decode`:
    the hypothesis for states with their tail. `silence`: the source of the tails.
    """

    encode: Callable[[Samples, Window], Floats]
    decode: Callable[[Floats, Speech], Hypothesis]
    silence: Silence

    @classmethod
    def of(cls, transcriber: WhisperTranscriber) -> SplitModel:
        """Split a model that was loaded without a calibration."""
        silence = transcriber.loaded.encode_silence(SILENCE_LEVEL)
        return cls(transcriber.loaded.states, transcriber.decode_states, silence)


def try_windows(
    model: SplitModel, speech: Speech, windows: Sequence[Window], cpu_clock: Callable[[], float]
) -> Iterator[tuple[Window, Hypothesis, float]]:
    """Yield each window with its hypothesis for a piece of speech and its CPU seconds.

    Raises what encoder and decoder raise.
    """
    for bare, tails in groupby(windows, key=_without_tail):
        before = cpu_clock()
        states = model.encode(speech.samples, bare)
        encoding_s = cpu_clock() - before
        for window in tails:
            before = cpu_clock()
            hypothesis = model.decode(model.silence.append_to(states, window), speech)
            yield window, hypothesis, encoding_s + cpu_clock() - before


def _without_tail(window: Window) -> Window:
    return replace(window, tail_states=0, tail_stride=1)


def choose(trials: Sequence[Trial], languages: Sequence[str]) -> tuple[Window, Window]:
    """Choose the windows of the first and the second pass. `languages`: that of each clip.

    The second pass gets the window with the fewest wrong words, the first pass the cheapest window
    within `WER_MARGIN` of it. A window is ruled out if it repeats itself where the full window does
    not, or if it is significantly worse than the full one in any language. The full window must be
    among the trials. It is never ruled out.
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
    """The languages in which a trial has significantly more wrong words than another.

    The clips are compared in pairs. Under the null hypothesis, the standard error of the sum of the
    differences is the root of the sum of their squares.
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
    """The `no_speech_prob` below which there is certainly speech, given hypotheses for `noise`.

    It is the largest bound, up to 0.4, that no hypothesis for noise is below. Without noise it is a
    default. If noise is below the smallest bound, that one is used nevertheless: with a lower one
    the voice detector would have to check nearly all real speech.
    """
    if not noise:
        return USUAL_CLEAR_NO_SPEECH_PROB
    safe = [
        bound
        for bound in CLEAR_NO_SPEECH_PROBS
        if not any(found.text and is_clear(found, bound) for found in noise)
    ]
    return max(safe, default=min(CLEAR_NO_SPEECH_PROBS))


def calibration(
    trials: Sequence[Trial], languages: Sequence[str], noise: Sequence[Hypothesis]
) -> Calibration:
    """The calibration from the trials. `noise`: hypotheses of the first pass for noise."""
    first, second = choose(trials, languages)
    return Calibration(first, second, SILENCE_LEVEL, clear_no_speech_prob(noise))
