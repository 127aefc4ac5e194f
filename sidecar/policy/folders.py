"""The folders of `within`: how a policy writes them. Looks at no disk."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from sidecar.policy.model import Value
from sidecar.text import quoted

MAX_LENGTH: Final = 4096
"""Characters of the longest path that the library in Rego reads, and that Linux opens."""


def compiled(value: Value) -> tuple[str, ...]:
    """The folders in one text, or in a list of them: absolute paths in normal form, as Rego compares with them.

    Raises ValueError with what to write instead.
    """
    items = value if isinstance(value, tuple) else (value,)
    if not items:
        raise ValueError("within needs a folder, or a list of folders: write /srv/data, or [/srv/data, /tmp]")
    return tuple(map(_folder, items))


def _folder(item: Value) -> str:
    if not isinstance(item, str) or not item:
        raise ValueError("within needs a folder, as text: write /srv/data, or [/srv/data, /tmp]")
    if item.startswith("~"):
        raise ValueError(f"{quoted(item)} stands for a folder of whoever reads it: write it out, as /home/name")
    if not item.startswith("/"):
        raise ValueError(f"{quoted(item)} is no absolute path: write it from the root on, as /srv/data")
    if _UNREADABLE.search(item):
        text = "has a backslash, a control character or a blank at its end, and no path with one is read"
        raise ValueError(f"{quoted(item)} {text}: write a folder without, as /srv/data")
    if len(item) > MAX_LENGTH:
        raise ValueError(f"a folder of {len(item)} characters is longer than any path: write up to {MAX_LENGTH}")
    normal = posixpath.normpath(f"/{item.lstrip('/')}")
    if item != normal:
        raise ValueError(f"{quoted(item)} is not in normal form: write {quoted(normal)}")
    return item


_UNREADABLE: Final = re.compile(r"[\\\x00-\x1f\x7f-\x9f]|[\s\ufeff]\Z")
