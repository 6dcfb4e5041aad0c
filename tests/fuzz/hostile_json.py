"""JSON that is nearly right: the keys of a message with values of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.choices import Choices

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**64, 10**400, "", " ", "x" * 300, "\0",
    "\ud800", "null", "é" * 70, "+/#", "a/b", [], {}, [[[]]], {"a": {"b": None}}, ["x"] * 40,
)  # fmt: skip
BROKEN = (
    b"", b" ", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b"NaN", b'{"id": NaN}',
    b'{"id": 1e999}', b"[" * 3000, b'{"a":' * 2000, b'{"id": ' + b"9" * 5000 + b"}",
    b'{"id":"a","id":"b"}', b'{"id":"x"}\0', b"\xef\xbb\xbf{}", b'{"x": "' + b"x" * 20_000 + b'"}',
)  # fmt: skip

Fields = Mapping[str, Sequence[Any]]
"""The keys of a message, with values that are taken."""


def chosen(choices: Choices, fields: Fields, **always: Any) -> bytes:
    """A message with some of these keys. One of four is hostile, two of sixteen are no JSON."""
    how = choices.number(15)
    if how == 14:
        return choices.pick(BROKEN)
    if how == 15:
        return choices.take(200)
    said = {}
    for name, values in fields.items():
        kind = choices.number(3)
        if kind == 3 and how > 9:
            said[name] = choices.pick(ODD)
        elif kind > 1:
            said[name] = choices.pick(values)
    return json.dumps(said | always).encode()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any value of JSON, and numbers that are none."""


def nearly(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys. Each value is good, odd, or anything."""
    odd = st.sampled_from(ODD)
    return st.fixed_dictionaries(
        {}, optional={name: good | odd | anything for name, good in fields.items()}
    )


def encoded(value: object) -> bytes:
    """As JSON, also where that is not allowed."""
    return json.dumps(value).encode()
