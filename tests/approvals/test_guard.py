"""How often one may try."""

from __future__ import annotations

from sidecar.approvals.guard import MAX_KEYS, Rate, is_own
from sidecar.http.values import Headers
from tests.auth.tokens import Clock


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    clock = Clock()
    rate = Rate(3, 0.5, clock)
    assert [rate.takes("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    assert rate.takes("b") == 0
    clock.now += 1.9
    assert rate.takes("a") == 1
    clock.now += 0.1
    assert [rate.takes("a"), rate.takes("a")] == [0, 2]
    clock.now += 1000
    assert [rate.takes("a") for _ in range(4)] == [0, 0, 0, 2]


def test_many_names_are_no_way_around() -> None:
    clock = Clock()
    rate = Rate(2, 0.01, clock)
    for at in range(MAX_KEYS):
        assert rate.takes(f"address {at}") == 0
    assert [rate.takes(f"other {at}") == 0 for at in range(3)] == [True, True, False]
    clock.now += 1000
    assert all(rate.takes(f"other {at}") == 0 for at in range(3))


def test_a_page_is_ours_only_where_host_and_port_are() -> None:
    def own(host: str, origin: str) -> bool:
        return is_own(Headers([("host", host), ("origin", origin)]), "https://ops.example.com")

    assert own("127.0.0.1:9465", "http://127.0.0.1:9465")
    assert own("Approvals.example.com", "https://approvals.example.com")
    assert own("10.0.0.7:9465", "https://ops.example.com")
    assert is_own(Headers([("host", "a")]), "")
    for origin in ("http://127.0.0.1", "http://127.0.0.1:94650", "http://127.0.0.1:9465.evil.example.com", "null", "",
                   "http://localhost:9465", "ws://127.0.0.1:9465", "http://127.0.0.1:9465/"):  # fmt: skip
        assert not own("127.0.0.1:9465", origin)
    assert not own("", "http://")
