"""What hand-written Rego reads of a question: from each mention of `input` to what has to be sent for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidecar.policy.custom import CustomReads
from sidecar.policy.custom_module import Mention, Names
from sidecar.policy.paths import Path
from sidecar.policy.problem import Problem

_SENT: Final = frozenset({"version", "method", "server", "tool"})
"""What stands in every question."""
_ABOUT: Final[dict[str, dict[str, tuple[str, ...] | None]]] = {
    "principal": {"subject": (), "issuer": (), "claims": None},
    "session": {"client": ("name", "version")},
    "workload": {"namespace": (), "pod": (), "service_account": ()},
}
"""What can be known of the caller; below `None` anything can stand."""
_KNOWN: Final = (*sorted(_SENT), "arguments", "keys", "principal", "session", "time", "workload")


def reads_of(mentions: Iterable[Names], *, clock: bool) -> CustomReads:
    """What a question must hold for these ways into `input`. `clock` where the time of the machine is read, too.

    A way that ends at the question itself, or at the arguments, can lead to anything in them.
    """
    paths: set[Path] = set()
    caller: set[Path] = set()
    keys = time = whole = False
    for _, *steps in (names for names in mentions if names[0] == "input"):
        match steps:
            case [] | ["arguments"]:
                whole = True
            case ["arguments", *path]:
                paths.add(tuple(path))
            case ["keys", *_]:
                keys = True
            case ["time", *_]:
                time = True
            case [root, *_] if root in _ABOUT:
                caller.add(tuple(steps))
    if whole:
        keys = time = True
    return CustomReads(
        tuple(paths), tuple(caller), keys=keys, time=time, whole=whole, lasting=not (whole or time or clock)
    )


def problems(mentions: Iterable[Mention]) -> list[Problem]:
    """Mentions of what no question has: a rule that reads it would never say anything."""
    found = ((mention, _problem(mention.steps)) for mention in mentions if mention.steps[0] == "input")
    return [Problem(mention.place, ".".join(mention.steps), text) for mention, text in found if text]


def _problem(names: Names) -> str | None:
    match names[1:]:
        case ["counters", *_]:
            return "no counter can be read here: write the limit, or the condition on `state.…`, in YAML"
        case [root, *steps] if root in _ABOUT:
            return _unknown(steps, _ABOUT[root])
        case [first, *_] if first not in _KNOWN:
            return f"a question has no such part: write one of {', '.join(_KNOWN)}"
        case ["keys" | "time" | "tool" | "server" | "method", step, *_]:
            return f"nothing stands below it: leave out {step}"
    return None


def _unknown(steps: list[str], known: dict[str, tuple[str, ...] | None]) -> str | None:
    if not steps:
        return None
    if steps[0] not in known:
        return f"there is no {steps[0]}: write one of {', '.join(known)}"
    below = known[steps[0]]
    if below is None or len(steps) == 1:
        return None
    if steps[1] not in below:
        return f"there is no {steps[1]}: write one of {', '.join(below)}" if below else f"leave out {steps[1]}"
    return None
