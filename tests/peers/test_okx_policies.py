"""The OKX policies through `sidecar run`, the real mcp-okx and the stub exchange."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from programs.demo.exchange import BALANCE, CANCEL_ORDER, PLACE_ORDER, TICKERS, Exchange, serve
from sidecar.policy.model import SEVERITY_OF_CLASS, PolicyFile
from sidecar.policy.read import read
from tests.support import ROOT, SIDECAR
from tests.support.peer import Peer, Sidecar, denied

MCP_OKX = SIDECAR.with_name("mcp-okx")
NOT_OPEN = "Not open to agents. Ask a person to do it."

ORDER = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "1", "px": "188"}
CANCEL = {"instId": "SOL-USDT", "ordId": "1"}
CLOSE = {"instId": "SOL-USDT", "mgnMode": "cross"}

READS: dict[str, tuple[dict[str, Any], str]] = {
    "market_tickers": ({}, TICKERS),
    "account_config": ({}, "/api/v5/account/config"),
    "account_balance": ({"ccy": "SOL"}, BALANCE),
    "account_positions": ({}, "/api/v5/account/positions"),
    "account_position_risk": ({}, "/api/v5/account/account-position-risk"),
    "get_trade_order": ({"instId": "SOL-USDT", "ordId": "1"}, "/api/v5/trade/order"),
    "get_order_list": ({}, "/api/v5/trade/orders-pending"),
    "get_orders_history": ({"instType": "SPOT", "limit": 5}, "/api/v5/trade/orders-history"),
}
"""Each tool that reads: arguments, and what the exchange is asked for."""


class Desk:
    """An exchange, the server, and the sidecar with one of the policies before it."""

    def __init__(self, peer: Peer, exchange: Exchange) -> None:
        self.peer = peer
        self.exchange = exchange
        peer.initialize()

    def call(self, tool: str, arguments: dict[str, Any]) -> tuple[Any, list[str]]:
        """The answer to a call, and the paths that the exchange was asked for meanwhile."""
        before = len(self.exchange.received)
        reply = self.peer.call(tool, arguments)
        return reply, [request.path for request in self.exchange.received[before:]]

    def refusal(self, tool: str, arguments: dict[str, Any]) -> str | None:
        """The message of a refusal, which must not have reached the exchange; None when the call did."""
        reply, asked = self.call(tool, arguments)
        message = denied(reply)
        assert bool(asked) == (message is None), (reply, asked)
        return message


def environment(url: str) -> dict[str, str]:
    return {
        "OKX_BASE_URL": url, "OKX_API_KEY": "test", "OKX_API_SECRET": "test", "OKX_PASSPHRASE": "test",
        "FASTMCP_SHOW_SERVER_BANNER": "false", "FASTMCP_CHECK_FOR_UPDATES": "off", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip


@contextmanager
def desk(folder: Path, policy: str, state: Path | None = None) -> Iterator[Desk]:
    """The sidecar with a policy of this repository, in front of the real server and an exchange of its own."""
    exchange, path = Exchange(), ROOT / "policies" / f"{policy}.yaml"
    with (
        serve(exchange) as url,
        Sidecar(folder, path, server=[str(MCP_OKX)], env=environment(url), state=state) as sidecar,
    ):
        yield Desk(sidecar, exchange)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The server without a sidecar."""
    exchange, folder = Exchange(), tmp_path_factory.mktemp("bare")
    with serve(exchange) as url, Peer([str(MCP_OKX)], folder, environment(url)) as peer:
        yield Desk(peer, exchange)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A session under okx.yaml."""
    with desk(tmp_path_factory.mktemp("okx"), "okx") as found:
        yield found


@pytest.fixture(scope="module")
def trading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A session under okx-trading.yaml, for calls that take nothing of the order limits."""
    with desk(tmp_path_factory.mktemp("trading"), "okx-trading") as found:
        yield found


def stay_within(window: int, seconds: float) -> None:
    """Wait for the next window when less than `seconds` of this one are left: a count must not start anew meanwhile."""
    left = window - time.time() % window
    if left < seconds:
        time.sleep(left + 0.1)


# The files and the server name the same things.


