"""Judges hypotheses: good, doubtful, or noise. Pure functions.

The thresholds were fitted on real speech and real noise (`benchmarks/results/hearing.md`).
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
"""Text with a higher compression ratio repeats itself."""
SPARSE_TOKENS_PER_S = 2.6
"""Fewer English tokens per second are sparse. See `relative_token_rate` for other languages."""
MIN_SPEECH_S = 0.1
JUDGED_S = 5.0
"""Longest speech that counts for a token rate, because longer speech has pauses."""
SPARSE_FROM_S = 1.0
"""Speech must have this length to be sparse. The model then left out or joined words."""
PROMPT_LOG_ODDS = 2.3
"""How much a prompt lowers the log odds of `no_speech_prob` (real speech: 0.21 to 0.02)."""
ALIKE = 0.4
"""Least share of letters that two spellings of the same words have in common."""
SECOND_PASS_HANDICAP = 0.5
"""How much lower the mean log-probability of the second pass may be, due to timestamps."""

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
"""Texts that Whisper often finds in noise. People say them too, so they need more evidence."""
PHANTOM_HANDICAP = 4.0
"""How much more evidence a phantom needs, in the score of `is_noise`."""


def compression_ratio(text: str) -> float:
    """Size of a text divided by its compressed size. High values show repetitions."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def ends_sentence(text: str) -> bool:
    """Whether a text ends with a full stop, a question mark or an exclamation mark."""
    return text.endswith((".", "?", "!")) and not text.endswith("..")


def is_prompted(speech: Speech) -> bool:
    """Whether the model was given a prompt or hotwords."""
    return bool(speech.prompt or speech.hotwords)


def is_clear(hypothesis: Hypothesis, clear_no_speech_prob: float, prompted: bool = False) -> bool:
    """Whether the model alone shows that there is speech.

    With a prompt it does not, because a prompt makes the model expect speech.
    """
    return (
        not prompted
        and hypothesis.no_speech_prob < clear_no_speech_prob
        and not is_loop(hypothesis)
        and not is_phantom(hypothesis.text)
    )


def strongest_voice(probabilities: Floats, per_s: float) -> float:
    """The highest mean probability of a voice over `JUDGED_S`.

    There are `per_s` probabilities per second, and at least one.
    """
    width = min(round(JUDGED_S * per_s), len(probabilities))
    sums = np.cumsum(np.concatenate([[0.0], probabilities]))
    return float((sums[width:] - sums[:-width]).max() / width)


def is_noise(hypothesis: Hypothesis, speech_s: float, voice: float, prompted: bool = False) -> bool:
    """Whether the text comes from noise.

    `voice` is the result of `strongest_voice`.
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
    """Why a hypothesis is doubtful and the speech should be decoded again."""

    PROMPTED = auto()
    """The prompt may have caused the text: it repeats the prompt, or it is empty."""
    LOOP = auto()
    """The decoder repeats itself."""
    SPARSE = auto()
    """There are too few words for the length of the speech."""


def doubt_about(hypothesis: Hypothesis, speech: Speech, speech_s: float) -> Doubt | None:
    """Why the speech should be decoded again; None: it should not."""
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
    """Whether the text only repeats words of the prompt or the hotwords."""
    said = _words(text)
    sources = [_words(speech.prompt or ""), _words(" ".join(speech.hotwords))]
    return bool(said) and any(
        source[start : start + len(said)] == said
        for source in sources
        for start in range(len(source) - len(said) + 1)
    )


def said_once(text: str) -> str:
    """The text without repetitions, if it only repeats the same words.

    The last repetition may be incomplete. With a prompt the model often writes a short command
    twice. A single repeated word and repeated numbers are kept, because people say "4, 4, 4" and
    "1, 2, 1, 2".
    """
    found = list(_SPACED.finditer(text))
    words = [word.group().strip(string.punctuation).lower() for word in found]
    for length in range(2, len(words) // 2 + 1):
        again = all(word == words[place % length] for place, word in enumerate(words))
        once = words[:length]
        if again and len(set(once)) > 1 and any(word.isalpha() for word in once):
            return text[: found[length].start()].rstrip(" ,;")
    return text


def without_echo(text: str) -> str:
    """The text without words at its end that only repeat those before them.

    A draft often ends so, because the speech stops in a word.
    """
    found = list(_SPACED.finditer(text))
    words = [word.group().strip(string.punctuation).lower() for word in found]
    length = 1
    while 2 * length <= len(words):
        if words[-length:] == words[-2 * length : -length]:
            del words[-length:]
            length = 1
        else:
            length += 1
    return text[: found[len(words) - 1].end()] if words else text


def is_alike(text: str, other: str) -> bool:
    """Whether two texts may be different spellings of the same words."""
    letters, others = "".join(_words(text)), "".join(_words(other))
    lesser, greater = sorted((len(letters), len(others)))
    if 2 * lesser < ALIKE * (lesser + greater):
        # The lengths differ too much, and the comparison is slow.
        return False
    return SequenceMatcher(None, letters, others, autojunk=False).ratio() >= ALIKE


def prefer(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    """The better of two hypotheses for the same speech."""
    if not second.text or is_loop(second):
        return first
    if is_loop(first):
        return second
    return second if second.mean_log_prob >= first.mean_log_prob - SECOND_PASS_HANDICAP else first


def is_loop(hypothesis: Hypothesis) -> bool:
    """Whether the decoder repeats itself."""
    return compression_ratio(hypothesis.text) > LOOP_COMPRESSION_RATIO


def is_phantom(text: str) -> bool:
    """Whether Whisper often finds the text, or a text that begins like it, in noise."""
    words = " ".join(_words(text))
    return words in PHANTOMS or words.startswith(PHANTOM_BEGINNINGS)


def _words(text: str) -> list[str]:
    return [word.group().lower() for word in _WORD.finditer(text)]


def _english_tokens(hypothesis: Hypothesis) -> float:
    """The number of tokens, converted to English."""
    return hypothesis.tokens / relative_token_rate(hypothesis.language)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(bounded / (1 - bounded))
