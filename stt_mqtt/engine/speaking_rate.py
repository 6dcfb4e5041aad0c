"""How many tokens a second of speech has in each language, relative to English.

Whisper's tokenizer was made from mostly English text, so the same sentence takes more tokens in
other languages: 1.4 times as many in French, 4 times in Thai. A threshold of tokens per second is
fitted on English and multiplied by this.

`token_counts.json` has the tokens of a sentence relative to those of the English one. The
tokenizer of the multilingual models (base) counted them in Home Assistant's command sentences
(package home-assistant-intents). Where there are too few of those, it counted translated messages
of desktop programs, of which 0.83 is taken: the median over the languages that have both. A
language that has neither got the number of its neighbours in the same script.

Recordings say how the two go together: the commands of speech-to-phrase in 21 languages have
tokens per second that grow with the power 0.6 of that number. A sentence that needs more tokens
often takes longer to say, too.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

COUNTS_FILE = "token_counts.json"
EXPONENT = 0.6
MAX_RELATIVE_RATE = 5.0


def relative_token_rate(language: str) -> float:
    """Tokens per second of speech in a language, 1.0 for English and for an unknown language.

    English has the same rate under the tokenizer of the English models, within 3 %.
    """
    counted = token_counts().get(language, 1.0)
    return float(min(max(counted, 1.0) ** EXPONENT, MAX_RELATIVE_RATE))


@cache
def token_counts() -> dict[str, float]:
    """Tokens of a sentence by language code, as many times those of the English sentence."""
    text = files("stt_mqtt.engine").joinpath(COUNTS_FILE).read_bytes()
    counts: dict[str, float] = json.loads(text)
    return counts
