"""Merges several policy files into one policy. No file loosens another: the stricter one holds, or they clash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sidecar.policy.classes import with_rules_of_classes
from sidecar.policy.model import Approvals, Methods, Policy, PolicyFile
from sidecar.policy.problem import Place, Problem


def merge(files: Sequence[PolicyFile]) -> tuple[Policy, list[Problem]]:
    """The merged policy, every clash, and a warning for each setting of a file that has no effect."""
    classes = tuple(item for file in files for item in file.classes)
    policy = Policy(
        sources=tuple(file.source for file in files),
        default="deny" if any(file.default == "deny" for file in files) else "allow",
        methods=_strictest([file.methods for file in files]),
        mode="monitor" if files and all(file.mode == "monitor" for file in files) else "enforce",
        listed="callable" if any(file.listed == "callable" for file in files) else "all",
        classes=classes,
        hide=tuple({item.name: item for file in files for item in file.hide}.values()),
        approvals=next((file.approvals for file in files if file.approvals), Approvals()),
        entries=with_rules_of_classes([entry for file in files for entry in file.entries], classes),
    )
    clashes = [*_approvals(files), *_same_classes(files), *_same_tools(files), *_same_hidden(files)]
    return policy, [*_overruled(files), *clashes]


def _strictest(said: Sequence[Methods]) -> Methods:
    """A method passes that every file lets pass."""
    closing = [methods.allow for methods in said if methods.unknown == "deny"]
    return Methods(
        unknown="deny" if closing else "allow",
        allow=frozenset.intersection(*closing) if closing else frozenset(),
        deny=frozenset().union(*(methods.deny for methods in said)),
    )


def _overruled(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    denying = next((file.keys["default"] for file in files if file.default == "deny"), None)
    enforcing = next((file for file in files if file.mode != "monitor"), None)
    callable_only = next((file.keys["list"] for file in files if file.listed == "callable"), None)
    for file in files:
        if file.default == "allow" and denying:
            text = f"has no effect: {denying.file}:{denying.line} says deny, and the stricter holds"
            yield Problem(file.keys["default"], "default", text, warning=True)
        if file.mode == "monitor" and enforcing:
            says = "says enforce" if enforcing.mode else "states no mode, which is to enforce"
            text = f"has no effect: {enforcing.source.file} {says}, and the stricter holds; write mode: monitor in each"
            yield Problem(file.keys["mode"], "mode", text, warning=True)
        if file.listed == "all" and callable_only:
            text = f"has no effect: {callable_only.file}:{callable_only.line} says callable, and the stricter holds"
            yield Problem(file.keys["list"], "list", text, warning=True)


def _approvals(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    places = [file.keys["approvals"] for file in files if "approvals" in file.keys]
    for place in places[1:]:
        text = f"{places[0].file}:{places[0].line} says something else: keep approvals in one of the files"
        yield Problem(place, "approvals", text)


def _same_tools(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    for tool, place, first in _again((entry.tool, entry.place) for file in files for entry in file.entries):
        text = f"{first.file}:{first.line} has this tool too: put its rules into one file"
        yield Problem(place, f"tools.{tool}", text)


def _same_classes(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    for risk, place, first in _again((item.risk, item.place) for file in files for item in file.classes):
        text = f"{first.file}:{first.line} has rules for this class too: put them into one file"
        yield Problem(place, f"classes.{risk}", text)


def _same_hidden(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    for name, place, first in _again((item.name, item.place) for file in files for item in file.hide):
        yield Problem(place, "hide", f'"{name}" is hidden by {first.file}:{first.line} already')


def _again(named: Iterable[tuple[str, Place]]) -> Iterator[tuple[str, Place, Place]]:
    """Each name that was there before: where it stands now, and where it stood first."""
    places: dict[str, Place] = {}
    for name, place in named:
        if name in places:
            yield name, place, places[name]
        places.setdefault(name, place)
