"""Rules about who asks, and about which arguments there are: on stdio and over HTTP, with the engine that decides."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import peer
from tests.support.peer import Sidecar, until
from tests.support.plain_http import ABOUT, OldSession, post, request, stateless_call
from tests.wire.http.running import running

META = "io.modelcontextprotocol/clientInfo"

POLICY = """
approvals: {four_eyes: true}
tools:
  paid: {rules: [{action: require_approval}]}
  named: {rules: [{conditions: [{path: session.client.name, op: eq, value: claude}], reason: not you}]}
  barred:
    rules: [{action: deny, conditions: [{path: session.client.name, op: regex, value: "^evil"}], reason: not you}]
  signed: {rules: [{conditions: [{path: principal.subject, op: exists, value: true}], reason: sign in}]}
  unsigned: {rules: [{conditions: [{path: principal.subject, op: exists, value: false}], reason: sign out}]}
  ops: {rules: [{conditions: [{path: principal.claims.groups, op: contains, value: ops}], reason: ops only}]}
  clean: {rules: [{conditions: [{path: "principal.claims.groups[*]", op: neq, value: guest}], reason: no guests}]}
  keyed: {rules: [{only: [a], reason: only a}]}
  placed: {rules: [{conditions: [{path: workload.namespace, op: in, value: [agents]}], reason: elsewhere}]}
  listed: {rules: [{conditions: [{path: "args.orders[*].amount", op: lte, value: 10}], reason: too much}]}
"""


def refusal(reply: Any) -> str | None:
    """The first line of what a refusal says; None for any other response."""
    said = peer.denied(reply)
    return None if said is None else said.split("\n")[0]


def test_on_stdio_rules_read_what_the_client_says_of_itself_whoever_it_was_before(tmp_path: Path) -> None:
    def call(tool: str, arguments: dict[str, Any], **about: Any) -> Any:
        meta = {"_meta": {META: about}} if about else {}
        return refusal(sidecar.request("tools/call", {"name": tool, "arguments": arguments, **meta}))

    with Sidecar(tmp_path, POLICY, env={"POD_NAMESPACE": "agents"}) as sidecar:
        assert call("named", {}) == "not you"
        assert call("barred", {}) is None
        for _ in range(3):
            assert call("named", {}, name="claude") is None
            assert call("named", {}, name="claud") == "not you"
            assert call("named", {}) == "not you"
            assert call("barred", {}, name="evil one") == "not you"
            assert call("barred", {}, name={"a": "evil"}) == "not you"  # nobody can judge that
            assert call("barred", {}) == "not you"  # nor has it said anything since
            assert call("barred", {}, name="good") is None
        assert [call("signed", {}), call("unsigned", {}), call("ops", {}), call("clean", {})] == [
            "sign in", None, "ops only", "no guests"
        ]  # fmt: skip
        assert call("placed", {}) is None
        assert "nobody is authenticated" in sidecar.errors
        assert "whoever asked may be one of them; serve over HTTP with --jwt-jwks" in sidecar.errors


def test_only_the_arguments_that_a_rule_permits_pass_and_every_element_is_judged(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        assert [refusal(sidecar.call("keyed", given)) for given in ({}, {"a": {"b": 1}})] == [None, None]
        assert [refusal(sidecar.call("keyed", given)) for given in ({"a": 1, "b": 1}, {"b": 1})] == ["only a"] * 2
        assert sidecar.call("keyed", {"A": 1})["error"]["code"] == -32602
        orders: list[Any] = [
            [{"amount": 1, "note": "x"}, {"amount": 10}], [], [{"amount": 1}, {"amount": 11}], [{"amount": 1}, {}],
            [None], [5], {"amount": 1}, "[]",
        ]  # fmt: skip
        assert [refusal(sidecar.call("listed", {"orders": given})) for given in orders] == [None] * 2 + ["too much"] * 6
        assert sidecar.call("listed", {"orders": [{"amount": 1}, {"Amount": 11}]})["error"]["code"] == -32602


def test_over_http_rules_read_what_a_token_claims_and_each_caller_is_another(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public | {"kid": "k", "alg": "ES256", "use": "sig"}]}))
    proof = ["--jwt-issuer", "https://issuer.example", "--jwt-audience", "sidecar"]

    def bearer(subject: str, **claims: Any) -> dict[str, str]:
        said = {"iss": "https://issuer.example", "sub": subject, "aud": "sidecar", "iat": int(time.time())}
        token = jwt.encode(said | {"exp": 4_000_000_000} | claims, key, "ES256", {"kid": "k"})
        return {"Authorization": f"Bearer {token}"}

    with running(tmp_path / "run", "--jwt-jwks", str(tmp_path / "keys.json"), *proof, policy=POLICY) as listener:
        agents = [
            OldSession(listener.url, headers=headers)
            for headers in (bearer("a", groups=["ops", "dev"]), bearer("b", groups=["guest"]), bearer("c"))
        ]
        for _ in range(3):
            assert [refusal(agent.call("ops").message) for agent in agents] == [None, "ops only", "ops only"]
            assert [refusal(agent.call("clean").message) for agent in agents] == [None, "no guests", "no guests"]
            assert [refusal(agent.call("unsigned").message) for agent in agents] == ["sign out"] * 3
        assert refusal(stateless_call(listener.url, "ops", bearer("a", groups=["ops"])).message) is None
        assert refusal(stateless_call(listener.url, "ops", bearer("a", groups=[])).message) == "ops only"
        assert "nobody is authenticated" not in listener.errors
        assert "whoever asked may be one of them" not in listener.errors


@pytest.mark.parametrize("transport", ["http", "relay"])
def test_over_http_each_client_is_called_what_it_says_itself(tmp_path: Path, transport: str) -> None:
    policy = POLICY.replace("value: claude", f"value: {ABOUT['name']}")
    with running(tmp_path / "behind", policy="tools: {}") as behind:
        options = ["--upstream", behind.url] if transport == "relay" else []
        with running(tmp_path / "run", *options, policy=policy) as listener:
            session = OldSession(listener.url)
            for _ in range(2):
                assert refusal(session.call("named").message) is None
                assert refusal(stateless_call(listener.url, "named").message) is None
                nameless = post(
                    listener.url,
                    request("tools/call", {"name": "named", "_meta": {
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientCapabilities": {},
                    }}),
                    {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "named"},
                )  # fmt: skip
                assert refusal(nameless.message) == "not you"


def test_a_policy_that_comes_to_read_the_principal_is_told_of_where_there_is_none(tmp_path: Path) -> None:
    with Sidecar(tmp_path, "tools: {}") as sidecar:
        assert "nobody is authenticated" not in sidecar.errors
        (tmp_path / "policy.yaml").write_text(POLICY)
        until(lambda: "nobody is authenticated" in sidecar.errors)


def test_one_token_for_all_does_not_say_who_asks(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one-token-for-all-agents\n")
    (tmp_path / "token").chmod(0o600)
    with running(tmp_path / "run", "--auth-token-file", str(tmp_path / "token"), policy=POLICY) as listener:
        assert "nobody is authenticated" not in listener.errors
        assert "whoever asked may be one of them" in listener.errors


def test_a_policy_that_only_monitors_asks_nobody_and_says_nothing_of_it(tmp_path: Path) -> None:
    with Sidecar(tmp_path, "mode: monitor\n" + POLICY) as sidecar:
        assert "monitor mode" in sidecar.errors
        assert "a rule asks a person" not in sidecar.errors
        assert "whoever asked" not in sidecar.errors
