"""The JSON Schema of audit lines, as it is documented, and lines held against it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

SCHEMA: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text(encoding="utf-8")
)
LINES: Final[list[str]] = [part["$ref"].rpartition("/")[2] for part in SCHEMA["oneOf"]]
"""The names of the definitions of lines."""

_VALIDATORS: Final = {name: Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]}) for name in LINES}


def valid(lines: Iterable[dict[str, Any]]) -> set[str]:
    """The definitions that lines are of. Fails for a line that is of none, or of several."""
    return {definition(line) for line in lines}


def definition(line: dict[str, Any]) -> str:
    """The one definition that a line is of."""
    found = [name for name, validator in _VALIDATORS.items() if validator.is_valid(line)]
    if len(found) != 1:
        wrong = {
            name: [error.message for error in validator.iter_errors(line)]
            for name, validator in _VALIDATORS.items()
            if SCHEMA["$defs"][name]["properties"]["event"]["const"] == line.get("event")
        }
        raise AssertionError(f"{line} is of {found}: {json.dumps(wrong, indent=1)}")
    return found[0]
