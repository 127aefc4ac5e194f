"""What a rule says, as a digest: another one after every edit of the rule itself, the same wherever it stands.

Approvals are bound to it. A rule that moves within its file or to another one, other rules, and what the file says of
all approvals leave it as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from sidecar.policy.model import Rule
from sidecar.policy.rego import plain_number

_WHERE: Final = frozenset({"entry", "position", "place", "path_place", "shadow"})
"""What says where a rule stands, and not what it says. One in shadow asks for no approval, as one that monitors."""


def content(rule: Rule) -> str:
    """The digest of what a rule says (SHA-256, hexadecimal)."""
    return hashlib.sha256(msgspec.json.encode(_plain(rule))).hexdigest()


def _plain(value: Any) -> Any:
    """A value of the model as JSON: each kind is marked, so that a number is no text and a path is no list of names."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value
        case Decimal():
            return ["number", plain_number(value)]
        case tuple():
            return ["list", *map(_plain, value)]
        case Mapping():
            return ["map", *([key, _plain(value[key])] for key in sorted(value))]
    assert is_dataclass(value)
    said = [[field.name, _plain(getattr(value, field.name))] for field in fields(value) if field.name not in _WHERE]
    return [type(value).__name__, *said]