def listed(peer: Peer) -> dict[str, dict[str, Any]]:
    return {tool["name"]: tool["inputSchema"] for tool in peer.request("tools/list", {})["result"]["tools"]}


def file(policy: str) -> PolicyFile:
    found, problems = read((ROOT / "policies" / f"{policy}.yaml").read_text(), policy)
    assert problems == []
    return found


@pytest.mark.parametrize("policy", ["okx", "okx-trading", "okx-approval"])
def test_every_tool_of_the_server_is_in_the_policy_and_no_other(bare: Desk, policy: str) -> None:
    entries = {entry.tool for entry in file(policy).entries}
    assert entries - {"*"} == listed(bare.peer).keys()
    assert len(entries) == 12
    assert file(policy).default == "deny"


@pytest.mark.parametrize("policy", ["okx", "okx-trading", "okx-seed", "okx-approval"])
def test_every_argument_that_a_rule_names_is_one_of_the_tool(bare: Desk, policy: str) -> None:
    tools = listed(bare.peer)
    for entry in file(policy).entries:
        subjects = [item.subject for rule in entry.rules for item in rule.conditions if isinstance(item.subject, tuple)]
        amounts = [path for rule in entry.rules if rule.amount for path in (rule.amount.path, rule.amount.times)]
        only = [(name,) for rule in entry.rules for name in rule.only or ()]
        grants = [rule.approval.grant for rule in entry.rules if rule.approval and rule.approval.grant]
        held = [path for grant in grants for path in (*grant.same, *grant.at_most)]
        for path in (*subjects, *only, *held, *filter(None, amounts)):
            assert path[0] in tools[entry.tool]["properties"], (entry.tool, path)


def test_an_order_may_have_the_arguments_that_the_server_needs_and_none_that_changes_what_it_is_worth(
    bare: Desk,
) -> None:
    needed = set(listed(bare.peer)["place_order"]["required"])
    (order,) = [entry for entry in file("okx-trading").entries if entry.tool == "place_order"]
    (only,) = [set(rule.only) for rule in order.rules if rule.only is not None]
    assert needed == {"instId", "tdMode", "side", "ordType", "sz"}
    assert only == needed | {"px", "clOrdId", "tag"}


@pytest.mark.parametrize("policy", ["okx", "okx-trading", "okx-approval"])
def test_every_tool_has_its_class_and_severity(policy: str) -> None:
    found = {entry.tool: (entry.risk, entry.severity) for entry in file(policy).entries if entry.tool != "*"}
    critical = ("place_order", "close_positions", "cancel_order")
    assert found == {
        **dict.fromkeys(critical, ("Financial", None)), **dict.fromkeys(READS, ("Read", None)),
        "account_config": ("Read", "medium"),
    }  # fmt: skip
    assert SEVERITY_OF_CLASS["Financial"] == "critical"


@pytest.mark.parametrize("policy", ["closed", "trading"])
def test_the_agent_sees_all_tools_of_the_server(bare: Desk, policy: str, request: pytest.FixtureRequest) -> None:
    assert listed(request.getfixturevalue(policy).peer) == listed(bare.peer)


# What amounts the server takes: this is why the policies read them as text.


@pytest.mark.parametrize("number", [1, 1.5])
@pytest.mark.parametrize("argument", ["sz", "px"])
def test_the_server_takes_no_number_as_an_amount(bare: Desk, argument: str, number: float) -> None:
    reply, asked = bare.call("place_order", ORDER | {argument: number})
    assert reply["result"]["isError"] is True
    assert "valid string" in reply["result"]["content"][0]["text"]
    assert asked == []


def test_a_number_that_the_server_does_take_arrives_as_it_was_sent(closed: Desk) -> None:
    assert closed.refusal("get_orders_history", {"instType": "SPOT", "limit": 7}) is None
    assert closed.exchange.received[-1].body["limit"] == "7"


# Read only: policies/okx.yaml.


@pytest.mark.parametrize("tool", READS)
@pytest.mark.parametrize("policy", ["closed", "trading"])
def test_a_tool_that_reads_reaches_the_exchange(policy: str, tool: str, request: pytest.FixtureRequest) -> None:
    arguments, path = READS[tool]
    reply, asked = request.getfixturevalue(policy).call(tool, arguments)
    assert denied(reply) is None
    assert asked == [path]


