"""Recorded calls under another policy: what changes, in which direction, and what cannot be told, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.events import Decided, Ruling
from sidecar.mcp import strict_json
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.rehearsal.judging import Judgement, rehearsal
from sidecar.rehearsal.recordings.files import Line
from sidecar.rehearsal.recordings.kept import Keeper
from sidecar.rehearsal.recordings.recorded import Recorded, read_line, time_of, written
from sidecar.rehearsal.replay import Change, NotReplayable, Replay, replay
from sidecar.repository.subject import subject
from tests.policy.drawing import Call, calls_of, policies
from tests.policy.test_agreement import EXACT, arguments_of, bundle_of
from tests.support import OPA
from tests.support.fuzzing import TIMES

BEGIN = 1_796_025_600.0
"""A moment at which every window begins that is shorter than a day."""


def compiled(folder: Path, policy: str) -> Bundle:
    path = folder / "policy.yaml"
    path.write_text(policy)
    return subject(path, OPA).bundle


def call(tool: str = "t", decision: Any = "allow", *, after: float = 0, **said: Any) -> Recorded:
    return Recorded(
        tool=tool, arguments=said.pop("arguments", {}), decision=decision, time=time_of(BEGIN + after), **said
    )


def replayed(bundle: Bundle, calls: Sequence[Recorded]) -> Replay:
    lines = [Line(f"calls.jsonl:{number}", one) for number, one in enumerate(calls, 1)]
    return asyncio.run(replay(lambda: lines, bundle, OPA))


def why(found: Replay) -> list[str]:
    return [one.why for one in found.not_replayable]


def test_what_was_refused_and_passes_comes_first(tmp_path: Path) -> None:
    policy = compiled(tmp_path, "tools: {t: {rules: []}, asks: {rules: [{name: ask, action: require_approval}]}}")
    calls = [call("asks", "deny"), call(decision="approval"), call(decision="deny")]
    found = replayed(policy, calls)
    assert [(one.old, one.new) for one in found.loosened] == [
        ("deny", "allow"),
        ("approval", "allow"),
        ("deny", "approval"),
    ]
    assert found.opens
    assert not replayed(policy, calls[:1]).opens


SMALL = """
tools:
  t:
    rules:
      - {name: small, conditions: [{path: args.n, op: lte, value: 5}], reason: Too many}
