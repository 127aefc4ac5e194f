"""The proofs of whole calls as Rego: one rule for each tool, which holds when every rule that applies to it is met.

A proof only names what the rules of the policy became. An entry with a rule that no call can pass has none. Where
hand-written Rego stands beside the policy, each proof of a whole call also needs that it has nothing to say: then what
is proved is what going through all rules, those too, would allow with nothing to report or to ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.policy.applies import Applying, can_be_met
from sidecar.policy.model import ANY_TOOL, PolicyEntry
from sidecar.policy.names import glob, key
from sidecar.policy.rego import defined, raw_string, string

NOTHING_BESIDE: Final = ()
QUIET: Final = ("data.intercept.quiet",)
"""The lines that every proof of a whole call needs beside the policy's: none, or those for hand-written Rego."""


def proofs(entry: PolicyEntry, applying: Applying, beside: Sequence[str]) -> list[str]:
    """What an entry with rules adds to the proofs: its tool's, or its own part in those of many tools."""
    if not entry.is_pattern and entry.tool != ANY_TOOL:
        return [_of_tool(entry, applying, beside)] if applying.provable(entry) else []
    return [defined(_met(entry), _lines(entry))] if can_be_met(entry) else []


def proof_of_others(applying: Applying, beside: Sequence[str]) -> list[str]:
    """The proof for tools that have no rules of their own: each entry for many tools is met, or not about them.

    Of the rules of a class it asks the same, although they may not apply to a tool to which another entry gives its
    class: then there is no proof, and the call is worked out.
    """
    if not all(map(can_be_met, applying.any_tool)):
        return []
    patterns = [entry for _, entry in applying.patterns if entry.rules]
    lines = [_clear(entry) for entry in patterns] + [_met(entry) for entry in applying.any_tool if entry.rules]
    ways = [defined(_clear(entry), [line]) for entry in patterns for line in _ways(entry)]
    return [*ways, defined("others_proved", [*lines, *beside])]


def _of_tool(entry: PolicyEntry, applying: Applying, beside: Sequence[str]) -> str:
    of_many = [_met(other) for other in applying.to(entry)[1:] if other.rules]
    return defined("proved", [f"input.tool == {string(entry.tool)}", *_lines(entry), *of_many, *beside])


def _lines(entry: PolicyEntry) -> list[str]:
    """What shows that no rule of the entry stands in the way of a call, or has anything to say."""
    return [line for rule in entry.rules for line in _rule_lines(rule.id, rule.amount, rule.action)]


def _rule_lines(rule: str, amount: object, action: str) -> Iterable[str]:
    yield f"passes[{string(rule)}]"
    if amount:
        yield f"amounts[{string(rule)}]"
    if action == "require_approval":
        yield f"unasked[{string(rule)}]"


def _met(entry: PolicyEntry) -> str:
    return f"met[{string(key(entry.tool))}]"


def _clear(entry: PolicyEntry) -> str:
    return f"clear[{string(key(entry.tool))}]"


def _ways(entry: PolicyEntry) -> Iterable[str]:
    # Compared with false and not negated: what cannot be matched proves nothing.
    yield f"regex.match({raw_string(glob(entry.tool))}, input.tool) == false"
    if can_be_met(entry):
        yield _met(entry)
