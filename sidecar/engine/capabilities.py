"""What a command of OPA's may do with Rego: OPA's own list, without what it is not to have, and without any network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sidecar.engine import binary
from sidecar.errors import StartError

Builtin: TypeAlias = Mapping[str, Any]
"""A built-in function as OPA describes it: at least its `name`."""


def known(opa: Path) -> dict[str, Any]:
    """All that an OPA can do. Raises `StartError` where it does not say."""
    try:
        found = json.loads(binary.run([opa, "capabilities", "--current"]).stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StartError(f"{opa} does not say what it can do; name an opa binary with --opa-bin")
    return found


def limited(every: Mapping[str, Any], may: Callable[[Builtin], bool]) -> str:
    """The text for `--capabilities`: only functions that `may` be called, and no host to fetch anything from."""
    return json.dumps({**every, "builtins": [one for one in every["builtins"] if may(one)], "allow_net": []})