@pytest.mark.parametrize(
    ("tool", "arguments"), [("place_order", ORDER), ("cancel_order", CANCEL), ("close_positions", CLOSE)]
)
def test_what_moves_money_or_takes_away_requires_human_approval(
    closed: Desk, tool: str, arguments: dict[str, str]
) -> None:
    assert closed.refusal(tool, arguments) == NOT_OPEN
    assert closed.refusal(tool, {}) == NOT_OPEN


@pytest.mark.parametrize("policy", ["closed", "trading"])
def test_a_tool_that_a_later_server_may_bring_is_refused(policy: str, request: pytest.FixtureRequest) -> None:
    refusal = request.getfixturevalue(policy).refusal("withdraw", {"ccy": "SOL"})
    assert refusal == 'Tool "withdraw" is not permitted by policy'


@pytest.mark.parametrize("limit", [None, 0, 101, -1, "20"])
@pytest.mark.parametrize("policy", ["closed", "trading"])
def test_history_is_read_in_pages_of_a_known_size(policy: str, limit: object, request: pytest.FixtureRequest) -> None:
    arguments = {"instType": "SPOT"} if limit is None else {"instType": "SPOT", "limit": limit}
    refusal = request.getfixturevalue(policy).refusal("get_orders_history", arguments)
    assert refusal == "Send limit, a number without quotes from 1 to 100"


@pytest.mark.parametrize("policy", ["okx", "okx-trading", "okx-approval"])
def test_a_thousand_rows_of_history_are_counted_from_the_argument(tmp_path: Path, policy: str) -> None:
    stay_within(3600, 15)
    with desk(tmp_path, policy) as fresh:
        pages = [{"instType": "SPOT", "limit": limit} for limit in (*[100] * 9, 99, 2, 1, 1)]
        refusals = [fresh.refusal("get_orders_history", page) for page in pages]
    enough = "A thousand rows of history an hour are enough"
    assert refusals == [None] * 10 + [enough, None, enough]


def test_settings_are_read_ten_times_a_minute_at_most(tmp_path: Path) -> None:
    with desk(tmp_path, "okx") as fresh:
        stay_within(60, 10)
        refusals = [fresh.refusal("account_config", {}) for _ in range(11)]
    assert refusals == [None] * 10 + ["Rate limit of 10 per minute reached. Try again later."]


# Trading within limits: policies/okx-trading.yaml.

WORTH = "At most 1000 USD an order: sz times px"
SIZE = 'Send sz in plain decimals, as "1.5"'
DAY = "The day's 10000 USD are used up"
PRICE = 'No price below 100: send px in plain decimals, as "188.5"'
INSTRUMENT = "Only SOL-USDT and SOL-USDC are traded here"
TYPE = "No market orders: use limit, post_only, fok or ioc, with px"
SPOT = "Only spot orders (tdMode cash): no margin, no leverage"
KNOWN = "Send instId, tdMode, side, ordType, sz and px, perhaps clOrdId and tag, and nothing else"

NO_DECIMALS: list[Any] = [
    "1e3", "1E-1", "01", "00", "+1", " 1", "1 ", "1\n", "\t1", ".5", "1.", "1,5", "1_0", "1 000", "0x1", "0b1", "1/2",
    "1.2.3",
    "", "-", "NaN", "Infinity", "one", "1 SOL", "$1", "١", "１", "[1]", '{"value": 1}', None, True, ["1"], [], {},
    {"value": "1"},
    "1.0000000000000000000000000000000001",
]  # fmt: skip
"""What is no plain decimal of up to 34 digits, as text or number."""


@pytest.mark.parametrize("changed", [
    {"instId": "BTC-USDT"}, {"instId": "SOL-USDT-SWAP"}, {"instId": "XSOL-USDT"}, {"instId": "sol-usdt"},
    {"instId": "SOL-USDT\n"}, {"instId": "SOL-USDT,BTC-USDT"}, {"instId": ["SOL-USDT"]}, {"instId": ""},
    {"instId": None},
])  # fmt: skip
def test_other_instruments_are_refused(trading: Desk, changed: dict[str, Any]) -> None:
    assert trading.refusal("place_order", ORDER | changed) == INSTRUMENT


