"""The texts that the sidecar says, as they stand in its code, and messages of documents found among them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from tests.support import ROOT

LEFT_OUT: Final = "…"
"""What stands in a document for a part that differs each time."""
_GAP: Final = "\0"
_PLACEHOLDER: Final = re.compile(r"%(?:\([a-z]+\))?[sdr]|%\.\df")
_SHORTEST: Final = 8
"""Characters of a message that stand in the code: less could be found anywhere."""


def is_said(message: str) -> bool:
    """True if a text in the code has all constant parts of the message, in their order."""
    parts = [part.strip() for part in message.split(LEFT_OUT) if part.strip()]
    if sum(map(len, parts)) < _SHORTEST:
        return False
    pattern = re.compile(".*".join(map(re.escape, parts)), re.S)
    return any(pattern.search(text) for text in texts())


@cache
def texts() -> tuple[str, ...]:
    """Every text in the code but documentation, with a mark where a value is put in."""
    python = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "sidecar").rglob("*.py")))
    rego = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "rego").rglob("*.rego")))
    found = [text for tree in python for text in _of_python(tree)]
    found += [text for source in rego for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source)]
    return tuple(_PLACEHOLDER.sub(_GAP, text) for text in found)


def _of_python(tree: ast.AST) -> Iterator[str]:
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                yield "".join(str(value.value) if isinstance(value, ast.Constant) else _GAP for value in values)
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                yield text
