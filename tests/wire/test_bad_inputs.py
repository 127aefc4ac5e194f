"""What cannot be read strictly is refused, said in the audit trail, and not one byte of it reaches the server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peer import Sidecar, until
from tests.wire.tapped import MARKER, POLICY, Tapped, encoded, tool_call

LIMIT = 64 << 10

GOOD = tool_call(900, "look", {"pin": MARKER})
ARGUMENT = json.dumps(MARKER).encode()
LONG = "x" * LIMIT


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tapped]:
    sidecar = Tapped(tmp_path_factory.mktemp("bad-inputs"), "--max-message", f"{LIMIT >> 10}KiB")
    with sidecar:
        yield sidecar


def with_argument(text: bytes) -> bytes:
    """A call with the marker and one more argument, as it stands."""
    return GOOD.replace(ARGUMENT, ARGUMENT + b',"a":' + text)


def with_id(text: bytes) -> bytes:
    """A call with an id as it stands."""
    return GOOD.replace(b'"id":900', b'"id":' + text)


def with_members(text: bytes) -> bytes:
    """A call with more members after `params`."""
    return GOOD[:-1] + b"," + text + b"}"


def with_params(**params: Any) -> bytes:
    return encoded(id=900, method="tools/call", params=params)


def with_method(method: str) -> bytes:
    return encoded(id=900, method=method, params={"name": "cancel_order", "arguments": {"pin": MARKER}})


def of_tool(tool: str) -> bytes:
    return tool_call(900, tool, {"pin": MARKER})


LOOK_ALIKE = with_params(name="look", arguments={}, extra={"pin": MARKER})

UNREADABLE = {
    "not JSON": (b"hello " + ARGUMENT, None),
    "half a message": (GOOD[:-2], None),
    "two messages on a line": (GOOD + GOOD, None),
    "NaN": (with_argument(b"NaN"), 900),
    "Infinity": (with_argument(b"Infinity"), 900),
    "-Infinity": (with_argument(b"-Infinity"), 900),
    "method twice": (with_members(b'"method":"ping"'), 900),
    "params twice": (with_members(b'"params":{"name":"cancel_order"}'), 900),
    "name twice": (GOOD.replace(b'"name":"look"', b'"name":"look","name":"cancel_order"'), 900),
    "name twice, one escaped": (GOOD.replace(b'"name":"look"', b'"name":"look","n\\u0061me":"cancel_order"'), 900),
    "arguments twice": (GOOD.replace(b'"arguments"', b'"arguments":{},"arguments"'), 900),
    "key twice in the arguments": (with_argument(b"1").replace(b'"a"', b'"pin"'), 900),
    "key twice deep in the arguments": (with_argument(b'[{"b":{"c":1,"c":2}}]'), 900),
    "id twice": (with_members(b'"id":901'), None),
    "same id twice": (with_members(b'"id":900'), None),
    "lone surrogate": (with_argument(b'"\\ud800"'), 900),
    "lone surrogate in a key": (with_argument(b'{"\\udc00":1}'), 900),
    "lone surrogate in the name": (GOOD.replace(b"look", b"look\\ud800"), 900),
    "invalid UTF-8": (with_argument(b'"\xff"'), 900),
    "invalid UTF-8 in the name": (GOOD.replace(b"look", b"loo\xc3k"), 900),
    "overlong UTF-8": (with_argument(b'"\xc0\xaf"'), 900),
    "BOM": (b"\xef\xbb\xbf" + GOOD, None),
    "UTF-16": (GOOD.decode().encode("utf-16"), None),
    "UTF-16 without BOM": (GOOD.decode().encode("utf-16-le"), None),
    "UTF-32": (GOOD.decode().encode("utf-32-be"), None),
    "129 levels": (with_argument(b"[" * 126 + b"]" * 126), 900),
    "12,000 levels": (with_argument(b"[" * 12_000 + b"]" * 12_000), 900),
    "12,000 objects": (with_argument(b'{"":' * 12_000 + b"1" + b"}" * 12_000), 900),
    "12,000 levels never closed": (b"[" * 12_000, None),
    "401 digits": (with_argument(b"1" * 401), 900),
    "sign and 400 digits": (with_argument(b"-" + b"1" * 400), 900),
    "5,000 digits": (with_argument(b"1" * 5000), 900),
    "exponent 401": (with_argument(b"1e401"), 900),
    "exponent -401": (with_argument(b"1E-401"), 900),
    "exponent of a million": (with_argument(b"1e1000000"), 900),
    "carriage return in a text": (with_argument(b'"\r"'), None),
    "vertical tab in a text": (with_argument(b'"\x0b"'), None),
    "comment": (with_argument(b"/**/1"), None),
    "single quotes": (GOOD.replace(b'"', b"'"), None),
}

NOT_JSON_RPC = {
    "batch": (b"[" + GOOD + b"]", None),
    "batch of two": (b"[" + GOOD + b"," + with_id(b"901") + b"]", None),
    "empty batch": (b"[]", None),
    "text": (ARGUMENT, None),
    "null": (b"null", None),
    "no method, result or error": (encoded(id=900, params={"pin": MARKER}), 900),
    "no version": (GOOD.replace(b'"jsonrpc":"2.0",', b""), 900),
    "version 1.0": (GOOD.replace(b'"2.0"', b'"1.0"'), 900),
    "version as a number": (GOOD.replace(b'"2.0"', b"2.0"), 900),
    "tools/call without id": (GOOD.replace(b'"id":900,', b""), None),
    "id null": (with_id(b"null"), None),
    "id true": (with_id(b"true"), None),
    "id 1.5": (with_id(b"1.5"), None),
    "id 7.0": (with_id(b"7.0"), None),
    "id 7e0": (with_id(b"7e0"), None),
    "id 2^53": (with_id(b"9007199254740992"), None),
    "id -2^53": (with_id(b"-9007199254740992"), None),
    "id 2^64": (with_id(b"18446744073709551616"), None),
    "id list": (with_id(b"[7]"), None),
    "id object": (with_id(b"{}"), None),
    "method and result": (with_members(b'"result":{}'), 900),
    "method and error": (with_members(b'"error":{"code":1}'), 900),
    "method and result null": (with_members(b'"result":null'), 900),
    "method that is no text": (GOOD.replace(b'"tools/call"', b'["tools/call"]'), 900),
    "method in capitals": (with_method("TOOLS/CALL"), 900),
    "method in title case": (with_method("Tools/Call"), 900),
    "method after a blank": (with_method(" tools/call"), 900),
    "method before a line feed": (with_method("tools/call\n"), 900),
    "method with a blank inside": (with_method("tools/ call"), 900),
    "method with a no-break blank": (with_method("tools/call\u00a0"), 900),
    "method in full-width letters": (with_method("ｔｏｏｌｓ／ｃａｌｌ"), 900),
    "method with a long s": (with_method("toolſ/call"), 900),
    "method with a zero-width blank": (with_method("tools/\u200bcall"), 900),
    "method with a variation selector": (with_method("tools/call\ufe0f"), 900),
    "method with NUL": (with_method("tools/call\x00"), 900),
    "method after a slash": (with_method("/tools/call"), 900),
    "method before a slash": (with_method("tools/call/"), 900),
    "method with two slashes": (with_method("tools//call"), 900),
    "method with a backslash": (with_method("tools\\call"), 900),
    "method after a slash without id": (encoded(method="/tools/call", params={"name": "look"}), None),
    "method in capitals without id": (encoded(method="TOOLS/CALL", params={"name": "look"}), None),
    "Method beside method": (with_members(b'"Method":"ping"'), 900),
    "Method beside that of a notification": (encoded(method="notifications/x", Method="tools/call"), None),
    "ID beside id": (with_members(b'"ID":901'), 900),
    "ID instead of id": (GOOD.replace(b'"id"', b'"ID"'), None),
    "Params beside params": (with_members(b'"Params":{"name":"cancel_order"}'), 900),
    "params with a long s": (with_members('"paramſ":{"name":"cancel_order"}'.encode()), 900),
    "Result beside method": (with_members(b'"Result":{}'), 900),
    "JSONRPC beside jsonrpc": (with_members(b'"JSONRPC":"2.0"'), 900),
    "too long, id at the head": (with_argument(b'"%s"' % LONG.encode()), 900),
    "too long, id at the tail": (GOOD.replace(b'"id":900,', b"")[:-1] + b',"x":"%s","id":900}' % LONG.encode(), 900),
    "too long, id in the middle": (encoded(x=LONG, id=900, method="tools/call", params={"a": LONG}), None),
    "too long, no id": (encoded(method="notifications/x", params={"a": LONG}), None),
}

WRONG_PARAMS = {
    "params list": encoded(id=900, method="tools/call", params=["look", {"pin": MARKER}]),
    "params list of another method": encoded(id=900, method="tools/list", params=[]),
    "params text": encoded(id=900, method="tools/call", params=MARKER),
    "params false": encoded(id=900, method="ping", params=False),
    "no params": encoded(id=900, method="tools/call"),
    "params null": encoded(id=900, method="tools/call", params=None),
    "no name": with_params(arguments={"pin": MARKER}),
    "empty name": of_tool(""),
    "name null": with_params(name=None, arguments={"pin": MARKER}),
    "name a number": with_params(name=7, arguments={"pin": MARKER}),
    "name a list": with_params(name=["look"], arguments={"pin": MARKER}),
    "arguments list": with_params(name="look", arguments=[MARKER]),
    "arguments text": with_params(name="look", arguments=json.dumps({"pin": MARKER})),
    "arguments number": with_params(name="look", arguments=0),
    "arguments decimal": GOOD.replace(b'{"pin":' + ARGUMENT + b"}", b"1.10"),
    "arguments false": with_params(name="look", arguments=False),
    "Name beside name": with_params(name="look", Name="cancel_order", arguments={"pin": MARKER}),
    "Name instead of name": with_params(Name="look", arguments={"pin": MARKER}),
    "Arguments beside arguments": with_params(name="look", arguments={}, Arguments={"pin": MARKER}),
    "arguments with a long s": LOOK_ALIKE.replace(b"extra", "argumentſ".encode()),
    "task with a Kelvin sign": LOOK_ALIKE.replace(b"extra", "tas\u212a".encode()),
    "_Meta beside _meta": with_params(name="look", _meta={}, _Meta={"pin": MARKER}),
    "tool after a blank": of_tool(" cancel_order"),
    "tool before a blank": of_tool("cancel_order "),
    "tool with a line feed": of_tool("cancel_order\n"),
    "tool with NUL": of_tool("cancel_order\x00"),
    "tool with DEL": of_tool("cancel_order\x7f"),
    "tool with a zero-width blank": of_tool("cancel\u200b_order"),
    "tool with a soft hyphen": of_tool("cancel\u00ad_order"),
    "tool with a direction mark": of_tool("\u202ecancel_order"),
    "tool with a variation selector": of_tool("cancel_order\ufe0f"),
    "tool with a Hangul filler": of_tool("cancel_order\u115f"),
    "tool after a no-break blank": of_tool("\u00a0cancel_order"),
    "tool in full-width letters": of_tool("ｃancel_order"),
    "tool with a long s": of_tool("liſt"),
    "canary that is allowed": of_tool("intercept/canary-allowed"),
    "canary that is denied": of_tool("intercept/canary-denied"),
    "name of our own": of_tool("intercept/"),
    "amount beside Amount": tool_call(900, "pay", {"amount": 1, "Amount": MARKER}),
    "Amount beside AMOUNT": tool_call(900, "pay", {"Amount": 1, "AMOUNT": MARKER}),
    "order beside Order": tool_call(900, "transfer", {"order": {"amount": 1}, "Order": {"amount": MARKER}}),
    "amount beside Amount, deeper": tool_call(900, "transfer", {"order": {"amount": 1, "Amount": MARKER}}),
}

TABLE = [
    *(pytest.param(line, -32700, id_, id=name) for name, (line, id_) in UNREADABLE.items()),
    *(pytest.param(line, -32600, id_, id=name) for name, (line, id_) in NOT_JSON_RPC.items()),
    *(pytest.param(line, -32602, 900, id=name) for name, line in WRONG_PARAMS.items()),
]


@pytest.mark.parametrize(("line", "code", "id_"), TABLE)
def test_a_bad_message_is_refused_and_nothing_of_it_is_sent(
    sidecar: Tapped, line: bytes, code: int, id_: int | None
) -> None:
    sent, audit = len(sidecar.sent), len(sidecar.audit)
    sidecar.send_bytes(line + b"\n")
    refusal = sidecar.read()
    assert (refusal["id"], refusal["error"]["code"]) == (id_, code)
    assert_the_connection_lives_on(sidecar, sent)
    refused, allowed = sidecar.audit[audit:]
    assert (refused["decision"], refused["kind"], refused["code"]) == ("deny", "invalid_request", code)
    assert allowed["decision"] == "allow"
    assert MARKER not in str(refusal) + sidecar.written


def assert_the_connection_lives_on(sidecar: Tapped, sent: int) -> None:
    """A good call passes, and it is all that the server gets after its first `sent` lines."""
    sidecar.send_bytes(GOOD + b"\n")
    assert "result" in sidecar.reply(900)
    assert sidecar.wait_for_sent(sent + 1)[sent:] == [GOOD.decode()]


@pytest.mark.parametrize("taken", [7, "7"])
@pytest.mark.parametrize("id_", [7, "7"])
def test_an_id_that_is_outstanding_is_refused_also_as_its_twin(
    sidecar: Tapped, tmp_path: Path, taken: int | str, id_: int | str
) -> None:
    sent, go = len(sidecar.sent), tmp_path / "go"
    sidecar.send_bytes(tool_call(taken, "look", {"stub": "slow", "until": str(go)}) + b"\n")
    sidecar.send_bytes(tool_call(id_, "look", {"pin": MARKER}) + b"\n")
    refusal = sidecar.read()
    assert (refusal["id"], refusal["error"]["code"]) == (id_, -32600)
    go.touch()
    assert sidecar.reply(taken)["result"]["content"][0]["text"] == "late"
    assert_the_connection_lives_on(sidecar, sent + 1)


def test_128_levels_pass(sidecar: Tapped) -> None:
    line = with_argument(b"[" * 125 + b"]" * 125)
    sidecar.send_bytes(line + b"\n")
    assert "result" in sidecar.reply(900)
    assert sidecar.received[-1] == line.decode()


def test_a_message_as_long_as_allowed_passes(sidecar: Tapped) -> None:
    line = with_argument(b'""')
    line = with_argument(b'"' + b"x" * (LIMIT - len(line)) + b'"')
    assert len(line) == LIMIT
    sidecar.send_bytes(line + b"\n")
    # The answer holds the arguments again, with what is around them: that is more than may pass.
    assert sidecar.reply(900)["error"]["code"] == -32603
    assert sidecar.received[-1] == line.decode()


def test_an_answer_above_the_limit_becomes_an_error_and_the_connection_lives_on(sidecar: Tapped) -> None:
    reply = sidecar.call("look", {"stub": "big", "bytes": 20 * LIMIT})
    assert reply["error"]["code"] == -32603
    assert "xxx" not in str(reply)
    assert_the_connection_lives_on(sidecar, len(sidecar.wait_for_sent(1)))


# What servers that end a line at a bare carriage return would make of it.

SPLITTING_SERVER = """
import json, sys
with open(sys.argv[1], "w", buffering=1) as log:
    for line in sys.stdin:
        log.write(line)
        message = json.loads(line)
        if "id" in message:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}), flush=True)
"""

EVIL = tool_call(66, "cancel_order", {})
HIDING_PLACES = {
    "between the members of a notification": b'{"jsonrpc":"2.0","method":"notifications/x","params":{"a":\r%s\r}}',
    "in the arguments of an allowed call": (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{"a":\r%s\r}}}'
    ),
    "in a request that is no call": b'\r{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":\r%s\r}}\r',
}


@pytest.mark.parametrize("line", HIDING_PLACES.values(), ids=HIDING_PLACES.keys())
def test_a_call_hidden_between_carriage_returns_is_not_run(tmp_path: Path, line: bytes) -> None:
    log = tmp_path / "lines"
    server = [sys.executable, "-S", "-E", "-c", SPLITTING_SERVER, str(log)]
    sidecar = Sidecar(tmp_path, POLICY, server=server)
    with sidecar:
        sidecar.send_bytes(line % EVIL + b"\n" + tool_call(2, "look", {}) + b"\n")
        sidecar.reply(2)
        until(lambda: log.read_bytes().count(b"\n") >= 2)
    sent = line.replace(b"\r", b"") % EVIL
    assert sorted(log.read_bytes().splitlines()) == sorted([sent, tool_call(2, "look", {})])
