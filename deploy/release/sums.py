"""SHA256SUMS, as `sha256sum` writes and checks it: written and read. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from deploy.release.refused import Refused

SUMS: Final = "SHA256SUMS"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
"""A name of a file in a release: in no folder, and nothing to a shell."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

_LINE: Final = re.compile(rf"({DIGEST.pattern})  ({NAME.pattern})")


def written(digests: Mapping[str, str]) -> str:
    """The text for some files, in the order of their names."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def read(text: str) -> dict[str, str]:
    """The digest of each file. Raises `Refused` for a text that `written` does not write."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise Refused(f"{SUMS}, line {number}, is no SHA-256, two blanks and a plain name")
        found[match[2]] = match[1]
    if not found or written(found) != text:  # also where a name is there twice
        raise Refused(f"{SUMS} is not in order: one line for each file, by name, each with its end of line")
    return found
