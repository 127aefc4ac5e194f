"""Names of tools: patterns with `*` and `?`, and names as keys in Rego."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from sidecar.text import is_plain

RESERVED: Final = "intercept/"
"""Reserved for canaries, about which the library answers whatever the policy says: no real tool has such a name."""
CANARY_ALLOWED: Final = "intercept/canary-allowed"
CANARY_DENIED: Final = "intercept/canary-denied"


def key(name: str) -> str:
    """A name as a key in Rego, another one for every name: what cannot be seen is percent-encoded.

    `opa fmt` writes such characters in the head of a rule in a way that OPA does not read.
    """
    return "".join(char if char != "%" and char.isprintable() and is_plain(char) else quote(char) for char in name)


def is_pattern(name: str) -> bool:
    """True for a name with `*` or `?`."""
    return "*" in name or "?" in name


def glob(name: str) -> str:
    """The RE2 pattern of a name with `*` (anything) and `?` (one character); everything else is literal."""
    parts = {"*": ".*", "?": "."}
    return "^(?s:" + "".join(parts.get(char) or _escaped(char) for char in name) + ")$"


def unglob(pattern: str) -> str:
    """The name of which `glob` made a pattern."""
    return _PARTS.sub(lambda part: part["literal"] or ("*" if part["any"] else "?"), pattern[len("^(?s:") : -len(")$")])


def matcher(name: str) -> re.Pattern[str]:
    """What a name with `*` and `?` matches, for Python: the same as `glob`, in time that grows with the two lengths.

    What stands between two stars is taken where it comes first and not looked for again. Nothing is lost by that, and a
    pattern that went back would take minutes for some names, which agents choose.
    """
    first, *others = (".".join(map(re.escape, part.split("?"))) for part in name.split("*"))
    between = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = f".*{others[-1]}" if others else ""
    return re.compile(rf"(?s:\A{first}{between}{last}\Z)")


def _escaped(char: str) -> str:
    return f"\\{char}" if char in "\\.+()|[]{}^$" else char


_PARTS: Final = re.compile(r"\\(?P<literal>.)|(?P<any>\.\*)|\.")
