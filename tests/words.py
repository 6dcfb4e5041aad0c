"""Texts of a real model, compared by what was said.

Their capitals and punctuation depend on the machine and on what else it does.
"""

from __future__ import annotations

import re


def words(text: str) -> list[str]:
    """The words of a text, in small letters and without what stands between them."""
    return re.findall(r"[\w']+", text.lower())
