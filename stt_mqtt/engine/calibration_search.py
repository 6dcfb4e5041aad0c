"""The search for a calibration: the windows to try, trying them, and choosing among them.

Windows that differ only in their tail of silence encode the same. So a piece of speech is encoded
once for all of them and decoded with each. `calibration` has the data that is found; the command
`calibrate` runs the search.
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
"""The windows to try. Those that differ only in the tail stand together."""
WER_MARGIN = 0.005
"""Wrong words per word that a cheaper window may cost."""
CHANCE = 1.645
"""Standard errors by which a window may be worse than the full one, which chance exceeds in 5 %."""
CLEAR_NO_SPEECH_PROBS = (0.15, 0.2, 0.25, 0.3, 0.4)
USUAL_CLEAR_NO_SPEECH_PROB = 0.25


@dataclass(frozen=True, slots=True)
class Score:
    """How well clips were recognized: wrong words of all, and clips without a wrong word."""

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
    """How a window did on all clips: the score of each, and the CPU time of all.

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
class SplitModel:
    """A model whose encoder and decoder are called apart.

    `encode`: encoder states of speech in a window without a tail, shape (states, width). `decode`:
    the hypothesis on states with their tail. `silence`: what tails are cut from.
    """

    encode: Callable[[Samples, Window], Floats]
    decode: Callable[[Floats, Speech], Hypothesis]
    silence: Silence

    @classmethod
    def of(cls, transcriber: WhisperTranscriber) -> SplitModel:
        """A model that was loaded without a calibration, with the beam of its rung."""
        silence = transcriber.loaded.encode_silence(SILENCE_LEVEL)
        return cls(transcriber.loaded.states, transcriber.decode_states, silence)


def try_windows(
    model: SplitModel, speech: Speech, windows: Sequence[Window], cpu_clock: Callable[[], float]
) -> Iterator[tuple[Window, Hypothesis, float]]:
    """Each window with its hypothesis on a piece of speech and the CPU seconds that it took.

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
    """The windows of the first and of the second pass; `languages` has the one of each clip.

    The second pass gets the window with the fewest wrong words, and the first pass the cheapest
    one that has at most `WER_MARGIN` more. Ruled out are windows that repeat themselves where the
    full window does not, and windows that are worse than the full one in any language, beyond
    chance. The full window is among the trials and is never ruled out.
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
    """The `no_speech_prob` below which there is speech beyond doubt, by what `noise` gave.

    It is the largest bound, up to 0.4, below which no hypothesis on noise falls, and a usual one
    without noise. If noise falls below the smallest bound, that one is taken nevertheless: with
    less the voice detector would be asked about nearly all real speech.
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
    """The calibration that follows from the trials; `noise`: first-pass hypotheses on noise."""
    first, second = choose(trials, languages)
    return Calibration(first, second, SILENCE_LEVEL, clear_no_speech_prob(noise))
