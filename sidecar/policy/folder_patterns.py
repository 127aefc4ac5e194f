"""The folders that a pattern means: `^/srv/data/`, `^(/srv/data|/tmp)/`. Texts in, folders out; tries no pattern."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_BRANCHES: Final = 32
"""Ways through a pattern that are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The folders that are meant; `more` where the text says more than that, `exact` where it names the paths alone."""

    folders: tuple[str, ...]
    more: bool = False
    exact: bool = False


def in_pattern(pattern: str) -> Meant | None:
    """The folders that a pattern begins with; None where it means none, or more than a list of them can say."""
    if r"\Q" in pattern:
        return None
    branches = _split(pattern)
    return _together(_expanded(branches)) or _together(branches)


def folder(literal: str) -> str | None:
    """The folder that a literal text names, in normal form; None for the root, and where it leads upwards."""
    named = posixpath.normpath(literal).strip("/")
    return f"/{named}" if named and ".." not in literal.split("/") else None


def _together(branches: Sequence[str]) -> Meant | None:
    """What all branches mean, where the same is said of each folder."""
    said: dict[str, list[str]] = {}
    for branch in branches:
        found = _in_branch(branch)
        if found is None:
            return None
        said.setdefault(found[0], []).append(found[1])
    of_each = {_of_one(rests) for rests in said.values()}
    if len(of_each) != 1:
        return None
    rest = of_each.pop()
    return Meant(tuple(said), more=rest not in ("", _END), exact=rest == _END)


def _of_one(rests: list[str]) -> str:
    """What is said of one folder: nothing more where a branch takes all of it."""
    return "" if "" in rests else "|".join(dict.fromkeys(rests))


def _in_branch(branch: str) -> tuple[str, str] | None:
    """The folder that a branch begins with, and what it says beyond "or below it": `$` where it ends there."""
    found = _BEGINNING.match(branch)
    if found is None:
        return None
    literal, rest = re.sub(r"\\(.)", r"\1", found["literal"]), branch[found.end() :]
    if _NO_MORE.fullmatch(rest) or (literal.endswith("/") and re.fullmatch(r"\??\$?", rest)):
        whole, rest = literal, ""
    elif rest.startswith(_END):
        whole, rest = literal, _END
    else:
        sure = literal[:-1] if rest.startswith(("?", "*", "{")) else literal  # these may take the last letter away
        above = sure.rfind("/") + 1
        whole, rest = literal[:above], literal[above:] + rest
    named = folder(whole)
    return (named, rest) if named else None


def _expanded(branches: Sequence[str]) -> Sequence[str]:
    """The branches without the groups that only say one or the other; none where these are too many."""
    waiting = list(branches)
    done: list[str] = []
    while waiting:
        if len(waiting) + len(done) > MAX_BRANCHES:
            return []
        branch = waiting.pop(0)
        found = _GROUP.match(branch)
        if found is None:
            done.append(branch)
            continue
        before, after = found["before"], branch[found.end() :]
        within = [*_split(found["inner"]), *([""] if found["optional"] else [])]
        waiting[:0] = [f"{before}{one}{after}" for one in within]
    return done


def _split(pattern: str) -> list[str]:
    """The branches of a pattern, outside of its groups and classes."""
    branches, depth = [""], 0
    for part in _PART.findall(pattern):
        depth += (part == "(") - (part == ")")
        if part == "|" and depth == 0:
            branches.append("")
        else:
            branches[-1] += part
    return branches


_END: Final = "$"
_BEGINNING: Final = re.compile(r"\^(?P<literal>\\?/(?:[\w /@,:~%=-]|\\[./_ @-])*)")
_NO_MORE: Final = re.compile(r"(?:\.[*+]\$?)?")
"""Ends of a branch that say no more than "the folder, or below it"."""
_GROUP: Final = re.compile(
    r"""(?P<before> (?: [^\\\[\]()] | \\. | \((?:\?:)? )*? )
    \( (?:\?:)? (?P<inner> (?!\?) (?: [^\\\[\]()] | \\. )* ) \) (?P<optional> \?\?? )? (?![*+?{])""",
    re.VERBOSE | re.DOTALL,
)
"""The first group without another in it, behind no class. One that repeats does not say one or the other."""
_PART: Final = re.compile(r"\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|.", re.DOTALL)
