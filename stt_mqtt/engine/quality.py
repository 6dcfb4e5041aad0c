"""Whether a transcript can be believed: nothing said, worth a second look, or good.

Pure judgements over what the model and the voice detector say. The numbers were fitted on real
speech and real noise (`benchmarks/results/hearing.md`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum, auto

import numpy as np

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.speaking_rate import relative_token_rate
from stt_mqtt.engine.transcriber import Hypothesis, Speech

LOOP_COMPRESSION_RATIO = 2.2
"""Text that shrinks more than this repeats itself."""
SPARSE_TOKENS_PER_S = 2.6
"""In English; other languages have more tokens, see `relative_token_rate`."""
MIN_SPEECH_S = 0.1
JUDGED_S = 5.0
"""What is longer is judged by this much of it: people make pauses, and may say it all at once."""
SPARSE_FROM_S = 1.0
"""Speech as long as this with fewer tokens a second: letters run together, words left out."""
ALIKE = 0.6
"""Share of the letters that two spellings of the same words have in common, at least."""
SECOND_LOOK_HANDICAP = 0.5
"""How much worse the mean log-probability of a second look may be: timestamps cost it some."""

PHANTOMS = frozenset(
    {
        "you",
        "thank you",
        "thanks",
        "bye",
        "bye bye",
        "okay",
        "oh",
        "ah",
        "uh",
        "um",
        "ooh",
        "ew",
        "eh",
        "huh",
        "mm",
        "hmm",
        "mm hmm",
    }
)
PHANTOM_BEGINNINGS = (
    "thank you very much",
    "thank you so much",
    "thank you for watching",
    "thanks for watching",
    "please subscribe",
    "i ll see you next time",
    "see you next time",
)
"""What Whisper likes to hear in noise. People say it, too: it only asks for better evidence."""
PHANTOM_HANDICAP = 4.0
"""How much better, in the score of `is_noise`."""


def compression_ratio(text: str) -> float:
    """How often text repeats itself: its bytes over its bytes compressed."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_clear(hypothesis: Hypothesis, clear_no_speech_prob: float) -> bool:
    """Whether the model's own word is enough that somebody spoke."""
    return (
        hypothesis.no_speech_prob < clear_no_speech_prob
        and not is_loop(hypothesis)
        and not is_phantom(hypothesis.text)
    )


def strongest_voice(probabilities: Floats, per_s: float) -> float:
    """The mean probability of a voice in the `JUDGED_S` where it is strongest.

    There are `per_s` probabilities a second, at least one in all.
    """
    width = min(round(JUDGED_S * per_s), len(probabilities))
    sums = np.cumsum(np.concatenate([[0.0], probabilities]))
    return float((sums[width:] - sums[:-width]).max() / width)


def is_noise(hypothesis: Hypothesis, speech_s: float, voice: float) -> bool:
    """Whether nothing was said, though the model has put words to it.

    `voice` is the probability of a voice, as `strongest_voice` gives it.
    """
    judged_s = min(max(speech_s, MIN_SPEECH_S), JUDGED_S)
    tokens_per_s = min(max(_english_tokens(hypothesis) / judged_s, 0.1), 8.0)
    score = (
        0.6 * _log_odds(hypothesis.no_speech_prob)
        - 1.9 * math.log(tokens_per_s)
        - 1.7 * _log_odds(voice)
        + 1.6 * min(compression_ratio(hypothesis.text), 4.0)
        + PHANTOM_HANDICAP * is_phantom(hypothesis.text)
        - 4.5
    )
    return score > 0


class Doubt(Enum):
    """Why a transcript should be decided again."""

    PROMPTED = auto()
    """It may be the prompt's: its words, or none where there is a prompt."""
    LOOP = auto()
    """The decoder repeats itself."""
    SPARSE = auto()
    """Too few words for as much speech."""


def doubt_about(hypothesis: Hypothesis, speech: Speech, speech_s: float) -> Doubt | None:
    """Why another look would pay; None: it would not."""
    prompted = bool(speech.prompt or speech.hotwords)
    if prompted and (not hypothesis.text or is_prompts(hypothesis.text, speech)):
        return Doubt.PROMPTED
    if not hypothesis.text:
        return None
    if is_loop(hypothesis):
        return Doubt.LOOP
    tokens_per_s = _english_tokens(hypothesis) / max(speech_s, MIN_SPEECH_S)
    sparse = tokens_per_s < SPARSE_TOKENS_PER_S and speech_s >= SPARSE_FROM_S
    return Doubt.SPARSE if sparse else None


def is_prompts(text: str, speech: Speech) -> bool:
    """Whether the words of a text stand as they are in the prompt or among the hotwords.

    Also those of one that says a sentence of the prompt again and again.
    """
    sources = [_words(speech.prompt or ""), _words(" ".join(speech.hotwords))]
    said = _words(text)
    once = next(
        (said[:length] for length in range(1, len(said)) if _is_repeated(said, length)), said
    )
    return bool(once) and any(
        source[start : start + len(once)] == once
        for source in sources
        for start in range(len(source) - len(once) + 1)
    )


def is_alike(text: str, other: str) -> bool:
    """Whether two texts may be the same words in two spellings."""
    letters, others = "".join(_words(text)), "".join(_words(other))
    return SequenceMatcher(None, letters, others, autojunk=False).ratio() >= ALIKE


def prefer(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    """The better of two looks at the same speech."""
    if not second.text or is_loop(second):
        return first
    if is_loop(first):
        return second
    return second if second.mean_log_prob >= first.mean_log_prob - SECOND_LOOK_HANDICAP else first


def is_loop(hypothesis: Hypothesis) -> bool:
    """Whether the decoder repeats itself."""
    return compression_ratio(hypothesis.text) > LOOP_COMPRESSION_RATIO


def is_phantom(text: str) -> bool:
    """Whether the text is one of those that Whisper hears in noise, or begins like one."""
    words = " ".join(_words(text))
    return words in PHANTOMS or words.startswith(PHANTOM_BEGINNINGS)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _is_repeated(words: Sequence[str], length: int) -> bool:
    """Whether the first so many words are said again and again, the last time perhaps in part."""
    return all(word == words[place % length] for place, word in enumerate(words))


def _english_tokens(hypothesis: Hypothesis) -> float:
    """The tokens that as much speech would have in English."""
    return hypothesis.tokens / relative_token_rate(hypothesis.language)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(bounded / (1 - bounded))
