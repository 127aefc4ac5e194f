"""Headers that mirror a message: what we write always passes our own check, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidMessage
from sidecar.http.values import field_lines
from sidecar.mcp import jsonrpc, mirrored_headers, strict_json
from sidecar.mcp.jsonrpc import Notification, Request
from sidecar.mcp.mirrored_headers import (
    METHOD,
    NAME,
    VERSION,
    check,
    check_params,
    decoded,
    encoded,
    headers_of,
    marks_of,
    params_of,
)
from sidecar.mcp.protocol import REVISIONS

STATELESS = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMING = [("tools/call", "name"), ("prompts/get", "name"), ("resources/read", "uri"), ("tasks/get", "taskId")]


def request(method: str, params: dict[str, Any] | None, id_: int = 1) -> Request:
    read = jsonrpc.read(strict_json.encode({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}))
    assert isinstance(read, Request)
    return read


def came(headers: Mapping[str, str]) -> dict[str, str | None]:
    return {name: headers.get(name) for name in (VERSION, METHOD, NAME)}


@given(TEXT)
def test_any_text_comes_back_out_of_a_header_that_can_be_sent(text: str) -> None:
    header = encoded(text)
    assert decoded(header) == text
    assert field_lines([("mcp-name", header)], frozenset())
    assert header == header.strip()


@pytest.mark.parametrize("text", ["plain", "", "a b", "=?base64?", "?="])
def test_what_a_header_can_carry_stands_as_it_is(text: str) -> None:
    assert encoded(text) == text


@pytest.mark.parametrize("text", [" outer", "outer ", "\n", "é", "=?base64?YQ==?=", "\x7f", "\t"])
def test_what_a_header_could_change_or_mistake_is_written_in_base64(text: str) -> None:
    assert encoded(text).startswith("=?base64?")


@pytest.mark.parametrize(
    "header",
    ["=?base64?YQ?=", "=?base64?Y R==?=", "=?base64?YR==?=", "=?base64?/w==?=", "=?base64?*?=", "ü", "a\xa0", "\x7f"],
)
def test_what_is_not_plain_ascii_or_the_one_base64_of_a_text_stands_for_nothing(header: str) -> None:
    assert decoded(header) is None


@given(named=st.sampled_from(NAMING), value=TEXT, revision=st.sampled_from(REVISIONS))
def test_the_headers_of_a_message_agree_with_it(named: tuple[str, str], value: str, revision: str) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": revision}
    message = request(named[0], {named[1]: value, "_meta": meta})
    check(message, came(headers_of(message)))


@given(named=st.sampled_from(NAMING), value=TEXT, other=TEXT, header=st.sampled_from([VERSION, METHOD, NAME]))
def test_any_other_value_of_a_header_is_refused_with_the_id(
    named: tuple[str, str], value: str, other: str, header: str
) -> None:
    message = request(named[0], {named[1]: value, "_meta": STATELESS}, id_=7)
    headers = came(headers_of(message))
    if other == decoded(headers[header] or ""):
        return
    headers[header] = encoded(other)
    with pytest.raises(InvalidMessage) as refused:
        check(message, headers)
    assert (refused.value.code, refused.value.id) == (mirrored_headers.HEADER_MISMATCH, 7)
    assert "does not say" in str(refused.value)


@pytest.mark.parametrize("header", [VERSION, METHOD, NAME])
def test_a_header_of_a_stateless_request_that_is_missing_is_refused(header: str) -> None:
    message = request("tools/call", {"name": "look", "_meta": STATELESS})
    with pytest.raises(InvalidMessage):
        check(message, came(headers_of(message)) | {header: None})


def test_no_header_is_needed_where_the_revision_has_none_but_one_that_is_there_must_not_lie() -> None:
    message = request("tools/call", {"name": "cancel_order"})
    check(message, {VERSION: "2025-11-25", METHOD: None, NAME: None})
    for lie in ({METHOD: "tools/list"}, {NAME: "get_order"}, {METHOD: "Tools/Call"}):
        with pytest.raises(InvalidMessage):
            check(message, came({}) | lie)


@pytest.mark.parametrize(("stated", "header"), [("2025-11-25", "2026-07-28"), ("2026-07-28", "2025-11-25")])
def test_a_request_cannot_be_of_two_revisions(stated: str, header: str) -> None:
    message = request("ping", {"_meta": {"io.modelcontextprotocol/protocolVersion": stated}})
    with pytest.raises(InvalidMessage):
        check(message, {VERSION: header, METHOD: "ping", NAME: None})


def test_a_notification_that_lies_is_refused_without_an_id() -> None:
    with pytest.raises(InvalidMessage) as refused:
        check(Notification("notifications/cancelled", None, b"", {}), came({METHOD: "ping"}))
    assert refused.value.id is None


# Marked arguments.


def test_marked_arguments_are_mirrored_also_inside_others() -> None:
    schema = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "to": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
            "free": {"type": "string"},
        }
    }
    marks = marks_of(schema)
    assert marks == {("region",): "Region", ("to", "dry"): "Dry"}
    message = request("tools/call", {"name": "t", "arguments": {"region": "ü", "to": {"dry": True}, "free": "x"}})
    headers = headers_of(message, marks)
    assert headers[f"{mirrored_headers.PARAM}dry"] == "true"
    assert decoded(headers[f"{mirrored_headers.PARAM}region"]) == "ü"
    assert len(headers) == 4


@pytest.mark.parametrize("token", ["1", "-7", "1.10", "1e300", "123456789012345678901234567890", "0.1"])
def test_a_number_is_mirrored_exactly_as_it_was_written(token: str) -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"n":%b}}}' % token.encode()
    message = jsonrpc.read(line)
    assert isinstance(message, Request)
    assert headers_of(message, {("n",): "N"})[f"{mirrored_headers.PARAM}n"] == token


@pytest.mark.parametrize("value", [None, [], {}, ["a"]])
def test_what_is_no_text_number_or_truth_value_is_not_mirrored(value: Any) -> None:
    message = request("tools/call", {"name": "t", "arguments": {"n": value}})
    assert set(headers_of(message, {("n",): "N", ("n", "m"): "M"})) == {METHOD, NAME}


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "x-mcp-header": "Deep"}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        None, [], "x", {"properties": []}, {"properties": {"a": None}}, {"properties": {"a": {"x-mcp-header": 1}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "bad name"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a\r\nAuthorization: x"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": {}, "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "object", "x-mcp-header": "A"}}},
        _nested(100),
    ],
)  # fmt: skip
def test_a_hostile_schema_marks_nothing(schema: Any) -> None:
    assert marks_of(schema) == {}


# Marked arguments and the headers that came.

VALUES = st.one_of(
    TEXT, st.booleans(), st.integers(-(2**53), 2**53), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)
MARKS = {("r",): "Region", ("to", "dry"): "Dry_Run"}


def called(arguments: Any, meta: dict[str, Any] | None = None) -> Request:
    return request("tools/call", {"name": "t", "arguments": arguments, "_meta": STATELESS if meta is None else meta}, 7)


def agree(message: Request, *headers: tuple[str, str], marks: mirrored_headers.Marks | None = MARKS) -> bool:
    try:
        check_params(message, params_of([(name.lower(), value) for name, value in headers]), marks)
    except InvalidMessage as refused:
        return (refused.code, refused.id) != (mirrored_headers.HEADER_MISMATCH, 7)
    return True


@given(VALUES, VALUES)
def test_the_headers_that_we_would_write_agree_and_no_others_do(value: Any, other: Any) -> None:
    message = called({"r": value, "to": {"dry": other}})
    headers = [
        (name, said) for name, said in headers_of(message, MARKS).items() if name.startswith(mirrored_headers.PARAM)
    ]
    assert agree(message, *headers)
    for at, (name, said) in enumerate(headers):
        rest = headers[:at] + headers[at + 1 :]
        assert not agree(message, *rest)
        assert not agree(message, *headers, (name, said))
        assert not agree(message, *rest, (name, encoded(f"{decoded(said)}x")))
        assert not agree(message, *rest, (name, ""), (name.replace("_", "-"), said))


@given(TEXT, TEXT)
def test_a_text_agrees_with_nothing_but_itself(value: str, said: str) -> None:
    assert agree(called({"r": value}), ("mcp-param-region", encoded(said))) is (value == said)


@pytest.mark.parametrize(
    ("value", "said", "agrees"),
    [
        (42, "42", True), (42, "42.0", True), (42, "4.2e1", True), (-7, "-7", True), (42, "042", True),
        (42, "43", False),
        (42, "42.000000000000000000000000000001", False), (42, "+42", False), (42, "0x2a", False), (42, "４２", False),
        (42, "", False), (42, "42,42", False), (2**53, "9007199254740993", False), ("42", "42", True),
        ("42", "42.0", False), (True, "true", True), (True, "True", False), (True, "1", False), (False, "0", False),
        (None, "null", False), ([], "[]", False), ({}, "{}", False), ("", "", True), ("a", "A", False),
        ("a", "=?base64?YQ==?=", True), ("a", "=?BASE64?YQ==?=", False), ("a", "=?base64?YQ=?=", False),
        (1, "true", False),
    ],
)  # fmt: skip
def test_what_agrees_with_an_argument(value: Any, said: str, agrees: bool) -> None:
    assert agree(called({"r": value}), ("Mcp-Param-Region", said)) is agrees


@pytest.mark.parametrize("name", ["mcp-param-region", "MCP-PARAM-REGION", "Mcp-Param-Region"])
def test_the_case_of_a_name_says_nothing(name: str) -> None:
    assert agree(called({"r": "eu"}), (name, "eu"))
    assert not agree(called({"r": "eu"}), (name, "us"))


@pytest.mark.parametrize("name", ["mcp-param-dry_run", "mcp-param-dry-run"])
def test_a_name_that_servers_read_as_the_same_must_not_lie_either(name: str) -> None:
    assert not agree(called({"to": {"dry": True}}), ("mcp-param-dry_run", "true"), (name, "false"))


def test_a_header_for_an_argument_that_is_not_there_is_a_lie() -> None:
    nothing: list[Any] = [None, {}, {"r": None}, {"to": 1}, {"to": {}}]
    for arguments in nothing:
        assert agree(called(arguments))
        assert not agree(called(arguments), ("mcp-param-dry_run", "true"))


def test_a_header_that_no_mark_names_says_nothing() -> None:
    assert agree(called({}), ("mcp-param-other", "x"))
    assert agree(called({"r": "eu"}), ("mcp-param-other", "x"), marks={})


def test_where_no_list_is_known_headers_are_not_believed() -> None:
    assert agree(called({"r": "eu"}), marks=None)
    assert not agree(called({"r": "eu"}), ("mcp-param-region", "eu"), marks=None)


def test_in_other_revisions_a_marked_argument_needs_no_header_but_one_that_is_there_must_not_lie() -> None:
    message = called({"r": "eu"}, {})
    assert agree(message)
    assert agree(message, ("mcp-param-region", "eu"))
    assert not agree(message, ("mcp-param-region", "us"))


@pytest.mark.parametrize("token", ["1.10", "1e300", "123456789012345678901234567890", "0.1", "1E2"])
def test_a_number_that_no_double_holds_agrees_with_itself(token: str) -> None:
    line = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"r":%b}}}' % token.encode()
    message = jsonrpc.read(line)
    assert isinstance(message, Request)
    assert agree(message, ("mcp-param-region", token))
    assert not agree(message, ("mcp-param-region", f"{token}1"))
