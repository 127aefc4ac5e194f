"""Arguments that tools do not declare: what the schema of a tool leaves out, where it says all that there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_ELSEWHERE: Final = (
    "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas",
    "dependencies", "patternProperties",
)  # fmt: skip
"""Parts of a schema that can declare more arguments than stand in it."""


def undeclared(definitions: Iterable[Any], wanted: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Which of the arguments that are wanted of a tool it does not declare, for each of those tools that is there.

    None where its definition does not say all: it declares none, or takes any others too. Of a name that stands twice
    all definitions count: clients differ on which of them they take.
    """
    found: dict[str, frozenset[str]] = {}
    for one in definitions:
        if type(one) is dict and type(name := one.get("name")) is str and name in wanted:
            arguments = _declared(one.get("inputSchema"))
            left = found.get(name, wanted[name])
            found[name] = frozenset(want for want in left if arguments is not None and want not in arguments)
    return found


def _declared(schema: Any) -> Mapping[str, Any] | None:
    """The arguments by name; None where there may be others."""
    if type(schema) is not dict or any(part in schema for part in _ELSEWHERE):
        return None
    properties: Mapping[str, Any] | None = schema.get("properties")
    takes_others = schema.get("additionalProperties", False) is not False
    return properties if type(properties) is dict and properties and not takes_others else None
