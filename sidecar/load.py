"""Policy files to a policy that is known to be good: read, checked, and its patterns tried on the engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.engine import binary
from sidecar.errors import PolicyError
from sidecar.policy.check import check
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read import read

MAX_SIZE: Final = 16 << 20
"""Bytes of a policy file."""


def load(paths: Sequence[Path], opa: Callable[[], Path]) -> tuple[Policy, list[Problem]]:
    """The policy that the files make together, and warnings about it.

    `opa` finds the engine; it is called only when one is needed. Raises `PolicyError` with every problem, or
    `StartError` when there is no engine to judge a pattern.
    """
    files, problems = [], []
    with _no_collections():
        for path in paths:
            file, found = read(_text(path), str(path))
            files.append(file)
            problems += found
        policy, clashes = merge(files)
    problems = sorted({*problems, *clashes, *check(policy), *_bad_patterns(policy, opa)})
    if not all(problem.warning for problem in problems):
        raise PolicyError([str(problem) for problem in problems])
    return policy, problems


@contextmanager
def _no_collections() -> Iterator[None]:
    """A policy is many values and no cycles: collecting among them takes four times as long as reading them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise PolicyError([f"{path}: larger than {MAX_SIZE >> 20} MiB: write less"])
        return data.decode("utf-8")
    except OSError as error:
        raise PolicyError([f"cannot read the policy {path}: {error.strerror}; name a policy file with -c"]) from None
    except UnicodeDecodeError:
        raise PolicyError([str(Problem(Place(str(path), 1, 1), "file", "not UTF-8: save it as UTF-8"))]) from None


def _bad_patterns(policy: Policy, opa: Callable[[], Path]) -> list[Problem]:
    patterns = [
        (f"tools.{entry.tool}.rules[{rule.position}].conditions[{at}].value", condition)
        for entry in policy.entries
        for rule in entry.rules
        for at, condition in enumerate(rule.conditions, 1)
        if condition.op == "regex" and isinstance(condition.value, str)
    ]
    if not patterns:
        return []
    reasons = binary.bad_patterns(opa(), {str(condition.value) for _, condition in patterns})
    return [
        Problem(condition.place, where, f"{condition.value} is no RE2 pattern: {reasons[str(condition.value)]}")
        for where, condition in patterns
        if condition.value in reasons
    ]
