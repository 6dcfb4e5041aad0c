"""Texts of a real model, compared by what was said.

Their capitals and punctuation depend on the machine and on what else it does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import jiwer


def words(text: str) -> list[str]:
    """The words of a text, in small letters and without what stands between them."""
    return re.findall(r"[\w']+", text.lower())


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Wrong, missing and additional words for each word that was said."""
    reference = [" ".join(words(text)) for text in said]
    hypothesis = [" ".join(words(text)) for text in heard]
    return float(jiwer.wer(reference, hypothesis))
