"""The list of tools on the wire: without the hidden ones, otherwise as the server wrote it, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.peer import AS_A_USER, Sidecar, denied, kind, stopped

HIDE_B = "hide: [b]\ntools: {}\n"


def listing(folder: Path, policy: str, result: Any, *options: str) -> Sidecar:
    """A sidecar in front of a server whose list of tools is this result."""
    (folder / "list.json").write_text(json.dumps(result))
    return Sidecar(folder, policy, *options, stub=("--list", str(folder / "list.json")))


def tools(*names: str, **more: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "inputSchema": {"type": "object", "x": [1]}} for name in names], **more}


def shown(reply: Any) -> list[str]:
    return [tool["name"] for tool in reply["result"]["tools"]]


@pytest.mark.parametrize(
    ("hide", "left"),
    [
        ("[]", ["read", "delete_a", "delete_b", "x.y", "Read"]), ("[read]", ["delete_a", "delete_b", "x.y", "Read"]),
        ("['delete_*']", ["read", "x.y", "Read"]), ("['*ad', delete_b]", ["delete_a", "x.y"]), ("['*']", []),
        ("['x.?']", ["read", "delete_a", "delete_b", "Read"]), ("['x?y', '?ead']", ["delete_a", "delete_b"]),
        ("[delete, elete_a]", ["read", "delete_a", "delete_b", "x.y", "Read"]),
    ],
)  # fmt: skip
def test_what_hide_names_is_not_listed_and_cannot_be_called(tmp_path: Path, hide: str, left: list[str]) -> None:
    every = ["read", "delete_a", "delete_b", "x.y", "Read"]
    with listing(tmp_path, f"hide: {hide}\ntools: {{}}\n", tools(*every)) as sidecar:
        assert shown(sidecar.request("tools/list")) == left
        assert [name for name in every if kind(sidecar.call(name)) != "hidden"] == left
        assert len(sidecar.received) == len(left)


def test_a_hidden_tool_says_so_when_it_is_called(tmp_path: Path) -> None:
    with listing(tmp_path, HIDE_B, tools("a", "b")) as sidecar:
        assert denied(sidecar.call("b")) == 'Tool "b" is hidden by policy'
        assert (sidecar.audit[-1]["kind"], sidecar.audit[-1]["rule"]) == ("hidden", "(hidden)")


def test_a_filtered_list_keeps_order_duplicates_pages_and_whatever_is_unknown(tmp_path: Path) -> None:
    more = {"nextCursor": "page 2", "_meta": {"k": [1, None]}, "ttlMs": 5, "future": {"b": "b"}}
    with listing(tmp_path, HIDE_B, tools("c", "a", "b", "a", "b", "d", **more)) as sidecar:
        for params in (None, {"cursor": "page 2"}):
            reply = sidecar.request("tools/list", params)
            assert reply["result"] == tools("c", "a", "a", "d", **more)


def test_a_list_passes_as_it_was_written_where_nothing_is_hidden(tmp_path: Path) -> None:
    result = tools("a", "b", cacheScope="public", n=1.5) | {"odd": None}
    with listing(tmp_path, "tools: {}\n", result) as sidecar:
        assert sidecar.request("tools/list")["result"] == result


@pytest.mark.parametrize("names", [("a", "b"), ("a",)], ids=["something is hidden", "nothing of this page is"])
def test_a_list_that_was_filtered_is_not_for_everybodys_cache(tmp_path: Path, names: tuple[str, ...]) -> None:
    with listing(tmp_path, HIDE_B, tools(*names, cacheScope="public")) as sidecar:
        assert sidecar.request("tools/list")["result"] == tools("a", cacheScope="private")


ODD: dict[str, Any] = {
    "a second list": tools("a", Tools=[{"name": "b"}]),
    "a second list beside a hidden tool": tools("a", "b", TOOLS=[{"name": "b"}]),
    "no list": {"Tools": [{"name": "b"}]},
    "an object": {"tools": {"b": {"name": "b"}}},
    "a list of names": ["b"],
    "text": "b",
    "null": None,
}


@pytest.mark.parametrize("shape", ODD)
def test_what_cannot_be_filtered_is_an_error(tmp_path: Path, shape: str) -> None:
    with listing(tmp_path, HIDE_B, ODD[shape]) as sidecar:
        reply = sidecar.request("tools/list")
        assert reply["error"]["code"] == -32603
        assert sidecar.request("ping")["result"] == {}


@pytest.mark.parametrize("entry", ["b", ["b"], {"name": ["b"]}, {"name": {"b": "b"}}, {"Name": "b"}, None], ids=str)
def test_an_entry_that_nobody_can_judge_is_not_shown(tmp_path: Path, entry: Any) -> None:
    result = tools("a", "b")
    result["tools"].append(entry)
    with listing(tmp_path, HIDE_B, result) as sidecar:
        reply = sidecar.request("tools/list")
        assert "error" in reply or reply["result"] == tools("a")
        assert sidecar.request("ping")["result"] == {}


def test_without_an_engine_the_list_is_an_error_and_comes_back_with_it(tmp_path: Path) -> None:
    with listing(tmp_path, HIDE_B, tools("a", "b"), *AS_A_USER) as sidecar:
        assert shown(sidecar.request("tools/list")) == ["a"]
        with stopped(sidecar.opa):
            reply = sidecar.request("tools/list")
            assert (reply["error"]["code"], reply["error"]["message"]) == (
                -32603,
                "the list of tools could not be filtered",
            )
        for _ in range(200):
            if "result" in (reply := sidecar.request("tools/list")):
                break
        assert shown(reply) == ["a"]


@pytest.mark.parametrize(
    ("policy", "options"), [(HIDE_B, ("--mode", "monitor")), ("mode: monitor\n" + HIDE_B, ())], ids=["option", "policy"]
)
def test_in_monitor_mode_the_list_is_not_filtered(tmp_path: Path, policy: str, options: tuple[str, ...]) -> None:
    with listing(tmp_path, policy, tools("a", "b"), *options) as sidecar:
        assert sidecar.request("tools/list")["result"] == tools("a", "b")


def test_a_list_under_an_id_that_nothing_waits_for_never_passes(tmp_path: Path) -> None:
    with Sidecar(tmp_path, HIDE_B) as sidecar:
        replies = [{"jsonrpc": "2.0", "id": id_, "result": tools("b")} for id_ in (99, "1", "2", "99", None)]
        lines = "\n".join(json.dumps(reply) for reply in replies)
        sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "say", "line": lines}})
        assert sidecar.until_ping() == []


def test_a_policy_that_names_tools_which_the_server_lacks_is_told_once(tmp_path: Path) -> None:
    policy = "hide: [c, 'x*']\ntools: {a: {rules: []}, misspelt: {rules: []}, 'y*': {rules: []}}\n"
    with listing(tmp_path, policy, tools("a", "b")) as sidecar:
        for _ in range(3):
            assert shown(sidecar.request("tools/list")) == ["a", "b"]
        assert sidecar.errors.count("the policy names tools that the server lacks: c, misspelt\n") == 1
        assert sidecar.errors.count("no tool of the server matches x*, y*\n") == 1
        (tmp_path / "list.json").write_text(json.dumps(tools("a", "misspelt", "yes")))
        sidecar.request("tools/list")
        assert sidecar.errors.count("the policy names tools that the server lacks: c\n") == 1
        assert sidecar.errors.count("no tool of the server matches x*\n") == 1


@pytest.mark.parametrize(("params", "more"), [({"cursor": "2"}, {}), (None, {"nextCursor": "2"})])
def test_nothing_is_said_to_be_missing_as_long_as_only_a_page_was_seen(tmp_path: Path, params: Any, more: Any) -> None:
    with listing(tmp_path, "tools: {misspelt: {rules: []}, 'x*': {rules: []}}\n", tools("a", **more)) as sidecar:
        sidecar.request("tools/list", params)
        assert "lacks" not in sidecar.errors
        assert "matches" not in sidecar.errors


def test_an_argument_that_a_rule_reads_and_its_tool_does_not_declare_is_told(tmp_path: Path) -> None:
    policy = "tools: {a: {rules: [{action: deny, conditions: [{path: args.foce, op: eq, value: true}]}]}}\n"
    defined = {"name": "a", "inputSchema": {"type": "object", "properties": {"force": {"type": "boolean"}}}}
    with listing(tmp_path, policy, {"tools": [defined]}) as sidecar:
        sidecar.request("tools/list")
        text = "the policy reads arguments that the tools do not declare: args.foce of a\n"
        assert sidecar.errors.count(text) == 1


def test_what_is_missing_is_told_once_all_pages_were_seen(tmp_path: Path) -> None:
    policy = "tools: {a: {rules: []}, b: {rules: []}, misspelt: {rules: []}}\n"
    with listing(tmp_path, policy, tools("a", nextCursor="2")) as sidecar:
        sidecar.request("tools/list")
        (tmp_path / "list.json").write_text(json.dumps(tools("b")))
        sidecar.request("tools/list", {"cursor": "2"})
        assert sidecar.errors.count("the policy names tools that the server lacks: misspelt\n") == 1