"""


def test_a_call_that_passes_now_loosens_and_one_that_is_refused_now_tightens(tmp_path: Path) -> None:
    found = replayed(
        compiled(tmp_path, SMALL),
        [
            call(decision="deny", arguments={"n": 1}, rule="small"), call(arguments={"n": 9}),
            call(arguments={"n": 1}), call(decision="deny", arguments={"n": 9}),
        ],
    )  # fmt: skip
    loosened = Change("t", {"n": 1}, "deny", "allow", "policy.yaml:5", "", "", "small", "calls.jsonl:1")
    tightened = Change("t", {"n": 9}, "allow", "deny", "policy.yaml:5", "small", "Too many", "", "calls.jsonl:2")
    assert found == Replay((loosened,), (tightened,), 2, ())


def test_numbers_are_judged_as_they_were_sent(tmp_path: Path) -> None:
    token = msgspec.Raw(b"5.00000000000000000000000001")
    assert replayed(compiled(tmp_path, SMALL), [call(decision="deny", arguments={"n": token})]).unchanged == 1


@pytest.mark.parametrize(
    ("policy", "recorded", "reason"),
    [
        (SMALL, {"kept": ("args.m",)}, "not kept: args.n, which a rule reads"),
        (SMALL, {"kept": ("args.n",), "masked": ("args.n",)}, "kept as a hash only: args.n, which a rule reads"),
        (SMALL, {"kept": ("args.n",), "masked": ("args.n.deep",)}, "kept as a hash only: args.n, which a rule reads"),
        (SMALL.replace("args.n", "principal.claims.team"), {"kept": ()},
         "not kept: principal.claims.team, which a rule reads"),
        ("tools: {t: {rules: [{name: o, only: [n]}]}}", {"kept": ()},
         "not kept: the names of the arguments, which a rule reads"),
        (SMALL, {"kind": "engine_unavailable"}, "no policy decided it: engine_unavailable"),
        (SMALL, {"kind": "store_unavailable"}, "no policy decided it: store_unavailable"),
        (SMALL, {"kind": "invalid_request"}, "no policy decided it: invalid_request"),
        (SMALL, {"kind": "outcome_unknown"}, "no policy decided it: outcome_unknown"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_asked_about_is_named_with_the_reason(
    tmp_path: Path, policy: str, recorded: dict[str, Any], reason: str
) -> None:
    found = replayed(compiled(tmp_path, policy), [call(decision="deny", arguments={"n": True}, **recorded)])
    assert found == Replay((), (), 0, (NotReplayable("t", reason, "calls.jsonl:1"),))


def test_what_no_rule_reads_need_not_be_kept(tmp_path: Path) -> None:
    assert replayed(compiled(tmp_path, SMALL), [call(arguments={"n": 5}, kept=("args.n",))]).unchanged == 1


def test_a_key_that_is_known_by_name_only_counts_where_rules_say_which_keys_a_call_may_have(tmp_path: Path) -> None:
    policy = compiled(tmp_path, "tools: {t: {rules: [{name: o, only: [n]}]}}")
    found = replayed(policy, [call(kept=(), keys=("n", "other")), call(kept=(), keys=("n",))])
    assert ([one.recorded for one in found.tightened], found.unchanged) == (["calls.jsonl:1"], 1)


LIMITED = "tools: {t: {rules: [{name: two, rate_limit: 2/hour}]}}"


def test_counters_are_counted_in_order_at_the_recorded_times(tmp_path: Path) -> None:
    calls = [call(after=after) for after in (0, 1, 3599, 3600, 3601, 3602)]
    found = replayed(compiled(tmp_path, LIMITED), calls)
    assert [one.recorded for one in found.tightened] == ["calls.jsonl:3", "calls.jsonl:6"]
    assert found.unchanged == 4


def test_counters_of_a_session_and_of_a_server_are_their_own(tmp_path: Path) -> None:
    policy = compiled(
        tmp_path, "tools: {t: {rules: [{name: one, rate_limit: {max: 1, window: hour, scope: session}}]}}"
    )
    whose = [("s", "a"), ("s", "b"), ("s", "a"), ("z", "a"), ("z", "a")]
    found = replayed(policy, [call(server=server, session=session) for server, session in whose])
    assert [one.recorded for one in found.tightened] == ["calls.jsonl:3", "calls.jsonl:5"]


def test_a_raised_limit_loosens(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"decision": "deny", "kind": "rate_limit", "rule": "two"}
    found = replayed(compiled(tmp_path, LIMITED), [call(), call(**limit), call(**limit)])
    assert [(one.recorded, one.line) for one in found.loosened] == [("calls.jsonl:2", "policy.yaml:1")]
    assert found.unchanged == 2


def test_a_limit_that_was_used_up_before_the_recording_began_cannot_be_replayed(tmp_path: Path) -> None:
    first = call(decision="deny", kind="rate_limit", rule="two")
    found = replayed(compiled(tmp_path, LIMITED), [first, call()])
    assert why(found) == ["a counter: its limit was used up by calls before the recording"]
    assert found.unchanged == 1


def test_what_the_very_same_policy_decided_otherwise_lay_in_what_was_counted_before(tmp_path: Path) -> None:
    policy = compiled(tmp_path, LIMITED)
    limit: dict[str, Any] = {"decision": "deny", "kind": "rate_limit", "rule": "two", "revision": policy.revision}
    found = replayed(policy, [call(revision=policy.revision), call(**limit)])
    assert why(found) == ["a counter: the very same policy decided otherwise, by what was counted when it was recorded"]
    assert (found.unchanged, found.loosened) == (1, ())


ASKS = "tools: {t: {rules: [{name: ask, action: require_approval}]}}"
FREE = "tools: {t: {rules: []}}"
NEVER = "tools: {t: {rules: [{name: never, action: deny}]}}"
WAITED: dict[str, Any] = {"decision": "approval", "kind": "approval_required", "approval": "a"}
APPROVED: dict[str, Any] = {"decision": "allow", "kind": "allow", "approval": "a"}
REFUSED: dict[str, Any] = {"decision": "deny", "kind": "approval_denied", "approval": "a"}
FULL: dict[str, Any] = {"decision": "deny", "kind": "approvals_full"}


@pytest.mark.parametrize(
    ("policy", "recorded", "counts"),
    [
        (ASKS, WAITED, (0, 0, 1, 0)), (FREE, WAITED, (1, 0, 0, 0)), (NEVER, WAITED, (0, 1, 0, 0)),
        (ASKS, APPROVED, (0, 0, 0, 1)), (FREE, APPROVED, (1, 0, 0, 0)), (NEVER, APPROVED, (0, 1, 0, 0)),
        (ASKS, REFUSED, (0, 0, 0, 1)), (FREE, REFUSED, (1, 0, 0, 0)), (NEVER, REFUSED, (0, 1, 0, 0)),
        (ASKS, FULL, (0, 0, 1, 0)), (ASKS, {"decision": "allow"}, (0, 1, 0, 0)),
        (ASKS, {"decision": "deny"}, (1, 0, 0, 0)),
    ],
)  # fmt: skip
def test_of_an_approval_what_policy_says_is_compared_and_what_a_person_said_is_not(
    tmp_path: Path, policy: str, recorded: dict[str, Any], counts: tuple[int, ...]
) -> None:
    found = replayed(compiled(tmp_path, policy), [call(**recorded)])
    assert (len(found.loosened), len(found.tightened), found.unchanged, len(found.not_replayable)) == counts


def test_more_calls_than_can_wait_are_still_said_to_ask(tmp_path: Path) -> None:
    calls = [call(arguments={"n": n}, **WAITED) for n in range(120)]
    assert replayed(compiled(tmp_path, ASKS), calls).unchanged == 120


@pytest.mark.parametrize(("mode", "loosened"), [("enforce", 1), ("monitor", 0)])
def test_a_policy_that_only_monitors_lets_everything_pass_that_was_refused(
    tmp_path: Path, mode: str, loosened: int
) -> None:
    found = replayed(compiled(tmp_path, "mode: monitor\n" + NEVER), [call(decision="deny", mode=mode)])
    assert (len(found.loosened), found.unchanged) == (loosened, 1 - loosened)


CUSTOM = """\
package intercept.custom

