"""Which headers travel: the protocol's and those that the operator names, his own above all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.hop_by_hop import CREDENTIALS, HOP_BY_HOP, OURS, back, onward

TRAVEL = [
    "accept", "accept-language", "cache-control", "user-agent", "traceparent", "tracestate", "baggage",
    "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-region",
]  # fmt: skip
BELIEVED = [
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-user", "x-forwarded-email",
    "x-forwarded-client-cert", "x-real-ip", "x-remote-user", "remote-user", "remote_addr", "x-auth-request-user",
    "x-original-url", "x-rewrite-url", "x-original-forwarded-for", "via", "true-client-ip", "cf-connecting-ip",
    "x-client-cert", "x-ssl-client-verify", "ssl-client-cert", "x-amzn-oidc-identity", "x-ms-client-principal",
    "x-goog-authenticated-user-email", "x-goog-iap-jwt-assertion", "tailscale-user-login", "x-webauth-user",
    "x-http-method-override", "x-forwarded_for", "x_forwarded_user", "mcp_session_id", "mcp_name", "mcp-param_a",
    "content_type", "x-api-key", "x-user-id", "sec-fetch-site",
]  # fmt: skip


@pytest.mark.parametrize("name", [*sorted(HOP_BY_HOP | OURS | CREDENTIALS), *BELIEVED])
def test_what_is_neither_the_protocols_nor_named_by_the_operator_ends_here(name: str) -> None:
    assert onward([(name, "x"), ("accept", "y")], []) == [("accept", "y")]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=":"), min_size=1))
def test_no_name_travels_that_is_not_meant_to(name: str) -> None:
    travels = bool(onward([(name.lower(), "x")], []))
    assert not travels or name.lower().startswith("mcp-param-") or name.lower() in TRAVEL


def test_order_and_repetition_of_what_travels_stay() -> None:
    fields = [(name, str(number)) for number, name in enumerate([*TRAVEL, "accept"])]
    assert onward(fields, []) == fields


@pytest.mark.parametrize("name", ["authorization", "x-forwarded-for", "x-tenant"])
def test_what_the_operator_names_travels(name: str) -> None:
    fields = [(name, "s3cret")]
    assert onward(fields, [], also=frozenset({name})) == fields


def test_the_operators_headers_win_over_all_of_the_clients_of_that_name() -> None:
    fields = [("authorization", "client"), ("accept", "1"), ("accept", "2"), ("user-agent", "3")]
    fixed = [("authorization", "ours"), ("accept", "ours")]
    assert onward(fields, fixed, also=frozenset({"authorization"})) == [("user-agent", "3"), *fixed]


def test_what_connection_names_in_an_answer_ends_here() -> None:
    fields = [("connection", "close, X-One ,x-two"), ("x-one", "1"), ("x-two", "2"), ("x-three", "3")]
    assert back(fields, cookies=True) == [("x-three", "3")]


def test_an_answer_does_not_lead_the_client_around_us() -> None:
    assert back([("alt-svc", 'h2="other:443"'), ("x", "1")], cookies=True) == [("x", "1")]


def test_an_answer_loses_what_frames_it_and_cookies_unless_they_are_wanted() -> None:
    fields = [
        ("content-type", "a"), ("content-length", "1"), ("content-encoding", "gzip"), ("transfer-encoding", "chunked"),
        ("set-cookie", "c"), ("mcp-session-id", "s"), ("www-authenticate", "w"),
    ]  # fmt: skip
    kept = [("mcp-session-id", "s"), ("www-authenticate", "w")]
    assert back(fields, cookies=False) == kept
    assert back(fields, cookies=True) == [("set-cookie", "c"), *kept]
