"""Several policy files to one policy. What two of them say differently, or of the same tool, is a clash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.policy.model import Approvals, Methods, Policy, PolicyFile
from sidecar.policy.problem import Place, Problem

_SINGLE = ("default", "mode", "approvals")


def merge(files: Sequence[PolicyFile]) -> tuple[Policy, list[Problem]]:
    """The policy that the files make together, and every clash."""
    policy = Policy(
        sources=tuple(file.source for file in files),
        default=next((file.default for file in files if file.default), "allow"),
        methods=_strictest([file.methods for file in files]),
        mode=next((file.mode for file in files if file.mode), "enforce"),
        hide=tuple({item.name: item for file in files for item in file.hide}.values()),
        approvals=next((file.approvals for file in files if file.approvals), Approvals()),
        entries=tuple(entry for file in files for entry in file.entries),
    )
    return policy, [*_said_twice(files), *_same_tools(files), *_same_hidden(files)]


def _strictest(said: Sequence[Methods]) -> Methods:
    """A method passes that every file lets pass."""
    closing = [methods.allow for methods in said if methods.unknown == "deny"]
    return Methods(
        unknown="deny" if closing else "allow",
        allow=frozenset.intersection(*closing) if closing else frozenset(),
        deny=frozenset().union(*(methods.deny for methods in said)),
    )


def _said_twice(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    for key in _SINGLE:
        saying = [file for file in files if key in file.keys]
        for other in saying[1:]:
            if key == "approvals" or getattr(other, key) != getattr(saying[0], key):
                place = saying[0].keys[key]
                text = f"{place.file}:{place.line} says something else: keep {key} in one of the files"
                yield Problem(other.keys[key], key, text)


def _same_tools(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    places: dict[str, Place] = {}
    for entry in (entry for file in files for entry in file.entries):
        if entry.tool in places:
            place = places[entry.tool]
            text = f"{place.file}:{place.line} has this tool too: put its rules into one file"
            yield Problem(entry.place, f"tools.{entry.tool}", text)
        places.setdefault(entry.tool, entry.place)


def _same_hidden(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    places: dict[str, Place] = {}
    for item in (item for file in files for item in file.hide):
        if item.name in places:
            place = places[item.name]
            yield Problem(item.place, "hide", f'"{item.name}" is hidden by {place.file}:{place.line} already')
        places.setdefault(item.name, item.place)