@pytest.mark.parametrize("order", [
    {"sz": "2", "px": "500.01"}, {"sz": "2.00000001", "px": "500"}, {"sz": "10.00000001", "px": "100"}, {"sz": "1000",
        "px": "188"},
    {"sz": "2", "px": "500.00000000000000000000000000001"}, {"sz": "9999999999999999", "px": "100"},
    {"sz": 2, "px": 500.01}, {"sz": 2, "px": "500.01"},
    {"sz": "1", "px": 1e30}, {"sz": "1", "px": "1000.000001"}, {"sz": "0.00001", "px": "100000001"},
])  # fmt: skip
def test_an_order_that_is_worth_too_much_is_refused(trading: Desk, order: dict[str, Any]) -> None:
    assert trading.refusal("place_order", ORDER | order) == WORTH


@pytest.mark.parametrize("sz", [*NO_DECIMALS, "-1", "-0.5", -1, "0", 0, "0.00"])
def test_an_order_without_a_size_that_can_be_read_is_refused(trading: Desk, sz: object) -> None:
    assert trading.refusal("place_order", ORDER | {"sz": sz}) == SIZE


@pytest.mark.parametrize(
    ("sz", "px"),
    [("99999999999999999999999999999999", "100"), ("1.2345678901234567890", "188.4567890123456789")],
)
def test_an_order_whose_worth_cannot_be_counted_exactly_is_refused(trading: Desk, sz: str, px: str) -> None:
    refusal = trading.refusal("place_order", ORDER | {"sz": sz, "px": px})
    assert refusal == "At most 1000 USD an order: sz times px"


@pytest.mark.parametrize(
    "px", [*NO_DECIMALS, "99.99", "0", "0.0001", "-1", "-188", "99.999999999999999999999999", 99, -500]
)
def test_an_order_without_a_price_of_its_own_or_below_the_lowest_is_refused(trading: Desk, px: object) -> None:
    assert trading.refusal("place_order", ORDER | {"px": px}) == PRICE
    assert trading.refusal("place_order", ORDER | {"px": px, "side": "sell", "sz": "1000000"}) == PRICE


@pytest.mark.parametrize("kind", ["market", "optimal_limit_ioc", "Market", "", "mmp", ["limit"], None, "limit\n"])
def test_an_order_at_the_price_of_the_market_is_refused(trading: Desk, kind: object) -> None:
    without = {key: value for key, value in ORDER.items() if key != "px"}
    assert trading.refusal("place_order", ORDER | {"ordType": kind}) == TYPE
    assert trading.refusal("place_order", without | {"ordType": kind}) == TYPE


@pytest.mark.parametrize("mode", ["cross", "isolated", "", "Cash", ["cash"], None])
def test_margin_is_refused(trading: Desk, mode: object) -> None:
    assert trading.refusal("place_order", ORDER | {"tdMode": mode}) == SPOT


@pytest.mark.parametrize("extra", [
    {"attachAlgoOrds": [{"slTriggerPx": "1", "slOrdPx": "-1", "sz": "1000"}]}, {"attachAlgoOrds": []},
    {"attachAlgoOrds": None},
    {"tgtCcy": "quote_ccy"}, {"tgtCcy": ""}, {"pxUsd": "1"}, {"pxVol": "1"}, {"ccy": "USDT"}, {"reduceOnly": True},
    {"posSide": "long"}, {"banAmend": True}, {"stpMode": "cancel_maker"}, {"orders": [ORDER]}, {"sz ": "1000"},
    {"ｓz": "1000"},
    {"": ""}, {"sz[]": "1000"}, {"__proto__": {"sz": "1000"}},
])  # fmt: skip
def test_an_order_that_carries_another_or_another_unit_is_refused(trading: Desk, extra: dict[str, Any]) -> None:
    assert trading.refusal("place_order", ORDER | extra) == KNOWN


@pytest.mark.parametrize("missing", sorted(ORDER.keys() - {"side"}))
def test_an_order_that_leaves_out_what_a_rule_reads_is_refused(trading: Desk, missing: str) -> None:
    order = {key: value for key, value in ORDER.items() if key != missing}
    expected = {"instId": INSTRUMENT, "tdMode": SPOT, "ordType": TYPE, "sz": SIZE, "px": PRICE}
    assert trading.refusal("place_order", order) == expected[missing]


