"""YAML text to nodes that know their line and column, within bounds.

Tags are refused, and in the configuration also anchors and aliases: nothing there needs them, and a
value such as `&secret` or `*secret` would silently become another one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import yaml

from stt_mqtt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class YamlBounds:
    """What a file may hold. `nodes`: keys and values, those of an alias included.

    `aliases`: whether values may refer to others. `fast`: whether to read with libyaml, if PyYAML
    has it. Errors are those of PyYAML in both cases.
    """

    mib: int = 1
    nodes: int = 10_000
    depth: int = 16
    aliases: bool = False
    fast: bool = False


CONFIGURATION = YamlBounds()

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""Plain scalars that mean null."""

_ALIAS = "a name or value that begins with * must be in quotes"
_ANCHOR = "a value that begins with & must be in quotes"
_TAG = "a value that begins with ! must be in quotes"
_DOCUMENTS = "a second document; only one is allowed"
_NO_COLON = "could not find expected ':'"
_FALLBACK = "this is not valid YAML"
_SENTENCES = (
    ("alias", _ALIAS),
    ("anchor", _ANCHOR),
    ("tag", _TAG),
    ("character '\\t'", "a tab; YAML wants spaces"),
    ("that cannot start any token", "a value that begins with @, `, % or , must be in quotes"),
    ("directive", "a line that begins with % must be indented or in quotes"),
    ("single document", _DOCUMENTS),
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


@dataclass(slots=True)
class _Extent:
    """How many nodes a collection has so far, and how many levels are inside it."""

    anchor: str | None
    nodes: int = 1
    depth: int = 1


class _Counter:
    """Checks the events of a document against the bounds."""

    def __init__(self, bounds: YamlBounds) -> None:
        self._bounds = bounds
        self._open: list[_Extent] = []
        self._anchors: dict[str, _Extent | None] = {}
        """The extent of each anchor. None: its value is still open."""
        self._nodes = 0
        self._documents = 0

    def count(self, event: yaml.Event) -> None:
        """Count an event. Raises _Refused."""
        refusal = self._refusal(event)
        if refusal is not None:
            raise _Refused(refusal, event)
        if isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(self._open.pop())
        elif isinstance(event, yaml.AliasEvent):
            extent = self._extent_of(event)
            self._end(_Extent(None, extent.nodes, extent.depth))
        elif isinstance(event, yaml.ScalarEvent):
            self._end(_Extent(event.anchor))
        self._nodes += isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent)
        if self._nodes > self._bounds.nodes:
            raise _Refused(f"the file has more than {self._bounds.nodes} keys and values", event)

    def _refusal(self, event: yaml.Event) -> str | None:
        """Why an event is refused; None: it is not."""
        depth = 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            return _DOCUMENTS if self._documents > 1 else None
        if not isinstance(event, yaml.NodeEvent):
            return None
        refusal = self._refused_anchor(event)
        if refusal is None and isinstance(event, yaml.AliasEvent):
            extent = self._extent_of(event)
            self._nodes += extent.nodes
            depth = extent.depth
        if refusal is None and getattr(event, "tag", None) is not None:
            refusal = _TAG
        if refusal is None and len(self._open) + depth > self._bounds.depth:
            refusal = f"more than {self._bounds.depth} levels inside each other"
        return refusal

    def _refused_anchor(self, event: yaml.NodeEvent) -> str | None:
        anchor = event.anchor
        if isinstance(event, yaml.AliasEvent):
            if not self._bounds.aliases or anchor not in self._anchors:
                return _ALIAS
            return "a value that refers to itself" if self._anchors[anchor] is None else None
        if anchor is not None and not self._bounds.aliases:
            return _ANCHOR
        if anchor is not None and anchor in self._anchors:
            return f"a second value is called &{anchor[:60]}"
        return None

    def _extent_of(self, event: yaml.AliasEvent) -> _Extent:
        extent = self._anchors[str(event.anchor)]
        assert extent is not None
        return extent

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        self._open.append(_Extent(event.anchor))
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _end(self, extent: _Extent) -> None:
        if extent.anchor is not None:
            self._anchors[extent.anchor] = extent
        if self._open:
            above = self._open[-1]
            above.nodes += extent.nodes
            above.depth = max(above.depth, extent.depth + 1)


def compose(text: str, source: str, bounds: YamlBounds = CONFIGURATION) -> yaml.Node | None:
    """Root node of the YAML in `text`, None when it is empty.

    Raises ConfigError with one line `source:line:column: message`.
    """
    if len(text) > bounds.mib << 20:
        raise ConfigError([f"{source}:1:1: the file is larger than {bounds.mib} MiB"])
    if bounds.fast and hasattr(yaml, "CSafeLoader"):
        # If it fails, the parser of PyYAML says why.
        with suppress(yaml.YAMLError, ValueError, OverflowError):
            _check(yaml.CSafeLoader(text), bounds)
            return _root(yaml.CSafeLoader(text))
    checked = None
    try:
        checked = yaml.SafeLoader(text)
        _check(checked, bounds)
        return _root(yaml.SafeLoader(text))
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
        line, column = (checked.line, checked.column) if checked else (0, 0)
        message = "an escape or number that YAML does not allow"
    raise ConfigError([f"{source}:{line + 1}:{column + 1}: {message}"])


def _check(loader: yaml.SafeLoader | yaml.CSafeLoader, bounds: YamlBounds) -> None:
    counter = _Counter(bounds)
    while (event := loader.get_event()) is not None:
        counter.count(event)


def _root(loader: yaml.SafeLoader | yaml.CSafeLoader) -> yaml.Node | None:
    node: yaml.Node | None = loader.get_single_node()
    return node


def is_null(node: yaml.Node) -> bool:
    """Whether the node is null: empty, `~` or `null`, without quotes."""
    # The style of a plain scalar is "" with libyaml.
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in NULLS


def is_bare(node: yaml.Node) -> bool:
    """Whether nothing at all is written after the key."""
    return is_null(node) and node.value == ""


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
