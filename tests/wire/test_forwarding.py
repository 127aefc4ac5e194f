"""What passes, passes as it was meant: calls, answers, requests of the server, cancels; a denial stops one call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peer import denied, stopped, until
from tests.wire.tapped import MARKER, Tapped, encoded, tool_call


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tapped]:
    sidecar = Tapped(tmp_path_factory.mktemp("forwarding"))
    with sidecar:
        yield sidecar


def say(sidecar: Tapped, id_: str, *lines: str | bytes) -> None:
    """Let the server write lines: each is said by a call of its own, none of which is answered otherwise."""
    for number, line in enumerate(lines):
        text = line if isinstance(line, str) else line.decode()
        sidecar.send_bytes(tool_call(f"{id_}-{number}", "look", {"stub": "say", "line": text}) + b"\n")


# From the client to the server.

TOKENS = [
    "1.10",
    "1e5",
    "-0",
    "-0.0",
    "0.1",
    "1" * 30,
    "-" + "9" * 30,
    "100.00000000000000001",
    "1E300",
    "1e-400",
    "1e16",
]


@pytest.mark.parametrize("blank", ["", " "], ids=["compact", "with blanks"])
@pytest.mark.parametrize("tool", ["look", "pay"], ids=["no rule reads it", "a rule reads it"])
@pytest.mark.parametrize("token", TOKENS)
def test_a_number_reaches_the_server_as_it_was_written(sidecar: Tapped, token: str, tool: str, blank: str) -> None:
    line = tool_call(1, tool, {"amount": "?"}).decode().replace('"?"', blank + token)
    sidecar.send_bytes(line.encode() + b"\n")
    assert denied(sidecar.reply(1)) is None
    assert sidecar.received[-1] == line.replace(" ", "")


@pytest.mark.parametrize(("amount", "passes"), [("100", True), ("100.0", True), ("100.00000000000000001", False)])
def test_a_number_is_judged_as_exactly_as_it_is_sent(sidecar: Tapped, amount: str, passes: bool) -> None:
    line = tool_call(1, "transfer", {"order": {"amount": "?"}}).decode().replace('"?"', amount)
    sidecar.send_bytes(line.encode() + b"\n")
    assert (denied(sidecar.reply(1)) is None) is passes


def test_another_spelling_of_a_call_is_sent_as_it_was_judged(sidecar: Tapped) -> None:
    sidecar.send_bytes(
        b' {"params" : {"_meta": {"progressToken": "t"},\t"arguments":{"b":"\\u00e9\\/\\ud83d\\ude42", "a":null},'
        b'"n\\u0061me":"look"},\r"id":1,"method":"tools\\/call","jsonrpc":"2.0"} \r\n'
    )
    assert "result" in sidecar.reply(1)
    assert sidecar.received[-1] == (
        '{"params":{"_meta":{"progressToken":"t"},"arguments":{"b":"é/🙂","a":null},"name":"look"},'
        '"id":1,"method":"tools/call","jsonrpc":"2.0"}'
    )


@pytest.mark.parametrize("params", ['{"name":"look"}', '{"name":"look","arguments":null}'])
def test_a_call_without_arguments_is_sent_as_it_came(sidecar: Tapped, params: str) -> None:
    line = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'
    sidecar.send_bytes(line.encode() + b"\n")
    assert "result" in sidecar.reply(1)
    assert sidecar.received[-1] == line


def test_requests_and_notifications_that_are_no_calls_pass(sidecar: Tapped) -> None:
    sent = len(sidecar.sent)
    lines = [
        encoded(id="a", method="vendor/anything", params={"x": [1]}),
        encoded(method="notifications/initialized"),
        encoded(id=-1, method="tools/list"),
    ]
    sidecar.send_bytes(b"".join(line + b"\n" for line in lines))
    assert sidecar.reply("a")["error"]["code"] == -32601
    assert sidecar.reply(-1)["result"] == {"tools": []}
    assert sidecar.wait_for_sent(sent + 3)[sent:] == [line.decode() for line in lines]


# A denial.


@pytest.mark.parametrize(
    ("revision", "result_type"),
    [(None, None), ("2025-11-25", None), ("2026-07-28", "complete"), ("2027-01-01", "complete")],
)
def test_a_denial_is_a_tool_result_with_the_reason_and_the_decision(
    sidecar: Tapped, revision: str | None, result_type: str | None
) -> None:
    sent = len(sidecar.sent)
    meta = {} if revision is None else {"io.modelcontextprotocol/protocolVersion": revision}
    sidecar.send_bytes(tool_call("d", "cancel_order", {}, _meta=meta) + b"\n")
    result = sidecar.reply("d")["result"]
    text = "[INTERCEPT POLICY DENIED] Requires human approval\nDo not repeat this call unchanged."
    assert result["content"] == [{"type": "text", "text": text}]
    assert result["isError"] is True
    assert result.get("resultType") == result_type
    decision = result["_meta"]["intercept/decision"]
    assert (decision["rule"], decision["kind"]) == ("cancel_order#1", "rule")
    assert (sidecar.audit[-1]["decision_id"], sidecar.audit[-1]["decision"]) == (decision["id"], "deny")
    assert sidecar.until_ping() == []
    assert [json.loads(line)["method"] for line in sidecar.wait_for_sent(sent + 1)[sent:]] == ["ping"]


def test_one_slow_call_holds_up_nothing(sidecar: Tapped, tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = sidecar.post("tools/call", {"name": "look", "arguments": {"stub": "slow", "until": str(go)}})
    assert sidecar.request("ping")["result"] == {}
    assert "result" in sidecar.call("look", {"a": 1})
    assert denied(sidecar.call("cancel_order")) == "Requires human approval"
    sidecar.send_bytes(b"no JSON\n")
    assert sidecar.reply(None)["error"]["code"] == -32700
    go.touch()
    assert sidecar.reply(slow)["result"]["content"][0]["text"] == "late"


# From the server to the client.


@pytest.mark.parametrize("foreign", ['"700"', '" 700 "', "700.0", "7e2", "701", "[700]", "true"])
def test_an_answer_with_a_foreign_id_is_dropped(sidecar: Tapped, foreign: str) -> None:
    sidecar.send_bytes(tool_call(700, "look", {"stub": "mute"}) + b"\n")
    say(sidecar, f"foreign {foreign}", f'{{"jsonrpc":"2.0","id":{foreign},"result":{{"content":[]}}}}')
    assert sidecar.until_ping() == []
    answer = {"jsonrpc": "2.0", "id": 700, "result": {"content": []}}
    say(sidecar, f"right {foreign}", json.dumps(answer), json.dumps(answer))
    assert sidecar.until_ping() == [answer]


def test_an_answer_to_a_denied_call_is_dropped(sidecar: Tapped) -> None:
    sidecar.send_bytes(tool_call(701, "cancel_order", {}) + b"\n")
    assert denied(sidecar.reply(701))
    say(sidecar, "late answer", encoded(id=701, result={"content": []}))
    assert sidecar.until_ping() == []


def test_a_request_of_the_server_passes_and_its_answer_once(sidecar: Tapped) -> None:
    request = encoded(id="of the server", method="sampling/createMessage", params={"messages": []})
    say(sidecar, "sampling", request)
    assert sidecar.read() == json.loads(request)
    sent = len(sidecar.wait_for_sent(1))
    answer = encoded(id="of the server", result={"role": "user"})
    sidecar.send_bytes(encoded(id="another", result={}) + b"\n" + answer + b"\n" + answer + b"\n")
    sidecar.until_ping()
    lines = sidecar.wait_for_sent(sent + 2)[sent:]
    assert lines[0] == answer.decode()
    assert [json.loads(line).get("method") for line in lines[1:]] == ["ping"]


def test_a_notification_of_the_server_passes(sidecar: Tapped) -> None:
    line = encoded(method="notifications/message", params={"level": "info", "data": "é"})
    say(sidecar, "notification", line)
    assert sidecar.until_ping() == [json.loads(line)]


GARBAGE = {
    "a log line": f"Starting with {MARKER}",
    "half a message": f'{{"jsonrpc":"2.0","method":"{MARKER}"',
    "batch": f'[{{"jsonrpc":"2.0","method":"{MARKER}"}}]',
    "no message": f'{{"jsonrpc":"2.0","x":"{MARKER}"}}',
    "id 1e0": f'{{"jsonrpc":"2.0","id":1e0,"result":"{MARKER}"}}',
    "a result without id": f'{{"jsonrpc":"2.0","result":"{MARKER}"}}',
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_of_the_server_is_dropped_and_said_without_its_content(sidecar: Tapped, line: str) -> None:
    said = sidecar.errors.count("dropped a message of the server")
    say(sidecar, f"garbage {said}", line)
    assert sidecar.until_ping() == []
    assert sidecar.errors.count("dropped a message of the server") == said + 1
    assert MARKER not in sidecar.written


@pytest.mark.parametrize(
    "result",
    [
        "NaN",
        "-Infinity",
        '{"a":1,"a":2}',
        '"\\ud800"',
        "[" * 200 + "]" * 200,
        "1" * 401,
        '{},"error":{"code":1}',
        '{},"Id":5',
    ],
    ids=["NaN", "-Infinity", "key twice", "lone surrogate", "200 levels", "401 digits", "result and error", "Id"],
)
def test_an_answer_that_cannot_be_read_strictly_becomes_an_error(sidecar: Tapped, result: str) -> None:
    sidecar.send_bytes(
        tool_call(702, "look", {"stub": "say", "line": f'{{"jsonrpc":"2.0","id":702,"result":{result}}}'}) + b"\n"
    )
    assert sidecar.reply(702)["error"]["code"] == -32603
    assert "result" in sidecar.call("look", {})


# Cancel.


def test_a_cancel_of_a_forwarded_call_is_passed_on(sidecar: Tapped, tmp_path: Path) -> None:
    sent, go = len(sidecar.sent), tmp_path / "go"
    call = tool_call(703, "look", {"stub": "slow", "until": str(go)})
    cancel = encoded(method="notifications/cancelled", params={"requestId": 703, "reason": "enough"})
    sidecar.send_bytes(call + b"\n" + b"\n" + cancel + b"\n")
    go.touch()
    assert sidecar.reply(703)["result"]["content"][0]["text"] == "late"
    assert sorted(sidecar.wait_for_sent(sent + 2)[sent:]) == sorted([call.decode(), cancel.decode()])


def test_a_call_that_is_cancelled_while_it_is_judged_never_reaches_the_server(tmp_path: Path) -> None:
    sidecar = Tapped(tmp_path)
    with sidecar:
        with stopped(*sidecar.children("opa")):
            sidecar.send_bytes(tool_call("a", "look", {"pin": MARKER}) + b"\n")
            sidecar.send_bytes(encoded(method="notifications/cancelled", params={"requestId": "a"}) + b"\n")
            assert sidecar.until_ping() == []
        assert "result" in sidecar.call("pay", {"amount": 1})
        until(lambda: sorted(entry["kind"] for entry in sidecar.audit) == ["allow", "cancelled"])
        lines = [json.loads(line) for line in sidecar.wait_for_sent(2)]
        assert [line["method"] for line in lines] == ["ping", "tools/call"]
        assert lines[1]["params"]["name"] == "pay"


# What is written down.


def test_no_value_of_an_argument_is_written_down(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"pin": MARKER, "amount": MARKER}
    sidecar = Tapped(tmp_path, "--log-level", "debug", "--max-message", "4KiB")
    with sidecar:
        for id_, tool in enumerate(["look", "cancel_order", "pay", "pay", "intercept/x", "look\u200b"]):
            sidecar.send_bytes(tool_call(id_, tool, arguments) + b"\n")
            sidecar.reply(id_)
        for line in (
            tool_call(9, "look", MARKER),
            tool_call(9, "pay", {"amount": MARKER, "Amount": MARKER}),
            tool_call(9, "look", {MARKER: "?"}).replace(b'"?"', b"NaN"),
            tool_call(9, "look", {"pin": MARKER * 1000}),
            encoded(id=9, method="TOOLS/CALL", params={"name": "look", "arguments": arguments}),
        ):
            sidecar.send_bytes(line + b"\n")
            assert MARKER not in str(sidecar.reply(9)["error"])
        for answer in ("failure", "error", "mute"):
            sidecar.send_bytes(tool_call(answer, "look", arguments | {"stub": answer}) + b"\n")
        say(sidecar, "said", MARKER, f'{{"jsonrpc":"2.0","id":"mute","result":"{MARKER}","result":1}}')
        sidecar.until_ping()
        assert len(sidecar.audit) == 16
    assert MARKER not in sidecar.written
    assert MARKER in "".join(sidecar.sent)
