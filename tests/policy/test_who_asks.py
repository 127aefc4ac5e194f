"""Paths about the caller: which exist, what is read of him, and what is said where nobody can be known."""

from __future__ import annotations

import pytest

from sidecar.policy.check import check
from sidecar.policy.hints import notes
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read
from tests.engine.asking import bundle_of

POLICY = """
tools:
  t:
    rules:
      - conditions:
          - {path: %s, op: eq, value: x}
"""


def look(path: str) -> tuple[Policy, list[str]]:
    """The policy that asks for this path, and what is wrong with it."""
    file, problems = read(POLICY % path, "p.yaml")
    made, clashes = merge([file])
    return made, [problem.text for problem in (*problems, *clashes, *check(made))]


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("principal.subject", ("principal", "subject")),
        ("principal.issuer", ("principal", "issuer")),
        ("principal.claims.role", ("principal", "claims", "role")),
        ("principal.claims.realm.roles", ("principal", "claims", "realm", "roles")),
        ("'principal.claims[\"https://example.com/groups\"][*].name'",
         ("principal", "claims", "https://example.com/groups", None, "name")),
        ("session.client.name", ("session", "client", "name")),
        ("session.client.version", ("session", "client", "version")),
        ("workload.namespace", ("workload", "namespace")),
        ("workload.pod", ("workload", "pod")),
        ("workload.service_account", ("workload", "service_account")),
    ],
)  # fmt: skip
def test_what_is_known_of_a_caller_can_be_read(path: str, steps: tuple[str | None, ...]) -> None:
    assert look(path)[1] == []
    terms = bundle_of(POLICY % path).terms
    assert terms.reads_of("t").caller == (steps,)
    assert terms.reads_of("t").paths == ()
    assert [root for root in ("principal", "session", "workload", "args") if terms.reads_about(root)] == [steps[0]]


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("principal", "known are principal.subject, principal.issuer and principal.claims.<name>"),
        ("principal.sub", 'did you mean "principal.subject"?'),
        ("principal.subject.x", "known are principal.subject"),
        ("'principal.subject[*]'", "known are principal.subject"),
        ("principal.claims", "principal.claims.<name>"),
        ("'principal.claims[*]'", "principal.claims.<name>"),
        ("principal.role", "principal.claims.<name>"),
        ("session.id", "known are session.client.name and session.client.version"),
        ("session.client", "known are session.client.name and session.client.version"),
        ("'session[\"client.name\"]'", "known are session.client.name and session.client.version"),
        ("workload.name", "known are workload.namespace, workload.pod and workload.service_account"),
        ("principal..subject", "has an empty step"),
        ("principals.subject", "is no path"),
        ("'args[*].x'", "the arguments are no list"),
    ],
)
def test_a_path_to_nothing_that_is_known_is_an_error_that_says_what_is(path: str, advice: str) -> None:
    [problem] = look(path)[1]
    assert advice in problem


def test_that_a_principal_is_read_is_noted_once_where_it_is_first() -> None:
    text = """
classes: {Write: {rules: [{conditions: [{path: principal.issuer, op: eq, value: x}]}]}}
tools:
  "*": {rules: [{conditions: [{path: session.client.name, op: eq, value: x}]}]}
  t: {rules: [{conditions: [{path: principal.subject, op: eq, value: x}]}]}
"""
    policy, _ = merge([read(text, "p.yaml")[0]])
    [note] = notes(policy)
    assert str(note).startswith("p.yaml:2:48: warning: classes.Write.rules[1].conditions[1].path: ")
    assert "on stdio nobody is authenticated" in str(note)
    policy, _ = merge([read("tools: {t: {rules: [{action: deny}]}}", "p.yaml")[0]])
    assert notes(policy) == []


def test_what_the_rules_of_several_entries_read_is_put_together() -> None:
    terms = bundle_of("""
tools:
  t: {rules: [{only: [b]}, {conditions: [{path: "args.o[*].x", op: eq, value: 1}]}]}
  "t*": {rules: [{only: [a, b]}, {conditions: [{path: principal.subject, op: eq, value: x}]}]}
  u: {rules: [{only: []}]}
  "*": {rules: [{conditions: [{path: workload.pod, op: eq, value: p}]}]}
""").terms
    reads = terms.reads_of("t")
    assert (reads.paths, reads.only) == ((("o", None, "x"),), frozenset({"a", "b"}))
    assert reads.caller == (("principal", "subject"), ("workload", "pod"))
    assert (terms.reads_of("u").only, terms.reads_of("v").only) == (frozenset(), None)
