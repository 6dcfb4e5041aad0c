"""Whether a transcript can be believed: nothing said, worth a second look, or good.

Pure judgements over what the model and the voice detector say. The numbers were fitted on real
speech and real noise (`benchmarks/results/engine.md`).
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.speaking_rate import relative_token_rate
from stt_mqtt.engine.transcriber import Hypothesis

LOOP_COMPRESSION_RATIO = 2.2
"""Text that shrinks more than this repeats itself."""
SPARSE_TOKENS_PER_S = 2.6
"""In English; other languages have more tokens, see `relative_token_rate`."""
MIN_SPEECH_S = 0.1
JUDGED_S = 5.0
"""What is longer is judged by this much of it: people make pauses, and may say it all at once."""
SPARSE_FROM_S = 1.0
"""Speech as long as this with fewer tokens a second: letters run together, words left out."""
SECOND_LOOK_HANDICAP = 0.5
"""How much worse the mean log-probability of a second look may be: timestamps cost it some."""

PHANTOMS = frozenset(
    {
        "you",
        "thank you",
        "thank you very much",
        "thanks",
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "please subscribe",
        "bye",
        "bye bye",
        "okay",
        "oh",
        "hmm",
        "mm hmm",
    }
)
"""What Whisper likes to hear in noise. People say it, too: it only asks for better evidence."""


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
        - 3.5
    )
    return score > 0


def is_doubtful(hypothesis: Hypothesis, speech_s: float) -> bool:
    """Whether a second look would pay."""
    if not hypothesis.text:
        return False
    tokens_per_s = _english_tokens(hypothesis) / max(speech_s, MIN_SPEECH_S)
    sparse = tokens_per_s < SPARSE_TOKENS_PER_S and speech_s >= SPARSE_FROM_S
    return sparse or is_loop(hypothesis)


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
    """Whether the text is one of those that Whisper hears in noise."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split()) in PHANTOMS


def _english_tokens(hypothesis: Hypothesis) -> float:
    """The tokens that as much speech would have in English."""
    return hypothesis.tokens / relative_token_rate(hypothesis.language)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(bounded / (1 - bounded))
