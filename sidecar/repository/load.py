"""Loads policy files: they are read, merged and checked, and their patterns are tried on the engine."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sidecar.engine import binary
from sidecar.errors import PolicyError
from sidecar.policy import suggest
from sidecar.policy.check import check
from sidecar.policy.hints import hints
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.operators import OPERATORS
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read import read
from sidecar.system import files
from sidecar.system.files import Found
from sidecar.text import of_system

_PATTERNS: Final = frozenset(name for name, operator in OPERATORS.items() if operator.operand == "pattern")
MAX_SIZE: Final = 16 << 20
"""Bytes of a policy file."""


def find(paths: Sequence[Path]) -> tuple[Found, ...]:
    """The files as they are now."""
    return tuple(files.find(path, MAX_SIZE) for path in paths)


def load(found: Sequence[Found], opa: Callable[[], Path], *, alone: bool = True) -> tuple[Policy, list[Problem]]:
    """The policy that the files make together, and warnings about it, which is not `alone` beside hand-written Rego.

    `opa` finds the engine; it is called only if there are patterns. Raises `PolicyError` with every problem, or
    `StartError` when there is no engine to judge a pattern.
    """
    read_files, problems, unread = [], [], []
    with no_collections():
        for one in found:
            try:
                file, noted = read(text(one), of_system(str(one.path)))
            except PolicyError as error:
                unread += error.problems
                continue
            read_files.append(file)
            problems += noted
        if unread:  # what the files say together is not known
            raise PolicyError([*unread, *(str(problem) for problem in sorted(problems) if not problem.warning)])
        policy, clashes = merge(read_files)
    problems = sorted({*problems, *clashes, *check(policy), *_bad_patterns(policy, opa)})
    if not all(problem.warning for problem in problems):
        raise PolicyError([str(problem) for problem in problems])
    return policy, sorted([*problems, *hints(policy, read_files, alone=alone)])


def places_of_settings(found: Sequence[Found]) -> dict[str, Place]:
    """Where the settings of a policy stand by their names: of several that say the same one the strictest."""
    places: dict[str, Place] = {}
    for one in found:
        file, _ = read(text(one), of_system(str(one.path)))
        strict = {"default": file.default == "deny", "mode": file.mode != "monitor", "list": file.listed == "callable"}
        places |= {key: place for key, place in file.keys.items() if key not in places or strict.get(key)}
    return places


@contextmanager
def no_collections() -> Iterator[None]:
    """Pause garbage collection: a policy has many values and no cycles, and collecting takes four times as long."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def text(found: Found) -> str:
    """The text of a policy file. Raises `PolicyError`."""
    if found.content is None:
        raise PolicyError([f"cannot read the policy {found.path}: {why_not(found)}; name a policy file with -c"])
    try:
        return found.content.data.decode("utf-8")
    except UnicodeDecodeError:
        place = Place(of_system(str(found.path)), 1, 1)
        raise PolicyError([str(Problem(place, "file", "not UTF-8: save it as UTF-8"))]) from None


def why_not(found: Found) -> str:
    """Why a file has no content."""
    return f"{found.problem}{_sought(found)}"


def _sought(found: Found) -> str:
    """Where a policy was looked for that is not there: clients start programs in folders of their own."""
    if found.path.is_absolute() or found.problem != os.strerror(errno.ENOENT):
        return ""
    with suppress(FileNotFoundError):  # the folder itself may be gone
        return f" in {of_system(str(Path.cwd()))}"
    return ""


def _bad_patterns(policy: Policy, opa: Callable[[], Path]) -> list[Problem]:
    rules_at = [(f"tools.{entry.tool}", entry.rules) for entry in policy.entries if not entry.by_class]
    rules_at += [(f"classes.{item.risk}", item.rules) for item in policy.classes]
    patterns = [
        (f"{where}.rules[{rule.position}].conditions[{at}].value", condition)
        for where, rules in rules_at
        for rule in rules
        for at, condition in enumerate(rule.conditions, 1)
        if condition.op in _PATTERNS and isinstance(condition.value, str)
    ]
    if not patterns:
        return []
    reasons = binary.bad_patterns(opa(), {str(condition.value) for _, condition in patterns})
    return [
        Problem(condition.place, where, f"{pattern} is no RE2 pattern: {reasons[pattern]}; {suggest.pattern(pattern)}")
        for where, condition in patterns
        if (pattern := str(condition.value)) in reasons
    ]
