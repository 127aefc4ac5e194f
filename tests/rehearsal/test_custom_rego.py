"""Hand-written Rego of a repository in force: a real engine, and every way in which such a rule can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.errors import PolicyError
from sidecar.rehearsal import judging
from sidecar.rehearsal.judging import BEGIN, Judgement, Rehearsal, rehearsal
from sidecar.repository.subject import Subject, subject
from tests.support import OPA

POLICY = """\
default: allow
hide: [secret]
tools:
  pay:
    rules:
      - {name: cap, spend_limit: {path: args.amount, per_call: 500}}
      - {name: often, rate_limit: 100/day}
  free: {rules: []}
"""


def written(folder: Path, rego: str, policy: str = POLICY, **more: str) -> Subject:
    """A repository with this policy and this module, as what would be in force."""
    for path, text in {"policies/p.yaml": policy, "rego/custom/own.rego": rego, **more}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return subject(folder, OPA)


def module(*rules: str) -> str:
    return "\n\n".join(["package intercept.custom", "import data.intercept.typed", *rules]) + "\n"


def refuses(condition: str) -> str:
    return f'violations contains {{"rule": "own", "reason": "not so"}} if {{\n\t{condition}\n}}'


def judged(found: Subject, test: Callable[[Rehearsal], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with rehearsal(found.bundle, OPA, workload={"namespace": "agents"}) as judge:
            await test(judge)

    asyncio.run(inside())


async def each(judge: Rehearsal, tool: str, *calls: dict[str, Any]) -> list[str]:
    return [(await judge.judge(tool, arguments)).action for arguments in calls]


SMALL = module(refuses('input.tool == "pay"\n\tnot small'), "small if typed.at_most(input.arguments.amount, 100)")


def test_it_refuses_beside_the_policy_and_says_its_line(tmp_path: Path) -> None:
    async def test(judge: Rehearsal) -> None:
        assert await judge.judge("pay", {"amount": 100}) == Judgement("allow", "allow", "", "", "", 0, (), True)
        refused = await judge.judge("pay", {"amount": 101})
        assert (refused.action, refused.kind, refused.rule, refused.reason) == ("deny", "custom", "own", "not so")
        assert (refused.file, refused.line) == ("rego/custom/own.rego", 5)
        assert (await judge.judge("pay", {"amount": 501})).rule == "cap"
        assert await each(judge, "pay", {}, {"amount": "5"}, {"amount": None}, {"Amount": 5}) == ["deny"] * 4
        assert await each(judge, "free", {}, {"amount": 501}) == ["allow"] * 2

    judged(written(tmp_path, SMALL), test)


def test_it_opens_nothing(tmp_path: Path) -> None:
    async def test(judge: Rehearsal) -> None:
        assert (await judge.judge("secret", {})).kind == "hidden"
        assert (await judge.judge("unknown", {})).kind == "default_deny"
        assert (await judge.judge("pay", {"amount": 1})).action == "allow"

    rego = module(refuses('input.tool == "never"\n\tnot typed.has("a", "b")'))
    judged(written(tmp_path, rego, POLICY.replace("default: allow", "default: deny")), test)


FAILING = {
    "divides by nothing": refuses("1 / count(input.arguments.list) > 5"),
    "has two answers": "\n\n".join([refuses("n == 1"), "n := 1 if input.tool", "n := 2 if input.server"]),
    "reads no time": refuses('time.parse_rfc3339_ns("yesterday") > 0'),
    "asks for nobody": 'approvals contains {"rule": "own", "reason": "ask", "approvers": count(input.keys)}',
    "waits for a text": 'approvals contains {"rule": "own", "reason": "ask", "timeout": input.arguments.list}',
}


@pytest.mark.parametrize("rule", FAILING.values(), ids=FAILING)
def test_what_fails_in_it_is_a_denial(rule: str, tmp_path: Path) -> None:
    async def test(judge: Rehearsal) -> None:
        for tool in ("free", "other"):
            refused = await judge.judge(tool, {"list": []} if "list" in rule else {})
            assert (refused.action, refused.forwarded) == ("deny", False)
            assert refused.kind in ("custom_invalid", "engine_unavailable")

    judged(written(tmp_path, module(rule).replace("import data.intercept.typed\n\n", "")), test)


def test_one_that_takes_too_long_is_a_denial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "every i in numbers.range(1, 100000) { every j in numbers.range(1, 100000) { i + j > 0 } }"
    monkeypatch.setattr(judging, "TIMEOUT", 0.25)

    async def test(judge: Rehearsal) -> None:
        refused = await judge.judge("free", {})
        assert (refused.action, refused.kind) == ("deny", "engine_unavailable")
        judge.now += 1
        assert (await judge.judge("free", {"fast": True})).action == "allow"

    rego = module(refuses(f"not input.arguments.fast\n\t{long}")).replace("import data.intercept.typed\n\n", "")
    judged(written(tmp_path, rego), test)


HOURS = module(
    refuses("""not open"""),
    """open if {
	[hour, _, _] := time.clock(time.parse_rfc3339_ns(input.time))
	typed.at_least(hour, 8)
	typed.below(hour, 18)
}""",
)


def test_the_same_call_is_asked_about_again_where_it_goes_by_the_time(tmp_path: Path) -> None:
    async def test(judge: Rehearsal) -> None:
        said = []
        for hour in (7, 8, 17, 18, 31, 32):
            judge.now = BEGIN + 3600 * hour
            said.append((await judge.judge("free", {})).action)
        assert said == ["deny", "allow", "allow", "deny", "deny", "allow"]

    judged(written(tmp_path, HOURS), test)


def test_it_tells_callers_apart(tmp_path: Path) -> None:
    rego = module(refuses("not one_of_them"), 'one_of_them if typed.has(input.principal.claims.groups, "ops")')

    async def test(judge: Rehearsal) -> None:
        said = []
        for groups in (["ops"], ["op", "ops"], "ops", ["dev"], [], None, {"ops": True}):
            caller = Caller("s", principal=Principal("a", "i", {"groups": groups}))
            said.append((await judge.judge("free", {}, caller)).action)
        said.append((await judge.judge("free", {}, Caller("s"))).action)
        assert said == ["allow"] * 3 + ["deny"] * 5

    judged(written(tmp_path, rego), test)


def test_it_asks_a_person_about_any_tool(tmp_path: Path) -> None:
    rego = module('approvals contains {"rule": "own", "reason": "ask", "approvers": 2} if input.tool == "free"')
    found = written(tmp_path, rego.replace("import data.intercept.typed\n\n", ""))
    assert found.bundle.terms.asks("anything")
    assert found.bundle.terms.tells_apart
    assert found.bundle.terms.place_of("free", "own") == ("rego/custom/own.rego", 3)

    async def test(judge: Rehearsal) -> None:
        asked = await judge.judge("free", {})
        assert (asked.action, asked.rule, asked.reason, asked.file) == (
            "approval",
            "own",
            "ask",
            "rego/custom/own.rego",
        )
        assert (await judge.judge("other", {})).action == "allow"

    judged(found, test)


def test_its_data_can_be_read_and_are_in_the_revision(tmp_path: Path) -> None:
    rego = module(refuses("not input.arguments.namespace in data.intercept.custom.namespaces"))
    with pytest.raises(PolicyError, match="not: where"):
        written(tmp_path, rego)
    rego = module(
        refuses("not permitted"), "permitted if input.arguments.namespace in data.intercept.custom.namespaces"
    )
    rego = rego.replace("import data.intercept.typed\n\n", "")
    found = written(tmp_path, rego, **{"rego/custom/data.json": '{"namespaces": ["a"]}'})

    async def test(judge: Rehearsal) -> None:
        assert await each(judge, "free", {"namespace": "a"}, {"namespace": "b"}, {}) == ["allow", "deny", "deny"]

    judged(found, test)
    other = written(tmp_path, rego, **{"rego/custom/data.json": '{"namespaces": ["a", "b"]}'})
    assert found.bundle.revision != other.bundle.revision


def test_a_repository_whose_rego_is_no_good_has_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        written(tmp_path, "package intercept.policy\n\nproved := true\n")
    [problem] = caught.value.problems
    assert problem.startswith("rego/custom/own.rego:1:1: package intercept.policy: hand-written Rego has no place in")


def test_its_tests_are_not_part_of_it(tmp_path: Path) -> None:
    tests = {"rego/custom/own_test.rego": "package intercept.custom_test\n\ntest_x if true\n"}
    assert written(tmp_path, SMALL, **tests).bundle == written(tmp_path, SMALL).bundle
