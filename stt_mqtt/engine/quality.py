"""Whether a hypothesis can be believed: good, doubtful, or nothing was said.

Pure functions of what the model and the voice detector say. The numbers were fitted on real speech
and real noise (`benchmarks/results/hearing.md`).
"""

from __future__ import annotations

import math
import re
import string
import zlib
from difflib import SequenceMatcher
from enum import Enum, auto

import numpy as np

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.tokenizer import relative_token_rate
from stt_mqtt.engine.transcriber import Hypothesis, Speech

LOOP_COMPRESSION_RATIO = 2.2
"""Text that shrinks more than this repeats itself."""
SPARSE_TOKENS_PER_S = 2.6
"""In English; other languages have more tokens, see `relative_token_rate`."""
MIN_SPEECH_S = 0.1
JUDGED_S = 5.0
"""Longer speech is judged by this much of it: people pause, or say everything in one go."""
SPARSE_FROM_S = 1.0
"""Speech as long as this with fewer tokens a second: letters run together, words left out."""
PROMPT_LOG_ODDS = 2.3
"""By how much a prompt lowers those of `no_speech_prob`: of real speech from 0.21 to 0.02."""
ALIKE = 0.4
"""Share of the letters that two spellings of the same words have in common, at least."""
SECOND_PASS_HANDICAP = 0.5
"""How much worse the mean log-probability of the second pass may be: timestamps cost it some."""

_WORD = re.compile(r"[^\W_]+")
_SPACED = re.compile(r"\S+")

PHANTOMS = frozenset(
    {
        "you",
        "thank you",
        "thanks",
        "bye",
        "bye bye",
        "okay",
        "oh",
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
"""What Whisper often finds in noise. People say it, too, so it only needs better evidence."""
PHANTOM_HANDICAP = 4.0
"""How much better, as a part of the score in `is_noise`."""


def compression_ratio(text: str) -> float:
    """How often text repeats itself: its bytes over its bytes compressed."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_prompted(speech: Speech) -> bool:
    """Whether the model was given a prompt or hotwords."""
    return bool(speech.prompt or speech.hotwords)


def is_clear(hypothesis: Hypothesis, clear_no_speech_prob: float, prompted: bool = False) -> bool:
    """Whether the model alone shows that somebody spoke.

    With a prompt it never does, because a prompt makes the model expect speech.
    """
    return (
        not prompted
        and hypothesis.no_speech_prob < clear_no_speech_prob
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


def is_noise(hypothesis: Hypothesis, speech_s: float, voice: float, prompted: bool = False) -> bool:
    """Whether nothing was said although the model gave words.

    `voice` is the probability of a voice, as `strongest_voice` gives it.
    """
    judged_s = min(max(speech_s, MIN_SPEECH_S), JUDGED_S)
    tokens_per_s = min(max(_english_tokens(hypothesis) / judged_s, 0.1), 8.0)
    score = (
        0.6 * (_log_odds(hypothesis.no_speech_prob) + PROMPT_LOG_ODDS * prompted)
        - 1.9 * math.log(tokens_per_s)
        - 1.7 * _log_odds(voice)
        + 1.6 * min(compression_ratio(hypothesis.text), 4.0)
        + PHANTOM_HANDICAP * is_phantom(hypothesis.text)
        - 4.5
    )
    return score > 0


class Doubt(Enum):
    """Why speech should be decoded again."""

    PROMPTED = auto()
    """The prompt may be the cause: the text stands in it, or is empty."""
    LOOP = auto()
    """The decoder repeats itself."""
    SPARSE = auto()
    """Too few words for as much speech."""


def doubt_about(hypothesis: Hypothesis, speech: Speech, speech_s: float) -> Doubt | None:
    """Why decoding again would pay; None: it would not."""
    if not hypothesis.text:
        return Doubt.PROMPTED if is_prompted(speech) else None
    if is_loop(hypothesis) or said_once(hypothesis.text) != hypothesis.text:
        return Doubt.LOOP
    if repeats_prompt(hypothesis.text, speech):
        return Doubt.PROMPTED
    tokens_per_s = _english_tokens(hypothesis) / max(speech_s, MIN_SPEECH_S)
    sparse = tokens_per_s < SPARSE_TOKENS_PER_S and speech_s >= SPARSE_FROM_S
    return Doubt.SPARSE if sparse else None


def repeats_prompt(text: str, speech: Speech) -> bool:
    """Whether the words of a text stand in the prompt or among the hotwords as they are."""
    said = _words(text)
    sources = [_words(speech.prompt or ""), _words(" ".join(speech.hotwords))]
    return bool(said) and any(
        source[start : start + len(said)] == said
        for source in sources
        for start in range(len(source) - len(said) + 1)
    )


def said_once(text: str) -> str:
    """A text without its repetitions, if it is the same words again and again.

    The last repetition may be incomplete. With a prompt the model often says a short command
    twice. A single repeated word and repeated numbers are left alone, because people say "4, 4, 4"
    and "1, 2, 1, 2".
    """
    found = list(_SPACED.finditer(text))
    words = [word.group().strip(string.punctuation).lower() for word in found]
    for length in range(2, len(words) // 2 + 1):
        again = all(word == words[place % length] for place, word in enumerate(words))
        once = words[:length]
        if again and len(set(once)) > 1 and any(word.isalpha() for word in once):
            return text[: found[length].start()].rstrip(" ,;")
    return text


def is_alike(text: str, other: str) -> bool:
    """Whether two texts may be the same words in two spellings."""
    letters, others = "".join(_words(text)), "".join(_words(other))
    lesser, greater = sorted((len(letters), len(others)))
    if 2 * lesser < ALIKE * (lesser + greater):
        # They cannot have as much in common, and the comparison takes long.
        return False
    return SequenceMatcher(None, letters, others, autojunk=False).ratio() >= ALIKE


def prefer(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    """The better of two hypotheses on the same speech."""
    if not second.text or is_loop(second):
        return first
    if is_loop(first):
        return second
    return second if second.mean_log_prob >= first.mean_log_prob - SECOND_PASS_HANDICAP else first


def is_loop(hypothesis: Hypothesis) -> bool:
    """Whether the decoder repeats itself."""
    return compression_ratio(hypothesis.text) > LOOP_COMPRESSION_RATIO


def is_phantom(text: str) -> bool:
    """Whether the text is one that Whisper often finds in noise, or begins like one."""
    words = " ".join(_words(text))
    return words in PHANTOMS or words.startswith(PHANTOM_BEGINNINGS)


def _words(text: str) -> list[str]:
    return [word.group().lower() for word in _WORD.finditer(text)]


def _english_tokens(hypothesis: Hypothesis) -> float:
    """The tokens that as much speech would have in English."""
    return hypothesis.tokens / relative_token_rate(hypothesis.language)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(bounded / (1 - bounded))