@pytest.mark.parametrize("order", [[ORDER], {"orders": [ORDER, ORDER]}, {"0": ORDER}, {"order": ORDER}, None, {}])
def test_a_batch_of_orders_is_refused(trading: Desk, order: Any) -> None:
    for tool in ("place_order", "place_multiple_orders", "batch_orders"):
        reply, asked = trading.call(tool, order)
        assert denied(reply) is not None or reply["error"]["code"] == -32602
        assert asked == []


@pytest.mark.parametrize("key", ["SZ", "Px", "PX", "InstId", "TdMode", "ORDTYPE", "Tag"])
def test_an_argument_in_other_letters_is_refused(trading: Desk, key: str) -> None:
    reply, asked = trading.call("place_order", ORDER | {key: "1000"})
    assert reply["error"]["code"] == -32602
    assert asked == []


def test_closing_a_position_requires_human_approval(trading: Desk) -> None:
    assert trading.refusal("close_positions", CLOSE) == NOT_OPEN


@pytest.mark.parametrize("instrument", ["BTC-USDT", "", None, ["SOL-USDT"], "sol-usdt"])
def test_an_order_of_another_instrument_is_not_cancelled(trading: Desk, instrument: object) -> None:
    assert trading.refusal("cancel_order", CANCEL | {"instId": instrument}) == INSTRUMENT


def test_an_order_within_the_limits_is_placed_as_it_was_written_and_cancelled(tmp_path: Path) -> None:
    with desk(tmp_path, "okx-trading") as fresh:
        stay_within(60, 10)
        forms = [
            {"sz": "2.00", "px": "500"}, {"sz": "0.00000001", "px": "100"}, {"sz": "10", "px": "100.00"},
            {"sz": "0.5", "px": "2000"},
        ]  # fmt: skip
        kinds: list[dict[str, str]] = [
            {"ordType": "post_only", "side": "sell", "tag": "a"},
            {"ordType": "ioc", "clOrdId": "b1"},
        ]
        for changed in (*forms, *kinds):
            reply, asked = fresh.call("place_order", ORDER | changed)
            assert asked == [PLACE_ORDER]
            assert fresh.exchange.received[-1].body.items() >= (ORDER | changed).items()
        order = reply["result"]["structuredContent"]["data"][0]["ordId"]
        reply, asked = fresh.call("cancel_order", CANCEL | {"ordId": order})
    assert asked == [CANCEL_ORDER]
    assert reply["result"]["structuredContent"]["code"] == "0"


def test_the_orders_of_a_day_are_worth_ten_thousand_dollars_in_all_sessions_together(tmp_path: Path) -> None:
    stay_within(86400, 60)
    state = tmp_path / "state"
    sessions: list[list[tuple[str, str, str | None]]] = [
        [("2", "500", None)] * 5 + [("2", "500.01", WORTH)],
        [("1", "1000", None)] * 4 + [("2", "500.00000001", WORTH)],
        [("1.99999999", "500", None), ("2", "500", DAY), ("0.00000002", "500", DAY)],
    ]
    for orders in sessions:
        with desk(tmp_path, "okx-trading", state) as session:
            for sz, px, expected in orders:
                assert session.refusal("place_order", ORDER | {"sz": sz, "px": px}) == expected, (sz, px)
            session.peer.end()


def test_ten_orders_a_minute_are_placed_in_all_sessions_together_at_most(tmp_path: Path) -> None:
    stay_within(60, 20)
    refusals = []
    for count in (6, 5):
        with desk(tmp_path, "okx-trading", tmp_path / "state") as session:
            refusals += [session.refusal("place_order", ORDER | {"sz": "0.01"}) for _ in range(count)]
            session.peer.end()
    assert refusals == [None] * 10 + ["Ten orders a minute are enough"]


def test_ten_orders_are_cancelled_in_a_minute_at_most(tmp_path: Path) -> None:
    with desk(tmp_path, "okx-trading") as fresh:
        stay_within(60, 10)
        refusals = [fresh.refusal("cancel_order", CANCEL) for _ in range(11)]
    assert refusals == [None] * 10 + ["Rate limit exceeded for cancel rate"]
