"""Every recipe of docs/cookbook.md, with calls that pass and calls that try to get around it.

A call goes the way of the sidecar: it is read strictly, projected onto what the policy reads, decided by the real OPA
and counted in a store of its own. Some recipes also run as users run them, with a server behind them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from sidecar.auth.caller import Caller
from tests.docs.cookbook import RECIPES, SECTIONS, TEXT
from tests.docs.cookbook_calls import CALLS, ORDER, RECIPIENT, Calls, signed_in
from tests.support import SIDECAR
from tests.support.desk import NOON, Clock, desk
from tests.support.peer import Sidecar, denied

WARNS: Final = {
    "Who asks": "a principal is known only over HTTP",
}
"""Recipes that `sidecar validate` warns of: with these words, which the recipe's text quotes."""


def expected(calls: Calls) -> list[tuple[str, str]]:
    """Each call with what must become of it."""
    kinds = {
        "passes": (*calls.passes, *calls.not_held), "asks": calls.asks,
        "refused": (*calls.refused, "never_heard_of {}"), "bad": calls.bad,
    }  # fmt: skip
    return [(call, kind) for kind, group in kinds.items() for call in group]


def test_every_recipe_has_its_calls_and_every_block_is_a_recipe() -> None:
    assert list(RECIPES) == list(CALLS)
    assert TEXT.count("```yaml") == len(RECIPES)
    assert len(RECIPES) == 17


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_holds_what_it_says(recipe: str, tmp_path: Path) -> None:
    async def test() -> list[tuple[str, str, str]]:
        at_once = RECIPES[recipe].replace("hold: 45s", "hold: 0")  # nobody here answers
        async with desk(at_once, tmp_path) as found:
            return [
                (call, wanted, outcome)
                for calls in CALLS[recipe]
                for call, wanted in expected(calls)
                if (outcome := await found.outcome(call, calls.caller)) != wanted
            ]

    assert asyncio.run(test()) == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_valid_and_its_warnings_stand_in_the_text(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(RECIPES[recipe])
    command = [str(SIDECAR), "validate", "-c", str(tmp_path / "policy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    warning = WARNS.get(recipe)
    if warning is None:
        assert done.stderr == ""
    else:
        assert warning in SECTIONS[recipe]
        assert all(warning in line for line in done.stderr.splitlines())
        assert done.stderr


# Limits over several calls.


def paid(amount: str) -> str:
    return f'create_payment {{"amount": {amount}, "currency": "usd"}}'


def test_a_day_of_payments_ends_at_its_sum_and_the_next_begins_at_midnight(tmp_path: Path) -> None:
    async def test() -> None:
        clock = Clock()
        async with desk(RECIPES["Money: in one call and in one day"], tmp_path, clock) as found:
            assert await found.outcomes([paid("5000")] * 9 + [paid("4999.99")]) == ["passes"] * 10
            assert await found.outcomes([paid("5000"), paid("0.02"), paid("0.01"), paid("0.01")]) == [
                "spent", "spent", "passes", "spent",
            ]  # fmt: skip
            assert await found.outcome(paid("1"), Caller("another session")) == "spent"
            clock.now += 12 * 3600
            assert await found.outcomes([paid("5000")] * 11) == ["passes"] * 10 + ["spent"]

    asyncio.run(test())


def test_no_span_of_an_hour_has_more_than_the_sliding_sum(tmp_path: Path) -> None:
    pay = 'create_payment {"amount": 5000}'

    async def test() -> None:
        clock = Clock()
        async with desk(RECIPES["Money: never more within any hour"], tmp_path, clock) as found:
            clock.now = NOON - 10
            assert await found.outcomes([pay] * 5) == ["passes"] * 4 + ["spent"]
            for later in (10, 20, 1800, 3500, 3599):
                clock.now = NOON - 10 + later
                assert await found.outcome(pay) == "spent", later
            clock.now = NOON - 10 + 3600 + 60
            assert await found.outcomes([pay] * 5) == ["passes"] * 4 + ["spent"]

    asyncio.run(test())


def test_each_caller_has_a_budget_and_all_share_another(tmp_path: Path) -> None:
    pay = 'create_payment {"amount": 5000}'

    async def test() -> None:
        async with desk(RECIPES["Money: a budget for each caller"], tmp_path) as found:
            for name in ("alice", "bob", "carol", "dan", "erin"):
                assert await found.outcomes([pay] * 5, signed_in(name)) == ["passes"] * 4 + ["spent"]
            assert await found.outcome(pay, signed_in("frank")) == "spent"
            assert await found.outcome(pay, signed_in("alice", issuer="https://other.example.com")) == "spent"

    asyncio.run(test())


def test_amounts_as_text_and_the_worth_of_orders_add_up_exactly(tmp_path: Path) -> None:
    def transfer(amount: str) -> str:
        return f'transfer {{"amount": "{amount}", "currency": "EUR"}}'

    def bought(quantity: str) -> str:
        return f'place_order {{{ORDER}, "quantity": "{quantity}", "price": "500"}}'

    async def test() -> None:
        async with desk(RECIPES["Money: amounts as text"], tmp_path) as found:
            assert await found.outcomes([transfer("100.00")] * 9) == ["passes"] * 9
            rest = map(transfer, ("99.99", "100", "0.01", "0.01"))
            assert await found.outcomes(rest) == ["passes", "spent", "passes", "spent"]
        async with desk(RECIPES["Money: price times size"], tmp_path) as found:
            assert await found.outcomes([bought("2")] * 9) == ["passes"] * 9
            rest = map(bought, ("1.99999999", "2", "0.00000001", "0.00000001"))
            assert await found.outcomes(rest) == ["passes", "spent", "passes", "spent"]

    asyncio.run(test())


def test_each_tool_of_a_class_counts_by_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(RECIPES["Classes"], tmp_path) as found:
            for tool, limit in (("update_alias", 3), ("update_note", 3), ("get_ticker", 60), ("get_book", 60)):
                assert await found.outcomes([f"{tool} {{}}"] * (limit + 1)) == ["passes"] * limit + ["spent"]

    asyncio.run(test())


def test_twenty_messages_are_sent_in_an_hour(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(RECIPES["E-mail recipients"], tmp_path) as found:
            sent = f'send_email {{"to": [{RECIPIENT}], "subject": "a"}}'
            assert await found.outcomes([sent] * 21) == ["passes"] * 20 + ["spent"]

    asyncio.run(test())


# As users run them.


@pytest.mark.parametrize("recipe", ["Files below one folder", "Money: amounts as text", "Batches", "Deny lists"])
def test_a_recipe_holds_for_a_server_behind_the_sidecar(recipe: str, tmp_path: Path) -> None:
    (calls,) = CALLS[recipe]
    with Sidecar(tmp_path, RECIPES[recipe]) as sidecar:
        sidecar.initialize()
        for at, (call, wanted) in enumerate(expected(calls), 1000):
            tool, _, arguments = call.partition(" ")
            params = f'{{"name":"{tool}","arguments":{arguments}}}'
            line = f'{{"jsonrpc":"2.0","id":{at},"method":"tools/call","params":{params}}}'
            before = len(sidecar.received)
            sidecar.send_bytes(line.encode() + b"\n")
            reply = sidecar.reply(at)
            received = sidecar.received[before:]
            assert len(received) == (wanted == "passes"), (call, reply)
            assert (denied(reply) is not None) == (wanted == "refused"), (call, reply)
            assert ("error" in reply) == (wanted == "bad"), (call, reply)


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [
        ("Classes", ["create_invoice", "get_ticker", "update_alias"]),
        (
            "Deny lists",
            ["create_branch", "create_invoice", "get_ticker", "never_heard_of", "push", "send_payment", "update_alias"],
        ),
    ],
)
def test_a_list_shows_no_tool_that_the_recipe_takes_out_of_it(recipe: str, shown: list[str], tmp_path: Path) -> None:
    names = [
        "create_branch", "create_invoice", "delete_branch", "delete_file", "get_ticker", "never_heard_of", "push",
        "send_payment", "update_alias",
    ]  # fmt: skip
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    (tmp_path / "list.json").write_text(json.dumps({"tools": tools}))
    with Sidecar(tmp_path, RECIPES[recipe], stub=["--list", str(tmp_path / "list.json")]) as sidecar:
        sidecar.initialize()
        listed = sidecar.request("tools/list", {})["result"]["tools"]
    assert [tool["name"] for tool in listed] == shown
