"""The stub exchange, asked with the OKX library that mcp-okx uses."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from okx.Account import AccountAPI
from okx.MarketData import MarketAPI
from okx.Trade import TradeAPI

from programs.demo.exchange import (
    BALANCE,
    CANCEL_ORDER,
    CLOSE_POSITION,
    PLACE_ORDER,
    TICKERS,
    Exchange,
    Received,
    serve,
)

# The OKX library hands httpx its body the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ORDER = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "1", "px": "188"}


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def url(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the OKX library heeds HTTP_PROXY
    with serve(exchange) as url:
        yield url


def test_the_library_reads_tickers_and_the_balance(exchange: Exchange, url: str) -> None:
    with MarketAPI(domain=url) as market, AccountAPI(domain=url) as account:
        tickers = market.get_tickers(instType="SPOT")
        balance = account.get_account_balance("SOL")
    assert "BTC-USDT" in [ticker["instId"] for ticker in tickers["data"]]
    assert [holding["ccy"] for holding in balance["data"][0]["details"]] == ["SOL"]
    assert exchange.received == (
        Received("GET", TICKERS, {"instType": "SPOT"}),
        Received("GET", BALANCE, {"ccy": "SOL"}),
    )


def test_an_order_is_placed_and_cancelled_once(exchange: Exchange, url: str) -> None:
    with TradeAPI(domain=url) as trade:
        placed = trade.place_order(**ORDER)
        order_id = placed["data"][0]["ordId"]
        first, second = (trade.cancel_order("SOL-USDT", order_id) for _ in range(2))
    assert (placed["code"], first["code"], second["code"]) == ("0", "0", "1")
    assert second["data"][0]["sCode"] == "51603"
    assert [request.path for request in exchange.received] == [PLACE_ORDER, CANCEL_ORDER, CANCEL_ORDER]
    assert exchange.received[0].body.items() >= ORDER.items()


def test_a_position_is_closed(exchange: Exchange, url: str) -> None:
    with TradeAPI(domain=url) as trade:
        closed = trade.close_positions("SOL-USDT", "cross")
    assert (closed["code"], closed["data"][0]["instId"]) == ("0", "SOL-USDT")
    assert [request.path for request in exchange.received] == [CLOSE_POSITION]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Received("GET", "/api/v5/account/config", {}), "404"),
        (Received("GET", TICKERS, {}), "50014"),
        (Received("POST", PLACE_ORDER, ORDER | {"sz": ""}), "50014"),
        (Received("POST", PLACE_ORDER, ORDER | {"instId": "SAND-CASTLE"}), "51001"),
    ],
)
def test_what_it_cannot_do_is_an_error_as_okx_answers_it(exchange: Exchange, request_: Received, code: str) -> None:
    answer = exchange.answer(request_)
    assert (answer["code"], answer["data"]) == (code, [])
    assert answer["msg"]
    assert exchange.received == (request_,)


def test_a_body_that_is_no_json_object_is_an_error(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.post(url + PLACE_ORDER, content=b"[1").json()["code"] == "50002"
