"""What is kept of a call: what rules read, as it was written; of what the policy masks never the value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.arguments import Projection
from sidecar.events import Decided, Ruling
from sidecar.mcp import strict_json
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import FACTS
from sidecar.policy.paths import EACH, Path, shown
from sidecar.policy.terms import Reads
from sidecar.rehearsal.recordings.kept import Keeper
from sidecar.rehearsal.recordings.recorded import By, Recorded, read_line, without, written
from tests.engine.asking import bundle_of

KEY = b"the key of the installation"
RULING = Ruling(True, "enforce", "allow", "", "", (), "r1", 3, None, remembered=False)
NOBODY = Caller("s1")
POLICY = """
approvals: {mask: [args.card]}
tools:
  t:
    rules:
      - {conditions: [{path: args.amount, op: lte, value: 5}, {path: "args.items[*].price", op: lte, value: 5}]}
      - {conditions: [{path: principal.claims.team, op: eq, value: x}]}
  only: {rules: [{only: [a, b]}]}
  hidden:
    rules:
      - {conditions: [{path: args.card.number, op: eq, value: 1}, {path: args.b, op: eq, value: 1}]}
"""


def decided(tool: str, arguments: str, caller: Caller = NOBODY, **ruling: Any) -> Decided:
    value, raw = strict_json.read_value(arguments.encode())
    call = ToolCall(1, tool, value, False, raw, {})
    told = msgspec.structs.replace(RULING, **ruling)
    return Decided("d-1", "bank", caller, call, told, 0.001, None, (), limited=False)


def keeper(policy: str = POLICY, candidate: str | None = None, *, whole: bool = False) -> Keeper:
    tried = bundle_of(candidate).files[FACTS] if candidate else ""
    return Keeper(bundle_of(policy).terms, tried, KEY, {"pod": "p", "namespace": "n"}, whole=whole)


def recorded(made: Keeper, *what: Any, **ruling: Any) -> Recorded:
    """What is read of the line that is written."""
    return read_line(written(made.recorded(decided(*what, **ruling), 1796025600.5)))


def test_the_arguments_that_rules_read_are_kept_as_they_were_written() -> None:
    kept = recorded(keeper(), "t", '{"amount":1.10,"note":"secret","items":[{"price":1e2,"name":"secret"},"x"]}')
    assert strict_json.encode(kept.arguments) == b'{"amount":1.10,"items":[{"price":1e2},true]}'
    assert kept.kept == ("args.amount", "args.items[*].price", "principal.claims.team")
    assert (kept.time, kept.decision_id, kept.server, kept.revision) == (
        "2026-11-30T08:00:00.500000Z", "d-1", "bank", "r1",
    )  # fmt: skip


def test_who_called_is_kept_with_the_claims_that_rules_read() -> None:
    ann = Caller(
        "s9", "agent", Principal("ann", "idp", {"team": "x", "mail": "secret"}), ClientInfo("a", "agent", None)
    )
    kept = recorded(keeper(), "t", "{}", ann)
    assert kept.principal == By("ann", "idp", {"team": "x"})
    assert (kept.session, kept.client and kept.client.name, kept.workload) == ("s9", "agent", {})
    assert recorded(keeper(whole=True), "t", "{}", ann).principal == By("ann", "idp", {"team": "x", "mail": "secret"})
    assert recorded(keeper(whole=True), "t", "{}").workload == {"pod": "p", "namespace": "n"}


def test_names_of_arguments_are_kept_where_a_rule_asks_for_them() -> None:
    kept = recorded(keeper(), "only", '{"b":"secret","x":"secret"}')
    assert (kept.keys, kept.arguments, kept.sent) == (("b", "x"), {}, {"b": True, "x": True})
    assert recorded(keeper(), "t", '{"b":1}').keys is None


def test_what_a_candidate_reads_is_kept_too_and_what_it_masks_is_not() -> None:
    candidate = (
        "approvals: {mask: [args.amount]}\ntools: {t: {rules: [{conditions: [{path: args.to, op: eq, value: x}]}]}}"
    )
    kept = recorded(keeper(candidate=candidate), "t", '{"amount":5,"to":"y","note":"secret"}')
    assert kept.arguments["to"] == "y"
    assert (kept.masked, kept.arguments["amount"][:12]) == (("args.amount",), "hmac-sha256:")


def test_a_look_alike_of_what_only_a_candidate_reads_is_kept_by_its_name() -> None:
    candidate = "tools: {t: {rules: [{conditions: [{path: 'args.o[*].to', op: eq, value: x}]}]}}"
    kept = recorded(keeper(candidate=candidate), "t", '{"O":"secret","o":[{"TO":"secret","to":"y"},{"x":"secret"}]}')
    assert kept.arguments == {"O": True, "o": [{"to": "y", "TO": True}, {}]}


@pytest.mark.parametrize(
    ("ruling", "decision"),
    [
        ({}, "allow"),
        ({"allowed": False, "kind": "rate_limit"}, "deny"),
        ({"allowed": False, "kind": "approval_required"}, "approval"),
        ({"allowed": False, "kind": "rule", "mode": "monitor"}, "deny"),
    ],
)
def test_what_was_decided_is_kept(ruling: dict[str, Any], decision: str) -> None:
    kept = recorded(keeper(), "t", "{}", **ruling)
    assert (kept.decision, kept.mode) == (decision, ruling.get("mode", "enforce"))


def test_what_is_masked_is_named_in_the_order_of_the_paths() -> None:
    made = keeper("approvals: {mask: [args.b, args.a]}\ntools: {t: {rules: [{action: allow}]}}", whole=True)
    assert recorded(made, "t", '{"b":1,"a":2}').masked == ("args.a", "args.b")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        '{"card":{"number":"secret"},"b":1}', '{"card":"secret","b":1}', '{"CARD":"secret","b":1}',
        '{"card":["secret"],"b":1}', '{"card":{"Number":"secret"},"b":1}',
    ],
)  # fmt: skip
def test_a_masked_value_above_what_is_kept_is_a_hash_and_the_call_cannot_be_replayed(
    arguments: str, whole: bool
) -> None:
    made = keeper(whole=whole)
    kept = recorded(made, "hidden", arguments)
    assert "secret" not in written(kept).decode()
    assert kept.masked in (("args.card",), ("args.CARD",))
    assert without(kept, bundle_of(POLICY).terms.reads_of("hidden")) == ("args.card.number",)
    if '"card"' in arguments:
        assert kept.arguments["card"].startswith("hmac-sha256:")


def test_one_value_at_one_path_has_one_hash() -> None:
    made = keeper("approvals: {mask: [args.a, args.b]}\ntools: {}", whole=True)

    def hashes(arguments: str) -> dict[str, Any]:
        return recorded(made, "x", arguments).arguments

    one = hashes('{"a":{"x":1,"y":[1.0]},"b":7}')
    assert hashes('{"b":7,"a":{"y":[1.0],"x":1}}') == one
    assert hashes('{"a":7,"b":7}')["a"] != one["b"]
    assert hashes('{"a":8,"b":8}')["b"] != one["b"]
    other = Keeper(bundle_of("approvals: {mask: [args.b]}\ntools: {}").terms, "", b"another", {}, whole=True)
    assert recorded(other, "x", '{"b":7}').arguments["b"] != one["b"]


# An adversary: wherever secrets stand in a call, however it is written, none that may not be kept is in the line.

STEPS = ["a", "b", "A", "\u0130x", "ix", "c.d"]
ways: st.SearchStrategy[Path] = st.lists(st.sampled_from([*STEPS, EACH]), max_size=3).flatmap(
    lambda rest: st.sampled_from(STEPS).map(lambda first: (first, *rest))
)
leaves = st.sampled_from(["secret", "secret", None, True])
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(STEPS), inner, max_size=4),
    max_leaves=12,
)
calls = st.dictionaries(st.sampled_from(STEPS), trees, max_size=5).map(lambda drawn: numbered(drawn, count()))


def numbered(value: Any, numbers: Iterator[int]) -> Any:
    """The value with another text in the place of each secret."""
    if isinstance(value, dict):
        return {key: numbered(inner, numbers) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbered(inner, numbers) for inner in value]
    return f"<{next(numbers)}>" if value == "secret" else value


def policy_of(reads: list[Path], masks: list[Path], shadow: list[Path]) -> str:
    def rule(path: Path, mode: str) -> dict[str, Any]:
        return {"conditions": [{"path": shown("args", path), "op": "exists", "value": True}], "mode": mode}

    rules = [*(rule(path, "enforce") for path in reads), *(rule(path, "shadow") for path in shadow)]
    masked = list(dict.fromkeys(shown("args", path) for path in masks))
    return json.dumps({"approvals": {"mask": masked}, "tools": {"t": {"rules": rules}}})


@given(
    st.lists(ways, max_size=3), st.lists(ways, max_size=3), st.lists(ways, max_size=2), calls
)  # fmt: skip
def test_no_value_is_kept_that_is_masked_or_that_no_rule_reads(
    reads: list[Path], masks: list[Path], shadow: list[Path], arguments: dict[str, Any]
) -> None:
    terms = bundle_of(policy_of(reads, masks, shadow)).terms
    made = Keeper(terms, "", KEY, {}, whole=False)
    line = written(made.recorded(decided("t", json.dumps(arguments)), 0.0)).decode()
    for way, secret in secrets(arguments):
        read = any(leads(path, way) for path in (*reads, *shadow))
        masked = any(leads(path, way, loosely=True) for path in masks)
        assert (secret in line) is (read and not masked), (way, line)


@given(st.lists(ways, max_size=3), calls)
def test_with_all_kept_only_what_is_masked_is_missing(masks: list[Path], arguments: dict[str, Any]) -> None:
    terms = bundle_of(policy_of([], masks, [])).terms
    line = written(Keeper(terms, "", KEY, {}, whole=True).recorded(decided("t", json.dumps(arguments)), 0.0)).decode()
    for way, secret in secrets(arguments):
        if any(leads(path, way, loosely=True) for path in masks):
            assert secret not in line, (way, line)
        else:
            assert secret in line, (way, line)


@example([("a", "b", "a")], {"a": {"b": None}})
@given(st.lists(ways, min_size=1, max_size=3), calls)
def test_what_is_kept_is_asked_about_as_the_call_itself(reads: list[Path], arguments: dict[str, Any]) -> None:
    """The question about a recorded call is that about the call: nothing that a rule reads is missing or another."""
    terms = bundle_of(policy_of([], [], reads)).terms  # in shadow, so that no look-alike was refused
    kept = recorded(Keeper(terms, "", KEY, {}, whole=False), "t", json.dumps(arguments))
    projection = Projection(reads)
    assert question_of(projection, kept.sent) == question_of(projection, arguments)
    assert without(kept, Reads(paths=tuple(reads))) == ()


def question_of(projection: Projection, arguments: dict[str, Any]) -> Any:
    try:
        return projection.of(arguments)
    except ValueError:
        return "refused"


def secrets(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """Every secret in a value, with the way to it; elements of lists are `EACH`."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in secrets(inner, (*way, key))]
    if isinstance(value, list):
        return [found for inner in value for found in secrets(inner, (*way, EACH))]
    return [(way, value)] if isinstance(value, str) else []


def leads(path: Path, way: tuple[Any, ...], *, loosely: bool = False) -> bool:
    """True where what stands at the end of a way is at a path, or below it; `loosely` also where it is in its way."""

    def same(one: Any, other: Any) -> bool:
        if one is EACH or other is EACH:
            return one is other
        return one == other or (loosely and fold(one) == fold(other))

    if all(same(one, other) for one, other in zip(path, way, strict=False)):
        return len(path) <= len(way) or loosely
    # A mask that leads through something else than is there hides that as a whole.
    first = next((at for at, pair in enumerate(zip(path, way, strict=False)) if not same(*pair)), None)
    return loosely and first is not None and (path[first] is EACH) is not (way[first] is EACH)


def fold(key: str) -> str:
    return key.replace("\u0130", "i").upper().casefold()
