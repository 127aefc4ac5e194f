"""Hand-written Rego that joins a policy: it may refuse or ask a person, never loosen.

What it is allowed to be is checked elsewhere (`engine/custom_rego`); here stands what is known of it then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sidecar.policy.paths import Path, in_order

CUSTOM: Final = "intercept/custom"
"""Where it stands in a bundle."""
SHOWN: Final = "rego/custom"
"""Where it stands in a repository: by that its authors know it."""


@dataclass(frozen=True, slots=True)
class Custom:
    """Modules and data by their paths in a bundle, all below `CUSTOM`, to their text. Tests are not among them."""

    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_CUSTOM: Final = Custom()


@dataclass(frozen=True, slots=True, order=True)
class CustomRule:
    """What hand-written Rego may say, by the name that it gives it: where that stands.

    `asks` where it asks a person, else it refuses or reports; `several` where it may ask for more than one.
    """

    file: str
    line: int
    rule: str
    asks: bool
    several: bool


@dataclass(frozen=True, slots=True)
class CustomReads:
    """What hand-written Rego reads of a question.

    `paths` lead into the arguments, `caller` are paths about the caller, as in `terms.Reads`. `keys` are the names of
    all arguments, `time` is the time of the call. With `whole` nobody can tell, so it gets everything. `lasting` where
    its answer to the same question is always the same.
    """

    paths: tuple[Path, ...] = ()
    caller: tuple[Path, ...] = ()
    keys: bool = False
    time: bool = False
    whole: bool = False
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class CheckedCustom:
    """Hand-written Rego that was found good, what it may say, and what it reads."""

    files: Mapping[str, str]
    rules: tuple[CustomRule, ...]
    reads: CustomReads

    @property
    def content(self) -> str:
        """A digest of all its files (SHA-256, hexadecimal): approvals that it asks for are bound to it."""
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            digest.update(f"{path}\0{len(text.encode())}\0{text}".encode())
        return digest.hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """What the facts of a bundle say of it; no other facts go with these files."""
        reads = self.reads
        return {
            "files": [
                {"file": shown(path), "sha256": hashlib.sha256(text.encode()).hexdigest()}
                for path, text in sorted(self.files.items())
            ],
            "content": self.content,
            "rules": [
                {"rule": rule.rule, "asks": rule.asks, "several": rule.several, "file": rule.file, "line": rule.line}
                for rule in self.rules
            ],
            "reads": {
                "paths": [list(path) for path in in_order(reads.paths)],
                "caller": [list(path) for path in in_order(reads.caller)],
                "keys": reads.keys,
                "time": reads.time,
                "whole": reads.whole,
                "lasting": reads.lasting,
            },
        }


def shown(path: str) -> str:
    """The path of a file in a bundle as its author knows it."""
    return SHOWN + path.removeprefix(CUSTOM)
