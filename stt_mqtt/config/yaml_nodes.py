"""YAML text to nodes that know their line and column, within bounds.

Anchors, aliases and tags are refused: nothing here needs them, aliases are how a small file
becomes a huge one, and a value such as `&secret` or `*secret` would silently become another one.
"""

from __future__ import annotations

from collections.abc import Callable

import yaml

from stt_mqtt.errors import ConfigError

MAX_CHARACTERS = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 16

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""Plain scalars that mean null."""

_ALIAS = "a name or value that begins with * must be in quotes"
_ANCHOR = "a value that begins with & must be in quotes"
_TAG = "a value that begins with ! must be in quotes"
_NO_COLON = "could not find expected ':'"
_FALLBACK = "this is not valid YAML"
_SENTENCES = (
    ("alias", _ALIAS),
    ("anchor", _ANCHOR),
    ("tag", _TAG),
    ("character '\\t'", "a tab; YAML wants spaces"),
    ("that cannot start any token", "a value that begins with @, `, % or , must be in quotes"),
    ("directive", "a line that begins with % must be indented or in quotes"),
    ("single document", "a second document; only one is allowed"),
    (_NO_COLON, "a line without a colon and a space after its key"),
    (
        "mapping values are not allowed",
        "a colon where none can be; is a quote or a space after a colon missing?",
    ),
    ("expected <block end>", "the indentation fits no line above, or a quote or bracket is open"),
    ("node content", "a value is missing, or a [ or { is not closed"),
    ("<document start>", "text that belongs to nothing above it; is a quote missing?"),
    ("quoted scalar", "a quote that is not closed, or a backslash that needs single quotes"),
    ("flow mapping", "a { that is not closed, or a comma missing"),
    ("flow sequence", "a [ that is not closed, or a comma missing"),
    ("block scalar", "text after | or > where none can be; quotes missing?"),
)


class _Refused(yaml.YAMLError):
    """Valid YAML that this reader refuses."""

    def __init__(self, sentence: str, event: yaml.Event) -> None:
        super().__init__(sentence)
        mark = event.start_mark
        self.position = (mark.line, mark.column) if mark else (0, 0)


class _Loader(yaml.SafeLoader):
    """Composes nodes, counting them."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        peek: Callable[[], yaml.Event] = self.peek_event
        event = peek()
        self.nodes += 1
        refusal = _refusal(event)
        if self.nodes > MAX_NODES:
            refusal = f"the file has more than {MAX_NODES} keys and values"
        if self.depth >= MAX_DEPTH:
            refusal = f"more than {MAX_DEPTH} levels inside each other"
        if refusal is not None:
            raise _Refused(refusal, event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def compose(text: str, source: str) -> yaml.Node | None:
    """Root node of the YAML in `text`, None when it is empty.

    Raises ConfigError with one line `source:line:column: message`.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError([f"{source}:1:1: the file is larger than 1 MiB"])
    loader = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        message = "a character that YAML does not allow; write it as \\x.. in double quotes"
    except _Refused as error:
        line, column = error.position
        message = str(error)
    except yaml.MarkedYAMLError as error:
        line, column = _position(error, len(text.rstrip()))
        message = _sentence(error)
    except (ValueError, OverflowError):
        # PyYAML lets chr() and int() raise on "\U99999999" and on absurd %YAML versions.
        line, column = (loader.line, loader.column) if loader else (0, 0)
        message = "an escape or number that YAML does not allow"
    else:
        return node
    raise ConfigError([f"{source}:{line + 1}:{column + 1}: {message}"])


def is_null(node: yaml.Node) -> bool:
    """Whether the node is null: empty, `~` or `null`, without quotes."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in NULLS


def is_bare(node: yaml.Node) -> bool:
    """Whether nothing at all is written after the key."""
    return is_null(node) and node.value == ""


def _refusal(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return _ALIAS
    if getattr(event, "anchor", None) is not None:
        return _ANCHOR
    if getattr(event, "tag", None) is not None:
        return _TAG
    return None


def _position(error: yaml.MarkedYAMLError, end: int) -> tuple[int, int]:
    """Line and column from 0: where it broke, or what was begun if that is noticed too late."""
    mark, begun = error.problem_mark, error.context_mark
    if mark is None or (begun and (mark.index >= end or _NO_COLON in (error.problem or ""))):
        mark = begun
    return (mark.line, mark.column) if mark else (0, 0)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """A sentence of our own: PyYAML may quote a piece of a password."""
    said = f"{error.context or ''} {error.problem or ''}"
    return next((sentence for words, sentence in _SENTENCES if words in said), _FALLBACK)
