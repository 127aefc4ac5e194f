"""Conditions that mean a folder and compare text: what `within` says safely in their place. Texts in, advice out."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from sidecar.policy import paths
from sidecar.policy.model import Action, Condition


def advice(action: Action, condition: Condition) -> str | None:
    """What to write in place of a condition that compares the text of a path, or None."""
    subject, value, op = condition.subject, condition.value, condition.op
    if not isinstance(subject, tuple) or not isinstance(value, str):
        return None
    path = paths.shown("args", subject)
    if "regex" in op:
        found = _in_pattern(value)
    else:
        found = _folder(value) if "contains" in op and value.startswith("/") and _OF_PATHS.search(path) else None
    permits = action == "evaluate" and not op.startswith("not_")
    if found is None or (permits and found.exact):
        return None
    return _words(action, op, path, found, permits)


@dataclass(frozen=True, slots=True)
class _Meant:
    """The folder that is meant; `more` where the condition says more than that, `exact` where it names one path."""

    folder: str
    more: bool = False
    exact: bool = False


def _words(action: Action, op: str, path: str, found: _Meant, permits: bool) -> str | None:
    folder = found.folder
    meant = f"{{path: {_scalar(path)}, op: within, value: {_scalar(folder)}}}"
    rest = ", and the rest of the pattern as a condition of its own" if found.more else ""
    passes = f"{op} compares text, and {folder}/../x passes too"
    if permits:
        return f"{passes}: {'add' if found.more else 'write'} {meant}"
    if action == "deny" and op.startswith("not_"):  # refuses all but that folder
        return f"{passes}: write action: evaluate with {meant}{rest}"
    spelt = _spelt_otherwise(folder, op)
    if spelt is None or (action == "require_approval" and op.startswith("not_")):
        return None
    misses = f"{op} compares text, and {spelt} is the same folder"
    if op.startswith("not_"):  # passes all but that folder
        return f"{misses}: write a rule with action: deny and conditions: [{meant}]{rest}"
    return f"{misses}: write {meant}{rest}"


def _spelt_otherwise(folder: str, op: str) -> str | None:
    """The folder as the condition does not find it; None where it finds every way of writing it."""
    if "regex" in op:
        return f"/x/..{folder}"
    above, _, last = folder.rpartition("/")
    return f"{above}/./{last}" if above else None


def _in_pattern(pattern: str) -> _Meant | None:
    """The folder that a pattern begins with."""
    found = _BEGINNING.match(pattern)
    if found is None:
        return None
    literal = re.sub(r"\\(.)", r"\1", found["literal"])
    rest = pattern[found.end() :]
    if _NO_MORE.fullmatch(rest) or (literal.endswith("/") and re.fullmatch(r"\?\$?", rest)):
        return _folder(literal, exact=rest == "$" and not literal.endswith("/"))
    return _folder(literal[: literal.rfind("/") + 1], more=True)


def _folder(literal: str, *, more: bool = False, exact: bool = False) -> _Meant | None:
    folder = posixpath.normpath(literal).strip("/")
    return _Meant(f"/{folder}", more, exact) if folder and ".." not in literal.split("/") else None


def _scalar(text: str) -> str:
    """A text as YAML holds it between brackets."""
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "''") + "'"


_BEGINNING: Final = re.compile(r"\^(?P<literal>\\?/(?:[\w /@,:~%=-]|\\[./_ @-])*)")
_NO_MORE: Final = re.compile(
    r"""(?: \.\*\$? | \.\+\$? | \$ | \(?:?(?:\?:)?(?:/\|\$|\$\|/)\) | \((?:\?:)?/?\.\*\)\??\$? )?""", re.VERBOSE
)
"""Ends of a pattern that say no more than "the folder, or below it"."""
_OF_PATHS: Final = re.compile(r"(?i)path|file|folder|dir|cwd|source|target|destination")
