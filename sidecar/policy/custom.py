"""Hand-written Rego that joins a policy: it may refuse or ask a person, never loosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

CUSTOM: Final = "intercept/custom"
"""Where it stands in a bundle."""


@dataclass(frozen=True, slots=True)
class Custom:
    """Modules and data by their paths in a bundle, all below `CUSTOM`, to their text. Tests are not among them."""

    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_CUSTOM: Final = Custom()
