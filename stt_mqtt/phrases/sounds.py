"""How words sound: a phonetic key for each text, and the cost of confusing one sound with another.

A key is a string of sounds without spaces, because a recogniser often hears the words of a phrase
with other boundaries. The rules cover English and German. In other languages a letter without its
accent is a sound.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from hassil.numbers import get_rbnf_engine

Costs = npt.NDArray[np.float32]

SOUNDS = "aeioubpdtgkvfzsZSJCTmnlrwyh"
"""All sounds. `S` as in shop, `Z` measure, `C` church, `J` jam, `T` thin."""
MAX_NUMBER = 1_000_000
"""Larger numbers are not put into words."""
MAX_DIGITS = 9

_RULES = {
    "en": (
        (r"^kn", "n"),
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"wh", "w"),
        (r"[ts]ion", "Sn"),
        (r"tch|ch", "C"),
        (r"sh", "S"),
        (r"th", "T"),
        (r"ph", "f"),
        (r"ck", "k"),
        (r"qu", "kw"),
        (r"x", "ks"),
        (r"dge|j", "J"),
        (r"c(?=[eiy])", "s"),
        (r"c|q", "k"),
        (r"ee|ea|ie", "i"),
        (r"oo|ou|ew", "u"),
        (r"ay|ai|ei|ey", "e"),
        (r"igh", "ai"),
        (r"gh", ""),
        (r"i([bdfklmnprstvz])e$", r"ai\1"),
        (r"a([bdfklmnprstvz])e$", r"e\1"),
        (r"(?<=[a-zSCTZJ]{2})e$", ""),
        (r"(?<=.)y", "i"),
        (r"(?<=[aeiou])h", ""),
    ),
    "de": (
        (r"sch", "S"),
        (r"^s(?=[pt])", "S"),
        (r"ch", "C"),
        (r"ph|v", "f"),
        (r"th|dt", "t"),
        (r"ck|q", "k"),
        (r"tz|z", "ts"),
        (r"x", "ks"),
        (r"w", "v"),
        (r"ei|ay|ey", "ai"),
        (r"ie", "i"),
        (r"eu", "oi"),
        (r"d$", "t"),
        (r"b$", "p"),
        (r"g$", "k"),
        (r"c", "k"),
        (r"j", "y"),
        (r"(?<=[aeiou])h", ""),
    ),
}
_IRREGULAR = {
    "en": {"one": "wan", "two": "tu", "eight": "et", "who": "hu", "iced": "aist", "ice": "ais"},
}
_UMLAUTS = str.maketrans({"ä": "e", "ö": "o", "ü": "u", "ß": "s"})
_APOSTROPHES = str.maketrans("", "", "'\N{RIGHT SINGLE QUOTATION MARK}")
_PERCENT = {
    "en": "percent",
    "de": "prozent",
    "fr": "pour cent",
    "es": "por ciento",
    "it": "per cento",
}
_WORD = re.compile(r"[^\W\d_]+|\d+|%")

_ALIKE = {
    0.2: "bp dt gk vf zs ZS JC yi",
    0.3: "mn wv SC ZJ wu",
    0.4: "Tt Tf Ts Td Tz sS zS vb rw",
    0.5: "lr lw Ct Ck Jd Cs nm",
    0.6: "kt pt pk bd gd nl ng hk hf",
}
_VOWELS = "aeiou"
_OMITTED = {"h": 0.25, "r": 0.5, "w": 0.5, "y": 0.4, "n": 0.6, "t": 0.6, "d": 0.6, "s": 0.65}


def words_of(text: str, language: str) -> list[str]:
    """The words of a text in lower case, without punctuation and with numbers spelled out."""
    words: list[str] = []
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    for word in _WORD.findall(folded):
        if word == "%":
            words.append(_PERCENT.get(language, "percent"))
        elif word.isdecimal():
            words += _WORD.findall(number_in_words(int(word[:MAX_DIGITS]), language))
        else:
            words.append(word)
    return words


@lru_cache(maxsize=16_384)
def number_in_words(number: float, language: str) -> str:
    """The words of a number, or its digits if the language is not known or it is too large."""
    if number > MAX_NUMBER:
        return str(number)
    try:
        text = str(get_rbnf_engine(language).format_number(number).text)
    except ValueError:
        return str(number)
    return text.casefold().replace("\xad", "")


def key_of(text: str, language: str) -> str:
    """The phonetic key of a text, a string of `SOUNDS`."""
    return "".join(_key(word, language) for word in words_of(text, language))


@lru_cache(maxsize=16_384)
def _key(word: str, language: str) -> str:
    irregular = _IRREGULAR.get(language, {}).get(word)
    if irregular is not None:
        return irregular
    word = word.translate(_UMLAUTS) if language == "de" else word
    letters = unicodedata.normalize("NFKD", word.replace("ß", "s"))
    key = "".join(letter for letter in letters if letter.isascii() and letter.isalnum())
    for pattern, sound in _compiled(language):
        key = pattern.sub(sound, key)
    key = re.sub(r"(.)\1", r"\1", key)
    return "".join(sound for sound in key.translate(_PLAIN) if sound in SOUNDS)


_PLAIN = str.maketrans({"c": "k", "q": "k", "x": "s", "j": "J"})


@cache
def _compiled(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), sound) for pattern, sound in _RULES.get(language, ()))


def encoded(key: str) -> npt.NDArray[np.intp]:
    """The indices of the sounds of a key in `SOUNDS`."""
    return np.fromiter((SOUNDS.index(sound) for sound in key), np.intp, len(key))


def _substitution() -> Costs:
    count = len(SOUNDS)
    costs = np.ones((count, count), np.float32)
    vowels = [SOUNDS.index(vowel) for vowel in _VOWELS]
    costs[np.ix_(vowels, vowels)] = 0.35
    for cost, pairs in _ALIKE.items():
        for pair in pairs.split():
            first, second = encoded(pair)
            costs[first, second] = costs[second, first] = cost
    np.fill_diagonal(costs, 0.0)
    return costs


SUBSTITUTION = _substitution()
"""Cost of hearing one sound as another; shape (sounds, sounds)."""
OMISSION = np.array(
    [0.45 if sound in _VOWELS else _OMITTED.get(sound, 0.75) for sound in SOUNDS], np.float32
)
"""Cost of a sound that is heard but not in the phrase, or the reverse; shape (sounds,)."""