violations contains {"rule": "hours", "reason": "Closed"} if {
	CONDITION
}
"""


def repository(folder: Path, condition: str) -> Bundle:
    (folder / "policies").mkdir()
    (folder / "policies" / "policy.yaml").write_text(FREE)
    (folder / "rego" / "custom").mkdir(parents=True)
    (folder / "rego" / "custom" / "hours.rego").write_text(CUSTOM.replace("CONDITION", condition))
    return subject(folder, OPA).bundle


def test_hand_written_rules_see_the_time_at_which_the_call_was_recorded(tmp_path: Path) -> None:
    policy = repository(tmp_path, 'input.time >= "2026-11-30T09:00:00Z"')
    found = replayed(policy, [call(kept=()), call(kept=(), after=3600)])
    assert [(one.recorded, one.rule) for one in found.tightened] == [("calls.jsonl:2", "hours")]


def test_hand_written_rules_that_look_at_the_clock_cannot_be_replayed(tmp_path: Path) -> None:
    found = replayed(repository(tmp_path, "time.now_ns() > 0"), [call()])
    assert why(found) == ["hand-written Rego reads the clock with time.now_ns: the time of the call is input.time"]


def test_hand_written_rules_that_may_read_anything_need_all_of_a_call(tmp_path: Path) -> None:
    policy = repository(tmp_path, "some value in input\n\tvalue == 7")
    found = replayed(policy, [call(kept=()), call(), call(masked=("args.pin",))])
    reason = "hand-written Rego may read anything, and not all of the call was kept: record with --record-all"
    assert why(found) == [reason, reason]
    assert found.unchanged == 1


# Properties.


def caller_of(drawn: Call) -> Caller:
    known, _ = strict_json.read_value(msgspec.json.Encoder(decimal_format="number").encode(drawn.caller))
    by, client = known.get("principal"), known.get("session", {}).get("client")
    return Caller(
        "s", principal=Principal(by["subject"], by["issuer"], by["claims"]) if by is not None else None,
        said=ClientInfo("", client.get("name"), client.get("version")) if client is not None else None,
    )  # fmt: skip


def recorded(keeper: Keeper, drawn: Call, said: Judgement, moment: float) -> Recorded:
    """The line that a sidecar writes of a call, read again."""
    ruling = Ruling(
        said.action == "allow", "enforce", said.kind, said.rule, said.reason, (), "of another policy", 1, None, False
    )
    call = ToolCall(1, drawn.tool, arguments_of(drawn), False, b"", {})
    event = Decided("d", "live", caller_of(drawn), call, ruling, 0.0, None, (), False)
    return read_line(written(keeper.recorded(event, moment)).rstrip())


async def live(bundle: Bundle, drawn: Sequence[Call], moments: Sequence[float]) -> list[Judgement]:
    """What a gate says of calls, from an empty store on."""
    async with rehearsal(bundle, OPA, server="live") as gate:
        said = []
        for one, gate.now in zip(drawn, moments, strict=True):
            said.append(await gate.judge(one.tool, arguments_of(one), caller_of(one)))
        return said


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], list[Call], list[int], bool]:
    """Two policies, calls for either, the seconds before each, and whether all of a call is recorded."""
    old, new = draw(policies()), draw(policies())
    drawn = draw(st.lists(st.one_of(calls_of(old), calls_of(old), calls_of(new)), min_size=20, max_size=30))
    repeated = [one for one in drawn for _ in range(draw(st.integers(1, 3)))]
    return (
        old,
        new,
        repeated,
        draw(st.lists(st.sampled_from([0, 1, 59, 3600]), min_size=90, max_size=90)),
        draw(st.booleans()),
    )


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(300)
@settings(EXACT, max_examples=6 * TIMES)
@given(histories())
def test_a_replay_says_what_the_gate_says(
    history: tuple[dict[str, Any], dict[str, Any], list[Call], list[int], bool],
) -> None:
    old, new, drawn, pauses, whole = history
    bundle, other = bundle_of(old), bundle_of(new)
    keeper = Keeper(bundle.terms, other.files[FACTS], b"key", {}, whole=whole)
    moments = [BEGIN + sum(pauses[: number + 1]) for number in range(len(drawn))]
    told = zip(drawn, asyncio.run(live(bundle, drawn, moments)), moments, strict=True)
    decided = [one for one in told if one[1].kind != "invalid_request"]  # no decision, so not recorded
    calls = [recorded(keeper, *one) for one in decided]
    assert replayed(bundle, calls) == Replay((), (), len(calls), ())
    if other.revision != bundle.revision:
        said = asyncio.run(live(other, [one for one, _, _ in decided], [moment for _, _, moment in decided]))
        _agrees(calls, [one.action for one in said], replayed(other, calls))


def _agrees(calls: Sequence[Recorded], wanted: Sequence[str], found: Replay) -> None:
    """Whether a replay says of each call what the gate said, but for those that say nothing."""
    passed = {one.recorded for one in found.not_replayable}
    changed = {one.recorded: one.new for one in (*found.loosened, *found.tightened)}
    for number, (one, new) in enumerate(zip(calls, wanted, strict=True), 1):
        place = f"calls.jsonl:{number}"
        if place in passed:
            assert one.kind == "rate_limit"
        else:
            assert changed.get(place, one.decision) == new
    assert found.unchanged == len(calls) - len(passed) - len(changed)
