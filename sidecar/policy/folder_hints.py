"""Conditions that mean folders and compare text: what `within` says safely in their place. Texts in, advice out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sidecar.policy import paths
from sidecar.policy.folder_patterns import Meant, folder, in_pattern
from sidecar.policy.model import Action, Condition


def advice(action: Action, condition: Condition) -> str | None:
    """What to write in place of a condition that compares the text of a path, or None."""
    subject, value, op = condition.subject, condition.value, condition.op
    if not isinstance(subject, tuple) or not isinstance(value, str):
        return None
    path = paths.shown("args", subject)
    found = in_pattern(value) if "regex" in op else _in_text(op, value, path)
    permits = action == "evaluate" and not op.startswith("not_")
    if found is None or (permits and found.exact):
        return None
    return _words(action, op, path, found, permits)


def _in_text(op: str, value: str, path: str) -> Meant | None:
    """The folder that a text names which `contains` looks for in a path."""
    looks = "contains" in op and value.startswith("/") and _OF_PATHS.search(path)
    named = folder(value) if looks else None
    return Meant((named,)) if named else None


def _words(action: Action, op: str, path: str, found: Meant, permits: bool) -> str | None:
    first = found.folders[0]
    meant = f"{{path: {_scalar(path)}, op: within, value: {_value(found.folders)}}}"
    rest = ", and the rest of the pattern as a condition of its own" if found.more else ""
    passes = f"{op} compares text, and {first}/../x passes too"
    if permits:
        return f"{passes}: {'add' if found.more else 'write'} {meant}"
    if action == "deny" and op.startswith("not_"):  # refuses all but those folders
        return f"{passes}: write action: evaluate with {meant}{rest}"
    spelt = _spelt_otherwise(first, op)
    if spelt is None or (action == "require_approval" and op.startswith("not_")):
        return None
    misses = f"{op} compares text, and {spelt} is the same folder"
    if op.startswith("not_"):  # passes all but those folders
        return f"{misses}: write a rule with action: deny and conditions: [{meant}]{rest}"
    return f"{misses}: write {meant}{rest}"


def _spelt_otherwise(named: str, op: str) -> str | None:
    """The folder as the condition does not find it; None where it finds every way of writing it."""
    if "regex" in op:
        return f"/x/..{named}"
    above, _, last = named.rpartition("/")
    return f"{above}/./{last}" if above else None


def _value(folders: Sequence[str]) -> str:
    """One folder, or the list of several, as YAML holds it between brackets."""
    written = [_scalar(one) for one in folders]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _scalar(text: str) -> str:
    """A text as YAML holds it between brackets."""
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "''") + "'"


_OF_PATHS: Final = re.compile(r"(?i)path|file|folder|dir|cwd|source|target|destination")
