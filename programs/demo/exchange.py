"""A stub of the OKX exchange on loopback: a few of its REST endpoints, and a record of all that it was asked.

Answers have the shape of https://www.okx.com/docs-v5/en/: HTTP 200, `code` "0" or an error's, `msg`, `data`. It knows
no MCP and no policy; it would close a position as gladly as it places an order, so that a request that should not have
come is seen.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

BALANCE: Final = "/api/v5/account/balance"
TICKERS: Final = "/api/v5/market/tickers"
PLACE_ORDER: Final = "/api/v5/trade/order"
CANCEL_ORDER: Final = "/api/v5/trade/cancel-order"
CLOSE_POSITION: Final = "/api/v5/trade/close-position"

FIRST_ORDER: Final = 2893481716224000001
"""Order ids count up from here."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """One request. `body` is the query of a GET and the JSON object of a POST."""

    method: str
    path: str
    body: Json


class Exchange:
    """The exchange's books: tickers, one account, its orders. Every request is in `received`, in order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._order_ids = map(str, itertools.count(FIRST_ORDER))
        self._live: dict[str, str] = {}
        self._received: list[Received] = []
        self._endpoints: dict[tuple[str, str], Callable[[Json], Json]] = {
            ("GET", TICKERS): self._tickers,
            ("GET", BALANCE): self._balance,
            ("POST", PLACE_ORDER): self._place,
            ("POST", CANCEL_ORDER): self._cancel,
            ("POST", CLOSE_POSITION): self._close,
        }

    @property
    def received(self) -> tuple[Received, ...]:
        """All requests until now, those that were answered with an error too."""
        with self._lock:
            return tuple(self._received)

    def answer(self, request: Received) -> Json:
        """Record a request and do what it asks."""
        with self._lock:
            self._received.append(request)
            endpoint = self._endpoints.get((request.method, request.path))
            return endpoint(request.body) if endpoint else _error("404", f"No {request.method} {request.path} here")

    def _tickers(self, query: Json) -> Json:
        kind = query.get("instType")
        if not kind:
            return _error("50014", "Parameter instType can not be empty")
        return _data(*(ticker for ticker in _market() if ticker["instType"] == kind))

    def _balance(self, query: Json) -> Json:
        wanted = {ccy for ccy in query.get("ccy", "").split(",") if ccy}
        details = [holding for holding in _HOLDINGS if not wanted or holding["ccy"] in wanted]
        total = sum(float(holding["eqUsd"]) for holding in _HOLDINGS)
        return _data({"uTime": _now(), "totalEq": f"{total:.2f}", "details": details})

    def _place(self, order: Json) -> Json:
        for name in ("instId", "tdMode", "side", "ordType", "sz"):
            if not order.get(name):
                return _error("50014", f"Parameter {name} can not be empty")
        if order["instId"] not in _PRICES:
            return _error("51001", "Instrument ID or Spread ID doesn't exist.")
        order_id = next(self._order_ids)
        self._live[order_id] = order["instId"]
        return _data(_acknowledged(order_id, order, "Order placed"))

    def _cancel(self, order: Json) -> Json:
        order_id = order.get("ordId", "")
        if self._live.pop(order_id, None) is None:
            failed = _acknowledged(order_id, order, "Your order does not exist.") | {"sCode": "51603"}
            return _error("1", "All operations failed") | {"data": [failed]}
        return _data(_acknowledged(order_id, order, ""))

    def _close(self, order: Json) -> Json:
        return _data({key: order.get(key, "") for key in ("instId", "posSide", "clOrdId", "tag")})


@contextmanager
def serve(exchange: Exchange) -> Iterator[str]:
    """Serve an exchange on a free port of loopback for the length of a `with`; the URL."""
    with _Server(exchange) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client may keep a connection open for as long as it likes

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exchange = exchange


class _Handler(BaseHTTPRequestHandler):
    """Reads a request and writes the answer as JSON."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        self._answer(Received("GET", target.path, dict(parse_qsl(target.query))))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if isinstance(body, dict):
            self._answer(Received("POST", urlsplit(self.path).path, body))
        else:
            self._write(_error("50002", "JSON syntax error"))

    def _answer(self, request: Received) -> None:
        self._write(self.server.exchange.answer(request))

    def _write(self, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: what came is in `received`."""


# What it holds.

_PRICES: Final = {"BTC-USDT": 97_412.6, "ETH-USDT": 3_418.27, "SOL-USDT": 188.41, "OKB-USDT": 51.73}
_CHANGES: Final = {"BTC-USDT": 0.0187, "ETH-USDT": -0.0094, "SOL-USDT": 0.0213, "OKB-USDT": 0.0041}
_HOLDINGS: Final[tuple[dict[str, str], ...]] = (
    {"ccy": "USDT", "eq": "25000", "cashBal": "25000", "availBal": "25000", "frozenBal": "0", "eqUsd": "25000.00"},
    {"ccy": "BTC", "eq": "0.5", "cashBal": "0.5", "availBal": "0.5", "frozenBal": "0", "eqUsd": "48706.30"},
    {"ccy": "SOL", "eq": "12", "cashBal": "12", "availBal": "12", "frozenBal": "0", "eqUsd": "2260.92"},
)


def _market() -> Iterator[dict[str, str]]:
    """The tickers: prices that stand still, with a day's past that fits them."""
    for name, last in _PRICES.items():
        opened = last / (1 + _CHANGES[name])
        yield {
            "instType": "SPOT", "instId": name, "last": f"{last:.2f}", "lastSz": "0.012",
            "askPx": f"{last * 1.00001:.2f}", "askSz": "1.4", "bidPx": f"{last * 0.99999:.2f}", "bidSz": "0.9",
            "open24h": f"{opened:.2f}", "high24h": f"{max(last, opened) * 1.004:.2f}",
            "low24h": f"{min(last, opened) * 0.996:.2f}", "vol24h": "9184.2", "volCcy24h": f"{9184.2 * last:.0f}",
            "ts": _now(),
        }  # fmt: skip


def _acknowledged(order_id: str, order: Json, message: str) -> dict[str, str]:
    return {"ordId": order_id, "clOrdId": order.get("clOrdId", ""), "sCode": "0", "sMsg": message, "ts": _now()}


def _data(*items: Json) -> Json:
    return {"code": "0", "msg": "", "data": list(items)}


def _error(code: str, message: str) -> Json:
    return {"code": code, "msg": message, "data": []}


def _now() -> str:
    return str(time.time_ns() // 1_000_000)
