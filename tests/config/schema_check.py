"""A checker for the part of JSON schema that our schema uses; an unknown keyword is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

NOTES = {"$schema", "$defs", "title", "description", "default", "format", "writeOnly"}
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "object": (dict,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
OBJECT = {"properties", "patternProperties", "additionalProperties"}
BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "maxProperties": lambda value, bound: len(value) <= bound,
    "required": lambda value, names: all(name in value for name in names),
    "pattern": lambda value, bound: re.search(bound, value) is not None,
    "enum": lambda value, bound: value in bound,
}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> bool:
    """Whether `value` fits `schema`."""
    root = schema if root is None else root
    unknown = set(schema) - NOTES - set(BOUNDS) - {"$ref", "anyOf", "type", "items"} - OBJECT
    assert not unknown, unknown
    if "$ref" in schema and not accepts(root["$defs"][schema["$ref"][8:]], value, root):
        return False
    options = schema.get("anyOf")
    if options and not any(accepts(option, value, root) for option in options):
        return False
    wanted = schema.get("type", list(TYPES))
    names = [wanted] if isinstance(wanted, str) else wanted
    if type(value) not in {kind for name in names for kind in TYPES[name]}:
        return False
    if isinstance(value, dict) and not _accepts_keys(schema, value, root):
        return False
    if isinstance(value, list) and not all(accepts(schema["items"], v, root) for v in value):
        return False
    return value is None or all(
        BOUNDS[word](value, bound) for word, bound in schema.items() if word in BOUNDS
    )


def _accepts_keys(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any]) -> bool:
    for key, below in value.items():
        fitting = [schema["properties"][key]] if key in schema.get("properties", {}) else []
        fitting += [s for p, s in schema.get("patternProperties", {}).items() if re.search(p, key)]
        if not fitting and schema.get("additionalProperties") is False:
            return False
        if not all(accepts(option, below, root) for option in fitting):
            return False
    return True
